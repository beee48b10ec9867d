//! What two generations of a field answer to the same queries.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::Serialize;

use super::Field;
use super::queries::{Query, QueryContent};
use crate::collection::backend::{QueryKind, SearchParams, VectorQuery};
use crate::collection::schema::Generation;
use crate::encode::patiently;
use crate::search::{encode_query_text, item_vector};
use crate::types::ItemId;
use crate::{Error, Result};

/// Queries whose rankings changed most that a result names.
const NAMED: usize = 10;

/// How rankings change from one generation to another.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Drift {
    pub from: u32,
    pub to: u32,
    /// Hits that are compared.
    pub k: usize,
    /// By kind of query: `item`, `text`.
    pub kinds: BTreeMap<&'static str, KindDrift>,
    /// The queries with the least overlap, least first.
    pub changed: Vec<Change>,
    /// Queries that one of the two generations has no vector of, or nothing to find for.
    pub left_out: usize,
}

/// Queries of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct KindDrift {
    pub queries: usize,
    /// The mean share of the first k hits that both have.
    pub overlap: f64,
    /// The share of queries with the same first hit.
    pub same_first: f64,
    /// Queries whose right answers are known, and the share of them with one among the first k.
    pub with_targets: usize,
    pub recall_before: f64,
    pub recall_after: f64,
}

/// One query's change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    pub query: String,
    pub overlap: f64,
    pub first_before: String,
    pub first_after: String,
}

impl fmt::Display for Drift {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kinds.is_empty() {
            return write!(formatter, "nothing to compare");
        }
        let k = self.k;
        for (number, (kind, of)) in self.kinds.iter().enumerate() {
            let between = if number > 0 { "; " } else { "" };
            let KindDrift { queries, overlap, same_first, .. } = of;
            write!(
                formatter,
                "{between}{queries} {kind} queries: {overlap:.3} of the first {k} hits are the same, {same_first:.3} of the first"
            )?;
            if of.with_targets > 0 {
                write!(formatter, ", R@{k} {:.3} → {:.3}", of.recall_before, of.recall_after)?;
            }
        }
        Ok(())
    }
}

/// Asks both generations, each through its own query encoder, complete or not; `None` if it should stop.
///
/// # Errors
/// `NotFound` for a generation or an item; those of store and encoders.
pub async fn compare(field: &Field<'_>, from: u32, to: u32, queries: &[Query], k: usize) -> Result<Option<Drift>> {
    let schema = field.backend.schema();
    let stored = schema.field(&field.name)?;
    let sides = [stored.generation(from)?.clone(), stored.generation(to)?.clone()];
    let mut drift = Drift { from, to, k, ..Drift::default() };
    for query in queries {
        if (field.should_stop)() {
            return Ok(None);
        }
        let before = hits(field, &sides[0], query, k).await?;
        let after = hits(field, &sides[1], query, k).await?;
        match before.len().min(after.len()) {
            0 => drift.left_out += 1,
            depth => drift.add(query, &before, &after, depth),
        }
    }
    for of in drift.kinds.values_mut() {
        let (queries, with_targets) = (of.queries.max(1) as f64, of.with_targets.max(1) as f64);
        of.overlap /= queries;
        of.same_first /= queries;
        of.recall_before /= with_targets;
        of.recall_after /= with_targets;
    }
    drift.changed.sort_by(|a, b| a.overlap.total_cmp(&b.overlap).then_with(|| a.query.cmp(&b.query)));
    drift.changed.truncate(NAMED);
    Ok(Some(drift))
}

impl Drift {
    fn add(&mut self, query: &Query, before: &[ItemId], after: &[ItemId], depth: usize) {
        let known: HashSet<&ItemId> = before.iter().collect();
        let overlap = after.iter().filter(|id| known.contains(id)).count() as f64 / depth as f64;
        let share = |is_so: bool| f64::from(u8::from(is_so));
        let of = self.kinds.entry(query.kind()).or_default();
        of.queries += 1;
        of.overlap += overlap;
        of.same_first += share(before[0] == after[0]);
        if !query.targets.is_empty() {
            let finds = |ids: &[ItemId]| ids.iter().any(|id| query.targets.iter().any(|target| target == id.as_str()));
            of.with_targets += 1;
            of.recall_before += share(finds(before));
            of.recall_after += share(finds(after));
        }
        self.changed.push(Change {
            query: query.shown().to_owned(),
            overlap,
            first_before: before[0].to_string(),
            first_after: after[0].to_string(),
        });
    }
}

/// The first k hits; none if the query has no vector in the generation.
async fn hits(field: &Field<'_>, generation: &Generation, query: &Query, k: usize) -> Result<Vec<ItemId>> {
    let schema = field.backend.schema();
    let stored = schema.field(&field.name)?;
    let (vector, exclude) = match &query.content {
        QueryContent::Text(text) => {
            let encode = || encode_query_text(field.encoders, stored, generation, text, None);
            (patiently(encode).await?, Vec::new())
        }
        QueryContent::Item(id) => {
            let id = ItemId::new(id)?;
            match item_vector(&field.backend, stored, generation, &id).await {
                Ok(vector) => (vector.values, vec![id]),
                // It may have been deleted since it was chosen.
                Err(
                    Error::NotFound { kind: "item", .. }
                    | Error::FailedPrecondition { reason: "ITEM_WITHOUT_VECTOR", .. },
                ) => return Ok(Vec::new()),
                Err(error) => return Err(error),
            }
        }
    };
    let query = VectorQuery { kind: QueryKind::default(), vector, limit: k, min_score: None, exclude, only: None };
    let params = SearchParams { exact: true, include_building: true, ..SearchParams::default() };
    let reply = field.backend.search_batch(&field.name, generation.number, vec![query], None, params).await?;
    let hits = reply.hits.into_iter().next().ok_or_else(|| Error::Internal("a search without an answer".to_owned()))?;
    Ok(hits.into_iter().map(|hit| hit.item.id).collect())
}
