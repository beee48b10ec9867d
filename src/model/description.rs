//! What a model folder says, checked, before any network is built.

use std::path::PathBuf;

use serde_json::Value;
use tch::{Device, Kind};

use super::card::Card;
use super::fault::{invalid_model, read_json};
use super::network::{Architecture, Config, TextNetwork, architecture_of};
use super::sentence_transformers::{self, SentenceConfig};
use super::weights::Weights;
use super::{ModelFolder, fingerprint};
use crate::Result;
use crate::text::TextTokenizer;

/// A sentence encoder's folder, read.
pub struct Description {
    pub folder: ModelFolder,
    pub sentence: SentenceConfig,
    pub architecture: &'static Architecture,
    pub config: Value,
    /// Numbers in a vector.
    pub dimension: usize,
    /// Longest text in tokens, specials included: the authors' limit, or the network's if that is lower.
    pub max_tokens: usize,
    /// 64 hexadecimal digits.
    pub fingerprint: String,
    pub space: String,
    pub card: Card,
    config_path: PathBuf,
    vocabulary_size: usize,
}

impl Description {
    /// Reads the configuration and hashes weights and tokenizer.
    ///
    /// # Errors
    /// `FailedPrecondition` or `Unsupported` naming the file at fault.
    pub fn read(folder: &ModelFolder) -> Result<Self> {
        let sentence = sentence_transformers::read(&folder.path)?;
        let config_path = sentence.transformer.join("config.json");
        let config: Value = read_json(&config_path)?;
        let reader = Config { path: &config_path, json: &config };
        let architecture = architecture_of(&reader)?;
        let positions = reader.size("max_position_embeddings")? as usize;
        let max_tokens = sentence.max_tokens.map_or(positions, |limit| limit.min(positions));
        let dimension = reader.size("hidden_size")? as usize;
        let vocabulary_size = reader.size("vocab_size")? as usize;
        let fingerprint = fingerprint::of_sentence_encoder(&sentence, &config, max_tokens)?;
        let card = Card::read(&folder.path)?;
        let space = card.space.clone().unwrap_or_else(|| fingerprint::own_space(&fingerprint, dimension));
        Ok(Self {
            folder: folder.clone(),
            sentence,
            architecture,
            config,
            dimension,
            max_tokens,
            fingerprint,
            space,
            card,
            config_path,
            vocabulary_size,
        })
    }

    /// Opens the tokenizer.
    ///
    /// # Errors
    /// `FailedPrecondition` if it is missing, damaged or has ids that the network does not know.
    pub fn tokenizer(&self) -> Result<TextTokenizer> {
        let path = self.sentence.transformer.join("tokenizer.json");
        let tokenizer = TextTokenizer::open(&path, self.max_tokens, self.sentence.lower_case)?;
        if tokenizer.vocabulary_size() <= self.vocabulary_size {
            return Ok(tokenizer);
        }
        let (ids, known) = (tokenizer.vocabulary_size(), self.vocabulary_size);
        Err(invalid_model(&path, format!("has {ids} tokens, but vocab_size in config.json is {known}")))
    }

    /// Builds the network.
    ///
    /// # Errors
    /// `FailedPrecondition` naming the tensor at fault.
    pub fn network(&self, kind: Kind, device: Device) -> Result<Box<dyn TextNetwork>> {
        let _no_gradients = tch::no_grad_guard();
        let config = Config { path: &self.config_path, json: &self.config };
        let weights = Weights::open(&self.weights_path(), kind, device)?;
        (self.architecture.load)(&config, &weights)
    }

    /// Where the weights are.
    #[must_use]
    pub fn weights_path(&self) -> PathBuf {
        self.sentence.transformer.join("model.safetensors")
    }
}
