//! transformers' `VisionTextDualEncoderModel`: an image network and a text network that were trained apart, each read by its own
//! pooler, and two projections.

use tch::{Kind, Tensor};

use super::bert::{FirstTokenTower, first_token_side};
use super::clip::{ClipVision, Dialect, vision_side};
use super::fault::invalid_model;
use super::layers::{Linear, Scope};
use super::network::{Architecture, Config, ImageTower, Network};
use super::observer::Observer;
use super::sides::Sides;
use super::vit::{VitPooling, VitTower};
use super::weights::Weights;
use crate::Result;
use crate::image::ImageConfig;

pub const ARCHITECTURE: Architecture = Architecture {
    model_type: "vision-text-dual-encoder",
    summary: "A ViT or CLIP vision transformer beside a BERT, as transformers pairs them",
    describe: |layout| {
        let config = layout.config();
        let (text, vision) = (config.section("text_config")?, config.section("vision_config")?);
        text.expect("model_type", "bert")?;
        let defaults = match ImageNetwork::of(&vision)? {
            ImageNetwork::Clip => ImageConfig::CLIP,
            ImageNetwork::Vit => ImageConfig::VIT,
        };
        let image = layout.image_config(&defaults, vision.size_or("image_size", 224)?)?;
        let text = first_token_side(&text, layout.tokenizer(), usize::MAX)?;
        let mut deciding_files = layout.weights_files()?;
        deciding_files.push(text.tokenizer.clone());
        Ok(Sides {
            dimension: config.size_or("projection_dim", 512)? as usize,
            text: Some(text),
            image: Some(vision_side(&vision, image)?),
            deciding_files,
        })
    },
    load: |layout, sides, source| {
        let config = layout.config();
        let weights = layout.weights(source)?;
        let dimension = sides.dimension as i64;
        let text = FirstTokenTower::load(&config.section("text_config")?, &weights, "text_model", true, dimension)?;
        let vision = config.section("vision_config")?;
        let tower = |image: &super::sides::ImageSide| image_tower(&vision, &weights, &image.config, dimension);
        Ok(Network { text: Some(Box::new(text)), image: sides.image.as_ref().map(tower).transpose()? })
    },
};

/// The image networks that can stand in a pair.
enum ImageNetwork {
    Clip,
    Vit,
}

impl ImageNetwork {
    fn of(vision: &Config<'_>) -> Result<Self> {
        match vision.get::<String>("model_type")?.as_str() {
            "clip_vision_model" | "clip" => Ok(Self::Clip),
            "vit" => Ok(Self::Vit),
            other => {
                let message = format!("vision_config.model_type: expected vit or clip_vision_model, found {other:?}");
                Err(invalid_model(vision.path, message))
            }
        }
    }
}

fn image_tower(
    vision: &Config<'_>,
    weights: &Weights<'_>,
    image: &ImageConfig,
    dimension: i64,
) -> Result<Box<dyn ImageTower>> {
    let width = vision.size("hidden_size")?;
    let projection = Linear::without_bias(weights.tensor("visual_projection.weight", &[dimension, width])?);
    match ImageNetwork::of(vision)? {
        ImageNetwork::Vit => {
            let scope = Scope::at(weights, "vision_model");
            Ok(Box::new(VitTower::load(vision, &scope, image, VitPooling::Pooler, projection)?))
        }
        ImageNetwork::Clip => {
            // Before transformers 5 the network was kept inside a model of its own.
            let anchor = "vision_model.embeddings.class_embedding";
            let dialect = Dialect::HuggingFace { wrapper: weights.prefix_of(anchor, &["vision_model.", ""])? };
            let tower = ClipVision::load(vision, weights, dialect, None, image, false)?;
            Ok(Box::new(Projected { tower, projection }))
        }
    }
}

/// A CLIP tower with a projection that stands outside of it.
struct Projected {
    tower: ClipVision,
    projection: Linear,
}

impl ImageTower for Projected {
    fn embed(&self, pixels: &Tensor, observer: &mut dyn Observer) -> Tensor {
        self.projection.forward(&self.tower.pooled(pixels, observer)).to_kind(Kind::Float)
    }
}
