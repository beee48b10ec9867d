//! Payload indexes as a collection's description has them: added, filled beside the writers, completed, dropped.

use crate::collection::local::LocalCollection;
use crate::collection::local::moment::Inner;
use crate::collection::schema::{CollectionSchema, PayloadIndex, PayloadIndexState};
use crate::types::limits::PAYLOAD_INDEXES;
use crate::types::payload_index::PayloadIndexSpec;
use crate::{Error, Result};

use super::changes::PayloadEntries;

/// What was filled of an index at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilledPage {
    /// Items that were looked at.
    pub items: u64,
    /// Where to go on; `None` at the end.
    pub next: Option<u64>,
}

/// Items that are looked at under the writer's lock at once.
const PAGE: usize = 1_000;

impl LocalCollection {
    /// Adds an index; it is ready at once if there are no items, else `job` has to fill it. A job that has added it already adds nothing.
    pub(in crate::collection) fn add_payload_index(&self, spec: &PayloadIndexSpec, job: &str) -> Result<PayloadIndex> {
        let inner = &self.inner;
        let _writer = inner.lock_writer()?;
        let mut schema = CollectionSchema::clone(&inner.schema());
        if let Some(same) = schema.payload_indexes.iter().find(|index| index.spec == *spec) {
            if !job.is_empty() && same.job == job {
                return Ok(same.clone());
            }
            let name = format!("the {} index of {}", spec.kind.name(), spec.path);
            return Err(Error::AlreadyExists { kind: "payload index", name });
        }
        PAYLOAD_INDEXES.check("payload indexes", schema.payload_indexes.len() + 1)?;
        let is_empty = inner.state.read().names.is_empty();
        if !is_empty && job.is_empty() {
            return Err(Error::FailedPrecondition {
                reason: "COLLECTION_NOT_EMPTY",
                message: format!("collection {} has items; a job has to fill the index", schema.name),
            });
        }
        schema.next_payload_index_id += 1;
        let state = if is_empty { PayloadIndexState::Ready } else { PayloadIndexState::Building };
        let id = schema.next_payload_index_id;
        let index = PayloadIndex { id, spec: spec.clone(), state, job: job.to_owned() };
        schema.payload_indexes.push(index.clone());
        inner.change_schema(schema, |_| (), |state| state.payloads.add(id, spec.clone()))?;
        Ok(index)
    }

    /// Fills an index with the next items, from where the page before ended.
    pub(in crate::collection) fn fill_payload_index(&self, id: u32, from: u64) -> Result<FilledPage> {
        self.inner.fill_payload_index(id, from)
    }

    /// Says that an index is filled.
    pub(in crate::collection) fn complete_payload_index(&self, id: u32) -> Result<()> {
        let inner = &self.inner;
        let _writer = inner.lock_writer()?;
        let mut schema = CollectionSchema::clone(&inner.schema());
        let index = schema.payload_indexes.iter_mut().find(|index| index.id == id).ok_or_else(|| gone(id))?;
        index.state = PayloadIndexState::Ready;
        inner.change_schema(schema, |_| (), |_| ())
    }

    /// Removes an index.
    pub(in crate::collection) fn drop_payload_index(&self, spec: &PayloadIndexSpec) -> Result<PayloadIndex> {
        let inner = &self.inner;
        let _writer = inner.lock_writer()?;
        let mut schema = CollectionSchema::clone(&inner.schema());
        let at = schema.payload_indexes.iter().position(|index| index.spec == *spec).ok_or_else(|| {
            let known: Vec<_> = schema
                .payload_indexes
                .iter()
                .map(|index| format!("{} ({})", index.spec.path, index.spec.kind.name()))
                .collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Error::NotFound {
                kind: "payload index",
                name: format!("{} ({}); collection {} has {known}", spec.path, spec.kind.name(), schema.name),
            }
        })?;
        if schema.expiry.as_ref().is_some_and(|expiry| expiry.index() == *spec) {
            return Err(Error::FailedPrecondition {
                reason: "INDEX_IN_USE",
                message: format!(
                    "items of collection {} end by {}, which takes this index; end that first with SetExpiry or `pictor collection \
                     expire {} --never`",
                    schema.name, spec.path, schema.name
                ),
            });
        }
        let dropped = schema.payload_indexes.remove(at);
        let id = dropped.id;
        inner.change_schema(
            schema,
            |batch| batch.delete_payload_index(inner.id, id),
            |state| state.payloads.drop_index(id),
        )?;
        Ok(dropped)
    }
}

fn gone(id: u32) -> Error {
    Error::NotFound { kind: "payload index", name: format!("{id}, which was dropped meanwhile") }
}

impl Inner {
    fn fill_payload_index(&self, id: u32, from: u64) -> Result<FilledPage> {
        self.store.check_room(0)?;
        let _writer = self.lock_writer()?;
        self.store.check_writable()?;
        let schema = self.schema();
        let index = schema.payload_indexes.iter().find(|index| index.id == id).ok_or_else(|| gone(id))?;
        let snapshot = self.store.snapshot();
        let (mut batch, mut changes, mut next, mut n_seen) = (self.store.batch(), Vec::new(), None, 0);
        for entry in snapshot.scan_heads_from(self.id, from) {
            let (item, head) = entry?;
            if n_seen == PAGE {
                next = Some(item);
                break;
            }
            n_seen += 1;
            // What was written since the index was added has its entries; to put them once more changes nothing.
            changes.extend(PayloadEntries::of(std::slice::from_ref(index), item, None, Some(&head.payload)));
        }
        changes.iter().for_each(|change| change.put(&mut batch, self.id));
        self.commit(batch, |state| state.payloads.apply(&[], std::iter::empty(), &changes))?;
        Ok(FilledPage { items: n_seen as u64, next })
    }
}
