//! How the rankings of stored queries change from one generation to another.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::queries::{self, Query};
use super::{Field, FieldEvaluator, Measured, compare, sample};
use crate::collection::schema::{Field as StoredField, FieldSource, GenerationState};
use crate::encode::patiently;
use crate::types::limits::{EVALUATION_QUERIES, SEARCH_WINDOW};
use crate::{Error, Result};

/// Items that stand for queries where none are given.
const SAMPLE: usize = 64;
const DEPTH: usize = 10;

/// `from`, `to`: generations; without `from` the current one, without `to` the newest other complete one. `queries`: a list of
/// `{"text": …}` and `{"item": …}` with `targets` if they are known; without it `sample` stored items and their texts. `k`: depth.
pub struct DriftEvaluator;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    from: Option<u32>,
    to: Option<u32>,
    queries: Option<Value>,
    sample: Option<usize>,
    k: Option<usize>,
}

struct Checked {
    from: Option<u32>,
    to: Option<u32>,
    queries: Option<Vec<Query>>,
    sample: usize,
    k: usize,
}

impl Checked {
    fn read(parameters: &Map<String, Value>) -> Result<Self> {
        let read: Parameters = serde_json::from_value(Value::Object(parameters.clone()))
            .map_err(|error| Error::invalid("parameters", error.to_string()))?;
        let queries = read.queries.map(|value| queries::parse("parameters.queries", &value)).transpose()?;
        let (sample, k) = (read.sample.unwrap_or(SAMPLE), read.k.unwrap_or(DEPTH));
        EVALUATION_QUERIES.check("parameters.queries", queries.as_ref().map_or(sample, Vec::len))?;
        SEARCH_WINDOW.check("parameters.k", k)?;
        for (name, is_nothing) in [("k", k == 0), ("queries", queries.as_ref().map_or(sample, Vec::len) == 0)] {
            if is_nothing {
                return Err(Error::invalid(format!("parameters.{name}"), "expected at least 1, got 0"));
            }
        }
        Ok(Self { from: read.from, to: read.to, queries, sample, k })
    }

    fn generations(&self, field: &StoredField) -> Result<(u32, u32)> {
        let from = match self.from {
            Some(from) => field.generation(from)?.number,
            None => field.current()?.number,
        };
        let is_complete = |state: GenerationState| state != GenerationState::Building;
        let others = field.generations.iter().filter(|one| one.number != from && is_complete(one.state));
        let to = match self.to {
            Some(to) => field.generation(to)?.number,
            None => others.map(|one| one.number).max().ok_or_else(|| Error::FailedPrecondition {
                reason: "NOTHING_TO_COMPARE",
                message: format!("field {:?} has no complete generation beside {from}", field.name),
            })?,
        };
        Ok((from, to))
    }
}

#[async_trait]
impl FieldEvaluator for DriftEvaluator {
    fn name(&self) -> &'static str {
        "drift"
    }

    fn summary(&self) -> &'static str {
        "How the rankings of stored queries change from one generation to another"
    }

    fn check(&self, parameters: &Map<String, Value>) -> Result<()> {
        Checked::read(parameters).map(|_| ())
    }

    async fn measure(&self, field: &Field<'_>, parameters: &Map<String, Value>) -> Result<Option<Measured>> {
        let checked = Checked::read(parameters)?;
        let schema = field.backend.schema();
        let stored = schema.field(&field.name)?;
        let (from, to) = checked.generations(stored)?;
        let queries = match checked.queries {
            Some(queries) => queries,
            None => sample_of(field, stored, from, to, checked.sample).await?,
        };
        let Some(drift) = compare(field, from, to, &queries, checked.k).await? else { return Ok(None) };
        Ok(Some(Measured { summary: format!("{from} → {to}: {drift}"), result: json!(drift) }))
    }
}

/// Stored items as queries; with their texts where the field holds something else and both generations' encoders take texts.
///
/// # Errors
/// Those of store and encoders.
pub async fn sample_of(
    field: &Field<'_>,
    stored: &StoredField,
    from: u32,
    to: u32,
    n_items: usize,
) -> Result<Vec<Query>> {
    let mut with_texts = matches!(stored.source, FieldSource::Media { .. });
    for number in [from, to] {
        let encoder = &stored.generation(number)?.encoder;
        with_texts = with_texts && patiently(|| field.encoders.get(encoder)).await?.info().encodes_text;
    }
    sample(&*field.backend, n_items, with_texts).await
}
