//! CLIP (Radford et al., arXiv 2103.00020) with a vision transformer, in Hugging Face's and OpenAI's names.

mod dialect;
mod text;
mod vision;

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
    summary: "CLIP with a vision transformer: OpenAI's, LAION's, MetaCLIP 1, DFN, TinyCLIP",
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
        let mut deciding_files = layout.weights_files()?;
        deciding_files.push(side.tokenizer.clone());
        Ok(Sides {
            dimension: dimension(&config)? as usize,
            image: Some(vision_side(&vision, image)?),
            text: Some(side),
            deciding_files,
        })
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
            let tower =
                ClipVision::load(&vision, &weights, dialect, Some(dimension), &image.config, layout.is_open_clip)?;
            network.image = Some(Box::new(tower));
        }
        Ok(network)
    },
};

fn dimension(config: &Config<'_>) -> Result<i64> {
    config.size_or("projection_dim", 512)
}
