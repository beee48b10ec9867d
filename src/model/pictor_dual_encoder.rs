//! Our own model: an untouched sentence encoder in `text/`, and in `vision/` a network that writes to its space.

use super::fault::invalid_model;
use super::layers::{Linear, Scope};
use super::layout::Layout;
use super::network::{Architecture, Config, Network, architecture_of};
use super::patches::Grid;
use super::resnet::{ResNetShape, ResNetTower};
use super::sides::{ImageSide, Sides, fixed_size};
use super::vit::{VitPooling, VitTower};
use super::weights::{self, Weights};
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
        let network = VisionNetwork::read(&vision)?;
        let image = vision_layout.image_config(&ImageConfig::VIT, vision.size("image_size")?)?;
        let n_tokens = network.n_tokens(&vision, &image)?;
        let mut deciding_files = text.deciding_files;
        deciding_files.push(text_layout.config_path.clone());
        // A folder that is described for a training run need not have weights yet; one that is loaded must.
        deciding_files.extend(weights::files_if_any(&vision_layout.folder)?);
        deciding_files.push(vision_layout.config_path.clone());
        Ok(Sides {
            dimension: text.dimension,
            text: text.text,
            image: Some(ImageSide::new(image, n_tokens)?),
            deciding_files,
        })
    },
    load: |layout, sides, source| {
        let mut network = Network { text: None, image: None };
        if sides.text.is_some() {
            let text_layout = text_layout(layout)?;
            let source = source.inside("text");
            network = (architecture_of(&text_layout.config())?.load)(&text_layout, sides, &source)?;
        }
        if let Some(image) = &sides.image {
            let vision_layout = vision_layout(layout)?;
            let weights = vision_layout.weights(&source.inside("vision"))?;
            let vision = vision_layout.config();
            network.image = Some(match VisionNetwork::read(&vision)? {
                VisionNetwork::Transformer => {
                    let projection = projection(&weights, sides, vision.size("hidden_size")?)?;
                    let (scope, pooling) = (Scope::at(&weights, ""), pooling(&layout.config())?);
                    Box::new(VitTower::load(&vision, &scope, &image.config, pooling, projection)?)
                }
                VisionNetwork::Convolutions(shape) => {
                    let projection = projection(&weights, sides, shape.width())?;
                    Box::new(ResNetTower::load(&shape, &Scope::at(&weights, ""), projection)?)
                }
            });
        }
        Ok(network)
    },
};

/// The networks that `vision/` may hold, each in the names that transformers gives it.
enum VisionNetwork {
    /// `ViTModel`.
    Transformer,
    /// `ResNetModel`.
    Convolutions(ResNetShape),
}

impl VisionNetwork {
    fn read(vision: &Config<'_>) -> Result<Self> {
        match vision.get::<String>("model_type")?.as_str() {
            "vit" => Ok(Self::Transformer),
            "resnet" => ResNetShape::read(vision).map(Self::Convolutions),
            other => Err(invalid_model(vision.path, format!("model_type: expected vit or resnet, found {other:?}"))),
        }
    }

    /// A picture's share of a batch's budget.
    fn n_tokens(&self, vision: &Config<'_>, image: &ImageConfig) -> Result<usize> {
        match self {
            Self::Transformer => Ok(1 + Grid::new(vision, image)?.n_patches() as usize),
            Self::Convolutions(shape) => {
                let (height, width) = fixed_size(image)?;
                Ok(shape.n_positions(height, width))
            }
        }
    }
}

fn projection(weights: &Weights<'_>, sides: &Sides, width: i64) -> Result<Linear> {
    let shape = [sides.dimension as i64, width];
    Ok(Linear::without_bias(weights.tensor("visual_projection.weight", &shape)?))
}

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
