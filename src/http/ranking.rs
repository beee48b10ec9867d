//! How hits are ranked, grouped and counted, as a search's JSON says it: the names and meanings of `pictor.v1.SearchRequest`.

use std::time::Duration;

use serde::Deserialize;

use super::query::SearchJson;
use crate::search::rank::{Boost, BoostShape, Fusion};
use crate::search::{FusedField, GroupBy, Prefetch, RECIPROCAL_RANK_K, Ranking, Recommend, RecommendStrategy};
use crate::types::filter::{Path, parse_path};
use crate::types::{Error, Result};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BoostJson {
    path: String,
    weight: f32,
    number: Option<NumberJson>,
    recency: Option<RecencyJson>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NumberJson {
    from: f64,
    to: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecencyJson {
    half_life_seconds: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupByJson {
    path: String,
    size: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FusedFieldJson {
    pub(super) field: String,
    weight: Option<f32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum FusionJson {
    ReciprocalRank { k: Option<f32> },
    WeightedScores {},
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PrefetchJson {
    field: String,
    limit: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecommendJson {
    #[serde(default)]
    positive: Vec<String>,
    #[serde(default)]
    negative: Vec<String>,
    strategy: Option<StrategyJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum StrategyJson {
    Average,
    BestScore,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ExplainJson {
    Plan,
}

/// Takes the ranking out of a search.
///
/// # Errors
/// [`Error::InvalidArgument`] naming the place, [`Error::LimitExceeded`].
pub(super) fn read(json: &mut SearchJson) -> Result<Ranking> {
    let boosts = std::mem::take(&mut json.boosts).into_iter().enumerate();
    let fields = std::mem::take(&mut json.fields).into_iter();
    let fusion = |fusion: FusionJson| match fusion {
        FusionJson::ReciprocalRank { k } => Fusion::ReciprocalRank { k: k.unwrap_or(RECIPROCAL_RANK_K) },
        FusionJson::WeightedScores {} => Fusion::Weighted,
    };
    Ok(Ranking {
        candidates: json.candidates.unwrap_or(0) as usize,
        boosts: boosts
            .map(|(position, boost)| read_boost(boost).map_err(|error| error.within(&format!("boosts[{position}]"))))
            .collect::<Result<_>>()?,
        distinct: json.distinct,
        distinct_pictures: json.distinct_pictures,
        diversity: json.diversity,
        group_by: json.group_by.as_ref().map(read_group_by).transpose()?,
        fields: fields.map(|field| FusedField { name: field.field, weight: field.weight.unwrap_or(1.0) }).collect(),
        fusion: json.fusion.take().map(fusion),
        prefetch: json
            .prefetch
            .take()
            .map(|prefetch| Prefetch { field: prefetch.field, limit: prefetch.limit as usize }),
        recommend: json.recommend.take().map(read_recommend),
        facets: read_paths(&json.facets, "facets")?,
    })
}

fn read_boost(boost: BoostJson) -> Result<Boost> {
    let shape = match (boost.number, boost.recency) {
        (Some(NumberJson { from, to }), None) => BoostShape::Number { from, to },
        (None, Some(RecencyJson { half_life_seconds })) => {
            let half_life = Duration::try_from_secs_f64(half_life_seconds).ok().filter(|time| !time.is_zero());
            let half_life = half_life.ok_or_else(|| {
                let message = format!("expected seconds above 0, got {half_life_seconds}");
                Error::invalid("recency.half_life_seconds", message)
            })?;
            BoostShape::Recency { half_life }
        }
        _ => return Err(Error::invalid("", "a boost is by one of number and recency")),
    };
    Ok(Boost { path: read_path(&boost.path, "path")?, weight: boost.weight, shape })
}

fn read_group_by(group_by: &GroupByJson) -> Result<GroupBy> {
    let path = read_path(&group_by.path, "group_by.path")?;
    Ok(GroupBy { path, size: group_by.size.unwrap_or(1) as usize })
}

fn read_recommend(recommend: RecommendJson) -> Recommend {
    let strategy = match recommend.strategy {
        None | Some(StrategyJson::Average) => RecommendStrategy::Average,
        Some(StrategyJson::BestScore) => RecommendStrategy::BestScore,
    };
    Recommend { positive: recommend.positive, negative: recommend.negative, strategy }
}

/// Reads payload paths that a request lists under a name.
///
/// # Errors
/// [`Error::InvalidArgument`] naming the path's place, [`Error::LimitExceeded`].
pub(super) fn read_paths(texts: &[String], name: &str) -> Result<Vec<Path>> {
    let placed = |(position, text): (usize, &String)| read_path(text, &format!("{name}[{position}]"));
    texts.iter().enumerate().map(placed).collect()
}

/// Reads a payload path; what is wrong with it is wrong with `field`.
fn read_path(text: &str, field: &str) -> Result<Path> {
    parse_path(text).map_err(|error| match error {
        Error::InvalidArgument { message, .. } => Error::invalid(field, message),
        other => other,
    })
}
