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
    /// How near its vectors are to those of the model whose space it declares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<Agreement>,
    /// BLAKE3 in hexadecimal by path inside the folder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// Source, licence, measured agreement, …
    #[serde(flatten)]
    pub rest: BTreeMap<String, serde_json::Value>,
}

/// How a model's queries compare with its teacher's, against the teacher's vectors; the queries are contents that it did not learn
/// from.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Agreement {
    /// NAME@REVISION of the teacher.
    pub with: String,
    /// For queries of pictures and of texts, if both models take them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pictures: Option<QueryAgreement>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub texts: Option<QueryAgreement>,
    /// The teacher's vectors that were searched.
    pub gallery: usize,
}

/// Queries of one kind.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct QueryAgreement {
    pub queries: usize,
    /// The mean share of the teacher's first ten hits that are among the student's first ten.
    pub overlap_at_10: f64,
    /// The mean cosine between the two vectors; it says little alone, for in many spaces all vectors lie near each other.
    pub cosine: f64,
}

impl Agreement {
    /// The lower overlap of the two kinds.
    #[must_use]
    pub fn least(&self) -> f64 {
        let overlaps = [self.pictures, self.texts].into_iter().flatten().map(|kind| kind.overlap_at_10);
        overlaps.reduce(f64::min).unwrap_or(0.0)
    }
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
