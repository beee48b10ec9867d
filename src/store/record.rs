//! What is stored of an item: one version byte, then the head, then the body, both in postcard.
//!
//! Version 1 has no perceptual hashes of pictures; it is read, and written anew with the item.
//!
//! The head stands first, so that a filter's scan decodes nothing else.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::types::{ItemId, MediaInfo, PartRef, Payload};
use crate::{Error, Result};

/// The layout written by this program, and the one before.
const RECORD_VERSION: u8 = 2;
const WITHOUT_HASHES: u8 = 1;

/// An item's id, version and payload.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordHead {
    pub id: ItemId,
    /// Rises through the whole collection.
    pub version: u64,
    pub payload: Payload,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaRecord {
    pub info: MediaInfo,
    /// True if the bytes are in the store and counted.
    pub is_kept: bool,
}

/// Says that a vector is stored, under the item's internal id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VectorSlot {
    pub field: u32,
    pub generation: u32,
    /// The part's position in [`ItemRecord::parts`].
    pub part: u32,
}

/// Everything stored of an item but media bytes and vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemRecord {
    pub head: RecordHead,
    pub media: Vec<MediaRecord>,
    pub texts: BTreeMap<String, Vec<String>>,
    /// Each part with the first 16 bytes of its content's hash.
    pub parts: Vec<(PartRef, [u8; 16])>,
    /// Sorted. Slots of a field dropped since are still listed; their vectors are gone.
    pub vectors: Vec<VectorSlot>,
}

/// A collection's numbers that must never go back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Of the newest write, deletes included.
    pub version: u64,
    /// The internal id that the next item gets.
    pub next_internal: u64,
}

/// Generic over how pictures are described.
#[derive(Deserialize)]
struct StoredBody<M> {
    media: Vec<M>,
    texts: BTreeMap<String, Vec<String>>,
    parts: Vec<(PartRef, [u8; 16])>,
    vectors: Vec<VectorSlot>,
}

/// A [`MediaRecord`] of version 1.
#[derive(Deserialize)]
struct MediaWithoutHash {
    info: InfoWithoutHash,
    is_kept: bool,
}

#[derive(Deserialize)]
struct InfoWithoutHash {
    hash: [u8; 32],
    name: String,
    mime_type: String,
    bytes: u64,
    width: u32,
    height: u32,
}

impl From<MediaWithoutHash> for MediaRecord {
    fn from(MediaWithoutHash { info, is_kept }: MediaWithoutHash) -> Self {
        let InfoWithoutHash { hash, name, mime_type, bytes, width, height } = info;
        Self { info: MediaInfo { hash, name, mime_type, bytes, width, height, perceptual_hash: None }, is_kept }
    }
}

impl ItemRecord {
    /// # Errors
    /// [`Error::Internal`] if the record cannot be written, which no accepted item causes.
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let failed = |error: postcard::Error| Error::Internal(format!("cannot encode an item record: {error}"));
        let head = (self.head.id.as_str(), self.head.version, &self.head.payload);
        let bytes = postcard::to_extend(&head, vec![RECORD_VERSION]).map_err(failed)?;
        // Borrowed in the same order as `StoredBody`; postcard writes a tuple and a struct alike.
        postcard::to_extend(&(&self.media, &self.texts, &self.parts, &self.vectors), bytes).map_err(failed)
    }

    /// # Errors
    /// [`Error::Corruption`].
    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let (head, rest) = decode_head(bytes)?;
        match bytes.first() {
            Some(&WITHOUT_HASHES) => Self::with_body::<MediaWithoutHash>(head, rest),
            _ => Self::with_body::<MediaRecord>(head, rest),
        }
    }

    fn with_body<M: DeserializeOwned + Into<MediaRecord>>(head: RecordHead, bytes: &[u8]) -> Result<Self> {
        let (body, rest): (StoredBody<M>, _) = postcard::take_from_bytes(bytes).map_err(damaged)?;
        if !rest.is_empty() {
            return Err(Error::Corruption(format!("an item record has {} bytes too many", rest.len())));
        }
        let media = body.media.into_iter().map(Into::into).collect();
        Ok(Self { head, media, texts: body.texts, parts: body.parts, vectors: body.vectors })
    }
}

impl RecordHead {
    /// # Errors
    /// [`Error::Corruption`].
    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        Ok(decode_head(bytes)?.0)
    }
}

impl Counters {
    pub(super) fn encode(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.version.to_be_bytes());
        bytes[8..].copy_from_slice(&self.next_internal.to_be_bytes());
        bytes
    }

    /// # Errors
    /// [`Error::Corruption`].
    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        match (super::keys::u64_at(bytes, 0), super::keys::u64_at(bytes, 8), bytes.len()) {
            (Some(version), Some(next_internal), 16) => Ok(Self { version, next_internal }),
            _ => Err(Error::Corruption(format!("a collection's counters have {} bytes, not 16", bytes.len()))),
        }
    }
}

fn decode_head(bytes: &[u8]) -> Result<(RecordHead, &[u8])> {
    let Some((&version, rest)) = bytes.split_first() else {
        return Err(Error::Corruption("an item record is empty".to_owned()));
    };
    if !(WITHOUT_HASHES..=RECORD_VERSION).contains(&version) {
        return Err(Error::Corruption(format!(
            "an item record has layout {version}; this program reads layouts {WITHOUT_HASHES} to {RECORD_VERSION}"
        )));
    }
    let ((id, version, payload), rest): ((&str, u64, Payload), _) = postcard::take_from_bytes(rest).map_err(damaged)?;
    let id = ItemId::new(id).map_err(|error| Error::Corruption(format!("an item record: {error}")))?;
    Ok((RecordHead { id, version, payload }, rest))
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn damaged(error: postcard::Error) -> Error {
    Error::Corruption(format!("an item record cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Value;

    fn sample() -> ItemRecord {
        let media = MediaInfo {
            hash: [7; 32],
            name: "a.png".to_owned(),
            mime_type: "image/png".to_owned(),
            bytes: 9,
            width: 1,
            height: 2,
            perceptual_hash: Some(u64::MAX - 5),
        };
        let nested = Value::Map([("list".to_owned(), Value::List(vec![Value::Null, Value::Double(0.5)]))].into());
        let payload = Payload::from([("n".to_owned(), Value::Int(i64::MIN)), ("map".to_owned(), nested)]);
        ItemRecord {
            head: RecordHead { id: ItemId::new("ünï/1").expect("an id"), version: u64::MAX, payload },
            media: vec![MediaRecord { info: media, is_kept: true }],
            texts: [("title".to_owned(), vec![String::new(), "x".to_owned()])].into(),
            parts: vec![(PartRef::media(0), [1; 16]), (PartRef::text("title", 1), [2; 16])],
            vectors: vec![VectorSlot { field: 1, generation: 2, part: 1 }],
        }
    }

    #[test]
    fn a_record_is_read_back() {
        let bytes = sample().encode().expect("bytes");
        assert_eq!(ItemRecord::decode(&bytes), Ok(sample()));
        assert_eq!(RecordHead::decode(&bytes), Ok(sample().head));
    }

    #[test]
    fn a_record_of_the_first_version_is_read() {
        let mut expected = sample();
        let media: Vec<_> = expected
            .media
            .iter()
            .map(|MediaRecord { info, is_kept }| {
                ((info.hash, &info.name, &info.mime_type, info.bytes, info.width, info.height), is_kept)
            })
            .collect();
        let head = (expected.head.id.as_str(), expected.head.version, &expected.head.payload);
        let bytes = postcard::to_extend(&head, vec![1]).expect("bytes");
        let body = (media, &expected.texts, &expected.parts, &expected.vectors);
        let bytes = postcard::to_extend(&body, bytes).expect("bytes");
        assert_eq!(RecordHead::decode(&bytes), Ok(expected.head.clone()));
        expected.media[0].info.perceptual_hash = None;
        assert_eq!(ItemRecord::decode(&bytes), Ok(expected));
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        let bytes = sample().encode().expect("bytes");
        for length in 0..bytes.len() {
            assert!(matches!(ItemRecord::decode(&bytes[..length]), Err(Error::Corruption(_))), "{length}");
        }
        for position in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[position] ^= 0x55;
            let _ = ItemRecord::decode(&damaged);
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(matches!(ItemRecord::decode(&longer), Err(Error::Corruption(_))));
        assert!(matches!(ItemRecord::decode(&[9]), Err(Error::Corruption(_))));
    }

    #[test]
    fn counters_are_read_back() {
        let counters = Counters { version: 3, next_internal: u64::MAX };
        assert_eq!(Counters::decode(&counters.encode()), Ok(counters));
        assert!(Counters::decode(&[0; 15]).is_err());
    }
}
