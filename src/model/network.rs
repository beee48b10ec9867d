//! What a network is to the rest of the program.

use std::path::Path;

use tch::Tensor;

use super::fault::invalid_model;
use super::weights::Weights;
use crate::{Error, Result};

/// A text tower: token ids in, one state for each token out. Owned by one thread; torch errors panic.
pub trait TextNetwork: Send {
    /// Numbers in a token's state.
    fn dimension(&self) -> usize;

    /// Longest input in tokens.
    fn max_positions(&self) -> usize;

    /// Runs the network.
    ///
    /// `ids` is int64 `[batch, tokens]`; `mask` is additive in the network's kind, `[batch, 1, 1, tokens]` with 0 for a
    /// token and −∞ for padding, or `None` if nothing is padded. Gives `[batch, tokens, dimension]` in the network's kind.
    fn token_states(&self, ids: &Tensor, mask: Option<&Tensor>) -> Tensor;
}

/// A registered architecture.
pub struct Architecture {
    /// The `model_type` in `config.json`.
    pub model_type: &'static str,
    /// One line for people.
    pub summary: &'static str,
    /// Builds the network from its parsed `config.json` and its weights.
    pub load: fn(config: &Config<'_>, weights: &Weights) -> Result<Box<dyn TextNetwork>>,
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

impl Config<'_> {
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
