//! Changes of a collection's description.

use std::sync::Arc;

use super::LocalCollection;
use super::moment::Inner;
use super::payload::PayloadIndexes;
use super::state::State;
use crate::collection::catalog::to_json;
use crate::collection::catalog_entry::NewField;
use crate::collection::schema::{CollectionSchema, FieldSource};
use crate::index::SegmentedIndex;
use crate::store::Batch;
use crate::types::limits::FIELDS;
use crate::{Error, Result};

impl LocalCollection {
    /// Commits a batch that removes this collection; returns how many items it had. From then on every call fails.
    pub(in crate::collection) fn drop_with(&self, batch: Batch<'_>) -> Result<u64> {
        let inner = &self.inner;
        let _writer = inner.lock_writer()?;
        let mut items = 0;
        inner.commit(batch, |state| {
            items = state.names.len() as u64;
            state.is_dropped = true;
            state.names.clear();
            state.indexes.clear();
            state.payloads = PayloadIndexes::default();
        })?;
        Ok(items)
    }

    /// Adds a field with its first generation, which `job` fills if it is named; a job that has added it already adds nothing.
    pub(in crate::collection) fn add_field(&self, new: NewField, job: &str) -> Result<()> {
        let inner = &self.inner;
        let _writer = inner.lock_writer()?;
        let mut schema = CollectionSchema::clone(&inner.schema());
        new.spec.check()?;
        if let Some(field) = schema.fields.iter().find(|field| field.name == new.spec.name) {
            if !job.is_empty() && field.generations.iter().any(|generation| generation.job == job) {
                return Ok(());
            }
            return Err(Error::AlreadyExists { kind: "field", name: new.spec.name });
        }
        FIELDS.check("fields", schema.fields.len() + 1)?;
        let items = inner.state.read().names.len();
        if items > 0 && job.is_empty() && !matches!(new.spec.source, FieldSource::Vector { .. }) {
            return Err(Error::FailedPrecondition {
                reason: "COLLECTION_NOT_EMPTY",
                message: format!(
                    "collection {} has {items} items that the field {} would have no vectors of; a job has to fill it",
                    schema.name, new.spec.name
                ),
            });
        }
        let field = new.into_field(schema.next_field_id, &schema.uid, job)?;
        schema.next_field_id += 1;
        if schema.default_field.is_empty() {
            schema.default_field.clone_from(&field.name);
        }
        let generations = field.generations.iter();
        let indexes: Vec<_> = generations
            .map(|generation| {
                let index =
                    SegmentedIndex::new(generation.dimension as usize, inner.segments.chunk(), inner.pool.clone());
                ((field.id, generation.number), index)
            })
            .collect();
        schema.fields.push(field);
        inner.change_schema(schema, |_| (), |state| state.indexes.extend(indexes))
    }

    /// Removes a field with its vectors.
    pub(in crate::collection) fn drop_field(&self, name: &str) -> Result<()> {
        let inner = &self.inner;
        let _writer = inner.lock_writer()?;
        let mut schema = CollectionSchema::clone(&inner.schema());
        if name.is_empty() {
            return Err(Error::invalid("field", "name the field to drop"));
        }
        let id = schema.field(name)?.id;
        schema.fields.retain(|field| field.id != id);
        if schema.default_field == name {
            schema.default_field = schema.fields.first().map(|field| field.name.clone()).unwrap_or_default();
        }
        inner.change_schema(
            schema,
            |batch| batch.delete_field_vectors(inner.id, id),
            |state| state.indexes.retain(|(field, _), _| *field != id),
        )
    }
}

impl Inner {
    /// Writes the description with what `fill` adds, then puts it in place and calls `apply`. The caller holds `writer`.
    pub(super) fn change_schema(
        &self,
        schema: CollectionSchema,
        fill: impl FnOnce(&mut Batch<'_>),
        apply: impl FnOnce(&mut State),
    ) -> Result<()> {
        let mut batch = self.store.batch();
        batch.put_schema(self.id, &to_json(&schema)?);
        fill(&mut batch);
        self.commit(batch, |state| {
            state.schema = Arc::new(schema);
            self.published.store(Arc::clone(&state.schema));
            apply(state);
        })
    }
}
