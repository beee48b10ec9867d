//! Compares what two generations of a field answer to the same questions.

use std::collections::HashSet;
use std::fmt;

use serde::Serialize;

use crate::collection::CollectionBackend;
use crate::collection::backend::{SearchParams, Selection, StoredItem, VectorQuery};
use crate::types::ItemId;
use crate::{Error, Result};

/// Items that are asked about.
const QUERIES: usize = 64;
/// Hits that are compared.
const DEPTH: usize = 10;
/// Ids read at once.
const PAGE: usize = 4096;

/// How far two generations agree, over stored items as queries; the query's own item is left out of the hits.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Agreement {
    pub queries: usize,
    /// The mean share of the first ten hits that both have.
    pub overlap_at_10: f64,
    /// The share of queries with the same first hit.
    pub same_first: f64,
}

impl fmt::Display for Agreement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { queries, overlap_at_10, same_first } = self;
        write!(
            formatter,
            "{queries} stored items as queries: {overlap_at_10:.3} of the first ten hits are the same, "
        )?;
        write!(formatter, "{same_first:.3} of the first")
    }
}

/// Asks both generations for the neighbours of a fixed sample of items.
///
/// # Errors
/// Those of the store.
pub(super) async fn compare(backend: &dyn CollectionBackend, field: &str, old: u32, new: u32) -> Result<Agreement> {
    let select = Selection { vectors: true, ..Selection::default() };
    let items = backend.get(sample(backend).await?, select).await?;
    let mut agreement = Agreement::default();
    for item in items.into_iter().flatten() {
        let (Some(old_vector), Some(new_vector)) = (vector(&item, field, old), vector(&item, field, new)) else {
            continue;
        };
        let before = neighbours(backend, field, old, &item.id, old_vector).await?;
        let after = neighbours(backend, field, new, &item.id, new_vector).await?;
        let depth = before.len().min(after.len());
        if depth == 0 {
            continue;
        }
        let known: HashSet<&ItemId> = before.iter().collect();
        agreement.queries += 1;
        agreement.overlap_at_10 += after.iter().filter(|id| known.contains(id)).count() as f64 / depth as f64;
        agreement.same_first += f64::from(u8::from(before[0] == after[0]));
    }
    let count = agreement.queries.max(1) as f64;
    agreement.overlap_at_10 /= count;
    agreement.same_first /= count;
    Ok(agreement)
}

/// The items whose ids have the smallest hashes: the same ones as long as they are stored.
async fn sample(backend: &dyn CollectionBackend) -> Result<Vec<ItemId>> {
    let mut chosen: Vec<([u8; 32], ItemId)> = Vec::new();
    let mut after = None;
    loop {
        let page = backend.scroll(after, None, PAGE, Selection::default()).await?;
        chosen.extend(
            page.items
                .into_iter()
                .filter(|item| !item.parts.is_empty())
                .map(|item| (*blake3::hash(item.id.as_str().as_bytes()).as_bytes(), item.id)),
        );
        chosen.sort();
        chosen.truncate(QUERIES);
        if page.next.is_none() {
            return Ok(chosen.into_iter().map(|(_, id)| id).collect());
        }
        after = page.next;
    }
}

fn vector(item: &StoredItem, field: &str, generation: u32) -> Option<Vec<f32>> {
    let found = item.vectors.iter().find(|vector| vector.field == field && vector.generation == generation);
    found.map(|vector| vector.vector.values.clone())
}

async fn neighbours(
    backend: &dyn CollectionBackend,
    field: &str,
    generation: u32,
    id: &ItemId,
    vector: Vec<f32>,
) -> Result<Vec<ItemId>> {
    let query = VectorQuery { vector, limit: DEPTH, min_score: None, exclude: vec![id.clone()] };
    let params = SearchParams { include_building: true, ..SearchParams::default() };
    let reply = backend.search_batch(field, generation, vec![query], None, params).await?;
    let hits = reply.hits.into_iter().next().ok_or_else(|| Error::Internal("a search without an answer".to_owned()))?;
    Ok(hits.into_iter().map(|hit| hit.item.id).collect())
}
