//! What a collection is made of. Stored as JSON in the store's `collections` column family, so it stays readable.

use serde::{Deserialize, Serialize};

use super::expiry::Expiry;
use crate::types::limits::{DIMENSION, FIELDS};
use crate::types::names::check_name;
use crate::types::payload_index::PayloadIndexSpec;
use crate::types::{Error, PartKind, PartRef, Result, Timestamp};

/// Which parts of an item a field holds vectors of, and who makes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FieldSource {
    /// Every picture, by an image encoder.
    Media { encoder: String },
    /// The texts with these names (empty: all), by a text encoder.
    Text { encoder: String, names: Vec<String> },
    /// Vectors that the caller computed.
    Vector { dimension: u32, space: String },
}

impl FieldSource {
    /// True if the field named `field` holds a vector of this part.
    #[must_use]
    pub fn takes(&self, field: &str, part: &PartRef) -> bool {
        match (self, part.kind) {
            (Self::Media { .. }, PartKind::Media) => true,
            (Self::Text { names, .. }, PartKind::Text) => names.is_empty() || names.contains(&part.name),
            (Self::Vector { .. }, PartKind::Vector) => part.name == field,
            _ => false,
        }
    }
}

/// A field as a caller describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldSpec {
    pub name: String,
    pub source: FieldSource,
}

impl FieldSpec {
    /// # Errors
    /// [`Error::InvalidArgument`], [`Error::LimitExceeded`].
    pub fn check(&self) -> Result<()> {
        check_name("field.name", &self.name)?;
        match &self.source {
            FieldSource::Media { encoder } | FieldSource::Text { encoder, .. } if encoder.is_empty() => {
                Err(Error::invalid(
                    "field.encoder",
                    "name the encoder, like all-minilm-l6-v2; Encoders.ListEncoders lists them",
                ))
            }
            FieldSource::Text { names, .. } => names.iter().try_for_each(|name| check_name("field.names", name)),
            FieldSource::Vector { dimension: 0, .. } => {
                Err(Error::invalid("field.dimension", "expected at least 1, got 0"))
            }
            FieldSource::Vector { dimension, .. } => DIMENSION.check("field.dimension", *dimension as usize),
            FieldSource::Media { .. } => Ok(()),
        }
    }
}

/// Where a generation stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GenerationState {
    /// Being filled by a job; writes go to it too, searches may not.
    Building,
    /// Complete and checked, and never searched so far.
    Ready,
    /// What searches use.
    Current,
    /// Was current before. Complete, and kept so until it is dropped.
    Retired,
}

/// One complete set of a field's vectors, made by one encoder revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    pub number: u32,
    /// NAME@REVISION; empty for the caller's vectors.
    pub encoder: String,
    pub space: String,
    pub dimension: u32,
    /// The encoder's fingerprint in hexadecimal; empty for the caller's vectors.
    pub fingerprint: String,
    pub state: GenerationState,
    /// The job that fills or filled it; empty for a field's first generation.
    #[serde(default)]
    pub job: String,
    /// NAME@REVISION of the encoder that queries go through in the place of [`Generation::encoder`], whose space it writes to;
    /// empty if none does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub query_encoder: String,
    /// What joins a query's parts where the query names nothing; empty means the default.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub composer: String,
}

impl Generation {
    /// Every encoder that searches of this generation and writes to it need; none for the caller's vectors.
    pub fn encoders(&self) -> impl Iterator<Item = &str> {
        [self.encoder.as_str(), self.query_encoder.as_str()].into_iter().filter(|encoder| !encoder.is_empty())
    }
}

/// A field of a stored collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Stands for the name in keys; never used again after the field is dropped.
    pub id: u32,
    pub name: String,
    pub source: FieldSource,
    pub generations: Vec<Generation>,
    /// Every generation's number was below this; 0 in descriptions that are older than re-embedding.
    #[serde(default)]
    pub next_generation: u32,
}

impl Field {
    /// The number that the field's next generation gets; numbers of dropped generations are not used again.
    #[must_use]
    pub fn next_generation(&self) -> u32 {
        let after_last = self.generations.iter().map(|generation| generation.number + 1).max();
        self.next_generation.max(after_last.unwrap_or(1))
    }

    /// The generation with this number.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn generation(&self, number: u32) -> Result<&Generation> {
        self.generations.iter().find(|generation| generation.number == number).ok_or_else(|| {
            let known: Vec<_> = self.generations.iter().map(|generation| generation.number.to_string()).collect();
            Error::NotFound {
                kind: "generation",
                name: format!("{number} (field {} has {})", self.name, known.join(", ")),
            }
        })
    }

    /// The generation that searches use.
    ///
    /// # Errors
    /// [`Error::FailedPrecondition`] with `FIELD_IS_BUILDING` if the field is new and its first generation is not complete yet;
    /// [`Error::Corruption`] if there is none otherwise, which no operation leaves behind.
    pub fn current(&self) -> Result<&Generation> {
        let in_state = |state| self.generations.iter().find(move |generation| generation.state == state);
        if let Some(current) = in_state(GenerationState::Current) {
            return Ok(current);
        }
        Err(match in_state(GenerationState::Building) {
            Some(first) => Error::FailedPrecondition {
                reason: "FIELD_IS_BUILDING",
                message: format!("field {:?} is new and job {} is still filling it", self.name, first.job),
            },
            None => Error::Corruption(format!("field {:?} has no current generation", self.name)),
        })
    }
}

/// What is kept of a picture's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaOriginals {
    #[default]
    Keep,
    Thumbnail,
    None,
}

/// A stored collection's description.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionSchema {
    /// Stands for the name in keys; never used again after the collection is dropped.
    pub id: u32,
    /// Differs between two collections that had the same name one after the other.
    pub uid: String,
    pub name: String,
    pub fields: Vec<Field>,
    /// The id that the next field gets.
    pub next_field_id: u32,
    pub media_originals: MediaOriginals,
    pub default_field: String,
    pub created: Timestamp,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub payload_indexes: Vec<PayloadIndex>,
    /// The number that the next payload index gets.
    #[serde(default)]
    pub next_payload_index_id: u32,
    /// When items end by themselves; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry: Option<Expiry>,
}

/// Where a payload index stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayloadIndexState {
    /// Being filled by a job; every write goes to it, no filter uses it yet.
    Building,
    Ready,
}

/// An index over the payloads of a stored collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayloadIndex {
    /// Stands for the index in keys; never used again after it is dropped.
    pub id: u32,
    #[serde(flatten)]
    pub spec: PayloadIndexSpec,
    pub state: PayloadIndexState,
    /// The job that fills or filled it; empty if there was nothing to fill.
    #[serde(default)]
    pub job: String,
}

impl CollectionSchema {
    /// The field of this name; an empty name means the default field.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn field(&self, name: &str) -> Result<&Field> {
        let name = if name.is_empty() { &self.default_field } else { name };
        self.fields.iter().find(|field| field.name == name).ok_or_else(|| {
            let known: Vec<_> = self.fields.iter().map(|field| field.name.as_str()).collect();
            Error::NotFound {
                kind: "field",
                name: format!("{name} (collection {} has {})", self.name, known.join(", ")),
            }
        })
    }

    /// The payload indexes that filters may use.
    pub fn ready_payload_indexes(&self) -> impl Iterator<Item = &PayloadIndex> {
        self.payload_indexes.iter().filter(|index| index.state == PayloadIndexState::Ready)
    }

    /// The field with this number, if it has this generation.
    #[must_use]
    pub fn field_of(&self, id: u32, generation: u32) -> Option<&Field> {
        let has = |field: &Field| field.generations.iter().any(|stored| stored.number == generation);
        self.fields.iter().find(|field| field.id == id).filter(|field| has(field))
    }
}

/// Accepts the fields of a new collection.
///
/// # Errors
/// [`Error::InvalidArgument`], [`Error::LimitExceeded`].
pub fn check_fields(fields: &[FieldSpec], default_field: &str) -> Result<()> {
    FIELDS.check("fields", fields.len())?;
    for (position, field) in fields.iter().enumerate() {
        field.check()?;
        if fields[..position].iter().any(|earlier| earlier.name == field.name) {
            return Err(Error::invalid("fields", format!("the field name {:?} stands twice", field.name)));
        }
    }
    if !default_field.is_empty() && !fields.iter().any(|field| field.name == default_field) {
        return Err(Error::invalid("default_field", format!("{default_field:?} is not one of the fields")));
    }
    Ok(())
}
