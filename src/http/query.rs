//! A search as JSON gives it: the names and meanings of `pictor.v1.SearchRequest`.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;

use super::body::Body;
use super::ranking::{
    self, BoostJson, ExplainJson, FusedFieldJson, FusionJson, GroupByJson, PrefetchJson, RecommendJson,
};
use crate::collection::backend::Selection;
use crate::search::{Query, QueryContent, QueryPart};
use crate::types::filter::{Filter, parse};
use crate::types::{Error, Result};

/// Hits of a search that names no limit.
const LIMIT: u32 = 20;

/// A search's JSON; what ranks its hits is read by [`ranking::read`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchJson {
    collection: String,
    #[serde(default)]
    field: String,
    #[serde(default)]
    parts: Vec<PartJson>,
    #[serde(default)]
    composer: String,
    filter: Option<FilterJson>,
    limit: Option<u32>,
    offset: Option<u32>,
    min_score: Option<f32>,
    exact: Option<bool>,
    exclude_reference: Option<bool>,
    select: Option<SelectJson>,
    pub(super) candidates: Option<u32>,
    #[serde(default)]
    pub(super) boosts: Vec<BoostJson>,
    pub(super) distinct: Option<f32>,
    pub(super) distinct_pictures: Option<u32>,
    pub(super) diversity: Option<f32>,
    pub(super) group_by: Option<GroupByJson>,
    #[serde(default)]
    pub(super) fields: Vec<FusedFieldJson>,
    pub(super) fusion: Option<FusionJson>,
    pub(super) prefetch: Option<PrefetchJson>,
    pub(super) recommend: Option<RecommendJson>,
    #[serde(default)]
    pub(super) facets: Vec<String>,
    explain: Option<ExplainJson>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartJson {
    text: Option<String>,
    item: Option<String>,
    vector: Option<Vec<f32>>,
    /// Base64, a data URL, or `file:NAME` of the form.
    image: Option<String>,
    weight: Option<f32>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a filter's text, or a list of texts that all have to hold")]
pub(super) enum FilterJson {
    One(String),
    All(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SelectJson {
    payload: Option<bool>,
    #[serde(default)]
    texts: bool,
    #[serde(default)]
    media: bool,
    #[serde(default)]
    vectors: bool,
}

/// A search that was read.
pub(super) struct Search {
    pub(super) collection: String,
    pub(super) query: Query,
    pub(super) form: AnswerForm,
}

/// How an answer is to be written.
pub(super) struct AnswerForm {
    pub(super) offset: usize,
    /// What hits show; the query also selects the pictures' descriptions, for their thumbnails.
    pub(super) select: Selection,
    /// The fused fields by the names that the query gives them.
    pub(super) fields: Vec<String>,
    /// The counted paths as the query writes them.
    pub(super) facets: Vec<String>,
    pub(super) is_explained: bool,
}

/// Reads a search; pictures come from its JSON or from the form's files.
///
/// # Errors
/// [`Error::InvalidArgument`] naming the place, [`Error::LimitExceeded`].
pub(super) fn read(body: &Body) -> Result<Search> {
    let mut json: SearchJson = serde_json::from_slice(&body.json)
        .map_err(|error| Error::invalid("body", format!("expected the JSON of a search: {error}")))?;
    let mut unnamed: BTreeSet<&str> = body.files.keys().map(String::as_str).collect();
    let mut parts = Vec::with_capacity(json.parts.len());
    for (position, part) in std::mem::take(&mut json.parts).into_iter().enumerate() {
        let part = read_part(part, &body.files, &mut unnamed);
        parts.push(part.map_err(|error| error.within(&format!("parts[{position}]")))?);
    }
    if let Some(name) = unnamed.first() {
        let message = format!("no part of the query names the file {name:?}; write {{\"image\": \"file:{name}\"}}");
        return Err(Error::invalid("body", message));
    }
    let select = json.select.take().map_or(Selection::PAYLOAD, |select| Selection {
        payload: select.payload.unwrap_or(true),
        texts: select.texts,
        media: select.media,
        media_data: false,
        vectors: select.vectors,
    });
    let form = AnswerForm {
        offset: json.offset.unwrap_or(0) as usize,
        select,
        fields: json.fields.iter().map(|field| field.field.clone()).collect(),
        facets: json.facets.clone(),
        is_explained: json.explain.is_some(),
    };
    let filter = json.filter.take().map(read_filter).transpose()?;
    let ranking = ranking::read(&mut json)?;
    let query = Query {
        field: json.field,
        parts,
        composer: json.composer,
        filter,
        limit: json.limit.unwrap_or(LIMIT) as usize,
        offset: form.offset,
        min_score: json.min_score,
        exact: json.exact.unwrap_or(false),
        exclude_reference: json.exclude_reference.unwrap_or(true),
        select: Selection { media: true, ..select },
        only: None,
        ranking,
    };
    Ok(Search { collection: json.collection, query, form })
}

fn read_part<'a>(
    part: PartJson,
    files: &'a BTreeMap<String, Bytes>,
    unnamed: &mut BTreeSet<&'a str>,
) -> Result<QueryPart> {
    let content = match (part.text, part.item, part.vector, part.image) {
        (Some(text), None, None, None) => QueryContent::Text(text),
        (None, Some(id), None, None) => QueryContent::Item(id),
        (None, None, Some(vector), None) => QueryContent::Vector(vector),
        (None, None, None, Some(image)) => QueryContent::Image(read_image(&image, files, unnamed)?),
        _ => return Err(Error::invalid("", "a part is one of text, item, vector and image")),
    };
    Ok(QueryPart { content, weight: part.weight.unwrap_or(1.0) })
}

fn read_image<'a>(image: &str, files: &'a BTreeMap<String, Bytes>, unnamed: &mut BTreeSet<&'a str>) -> Result<Bytes> {
    if let Some(name) = image.strip_prefix("file:") {
        unnamed.remove(name);
        let missing = || Error::invalid("image", format!("the form has no file {name:?}"));
        return files.get(name).cloned().ok_or_else(missing);
    }
    let encoded = match image.strip_prefix("data:") {
        Some(url) => url.split_once(";base64,").map_or(url, |(_, encoded)| encoded),
        None => image,
    };
    let bytes = STANDARD.decode(encoded).map_err(|error| {
        Error::invalid("image", format!("expected base64, a data URL with base64, or file:NAME of a form: {error}"))
    })?;
    Ok(bytes.into())
}

/// Reads a condition, or several that all have to hold.
///
/// # Errors
/// [`Error::InvalidArgument`] naming the condition, [`Error::LimitExceeded`].
pub(super) fn read_filter(filter: FilterJson) -> Result<Filter> {
    let texts = match filter {
        FilterJson::One(text) => return parse(&text),
        FilterJson::All(texts) => texts,
    };
    let placed = |(position, text): (usize, String)| {
        parse(&text).map_err(|error| match error {
            Error::InvalidArgument { message, .. } => Error::invalid(format!("filter[{position}]"), message),
            other => other,
        })
    };
    let filter = Filter::and(texts.into_iter().enumerate().map(placed).collect::<Result<_>>()?)?;
    filter.check()?;
    Ok(filter)
}
