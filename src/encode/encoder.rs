//! The contract between the engine and the networks. C++ and GPU end here.

use std::collections::BTreeMap;

use crate::image::Pixels;
use crate::types::vector::UnitVector;
use crate::types::{Error, Result};

/// Which side of a search a text stands on; some encoders prefix it with a prompt accordingly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Query,
    Document,
}

/// What an encoder is. Everything here is known after loading and never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderInfo {
    pub name: String,
    pub revision: String,
    /// The `model_type` of its configuration.
    pub architecture: String,
    /// BLAKE3 over weights, config, tokenizer, pooling, prompts, normalisation and preprocessing version, in hexadecimal.
    pub fingerprint: String,
    /// The space that its vectors belong to.
    pub space: String,
    pub dimension: usize,
    pub encodes_text: bool,
    pub encodes_image: bool,
    /// Longest text in tokens, specials included; 0 if it takes no texts.
    pub max_tokens: usize,
    /// Height and width of the pictures that the network sees.
    pub image_size: Option<(u32, u32)>,
    pub dtype: &'static str,
    pub device: String,
    /// Prompt prefixes by name.
    pub prompts: BTreeMap<String, String>,
}

impl EncoderInfo {
    /// NAME@REVISION, as collections store it.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}@{}", self.name, self.revision)
    }
}

/// A text ready for the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenizedText {
    /// Specials included; never empty, at most `max_tokens` long.
    pub ids: Vec<u32>,
    /// Tokens at the start that belong to a prompt left out of pooling.
    pub prompt_tokens: usize,
    /// True if the text was longer than the encoder takes.
    pub is_truncated: bool,
}

/// A picture ready for the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedImage {
    /// Of the size that the network takes; its numbers are scaled on the device.
    pub pixels: Pixels,
    /// Tokens that the network makes of it.
    pub tokens: usize,
    /// Of the picture as it was decoded ([`crate::image::difference_hash`]).
    pub perceptual_hash: u64,
}

/// One thing to encode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EncoderInput {
    Text(TokenizedText),
    Image(PreparedImage),
}

impl EncoderInput {
    /// Its share of a batch's budget, in tokens.
    #[must_use]
    pub fn cost(&self) -> usize {
        match self {
            Self::Text(text) => text.ids.len(),
            Self::Image(image) => image.tokens,
        }
    }
}

/// Prepares inputs for an encoder; runs on any thread.
pub trait Preprocessor: Send + Sync {
    /// Applies the role's prompt, tokenizes, cuts at the model's limit.
    ///
    /// # Errors
    /// `Unsupported` if the encoder takes no text, `Internal` if the tokenizer fails.
    fn text(&self, text: &str, role: Role) -> Result<EncoderInput>;

    /// Decodes a picture's file and fits it to the network.
    ///
    /// # Errors
    /// `Unsupported` if the encoder takes no pictures, `InvalidArgument` or `LimitExceeded` for a bad one.
    fn image(&self, _file: &[u8]) -> Result<EncoderInput> {
        Err(Error::Unsupported("encoding pictures with a text encoder".to_owned()))
    }

    /// Bytes that one prepared picture holds; 0 if the encoder takes none.
    fn image_bytes(&self) -> usize {
        0
    }
}

/// A loaded network; owned by one worker thread. Blocking; a torch error panics and the worker catches it.
pub trait Encoder: Send {
    fn info(&self) -> &EncoderInfo;

    /// Encodes a batch, one vector for each input, in order.
    ///
    /// # Errors
    /// `Internal` if the network fails or gives a vector without a direction.
    fn encode(&mut self, inputs: &[&EncoderInput]) -> Result<Vec<UnitVector>>;
}
