//! What an index on payloads holds: which values stand at a path, as bytes that sort as the values do.

mod entries;
mod ordered;

pub use entries::{Entries, Entry, TypeMark, entries_of};
pub use ordered::{KEYWORD_BYTES, PREFIX_BYTES, decode, encode, prefix_start};

use super::filter::Path;
use super::{Error, Result, Value};

/// Which values an index on payloads holds, and so which comparisons it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayloadKind {
    /// Strings: equal, ordered, one of a list, beginning with.
    Keyword,
    /// Integers and doubles, compared exactly.
    Number,
    Bool,
    /// Timestamps.
    Time,
    /// The first [`PREFIX_BYTES`] bytes of strings: beginning with, for long texts.
    Prefix,
}

impl PayloadKind {
    pub const ALL: [Self; 5] = [Self::Keyword, Self::Number, Self::Bool, Self::Time, Self::Prefix];

    /// The word of the command line and of replies.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keyword => "keyword",
            Self::Number => "number",
            Self::Bool => "bool",
            Self::Time => "time",
            Self::Prefix => "prefix",
        }
    }

    /// Reads [`PayloadKind::name`].
    ///
    /// # Errors
    /// [`Error::InvalidArgument`].
    pub fn parse(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|kind| kind.name()).collect();
            Error::invalid("kind", format!("expected one of {}, got {name:?}", known.join(", ")))
        })
    }

    /// The kind that answers comparisons with a value of this type; `None` if none does.
    #[must_use]
    pub const fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(_) => Some(Self::Keyword),
            Value::Int(_) | Value::Double(_) => Some(Self::Number),
            Value::Bool(_) => Some(Self::Bool),
            Value::Timestamp(_) => Some(Self::Time),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The type of the values that the index holds.
    #[must_use]
    pub const fn mark(self) -> TypeMark {
        match self {
            Self::Keyword | Self::Prefix => TypeMark::String,
            Self::Number => TypeMark::Number,
            Self::Bool => TypeMark::Bool,
            Self::Time => TypeMark::Timestamp,
        }
    }
}

/// An index on payloads, as a caller describes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct PayloadIndexSpec {
    /// Stored in its text form.
    #[serde(with = "path_text")]
    pub path: Path,
    pub kind: PayloadKind,
}

impl PayloadIndexSpec {
    /// A condition on a value at the path that the index answers; what its kind is for.
    #[must_use]
    pub fn is_for(&self, path: &Path, kind: PayloadKind) -> bool {
        self.path == *path && self.kind == kind
    }
}

pub(crate) mod path_text {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::types::filter::{Path, parse_path};

    pub(crate) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(path)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Path, D::Error> {
        parse_path(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
