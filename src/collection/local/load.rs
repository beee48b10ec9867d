//! Builds a collection's memory from the store.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::payload::PayloadIndexes;
use super::payload_changes::PayloadChanges;
use super::seal::open_index;
use super::state::State;
use crate::collection::schema::CollectionSchema;
use crate::store::Snapshot;
use crate::{Error, Result};

/// Reads ids and vectors of every live generation.
///
/// # Errors
/// [`Error::Corruption`], [`Error::Storage`].
pub(super) fn load(
    (folder, snapshot): (&Path, &Snapshot<'_>),
    schema: CollectionSchema,
    chunk: usize,
    pool: Option<&Arc<rayon::ThreadPool>>,
) -> Result<State> {
    let counters = snapshot.counters(schema.id)?;
    let ids = snapshot.scan_ids(schema.id, None);
    let names: HashMap<_, _> = ids.map(|entry| entry.map(|(id, internal)| (internal, id))).collect::<Result<_>>()?;
    let mut indexes = BTreeMap::new();
    for field in &schema.fields {
        for generation in &field.generations {
            let dimension = generation.dimension as usize;
            let check = |item: u64, part: u32, vector: &[f32]| {
                if vector.len() == dimension && names.contains_key(&item) {
                    return Ok(());
                }
                Err(Error::Corruption(format!(
                    "collection {}, field {}: the vector of internal id {item}, part {part} has {} numbers and {}",
                    schema.name,
                    field.name,
                    vector.len(),
                    if names.contains_key(&item) { "an item" } else { "no item" },
                )))
            };
            let key = (field.id, generation.number);
            let index = open_index(snapshot, folder, (&schema, key, dimension), chunk, pool, &check)?;
            indexes.insert(key, index);
        }
    }
    let payloads = PayloadIndexes::load(snapshot, &schema, names.keys().copied())?;
    Ok(State {
        schema: Arc::new(schema),
        names,
        indexes,
        counters,
        payload_changes: PayloadChanges::default(),
        payloads,
        is_dropped: false,
    })
}
