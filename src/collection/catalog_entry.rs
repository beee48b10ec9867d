//! What the catalog takes and gives.

use std::sync::Arc;

use super::schema::{
    CollectionSchema, Field, FieldSource, FieldSpec, Generation, GenerationState, MediaOriginals, PayloadIndex,
    PayloadIndexState, check_fields,
};
use super::{Expiry, LocalCollection};
use crate::store::unique_id;
use crate::types::Timestamp;
use crate::{Error, Result};

/// What an encoder resolved to when a field was bound to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationSpec {
    /// NAME@REVISION.
    pub encoder: String,
    pub space: String,
    pub dimension: u32,
    /// Hexadecimal.
    pub fingerprint: String,
}

/// A field to create. `encoder` is what its source's encoder resolved to, and `None` for the caller's vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewField {
    pub spec: FieldSpec,
    pub encoder: Option<GenerationSpec>,
}

/// A collection to create; an empty default field means the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewCollection {
    pub name: String,
    pub fields: Vec<NewField>,
    pub media_originals: MediaOriginals,
    pub default_field: String,
    pub expiry: Option<Expiry>,
}

/// A change of a field's generations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GenerationChange {
    /// Starts one that `job` will fill; if the job has started one already, that one.
    Add { spec: GenerationSpec, job: String },
    /// Says that one is complete and checked; a new field's first one becomes current.
    Complete(u32),
    /// Lets queries of one go through another encoder of its space; an empty name means its own again.
    QueryEncoder { number: u32, encoder: String },
    /// Says what joins the parts of one's queries where they do not; an empty name means the default.
    Composer { number: u32, composer: String },
    /// Makes one current; the one that was becomes retired.
    Switch(u32),
    /// Removes one that is not current, with its vectors.
    Drop(u32),
}

/// What a change of generations did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GenerationChanged {
    /// The generation added, completed, made current or dropped.
    pub number: u32,
    /// The current generation before the change; 0 if the field had none.
    pub previous: u32,
    /// Vectors that were dropped.
    pub dropped: u64,
    /// Numbers of collection and field in the store's keys.
    pub(super) keys: (u32, u32),
}

/// Makes an alias name a collection; `None` removes the alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasChange {
    pub alias: String,
    pub collection: Option<String>,
}

/// A collection as the catalog lists it.
#[derive(Clone)]
pub struct CollectionInfo {
    /// `?NUMBER` if even the description cannot be read.
    pub name: String,
    pub schema: Option<Arc<CollectionSchema>>,
    pub aliases: Vec<String>,
    /// The open collection, or why it is broken.
    pub backend: Result<Arc<LocalCollection>>,
}

impl NewCollection {
    /// The description of the new collection, with its number and a new uid.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`], [`Error::LimitExceeded`].
    pub(super) fn into_schema(self, id: u32) -> Result<CollectionSchema> {
        let specs: Vec<FieldSpec> = self.fields.iter().map(|field| field.spec.clone()).collect();
        check_fields(&specs, &self.default_field)?;
        let first = specs.first().map(|field| field.name.clone()).unwrap_or_default();
        let uid = unique_id();
        let index = |expiry: &Expiry| PayloadIndex {
            id: 1,
            spec: expiry.index(),
            state: PayloadIndexState::Ready,
            job: String::new(),
        };
        let payload_indexes: Vec<_> = self.expiry.iter().map(index).collect();
        let numbered = self.fields.into_iter().zip(1..);
        let fields: Vec<Field> = numbered.map(|(field, id)| field.into_field(id, &uid, "")).collect::<Result<_>>()?;
        Ok(CollectionSchema {
            id,
            name: self.name,
            next_field_id: fields.len() as u32 + 1,
            fields,
            media_originals: self.media_originals,
            default_field: if self.default_field.is_empty() { first } else { self.default_field },
            created: Timestamp::now(),
            uid,
            next_payload_index_id: payload_indexes.len() as u32,
            payload_indexes,
            expiry: self.expiry,
        })
    }
}

impl NewField {
    /// The field with its first generation, which is complete unless a job fills it. A caller's space without a name is one of its own.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if source and encoder do not fit.
    pub(super) fn into_field(self, id: u32, collection_uid: &str, job: &str) -> Result<Field> {
        let Self { spec, encoder } = self;
        let generation = match (&spec.source, encoder) {
            (FieldSource::Vector { dimension, space }, None) => GenerationSpec {
                encoder: String::new(),
                space: if space.is_empty() { format!("own:{collection_uid}/{id}") } else { space.clone() },
                dimension: *dimension,
                fingerprint: String::new(),
            },
            (FieldSource::Media { .. } | FieldSource::Text { .. }, Some(encoder)) => encoder,
            (FieldSource::Vector { .. }, Some(_)) => {
                return Err(Error::invalid("field", "a field of the caller's vectors has no encoder"));
            }
            _ => return Err(Error::invalid("field.encoder", "the encoder is not resolved")),
        };
        let generation = Generation {
            number: 1,
            encoder: generation.encoder,
            space: generation.space,
            dimension: generation.dimension,
            fingerprint: generation.fingerprint,
            state: if job.is_empty() { GenerationState::Current } else { GenerationState::Building },
            job: job.to_owned(),
            query_encoder: String::new(),
            composer: String::new(),
        };
        Ok(Field { id, name: spec.name, source: spec.source, generations: vec![generation], next_generation: 2 })
    }
}
