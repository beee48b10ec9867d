//! Checks a collection: the store against itself, and the index against the store.

use std::collections::{BTreeSet, HashMap};

use super::moment::{Inner, Moment};
use super::payload::ValueIndex;
use crate::Result;
use crate::collection::schema::{CollectionSchema, MediaOriginals, PayloadIndexState};
use crate::index::VectorIndex;
use crate::index::graph::Rows;
use crate::store::{AuditReport, AuditScope, LiveGeneration, audit};
use crate::types::ItemId;

/// What an audit of a collection with this description covers.
pub(in crate::collection) fn audit_scope(schema: &CollectionSchema) -> AuditScope {
    let generations = schema.fields.iter().flat_map(|field| {
        field.generations.iter().map(|generation| LiveGeneration {
            field: field.id,
            generation: generation.number,
            dimension: generation.dimension,
        })
    });
    AuditScope {
        collection: schema.id,
        generations: generations.collect(),
        media_are_originals: schema.media_originals == MediaOriginals::Keep,
        payload_indexes: schema
            .payload_indexes
            .iter()
            .map(|index| (index.id, index.spec.clone(), index.state == PayloadIndexState::Ready))
            .collect(),
    }
}

impl Inner {
    /// Stops writers while it runs.
    pub(super) fn verify(&self) -> Result<AuditReport> {
        let _no_writer = self.lock_writer()?;
        let Moment { state, snapshot, .. } = self.moment_without_writer()?;
        let mut report = audit(&snapshot, &audit_scope(&state.schema))?;
        let counters = snapshot.counters(self.id)?;
        if counters != state.counters {
            report.note(|| format!("the store stands at {counters:?}, the index at {:?}", state.counters));
        }
        let ids: HashMap<u64, ItemId> = snapshot
            .scan_ids(self.id, None)
            .map(|entry| entry.map(|(id, internal)| (internal, id)))
            .collect::<Result<_>>()?;
        if ids != state.names {
            report.note(|| format!("the store has {} ids, the index {} or others", ids.len(), state.names.len()));
        }
        let indexed: u64 = state.indexes.values().map(|index| index.len() as u64).sum();
        if indexed != report.vectors {
            let stored = report.vectors;
            report.note(|| format!("the store has {stored} vectors, the index {indexed}"));
        }
        for index in &state.schema.payload_indexes {
            let stored = ValueIndex::load(index.spec.clone(), snapshot.scan_payload_index(self.id, index.id))?;
            if state.payloads.index(index.id) != Some(&stored) {
                report.note(|| format!("the index of {} in memory is not what is stored", index.spec.path));
            }
        }
        if !state.payloads.all().iter().eq(state.names.keys().copied().collect::<BTreeSet<_>>()) {
            report.note(|| "the items that filters know are others than the index has".to_owned());
        }
        for (&(field, generation), index) in &state.indexes {
            let mut rows = Rows::new(index.dimension(), 1);
            for entry in snapshot.scan_vectors(self.id, field, generation) {
                let (item, part, vector) = entry?;
                let key = crate::index::VectorKey { item, part };
                if !index.holds(key, &vector.values, &mut rows) {
                    report.note(|| format!("the index holds another vector for internal id {item}, part {part}"));
                }
            }
        }
        Ok(report)
    }
}
