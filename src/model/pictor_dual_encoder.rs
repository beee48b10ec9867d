//! Our own model: an untouched sentence encoder in `text/`, and in `vision/` a network that writes to its space.

use super::fault::invalid_model;
use super::layers::{Linear, Scope};
use super::layout::Layout;
use super::network::{Architecture, Config, ImageTower, architecture_of};
use super::sides::{ImageSide, Sides};
use super::vit::{VitPooling, VitTower};
use crate::Result;
use crate::image::ImageConfig;

pub const ARCHITECTURE: Architecture = Architecture {
    model_type: "pictor_dual_encoder",
    summary: "A sentence encoder and an image network that writes to its space: pictor-mini",
    describe: |layout| {
        let text_layout = text_layout(layout)?;
        let text = (architecture_of(&text_layout.config())?.describe)(&text_layout)?;
        let vision_layout = vision_layout(layout)?;
        let vision = vision_layout.config();
        vision.expect("model_type", "vit")?;
        let image = vision_layout.image_config(&ImageConfig::VIT, vision.size("image_size")?)?;
        let n_tokens = 1 + super::patches::Grid::new(&vision, &image)?.n_patches() as usize;
        let mut deciding_files = text.deciding_files;
        deciding_files.push(text_layout.config_path.clone());
        deciding_files.extend(vision_layout.weights_files()?);
        deciding_files.push(vision_layout.config_path.clone());
        Ok(Sides {
            dimension: text.dimension,
            text: text.text,
            image: Some(ImageSide::new(image, n_tokens)?),
            deciding_files,
        })
    },
    load: |layout, sides, kind, device| {
        let text_layout = text_layout(layout)?;
        let mut network = (architecture_of(&text_layout.config())?.load)(&text_layout, sides, kind, device)?;
        let vision_layout = vision_layout(layout)?;
        let weights = vision_layout.weights(kind, device)?;
        let pooling = pooling(&layout.config())?;
        let tower = |image: &ImageSide| -> Result<Box<dyn ImageTower>> {
            let vision = vision_layout.config();
            let shape = [sides.dimension as i64, vision.size("hidden_size")?];
            let projection = Linear::without_bias(weights.tensor("visual_projection.weight", &shape)?);
            let scope = Scope::at(&weights, "");
            Ok(Box::new(VitTower::load(&vision, &scope, &image.config, pooling, projection)?))
        };
        network.image = sides.image.as_ref().map(tower).transpose()?;
        Ok(network)
    },
};

fn text_layout(layout: &Layout) -> Result<Layout> {
    Layout::read(&layout.folder.join("text"))
}

fn vision_layout(layout: &Layout) -> Result<Layout> {
    Layout::read(&layout.folder.join("vision"))
}

fn pooling(config: &Config<'_>) -> Result<VitPooling> {
    match config.get_or("vision_pooling", "class".to_owned())?.as_str() {
        "class" => Ok(VitPooling::Class),
        "mean" => Ok(VitPooling::Mean),
        other => {
            let message = format!("vision_pooling: expected class or mean, found {other:?}");
            Err(invalid_model(config.path, message))
        }
    }
}
