//! Answers queries whose hits are ranked: candidates first, then what the query's ranking says.

use std::collections::HashMap;
use std::time::Instant;

use futures::future::try_join_all;

use super::query::{Query, QueryContent, QueryPart};
use super::rank::{
    Fused, Fusion, GroupKey, Ranked, best_score, distinct, distinct_pictures, fuse, group, keys_of, mmr,
};
use super::ranking::{Recommend, RecommendStrategy};
use super::run::{SearchAnswer, Searcher};
use crate::collection::backend::{BackendHit, PartVector};
use crate::distance::dot;
use crate::types::{Error, ItemId, PartKind, Result, Timestamp, Value};

/// The constant of reciprocal rank fusion where a query names none (Cormack and others, SIGIR 2009).
pub const RECIPROCAL_RANK_K: f32 = 60.0;

/// What a hit's score is made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Explanation {
    /// Before boosts: the cosine, or what fusion or examples gave.
    pub similarity: f32,
    /// What each boost added.
    pub boosts: Vec<f32>,
    /// The rank, from 1, and the score in each fused field; `None` where it was not among the candidates.
    pub fields: Vec<Option<(usize, f32)>>,
}

/// Hits that share a value.
#[derive(Clone, Debug, PartialEq)]
pub struct HitGroup {
    pub value: Value,
    /// Places in [`SearchAnswer::hits`], the best first.
    pub hits: Vec<usize>,
}

/// How often a value stands among the candidates.
#[derive(Clone, Debug, PartialEq)]
pub struct FacetCount {
    pub value: Value,
    pub count: u64,
}

/// A hit on its way.
struct Candidate {
    hit: BackendHit,
    explanation: Explanation,
}

impl Searcher<'_> {
    /// Finds candidates and ranks them.
    ///
    /// # Errors
    /// As [`super::search`].
    pub(super) async fn ranked(&self, query: &Query) -> Result<SearchAnswer> {
        let started = Instant::now();
        let ranking = &query.ranking;
        let wanted = query.limit + query.offset;
        let mut first = Query { limit: ranking.n_candidates(wanted), offset: 0, ..query.clone() };
        first.ranking = Default::default();
        first.select.vectors |= ranking.needs_vectors();
        first.select.payload |= ranking.needs_payloads();
        first.select.media |= ranking.distinct_pictures.is_some();
        // A threshold is of the score that the caller sees.
        let is_plain = ranking.boosts.is_empty() && ranking.fields.is_empty() && !ranking.is_best_score();
        first.min_score = query.min_score.filter(|_| is_plain);
        let (answer, candidates) = match &ranking.recommend {
            Some(recommend) if recommend.strategy == RecommendStrategy::BestScore => {
                self.best_score(&first, recommend).await?
            }
            recommend => {
                first.parts.extend(recommend.iter().flat_map(average_parts));
                self.candidates(&first, query).await?
            }
        };
        let query = query.clone();
        // Comparing many vectors with each other takes its time.
        let arranged = tokio::task::spawn_blocking(move || arrange(&query, answer, candidates)).await;
        let mut answer = arranged.map_err(|error| Error::Internal(error.to_string()))?;
        answer.timings.total = started.elapsed();
        Ok(answer)
    }

    /// The nearest items, of one field, of several fused, or of those that another field finds.
    async fn candidates(&self, first: &Query, query: &Query) -> Result<(SearchAnswer, Vec<Candidate>)> {
        let ranking = &query.ranking;
        if !ranking.fields.is_empty() {
            return self.fused(first, query).await;
        }
        let mut only = None;
        let mut earlier = None;
        if let Some(prefetch) = &ranking.prefetch {
            let query =
                Query { field: prefetch.field.clone(), limit: prefetch.limit, min_score: None, ..first.clone() };
            let found = self.nearest(&query).await?;
            only = Some(found.hits.iter().map(|hit| hit.item.id.clone()).collect());
            earlier = Some(found);
        }
        let mut answer = self.nearest(&Query { only, ..first.clone() }).await?;
        if let Some(earlier) = earlier {
            add_earlier(&mut answer, &earlier);
        }
        let candidates = std::mem::take(&mut answer.hits).into_iter().map(plain).collect();
        Ok((answer, candidates))
    }

    /// Searches several fields and fuses what they find.
    async fn fused(&self, first: &Query, query: &Query) -> Result<(SearchAnswer, Vec<Candidate>)> {
        let queries: Vec<Query> =
            query.ranking.fields.iter().map(|field| Query { field: field.name.clone(), ..first.clone() }).collect();
        // At once: each waits for its encoder and its index.
        let mut answers = try_join_all(queries.iter().map(|query| self.nearest(query))).await?;
        let scores: Vec<Vec<(ItemId, f32)>> = answers
            .iter()
            .map(|answer| answer.hits.iter().map(|hit| (hit.item.id.clone(), hit.score)).collect())
            .collect();
        let lists: Vec<Ranked<'_>> = query
            .ranking
            .fields
            .iter()
            .zip(&scores)
            .map(|(field, hits)| Ranked { weight: field.weight, hits })
            .collect();
        let fusion = query.ranking.fusion.unwrap_or(Fusion::ReciprocalRank { k: RECIPROCAL_RANK_K });
        let fused = fuse(&lists, fusion);
        let mut hits: HashMap<ItemId, BackendHit> = HashMap::new();
        for hit in answers.iter_mut().flat_map(|answer| std::mem::take(&mut answer.hits)) {
            // The part that is named is that of the first field that found the item.
            hits.entry(hit.item.id.clone()).or_insert(hit);
        }
        let candidate = |Fused { id, score, ranks }: Fused| {
            let hit = hits.remove(&id)?;
            let explanation = Explanation { similarity: score, boosts: Vec::new(), fields: ranks };
            Some(Candidate { hit: BackendHit { score, ..hit }, explanation })
        };
        let mut candidates: Vec<Candidate> = fused.into_iter().filter_map(candidate).collect();
        candidates.truncate(first.limit);
        let mut answers = answers.into_iter();
        let mut answer = answers.next().ok_or_else(|| Error::invalid("fields", "name at least one"))?;
        answers.for_each(|other| add_earlier(&mut answer, &other));
        Ok((answer, candidates))
    }

    /// Candidates near to any positive example (or far from the negative ones), by their best score.
    async fn best_score(&self, first: &Query, recommend: &Recommend) -> Result<(SearchAnswer, Vec<Candidate>)> {
        let sources = if recommend.positive.is_empty() { &recommend.negative } else { &recommend.positive };
        let sign = if recommend.positive.is_empty() { -1.0 } else { 1.0 };
        let examples: Vec<ItemId> = recommend
            .positive
            .iter()
            .chain(&recommend.negative)
            .map(|id| ItemId::new(id.as_str()))
            .collect::<Result<_>>()?;
        let mut answer: Option<SearchAnswer> = None;
        let mut found: HashMap<ItemId, BackendHit> = HashMap::new();
        for id in sources {
            let part = QueryPart { content: QueryContent::Item(id.clone()), weight: sign };
            let mut near = self.nearest(&Query { parts: vec![part], ..first.clone() }).await?;
            for hit in std::mem::take(&mut near.hits) {
                found.entry(hit.item.id.clone()).or_insert(hit);
            }
            match &mut answer {
                Some(answer) => add_earlier(answer, &near),
                None => answer = Some(near),
            }
        }
        let answer = answer.ok_or_else(|| Error::invalid("recommend", "name at least one item"))?;
        let vectors = self.vectors_of(&answer, &examples).await?;
        let (positive, negative) = vectors.split_at(recommend.positive.len());
        let mut candidates = Vec::with_capacity(found.len());
        for (id, mut hit) in found {
            if first.exclude_reference && examples.contains(&id) {
                continue;
            }
            let Some(own) = vector_of(&hit, &answer) else { continue };
            let to = |examples: &[Vec<f32>]| examples.iter().map(|example| dot(own, example)).collect::<Vec<_>>();
            hit.score = best_score(&to(positive), &to(negative));
            candidates.push(plain(hit));
        }
        sort(&mut candidates);
        Ok((answer, candidates))
    }
}

/// Ranks, groups and counts candidates.
fn arrange(query: &Query, mut answer: SearchAnswer, mut candidates: Vec<Candidate>) -> SearchAnswer {
    let (ranking, wanted) = (&query.ranking, query.limit + query.offset);
    boost(query, &mut candidates);
    if let Some(least) = query.min_score {
        candidates.retain(|candidate| candidate.hit.score >= least);
    }
    answer.facets = facets(query, &candidates);
    if let Some(least) = ranking.distinct {
        let places = compared(&candidates, &answer, |vectors| distinct(vectors, least));
        candidates = pick(places, candidates);
    }
    if let Some(bits) = ranking.distinct_pictures {
        let hashes: Vec<Option<u64>> = candidates.iter().map(|candidate| perceptual_hash(&candidate.hit)).collect();
        candidates = pick(distinct_pictures(&hashes, bits), candidates);
    }
    if let Some(lambda) = ranking.diversity {
        // Fused scores are of another size than the cosines that they are weighed against.
        let best = candidates.first().map_or(1.0, |best| best.hit.score.abs()).max(f32::MIN_POSITIVE);
        let scale = if ranking.fields.is_empty() { 1.0 } else { best.recip() };
        let relevance: Vec<f32> = candidates.iter().map(|candidate| scale * candidate.hit.score).collect();
        let n_picked = if ranking.group_by.is_some() { candidates.len() } else { wanted };
        let places = compared(&candidates, &answer, |vectors| mmr(&relevance, vectors, lambda, n_picked));
        candidates = pick(places, candidates);
    }
    let kept = match &ranking.group_by {
        Some(group_by) => {
            let keys: Vec<Vec<GroupKey>> =
                candidates.iter().map(|candidate| keys_of(&candidate.hit.item.payload, &group_by.path)).collect();
            let groups = group(&keys, wanted, group_by.size).into_iter().skip(query.offset);
            let (kept, groups) = flattened(groups.map(|group| (Value::from(group.key), group.members)));
            answer.groups = groups;
            kept
        }
        None => (0..candidates.len()).skip(query.offset).take(query.limit).collect(),
    };
    let kept = pick(kept, candidates);
    (answer.hits, answer.explanations) = kept.into_iter().map(|kept| (kept.hit, kept.explanation)).unzip();
    for hit in &mut answer.hits {
        // What was read to rank is not what was asked for.
        if !query.select.payload {
            hit.item.payload.clear();
        }
        if !query.select.vectors {
            hit.item.vectors.clear();
        }
        if !(query.select.media || query.select.media_data) {
            hit.item.media.clear();
        }
    }
    answer
}

/// Adds the query's boosts to scores.
fn boost(query: &Query, candidates: &mut [Candidate]) {
    if query.ranking.boosts.is_empty() {
        return;
    }
    let now = Timestamp::now();
    for candidate in &mut *candidates {
        let payload = &candidate.hit.item.payload;
        candidate.explanation.boosts = query.ranking.boosts.iter().map(|boost| boost.value(payload, now)).collect();
        candidate.hit.score += candidate.explanation.boosts.iter().sum::<f32>();
    }
    sort(candidates);
}

fn plain(hit: BackendHit) -> Candidate {
    Candidate { explanation: Explanation { similarity: hit.score, ..Explanation::default() }, hit }
}

/// By falling score, ties by item id.
fn sort(candidates: &mut [Candidate]) {
    candidates.sort_by(|a, b| b.hit.score.total_cmp(&a.hit.score).then_with(|| a.hit.item.id.cmp(&b.hit.item.id)));
}

/// The parts of a query that stand for examples: their sum is twice the mean of the positive ones less the mean of the negative ones.
fn average_parts(recommend: &Recommend) -> Vec<QueryPart> {
    let (n_positive, n_negative) = (recommend.positive.len() as f32, recommend.negative.len() as f32);
    let positive = if recommend.negative.is_empty() { 1.0 } else { 2.0 };
    let part = |id: &String, weight: f32| QueryPart { content: QueryContent::Item(id.clone()), weight };
    let positives = recommend.positive.iter().map(|id| part(id, positive / n_positive));
    positives.chain(recommend.negative.iter().map(|id| part(id, -1.0 / n_negative))).collect()
}

/// Works with the candidates' vectors in the field that was searched; one of zeroes, which is like nothing, stands for what only another
/// field has found.
fn compared<T>(candidates: &[Candidate], answer: &SearchAnswer, work: impl FnOnce(&[&[f32]]) -> T) -> T {
    let nothing = vec![0.0; answer.generation.dimension as usize];
    let vectors: Vec<&[f32]> =
        candidates.iter().map(|candidate| vector_of(&candidate.hit, answer).unwrap_or(&nothing)).collect();
    work(&vectors)
}

/// The vector of a hit's best part in the field that was searched, or of any other of its parts there.
fn vector_of<'h>(hit: &'h BackendHit, answer: &SearchAnswer) -> Option<&'h [f32]> {
    let is_of_field =
        |vector: &&PartVector| vector.field == answer.field && vector.generation == answer.generation.number;
    let mut own = hit.item.vectors.iter().filter(is_of_field);
    let best = own.clone().find(|vector| vector.part == hit.part).or_else(|| own.next())?;
    Some(&best.vector.values)
}

/// That of the picture that was found, or of the item's first one where something else was.
fn perceptual_hash(hit: &BackendHit) -> Option<u64> {
    let at = if hit.part.kind == PartKind::Media { hit.part.index as usize } else { 0 };
    hit.item.media.get(at)?.info.perceptual_hash
}

/// What stands at these places.
fn pick(places: Vec<usize>, candidates: Vec<Candidate>) -> Vec<Candidate> {
    // An item may stand in several groups, so places may come twice.
    let mut left: HashMap<usize, usize> = HashMap::new();
    places.iter().for_each(|place| *left.entry(*place).or_default() += 1);
    let mut slots: Vec<Option<Candidate>> = candidates.into_iter().map(Some).collect();
    let take = |place: usize| {
        let uses = left.get_mut(&place)?;
        *uses -= 1;
        let slot = slots.get_mut(place)?;
        match *uses {
            0 => slot.take(),
            _ => slot
                .as_ref()
                .map(|candidate| Candidate { hit: candidate.hit.clone(), explanation: candidate.explanation.clone() }),
        }
    };
    places.into_iter().filter_map(take).collect()
}

/// The members of all groups one after the other, and the groups with their members' new places.
fn flattened(groups: impl Iterator<Item = (Value, Vec<usize>)>) -> (Vec<usize>, Vec<HitGroup>) {
    let mut all = Vec::new();
    let groups = groups.map(|(value, members)| {
        let from = all.len();
        all.extend(members);
        HitGroup { value, hits: (from..all.len()).collect() }
    });
    let groups = groups.collect();
    (all, groups)
}

/// Takes over what an earlier stage has to say.
fn add_earlier(answer: &mut SearchAnswer, earlier: &SearchAnswer) {
    answer.exact &= earlier.exact;
    answer.deferred = answer.deferred.max(earlier.deferred);
    for warning in &earlier.warnings {
        if !answer.warnings.contains(warning) {
            answer.warnings.push(warning.clone());
        }
    }
    if let (Some(plan), Some(earlier)) = (&mut answer.plan, &earlier.plan) {
        plan.payloads_read += earlier.payloads_read;
        let new = earlier.missing.iter().filter(|missing| !plan.missing.contains(missing)).cloned().collect::<Vec<_>>();
        plan.missing.extend(new);
    }
    answer.timings.encode += earlier.timings.encode;
    answer.timings.search += earlier.timings.search;
    answer.timings.fetch += earlier.timings.fetch;
    answer.timings.cached_parts += earlier.timings.cached_parts;
}

/// Counts values among the candidates, the most frequent first.
fn facets(query: &Query, candidates: &[Candidate]) -> Vec<Vec<FacetCount>> {
    let count = |path| {
        let mut counts: std::collections::BTreeMap<GroupKey, u64> = Default::default();
        for candidate in candidates {
            for key in keys_of(&candidate.hit.item.payload, path) {
                *counts.entry(key).or_default() += 1;
            }
        }
        let mut counts: Vec<FacetCount> =
            counts.into_iter().map(|(key, count)| FacetCount { value: key.into(), count }).collect();
        counts.sort_by_key(|facet| std::cmp::Reverse(facet.count));
        counts
    };
    query.ranking.facets.iter().map(count).collect()
}
