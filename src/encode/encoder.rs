//! The contract between the engine and the networks. C++ and GPU end here.

use std::collections::BTreeMap;

use crate::types::Result;
use crate::types::vector::UnitVector;

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
    /// Longest text in tokens, specials included.
    pub max_tokens: usize,
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

/// One thing to encode.
#[derive(Clone, Debug, PartialEq)]
pub enum EncoderInput {
    Text(TokenizedText),
}

impl EncoderInput {
    /// Its share of a batch's budget, in tokens.
    #[must_use]
    pub fn cost(&self) -> usize {
        match self {
            Self::Text(text) => text.ids.len(),
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
