//! How hits are ranked, grouped and counted.

use pictor_proto::v1;

use super::filter::path_from_proto;
use super::values::value_to_proto;
use crate::collection::backend::{Facet, FilterPlan};
use crate::search::rank::{Boost, BoostShape, Fusion};
use crate::search::{
    Explanation, FacetCount, FusedField, GroupBy, Prefetch, RECIPROCAL_RANK_K, Ranking, Recommend, RecommendStrategy,
};
use crate::types::{Error, Result};

/// Takes the ranking out of a request.
pub(super) fn ranking_from_proto(request: &mut v1::SearchRequest) -> Result<Ranking> {
    let boosts = request.boosts.iter().enumerate();
    let fields = std::mem::take(&mut request.fields).into_iter();
    Ok(Ranking {
        candidates: request.candidates as usize,
        boosts: boosts
            .map(|(position, boost)| {
                boost_from_proto(boost).map_err(|error| error.within(&format!("boosts[{position}]")))
            })
            .collect::<Result<_>>()?,
        distinct: request.distinct,
        distinct_pictures: request.distinct_pictures,
        diversity: request.diversity,
        group_by: request.group_by.as_ref().map(group_by_from_proto).transpose()?,
        fields: fields.map(|field| FusedField { name: field.field, weight: field.weight.unwrap_or(1.0) }).collect(),
        fusion: request.fusion.take().map(fusion_from_proto).transpose()?,
        prefetch: request
            .prefetch
            .take()
            .map(|prefetch| Prefetch { field: prefetch.field, limit: prefetch.limit as usize }),
        recommend: request.recommend.take().map(recommend_from_proto),
        facets: request.facets.iter().map(|path| path_from_proto(path)).collect::<Result<_>>()?,
    })
}

fn boost_from_proto(boost: &v1::Boost) -> Result<Boost> {
    use v1::boost::Shape;
    let shape = match &boost.shape {
        Some(Shape::Number(ramp)) => BoostShape::Number { from: ramp.from, to: ramp.to },
        Some(Shape::Recency(recency)) => {
            let half_life = recency.half_life.unwrap_or_default();
            let half_life = std::time::Duration::try_from(half_life)
                .map_err(|_| Error::invalid("half_life", "expected a duration above 0"))?;
            BoostShape::Recency { half_life }
        }
        None => return Err(Error::invalid("shape", "a boost is by a number or by recency")),
    };
    Ok(Boost { path: path_from_proto(&boost.path)?, weight: boost.weight, shape })
}

fn group_by_from_proto(group_by: &v1::GroupBy) -> Result<GroupBy> {
    Ok(GroupBy { path: path_from_proto(&group_by.path)?, size: group_by.size.max(1) as usize })
}

fn fusion_from_proto(fusion: v1::Fusion) -> Result<Fusion> {
    use v1::fusion::Method;
    match fusion.method {
        Some(Method::ReciprocalRank(v1::ReciprocalRank { k })) => {
            Ok(Fusion::ReciprocalRank { k: k.unwrap_or(RECIPROCAL_RANK_K) })
        }
        Some(Method::WeightedScores(_)) => Ok(Fusion::Weighted),
        None => Err(Error::invalid("fusion", "fields are fused by reciprocal_rank or by weighted_scores")),
    }
}

fn recommend_from_proto(recommend: v1::Recommend) -> Recommend {
    let strategy = match recommend.strategy() {
        v1::RecommendStrategy::Unspecified | v1::RecommendStrategy::Average => RecommendStrategy::Average,
        v1::RecommendStrategy::BestScore => RecommendStrategy::BestScore,
    };
    Recommend { positive: recommend.positive, negative: recommend.negative, strategy }
}

pub(super) fn explanation_to_proto(explanation: Explanation, fields: &[String]) -> v1::HitExplanation {
    let rank = |(field, rank): (&String, Option<(usize, f32)>)| {
        let (rank, score) = rank.map_or((0, 0.0), |(rank, score)| (rank as u32, score));
        v1::FieldRank { field: field.clone(), rank, score }
    };
    v1::HitExplanation {
        similarity: explanation.similarity,
        boosts: explanation.boosts,
        fields: fields.iter().zip(explanation.fields).map(rank).collect(),
    }
}

pub(super) fn plan_to_proto(plan: FilterPlan) -> v1::FilterPlan {
    let missing = plan.missing.into_iter().map(|(path, kind)| v1::MissingIndex {
        path: path.to_string(),
        kind: kind.map_or_else(String::new, |kind| kind.name().to_owned()),
    });
    v1::FilterPlan {
        strategy: plan.strategy.name().to_owned(),
        matches: plan.matches,
        payloads_read: plan.payloads_read,
        missing: missing.collect(),
    }
}

/// Counts among candidates, by the paths that were asked for.
pub(super) fn facets_to_proto(facets: Vec<Vec<FacetCount>>, paths: &[String]) -> Vec<v1::Facet> {
    let facet = |(path, counts): (&String, Vec<FacetCount>)| v1::Facet {
        path: path.clone(),
        distinct: counts.len() as u64,
        values: counts
            .into_iter()
            .map(|facet| v1::FacetValue { value: Some(value_to_proto(facet.value)), count: facet.count })
            .collect(),
    };
    paths.iter().zip(facets).map(facet).collect()
}

/// Counts among all items.
pub(in crate::rpc) fn facet_to_proto(facet: Facet) -> v1::Facet {
    let value = |(value, count)| v1::FacetValue { value: Some(value_to_proto(value)), count };
    v1::Facet {
        path: facet.path.to_string(),
        values: facet.values.into_iter().map(value).collect(),
        distinct: facet.distinct,
    }
}
