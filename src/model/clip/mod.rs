//! CLIP (Radford et al., arXiv 2103.00020) in Hugging Face's and OpenAI's names, with a vision transformer or OpenAI's ResNet.

mod dialect;
mod text;
mod vision;

use super::modified_resnet::{ModifiedResNet, ModifiedResNetShape};
use super::network::{Architecture, Config, Network};
use super::sides::{Padding, Sides, TextSide};
use crate::Result;
use crate::image::ImageConfig;
use crate::text::Cleaning;

pub(super) use dialect::Dialect;
pub(super) use text::ClipText;
pub(super) use vision::{ClipVision, vision_side};

pub const ARCHITECTURE: Architecture = Architecture {
    model_type: "clip",
    summary: "CLIP with a vision transformer or OpenAI's ResNet: OpenAI's, LAION's, MetaCLIP 1, DFN, TinyCLIP, CLIP4Cir's",
    describe: |layout| {
        let config = layout.config();
        let text = config.section("text_config")?;
        let side = TextSide {
            tokenizer: layout.tokenizer(),
            vocabulary_size: text.size("vocab_size")? as usize,
            max_tokens: text.size_or("max_position_embeddings", 77)? as usize,
            padding: Padding::Causal,
            cleaning: Cleaning::None,
            sentence: None,
        };
        let vision = config.section("vision_config")?;
        let image = layout.image_config(&ImageConfig::CLIP, vision.size_or("image_size", 224)?)?;
        let image = match ModifiedResNetShape::read_if_any(&vision)? {
            Some(shape) => shape.side(image)?,
            None => vision_side(&vision, image)?,
        };
        let mut deciding_files = layout.weights_files()?;
        deciding_files.push(side.tokenizer.clone());
        Ok(Sides { dimension: dimension(&config)? as usize, image: Some(image), text: Some(side), deciding_files })
    },
    load: |layout, sides, source| {
        let config = layout.config();
        let weights = layout.weights(source)?;
        let dialect = Dialect::of(&weights)?;
        let dimension = dimension(&config)?;
        let text = ClipText::load(&config.section("text_config")?, &weights, dialect, dimension)?;
        let mut network = Network { text: Some(Box::new(text)), image: None };
        if let Some(image) = &sides.image {
            let vision = config.section("vision_config")?;
            network.image = Some(match ModifiedResNetShape::read_if_any(&vision)? {
                Some(shape) => Box::new(ModifiedResNet::load(&shape, &dialect.vision(&weights), dimension, image)?),
                None => {
                    let antialias = layout.is_open_clip;
                    Box::new(ClipVision::load(&vision, &weights, dialect, Some(dimension), &image.config, antialias)?)
                }
            });
        }
        Ok(network)
    },
};

fn dimension(config: &Config<'_>) -> Result<i64> {
    config.size_or("projection_dim", 512)
}
