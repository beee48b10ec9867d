//! What an architecture reads about its towers before any weights are loaded.

use std::path::PathBuf;

use super::sentence_transformers::SentenceConfig;
use crate::image::ImageConfig;
use crate::text::Cleaning;
use crate::{Error, Result};

/// The towers of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Sides {
    /// Numbers in a vector.
    pub dimension: usize,
    pub text: Option<TextSide>,
    pub image: Option<ImageSide>,
    /// Files whose bytes decide the vectors: weights, tokenizers, nested configurations.
    pub deciding_files: Vec<PathBuf>,
}

/// How texts are prepared for the text tower.
#[derive(Clone, Debug, PartialEq)]
pub struct TextSide {
    /// `tokenizer.json`.
    pub tokenizer: PathBuf,
    /// Rows of the embedding table.
    pub vocabulary_size: usize,
    /// Longest text in tokens, specials included: the authors' limit, or the network's if that is lower.
    pub max_tokens: usize,
    pub padding: Padding,
    pub cleaning: Cleaning,
    /// The layout around a sentence encoder; `None` for the text tower of a dual encoder.
    pub sentence: Option<SentenceConfig>,
}

/// What stands behind a text that is shorter than its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Padding {
    /// Up to the batch's longest text; the mask hides it.
    Masked,
    /// Up to the batch's longest text; causality hides it from the tokens before it.
    Causal,
    /// Up to `max_tokens` with this id, which the network was trained to see.
    Full { id: u32 },
}

impl ImageSide {
    /// Pictures of one size, which become `n_tokens` tokens each.
    ///
    /// # Errors
    /// `Unsupported` if the configuration gives every picture its own size.
    pub fn new(config: ImageConfig, n_tokens: usize) -> Result<Self> {
        let (height, width) = fixed_size(&config)?;
        Ok(Self { config, height, width, n_tokens })
    }
}

/// The size that every prepared picture has.
///
/// # Errors
/// `Unsupported` if each has its own.
pub fn fixed_size(config: &ImageConfig) -> Result<(u32, u32)> {
    config.output_size().ok_or_else(|| {
        Error::Unsupported(format!(
            "preprocessing that gives every picture its own size ({:?}, no crop)",
            config.resize
        ))
    })
}

/// How pictures are prepared for the image tower.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageSide {
    pub config: ImageConfig,
    /// Of every prepared picture.
    pub height: u32,
    pub width: u32,
    /// Tokens that one picture becomes; its share of a batch's budget.
    pub n_tokens: usize,
}
