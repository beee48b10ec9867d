//! `card.json`: what we know about a model beyond what its authors publish.

use std::collections::BTreeMap;
use std::path::Path;

use super::fault::read_json_if_present;
use crate::Result;

/// The file's name inside a model folder.
pub const FILE: &str = "card.json";

/// A model's card. Every entry may be absent; entries that are not known here are kept for people.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Card {
    /// What the fingerprint was when the model was added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The space that the model writes to if it is not its own: it was distilled into that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<String>,
    /// BLAKE3 in hexadecimal by path inside the folder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// Source, licence, measured agreement, …
    #[serde(flatten)]
    pub rest: BTreeMap<String, serde_json::Value>,
}

impl Card {
    /// Reads a folder's card; a folder without one has an empty card.
    ///
    /// # Errors
    /// `FailedPrecondition` if the file is damaged.
    pub fn read(folder: &Path) -> Result<Self> {
        Ok(read_json_if_present(&folder.join(FILE))?.unwrap_or_default())
    }
}
