//! Builds a collection's memory from the store.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::payload_changes::PayloadChanges;
use super::state::State;
use crate::collection::schema::CollectionSchema;
use crate::index::{FlatIndex, VectorIndex, VectorKey};
use crate::store::Snapshot;
use crate::{Error, Result};

/// Reads ids and vectors of every live generation.
///
/// # Errors
/// [`Error::Corruption`], [`Error::Storage`].
pub(super) fn load(
    snapshot: &Snapshot<'_>,
    schema: CollectionSchema,
    pool: Option<&Arc<rayon::ThreadPool>>,
) -> Result<State> {
    let counters = snapshot.counters(schema.id)?;
    let ids = snapshot.scan_ids(schema.id, None);
    let names: HashMap<_, _> = ids.map(|entry| entry.map(|(id, internal)| (internal, id))).collect::<Result<_>>()?;
    let mut indexes = BTreeMap::new();
    for field in &schema.fields {
        for generation in &field.generations {
            let dimension = generation.dimension as usize;
            let mut index = FlatIndex::new(dimension, pool.cloned());
            for entry in snapshot.scan_vectors(schema.id, field.id, generation.number) {
                let (item, part, vector) = entry?;
                if vector.values.len() != dimension || !names.contains_key(&item) {
                    return Err(Error::Corruption(format!(
                        "collection {}, field {}: the vector of internal id {item}, part {part} has {} numbers and {}",
                        schema.name,
                        field.name,
                        vector.values.len(),
                        if names.contains_key(&item) { "an item" } else { "no item" },
                    )));
                }
                index.insert(&[(VectorKey { item, part }, &vector.values)]);
            }
            indexes.insert((field.id, generation.number), index);
        }
    }
    Ok(State {
        schema: Arc::new(schema),
        names,
        indexes,
        counters,
        payload_changes: PayloadChanges::default(),
        is_dropped: false,
    })
}
