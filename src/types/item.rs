//! Items and their parts.

use std::fmt;
use std::sync::Arc;

use super::limits::ID_BYTES;
use super::{Error, Result};

/// An item's name: UTF-8, 1 to 512 bytes, no NUL. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemId(Arc<str>);

impl ItemId {
    /// Checks and wraps an id.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] or [`Error::LimitExceeded`] for the field `id`.
    pub fn new(id: &str) -> Result<Self> {
        if id.is_empty() {
            return Err(Error::invalid("id", "an id must not be empty"));
        }
        ID_BYTES.check("id", id.len())?;
        if id.contains('\0') {
            return Err(Error::invalid("id", format!("an id must not contain NUL, got {id:?}")));
        }
        Ok(Self(id.into()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum PartKind {
    Media,
    Text,
    /// A vector that the caller computed.
    Vector,
}

/// Names one part of an item: `media[0]`, `texts[title][2]`, or a caller's vector in a field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct PartRef {
    pub kind: PartKind,
    /// The text's or field's name; empty for media.
    pub name: String,
    /// Position within kind and name.
    pub index: u32,
}

impl PartRef {
    #[must_use]
    pub fn media(index: u32) -> Self {
        Self { kind: PartKind::Media, name: String::new(), index }
    }

    #[must_use]
    pub fn text(name: &str, index: u32) -> Self {
        Self { kind: PartKind::Text, name: name.to_owned(), index }
    }

    #[must_use]
    pub fn vector(field: &str, index: u32) -> Self {
        Self { kind: PartKind::Vector, name: field.to_owned(), index }
    }
}

/// A stored picture without its bytes.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MediaInfo {
    /// BLAKE3 of the bytes.
    pub hash: [u8; 32],
    pub name: String,
    pub mime_type: String,
    pub bytes: u64,
    /// Pixels, before any orientation flag is applied.
    pub width: u32,
    pub height: u32,
    /// Of what it shows, 64 bits of which nearly equal pictures differ in few; `None` if no encoder has seen it, or before hashes were kept.
    pub perceptual_hash: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::ItemId;

    #[test]
    fn ids_are_bounded() {
        for good in ["a", "a/b.png", "ünï", &"x".repeat(512)] {
            assert!(ItemId::new(good).is_ok(), "{good:?}");
        }
        for bad in ["", "a\0b", &"x".repeat(513)] {
            assert!(ItemId::new(bad).is_err(), "{bad:?}");
        }
    }
}
