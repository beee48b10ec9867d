//! What a network is to the rest of the program.

use std::path::Path;

use tch::Tensor;

use super::fault::invalid_model;
use super::layout::Layout;
use super::observer::Observer;
use super::pooling::{Pooling, Span, pool};
use super::sides::Sides;
use super::source::Source;
use crate::{Error, Result};

/// The texts of one batch as towers take them.
pub struct TextBatch {
    /// int64 `[batch, tokens]`, padded at the end.
    pub ids: Tensor,
    /// Additive in the network's kind, `[batch, 1, 1, tokens]` with 0 for a token and −∞ for padding; `None` if nothing is
    /// padded or the tower sees padding.
    pub mask: Option<Tensor>,
    /// Where each text's tokens are, without a prompt that is left out of pooling.
    pub spans: Vec<Span>,
}

/// Texts to embeddings. Owned by one thread; torch errors panic.
pub trait TextTower: Send {
    /// Gives float32 `[batch, dimension]`, not normalised.
    fn embed(&self, texts: &TextBatch, observer: &mut dyn Observer) -> Tensor;
}

/// Pictures to embeddings. Owned by one thread; torch errors panic.
pub trait ImageTower: Send {
    /// Gives float32 `[batch, dimension]`, not normalised, for `[batch, 3, height, width]` in the network's kind, normalised
    /// by the model's mean and deviation.
    fn embed(&self, pixels: &Tensor, observer: &mut dyn Observer) -> Tensor;
}

/// A text network that says one state for each token; a sentence encoder pools them.
pub trait TokenNetwork: Send {
    /// Gives `[batch, tokens, width]` in the network's kind.
    fn token_states(&self, ids: &Tensor, mask: Option<&Tensor>, observer: &mut dyn Observer) -> Tensor;
}

/// A loaded model: the towers that it has.
pub struct Network {
    pub text: Option<Box<dyn TextTower>>,
    pub image: Option<Box<dyn ImageTower>>,
}

impl Network {
    /// A sentence encoder: the network's states, pooled.
    #[must_use]
    pub fn of_sentences(network: Box<dyn TokenNetwork>, pooling: Pooling) -> Self {
        Self { text: Some(Box::new(SentenceTower { network, pooling })), image: None }
    }
}

struct SentenceTower {
    network: Box<dyn TokenNetwork>,
    pooling: Pooling,
}

impl TextTower for SentenceTower {
    fn embed(&self, texts: &TextBatch, observer: &mut dyn Observer) -> Tensor {
        let states = self.network.token_states(&texts.ids, texts.mask.as_ref(), observer);
        pool(&states, &texts.spans, self.pooling)
    }
}

/// A registered architecture.
pub struct Architecture {
    /// The `model_type` in `config.json`.
    pub model_type: &'static str,
    /// One line for people.
    pub summary: &'static str,
    /// Reads what the folder says about its towers, without its weights.
    pub describe: fn(layout: &Layout) -> Result<Sides>,
    /// Builds the towers of the sides that are there.
    pub load: fn(layout: &Layout, sides: &Sides, source: &Source<'_>) -> Result<Network>,
}

/// Finds the architecture that a configuration asks for.
///
/// # Errors
/// `FailedPrecondition` with reason `UNKNOWN_ARCHITECTURE` listing the known ones.
pub fn architecture_of(config: &Config<'_>) -> Result<&'static Architecture> {
    let found: String = config.get("model_type")?;
    super::ALL.iter().find(|architecture| architecture.model_type == found).copied().ok_or_else(|| {
        let known: Vec<_> = super::ALL.iter().map(|architecture| architecture.model_type).collect();
        Error::FailedPrecondition {
            reason: "UNKNOWN_ARCHITECTURE",
            message: format!(
                "{}: unknown model_type: expected one of {known:?}, found {found:?}",
                config.path.display()
            ),
        }
    })
}

/// A parsed `config.json` that names itself in errors.
pub struct Config<'a> {
    pub path: &'a Path,
    pub json: &'a serde_json::Value,
}

impl<'a> Config<'a> {
    /// The object inside an entry, such as `vision_config`.
    ///
    /// # Errors
    /// `FailedPrecondition` if it is missing or no object.
    pub fn section(&self, name: &str) -> Result<Config<'a>> {
        match self.json.get(name) {
            Some(json) if json.is_object() => Ok(Config { path: self.path, json }),
            Some(other) => Err(invalid_model(self.path, format!("{name}: expected an object, found {other}"))),
            None => Err(invalid_model(self.path, format!("{name} is missing"))),
        }
    }

    /// Reads a required entry.
    ///
    /// # Errors
    /// `FailedPrecondition` if it is missing or of another type.
    pub fn get<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T> {
        let value = self.json.get(name).ok_or_else(|| invalid_model(self.path, format!("{name} is missing")))?;
        T::deserialize(value).map_err(|error| invalid_model(self.path, format!("{name} is {value}: {error}")))
    }

    /// Reads a size, at least 1 and small enough to compute with.
    ///
    /// # Errors
    /// As [`Config::get`].
    pub fn size(&self, name: &str) -> Result<i64> {
        let size: i64 = self.get(name)?;
        if (1..=1 << 24).contains(&size) {
            return Ok(size);
        }
        Err(invalid_model(self.path, format!("{name} must be between 1 and 2^24, found {size}")))
    }

    /// Reads a size that older files leave out.
    ///
    /// # Errors
    /// As [`Config::size`].
    pub fn size_or(&self, name: &str, default: i64) -> Result<i64> {
        match self.json.get(name) {
            None | Some(serde_json::Value::Null) => Ok(default),
            Some(_) => self.size(name),
        }
    }

    /// Reads an entry that is absent in older files.
    ///
    /// # Errors
    /// `FailedPrecondition` if it is of another type.
    pub fn get_or<T: serde::de::DeserializeOwned>(&self, name: &str, default: T) -> Result<T> {
        match self.json.get(name) {
            None | Some(serde_json::Value::Null) => Ok(default),
            Some(_) => self.get(name),
        }
    }

    /// Accepts one value of an entry and no other.
    ///
    /// # Errors
    /// `FailedPrecondition` naming both values.
    pub fn expect(&self, name: &str, expected: &str) -> Result<()> {
        let found: String = self.get_or(name, expected.to_owned())?;
        if found == expected {
            return Ok(());
        }
        Err(invalid_model(self.path, format!("{name}: expected {expected:?}, found {found:?}, which is not supported")))
    }
}
