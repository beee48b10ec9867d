//! Chinese-CLIP (Yang et al., arXiv 2211.01335): CLIP's vision transformer beside a BERT that is read at its first token.

use super::bert::{FirstTokenTower, first_token_side};
use super::clip::{ClipVision, Dialect, vision_side};
use super::network::{Architecture, Network};
use super::sides::Sides;
use crate::Result;
use crate::image::ImageConfig;

/// Texts that the authors trained on were cut here.
const MAX_TOKENS: usize = 52;

pub const ARCHITECTURE: Architecture = Architecture {
    model_type: "chinese_clip",
    summary: "Chinese-CLIP: CLIP's vision transformer and a BERT",
    describe: |layout| {
        let config = layout.config();
        let vision = config.section("vision_config")?;
        let image = layout.image_config(&ImageConfig::CHINESE_CLIP, vision.size_or("image_size", 224)?)?;
        let text = first_token_side(&config.section("text_config")?, layout.tokenizer(), MAX_TOKENS)?;
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
        let text = FirstTokenTower::load(&config.section("text_config")?, &weights, "text_model", false, dimension)?;
        let dialect = Dialect::HuggingFace { wrapper: "" };
        let tower = |image: &super::sides::ImageSide| -> Result<Box<dyn super::network::ImageTower>> {
            let vision = config.section("vision_config")?;
            Ok(Box::new(ClipVision::load(&vision, &weights, dialect, Some(dimension), &image.config, false)?))
        };
        Ok(Network { text: Some(Box::new(text)), image: sides.image.as_ref().map(tower).transpose()? })
    },
};
