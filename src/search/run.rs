//! Runs a query.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::query::{Query, QueryContent};
use super::ranked::{Explanation, FacetCount, HitGroup};
use super::ranking::Ranking;
use super::shared::EncodedPictures;
use crate::collection::backend::{
    BackendHit, CollectionBackend, FacetReply, FilterPlan, QueryKind, SearchParams, Selection, VectorQuery,
};
use crate::collection::schema::{Field, FieldSource, Generation};
use crate::compose::{BoundComposer, Composed, Composers, DEFAULT, Part};
use crate::encode::{EncoderHandle, EncoderRegistry};
use crate::types::filter::Path;
use crate::types::limits::TEXT_BYTES;
use crate::types::payload_index::PayloadKind;
use crate::types::vector::UnitVector;
use crate::types::{Error, ItemId, PartKind, Result};

/// Where a search's time went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchTimings {
    pub encode: Duration,
    pub search: Duration,
    pub fetch: Duration,
    pub total: Duration,
    /// Query vectors that came from the cache.
    pub cached_parts: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SearchAnswer {
    /// After the offset, by rank.
    pub hits: Vec<BackendHit>,
    pub field: String,
    /// The generation that was searched.
    pub generation: Generation,
    /// The query encoder's fingerprint, if anything was encoded.
    pub fingerprint: Option<String>,
    /// The composer with its settings, revisions resolved.
    pub composer: String,
    /// The weights of the query's parts.
    pub weights: Vec<f32>,
    /// What the composer weighed by itself: each text's share beside the picture.
    pub lambdas: Vec<f32>,
    pub exact: bool,
    /// Vectors of the field that were written in bulk and are not indexed yet; none of them was searched.
    pub deferred: u64,
    pub warnings: Vec<String>,
    /// How the filter was answered, if there was one.
    pub plan: Option<FilterPlan>,
    /// What the hits' scores are made of, one for each; empty unless the query ranks.
    pub explanations: Vec<Explanation>,
    /// If the query groups.
    pub groups: Vec<HitGroup>,
    /// One list for each path that the query counts.
    pub facets: Vec<Vec<FacetCount>>,
    pub timings: SearchTimings,
}

/// Finds the items nearest to the composed query.
///
/// # Errors
/// [`Error::InvalidArgument`] for a malformed query, [`Error::NotFound`] for an unknown field or item,
/// [`Error::FailedPrecondition`] if the field cannot answer this kind of part, and whatever encoder or store report.
pub async fn search(
    backend: &Arc<dyn CollectionBackend>,
    encoders: &EncoderRegistry,
    composers: &Composers,
    query: Query,
    (pictures, deadline): (&EncodedPictures, Option<Instant>),
) -> Result<SearchAnswer> {
    query.check()?;
    let searcher = Searcher { backend, encoders, composers, pictures, deadline };
    if query.ranking == Ranking::default() { searcher.nearest(&query).await } else { searcher.ranked(&query).await }
}

/// What answers a query.
pub(super) struct Searcher<'a> {
    backend: &'a Arc<dyn CollectionBackend>,
    encoders: &'a EncoderRegistry,
    composers: &'a Composers,
    pictures: &'a EncodedPictures,
    deadline: Option<Instant>,
}

impl Searcher<'_> {
    /// Finds the items nearest to the composed query in one field; nothing is ranked otherwise.
    pub(super) async fn nearest(&self, query: &Query) -> Result<SearchAnswer> {
        loop {
            let schema = self.backend.schema();
            let field = schema.field(&query.field)?;
            // Pinned here: every vector of this search belongs to this generation.
            let generation = field.current()?;
            let answer = self.search_generation(query, field, generation).await;
            let is_gone = || self.backend.schema().field_of(field.id, generation.number).is_none();
            // Somebody switched and dropped meanwhile; numbers are not used again, so every round has another generation.
            if answer.is_err() && is_gone() && self.backend.schema().field(&field.name).is_ok() {
                continue;
            }
            return answer;
        }
    }

    async fn search_generation(&self, query: &Query, field: &Field, generation: &Generation) -> Result<SearchAnswer> {
        let Self { backend, encoders, composers, pictures, deadline } = *self;
        let started = Instant::now();
        let mut timings = SearchTimings::default();
        let mut fingerprint = None;
        let mut parts = Vec::with_capacity(query.parts.len());
        let mut exclude = Vec::new();
        for (position, part) in query.parts.iter().enumerate() {
            let (vector, kind) = match &part.content {
                QueryContent::Text(text) => {
                    let handle = query_encoder(encoders, field, generation, Kind::Text).await?;
                    let (vector, is_cached) = encode_text(&handle, text, deadline).await?;
                    timings.cached_parts += u32::from(is_cached);
                    fingerprint = Some(handle.info().fingerprint.clone());
                    (vector, PartKind::Text)
                }
                QueryContent::Image(file) => {
                    let handle = query_encoder(encoders, field, generation, Kind::Image).await?;
                    let vector = pictures.get(&handle, file, deadline).await;
                    fingerprint = Some(handle.info().fingerprint.clone());
                    (vector.map_err(|error| error.within(&format!("parts[{position}]")))?, PartKind::Media)
                }
                QueryContent::Item(id) => {
                    let id = ItemId::new(id).map_err(|error| error.within(&format!("parts[{position}]")))?;
                    let vector = item_vector(backend, field, generation, &id).await?;
                    if query.exclude_reference {
                        exclude.push(id);
                    }
                    (vector, kind_of_items(field))
                }
                QueryContent::Vector(values) => {
                    let vector = UnitVector::of_dimension(values.clone(), generation.dimension as usize)
                        .map_err(|error| error.within(&format!("parts[{position}]")))?;
                    (vector, PartKind::Vector)
                }
            };
            parts.push(Part { vector, kind, weight: part.weight });
        }
        let kind = match &parts[..] {
            [only] if only.kind == PartKind::Text => QueryKind::Text,
            [_] => QueryKind::Image,
            _ => QueryKind::Composed,
        };
        let weights = parts.iter().map(|part| part.weight).collect();
        let (composer, Composed { vector, lambdas }) = compose_parts(composers, query, generation, parts).await?;
        timings.encode = started.elapsed();
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(Error::DeadlineExceeded { what: "encoding the query" });
        }

        let limit = query.limit + query.offset;
        let vector_query =
            VectorQuery { kind, vector, limit, min_score: query.min_score, exclude, only: query.only.clone() };
        let params = SearchParams { exact: query.exact, select: query.select, ..SearchParams::default() };
        let mut reply = backend
            .search_batch(&field.name, generation.number, vec![vector_query], query.filter.clone(), params)
            .await?;
        let hits = reply.hits.pop().unwrap_or_default().into_iter().skip(query.offset).collect();
        timings.search = reply.search_time;
        timings.fetch = reply.fetch_time;
        timings.total = started.elapsed();
        Ok(SearchAnswer {
            hits,
            field: field.name.clone(),
            generation: generation.clone(),
            fingerprint,
            composer,
            weights,
            lambdas,
            exact: reply.exact,
            deferred: reply.deferred,
            warnings: reply
                .mismatches
                .warnings()
                .into_iter()
                .chain(reply.plan.iter().flat_map(plan_warnings))
                .chain(deferred_warning(&field.name, reply.deferred))
                .collect(),
            plan: reply.plan,
            explanations: Vec::new(),
            groups: Vec::new(),
            facets: Vec::new(),
            timings,
        })
    }

    /// The vectors of items in the field and generation that an answer is of.
    pub(super) async fn vectors_of(&self, answer: &SearchAnswer, ids: &[ItemId]) -> Result<Vec<Vec<f32>>> {
        let schema = self.backend.schema();
        let field = schema.field(&answer.field)?;
        let mut vectors = Vec::with_capacity(ids.len());
        for id in ids {
            vectors.push(item_vector(self.backend, field, &answer.generation, id).await?.values);
        }
        Ok(vectors)
    }
}

/// Says that an answer lacks what was written in bulk.
fn deferred_warning(field: &str, deferred: u64) -> Option<String> {
    let warning = format!(
        "{deferred} vectors of field {field:?} were written in bulk and are not searched until they are indexed"
    );
    (deferred > 0).then_some(warning)
}

/// What a filter cost because an index on payloads was missing.
#[must_use]
pub fn plan_warnings(plan: &FilterPlan) -> Vec<String> {
    let warning = |(path, kind): &(Path, Option<PayloadKind>)| {
        let index = match kind {
            Some(kind) => format!("an index of kind {} on {path} would save that", kind.name()),
            None => format!("no index answers this for {path}"),
        };
        format!("filter: {} payloads were read to judge {path}; {index}", plan.payloads_read)
    };
    plan.missing.iter().map(warning).collect()
}

/// What a count of facets has to say.
#[must_use]
pub fn facet_warnings(reply: &FacetReply) -> Vec<String> {
    let of_path = |path: &Path| {
        format!("facets: payloads were read to count the values of {path}; a payload index on it would save that")
    };
    let of_filter = reply.mismatches.warnings().into_iter().chain(plan_warnings(&reply.plan));
    of_filter.chain(reply.unindexed.iter().map(of_path)).collect()
}

/// Joins the parts; gives the composer's name too. A single positive part needs no composing, whatever the composer.
async fn compose_parts(
    composers: &Composers,
    query: &Query,
    generation: &Generation,
    mut parts: Vec<Part>,
) -> Result<(String, Composed)> {
    let named = match [&query.composer, &generation.composer].into_iter().find(|name| !name.is_empty()) {
        Some(name) => name,
        None => DEFAULT,
    };
    if let [only] = &mut parts[..]
        && only.weight > 0.0
    {
        // What a request names is checked all the same; a generation's own may be gone without harm to this query.
        if !query.composer.is_empty() {
            bind_composer(composers, named, generation).await?;
        }
        let vector = std::mem::take(&mut only.vector.values);
        return Ok((named.to_owned(), Composed { vector, lambdas: Vec::new() }));
    }
    let composer = bind_composer(composers, named, generation).await?;
    let composer = match composer.composer.check(&parts) {
        Ok(()) => composer,
        // Nobody asked for the generation's own composer, so what it cannot join is joined as by default.
        Err(_) if query.composer.is_empty() => bind_composer(composers, DEFAULT, generation).await?,
        Err(error) => return Err(error),
    };
    // A network may run here.
    let composed = tokio::task::spawn_blocking(move || Ok((composer.name.clone(), composer.composer.compose(&parts)?)));
    composed.await.map_err(|error| Error::Internal(error.to_string()))?
}

/// Makes a composer ready for a generation's vectors; the empty name means the default.
///
/// # Errors
/// As [`Composers::bind`].
pub async fn bind_composer(composers: &Composers, name: &str, generation: &Generation) -> Result<Arc<BoundComposer>> {
    if let Some(ready) = composers.ready(name, &generation.space) {
        return Ok(ready);
    }
    let (composers, name, space) = (composers.clone(), name.to_owned(), generation.space.clone());
    let dimension = generation.dimension as usize;
    let bind = tokio::task::spawn_blocking(move || composers.bind(&name, &space, dimension));
    bind.await.map_err(|error| Error::Internal(error.to_string()))?
}

/// What the vectors of a field's items were made of.
fn kind_of_items(field: &Field) -> PartKind {
    match field.source {
        FieldSource::Media { .. } => PartKind::Media,
        FieldSource::Text { .. } => PartKind::Text,
        FieldSource::Vector { .. } => PartKind::Vector,
    }
}

async fn encode_text(handle: &EncoderHandle, text: &str, deadline: Option<Instant>) -> Result<(UnitVector, bool)> {
    TEXT_BYTES.check("text", text.len())?;
    let (embedding, is_cached) = handle.encode_query(text, deadline).await?;
    Ok(((*embedding.vector).clone(), is_cached))
}

/// Encodes a text as a search of this generation does.
///
/// # Errors
/// As [`search`].
pub async fn encode_query_text(
    encoders: &EncoderRegistry,
    field: &Field,
    generation: &Generation,
    text: &str,
    deadline: Option<Instant>,
) -> Result<Vec<f32>> {
    let handle = query_encoder(encoders, field, generation, Kind::Text).await?;
    Ok(encode_text(&handle, text, deadline).await?.0.values)
}

/// What a query gives to encode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Image,
}

/// The encoder that queries of this generation go through: the one that was put in place for them, or where that takes no such
/// content, the one that made the vectors.
async fn query_encoder(
    encoders: &EncoderRegistry,
    field: &Field,
    generation: &Generation,
    kind: Kind,
) -> Result<EncoderHandle> {
    let (given, needed) = match kind {
        Kind::Text => ("a text", "a field whose encoder takes texts"),
        Kind::Image => ("an image", "a field filled by an image encoder"),
    };
    for name in [&generation.query_encoder, &generation.encoder].into_iter().filter(|name| !name.is_empty()) {
        let handle = encoders.get(name).await?;
        let info = handle.info();
        if !(if kind == Kind::Text { info.encodes_text } else { info.encodes_image }) {
            continue;
        }
        if info.space == generation.space {
            return Ok(handle);
        }
        return Err(Error::FailedPrecondition {
            reason: "SPACE_MISMATCH",
            message: format!(
                "encoder {name} writes to space {}, field {:?} holds vectors of space {}; scores between them mean nothing",
                info.space, field.name, generation.space
            ),
        });
    }
    Err(cannot_answer(field, given, needed))
}

/// The direction between an item's parts in a generation of the field, with the mean of their lengths.
///
/// # Errors
/// `NotFound`; `FailedPrecondition` with `ITEM_WITHOUT_VECTOR`.
pub async fn item_vector(
    backend: &Arc<dyn CollectionBackend>,
    field: &Field,
    generation: &Generation,
    id: &ItemId,
) -> Result<UnitVector> {
    let select = Selection { vectors: true, ..Selection::default() };
    let item = backend.get(vec![id.clone()], select).await?.pop().flatten();
    let item = item.ok_or_else(|| Error::NotFound { kind: "item", name: id.to_string() })?;
    let is_searched = |vector: &&crate::collection::backend::PartVector| {
        vector.field == field.name && vector.generation == generation.number
    };
    let (mut sum, mut length, mut n_parts) = (vec![0.0_f32; generation.dimension as usize], 0.0, 0);
    for part in item.vectors.iter().filter(is_searched) {
        sum.iter_mut().zip(&part.vector.values).for_each(|(total, value)| *total += value);
        length += part.vector.norm;
        n_parts += 1;
    }
    let unit = UnitVector::normalise(sum).map_err(|_| Error::FailedPrecondition {
        reason: "ITEM_WITHOUT_VECTOR",
        message: format!("item {id} has no vector in field {:?}", field.name),
    })?;
    Ok(UnitVector { norm: length / n_parts as f32, ..unit })
}

fn cannot_answer(field: &Field, given: &str, needed: &str) -> Error {
    Error::FailedPrecondition {
        reason: "FIELD_CANNOT_ANSWER",
        message: format!("field {:?} cannot be searched with {given}; search {needed} or give a vector", field.name),
    }
}
