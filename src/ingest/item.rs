//! An item as a caller gives it, and its check.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::collection::backend::{ContentHash, MediaWrite};
use crate::collection::schema::{CollectionSchema, FieldSource, MediaOriginals};
use crate::image::{read_header, thumbnail};
use crate::types::limits::{PARTS_PER_ITEM, TEXT_BYTES};
use crate::types::names::check_name;
use crate::types::value::check_payload;
use crate::types::vector::UnitVector;
use crate::types::{Error, ItemId, MediaInfo, PartRef, Payload, Result};

/// Pixels of a thumbnail's longer side: enough to encode again with most networks.
const THUMBNAIL_SIDE: u32 = 512;

/// A picture as a caller gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct NewMedia {
    pub data: Bytes,
    pub name: String,
}

/// An item as a caller gives it; nothing is checked yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewItem {
    pub id: String,
    pub payload: Payload,
    pub media: Vec<NewMedia>,
    pub texts: BTreeMap<String, Vec<String>>,
    pub vectors: BTreeMap<String, Vec<Vec<f32>>>,
    pub if_version: Option<u64>,
}

/// A checked item, before its vectors are known.
#[derive(Debug)]
pub(super) struct CheckedItem {
    pub id: ItemId,
    pub payload: Payload,
    /// What is stored.
    pub media: Vec<MediaWrite>,
    /// What came, by position; the encoder sees it whatever is stored.
    pub originals: Vec<Original>,
    pub texts: BTreeMap<String, Vec<String>>,
    pub parts: Vec<(PartRef, ContentHash)>,
    pub own_vectors: BTreeMap<PartRef, UnitVector>,
    pub if_version: Option<u64>,
}

/// A picture's file as it came.
#[derive(Clone, Debug)]
pub(super) struct Original {
    /// BLAKE3 of the bytes.
    pub hash: [u8; 32],
    pub data: Bytes,
}

impl NewItem {
    /// Checks everything that can be checked without the store: caps, names, picture headers, vectors.
    pub(super) fn check(self, schema: &CollectionSchema) -> Result<CheckedItem> {
        let id = ItemId::new(&self.id)?;
        check_payload(&self.payload)?;
        let n_parts = self.media.len()
            + self.texts.values().map(Vec::len).sum::<usize>()
            + self.vectors.values().map(Vec::len).sum::<usize>();
        PARTS_PER_ITEM.check("parts of the item", n_parts)?;

        let mut parts = Vec::with_capacity(n_parts);
        let mut media = Vec::with_capacity(self.media.len());
        let mut originals = Vec::with_capacity(self.media.len());
        for (index, new) in (0..).zip(self.media) {
            let original = Original { hash: *blake3::hash(&new.data).as_bytes(), data: new.data.clone() };
            let write = check_media(new, original.hash, schema.media_originals)
                .map_err(|error| error.within(&format!("media[{index}]")))?;
            parts.push((PartRef::media(index), short_hash(&original.hash)));
            media.push(write);
            originals.push(original);
        }
        for (name, chunks) in &self.texts {
            check_name("texts", name)?;
            for (index, chunk) in (0..).zip(chunks) {
                TEXT_BYTES.check(&format!("texts.{name}[{index}]"), chunk.len())?;
                parts.push((PartRef::text(name, index), short_hash(blake3::hash(chunk.as_bytes()).as_bytes())));
            }
        }
        let mut own_vectors = BTreeMap::new();
        for (field, vectors) in self.vectors {
            let dimension = vector_dimension(schema, &field)?;
            for (index, values) in (0..).zip(vectors) {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                let part = PartRef::vector(&field, index);
                let vector = UnitVector::of_dimension(values, dimension)
                    .map_err(|error| error.within(&format!("vectors.{field}[{index}]")))?;
                parts.push((part.clone(), short_hash(blake3::hash(&bytes).as_bytes())));
                own_vectors.insert(part, vector);
            }
        }
        Ok(CheckedItem {
            id,
            payload: self.payload,
            media,
            originals,
            texts: self.texts,
            parts,
            own_vectors,
            if_version: self.if_version,
        })
    }
}

fn check_media(media: NewMedia, hash: [u8; 32], originals: MediaOriginals) -> Result<MediaWrite> {
    let header = read_header(&media.data)?;
    TEXT_BYTES.check("name", media.name.len())?;
    let info = MediaInfo {
        hash,
        name: media.name,
        mime_type: header.mime_type.to_owned(),
        bytes: media.data.len() as u64,
        width: header.width,
        height: header.height,
        perceptual_hash: None,
    };
    match originals {
        MediaOriginals::Keep => Ok(MediaWrite { info, data: Some(media.data) }),
        MediaOriginals::None => Ok(MediaWrite { info, data: None }),
        // The thumbnail is what is described: nobody can ask for the original again.
        MediaOriginals::Thumbnail => {
            let data = thumbnail(&media.data, THUMBNAIL_SIDE)?;
            let header = read_header(&data)?;
            let info = MediaInfo {
                hash: *blake3::hash(&data).as_bytes(),
                mime_type: header.mime_type.to_owned(),
                bytes: data.len() as u64,
                width: header.width,
                height: header.height,
                ..info
            };
            Ok(MediaWrite { info, data: Some(data.into()) })
        }
    }
}

fn vector_dimension(schema: &CollectionSchema, field: &str) -> Result<usize> {
    let source = schema.fields.iter().find(|stored| stored.name == field).map(|stored| &stored.source);
    match source {
        Some(FieldSource::Vector { dimension, .. }) => Ok(*dimension as usize),
        Some(_) => Err(Error::invalid(
            "vectors",
            format!("field {field:?} is filled by its encoder; give texts or media instead"),
        )),
        None => Err(Error::invalid("vectors", format!("collection {:?} has no field {field:?}", schema.name))),
    }
}

fn short_hash(hash: &[u8; 32]) -> ContentHash {
    let mut short = ContentHash::default();
    short.copy_from_slice(&hash[..size_of::<ContentHash>()]);
    short
}
