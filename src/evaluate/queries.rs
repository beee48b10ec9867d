//! Queries to measure with: given ones, or stored items standing for what people look for.

use serde::{Deserialize, Serialize};

use crate::collection::CollectionBackend;
use crate::collection::backend::{Selection, StoredItem};
use crate::types::ItemId;
use crate::{Error, Result};

/// Ids read at once.
const PAGE: usize = 4096;

/// A query and, where they are known, its right answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    #[serde(flatten)]
    pub content: QueryContent,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
}

/// What a query shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueryContent {
    Text(String),
    /// A stored item, which does not find itself.
    Item(String),
}

impl Query {
    /// `text` or `item`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.content {
            QueryContent::Text(_) => "text",
            QueryContent::Item(_) => "item",
        }
    }

    #[must_use]
    pub fn shown(&self) -> &str {
        let (QueryContent::Text(shown) | QueryContent::Item(shown)) = &self.content;
        shown
    }
}

/// The items whose ids have the smallest hashes, the same ones as long as they are stored: each as a query, and with `with_texts`
/// each one's first text, which looks for its item.
///
/// # Errors
/// Those of the store.
pub async fn sample(backend: &dyn CollectionBackend, n_items: usize, with_texts: bool) -> Result<Vec<Query>> {
    let mut chosen: Vec<([u8; 32], ItemId)> = Vec::new();
    let mut after = None;
    loop {
        let page = backend.scroll(after, None, PAGE, Selection::default()).await?;
        let with_parts = page.items.into_iter().filter(|item| !item.parts.is_empty());
        chosen.extend(with_parts.map(|item| (*blake3::hash(item.id.as_str().as_bytes()).as_bytes(), item.id)));
        chosen.sort();
        chosen.truncate(n_items);
        if page.next.is_none() {
            break;
        }
        after = page.next;
    }
    let ids: Vec<ItemId> = chosen.into_iter().map(|(_, id)| id).collect();
    let of_item = |id: &ItemId| Query { content: QueryContent::Item(id.to_string()), targets: Vec::new() };
    let mut queries: Vec<Query> = ids.iter().map(of_item).collect();
    if with_texts {
        let items = backend.get(ids, Selection { texts: true, ..Selection::default() }).await?;
        queries.extend(items.into_iter().flatten().filter_map(|item| text_query(&item)));
    }
    Ok(queries)
}

fn text_query(item: &StoredItem) -> Option<Query> {
    let text = item.texts.values().flatten().find(|text| !text.trim().is_empty())?;
    Some(Query { content: QueryContent::Text(text.clone()), targets: vec![item.id.to_string()] })
}

/// Reads a list of queries.
///
/// # Errors
/// `InvalidArgument` for `place`.
pub(super) fn parse(place: &str, value: &serde_json::Value) -> Result<Vec<Query>> {
    serde_json::from_value(value.clone()).map_err(|error| {
        let example = r#"{"text": "a red shoe"} or {"item": "shoe-17", "targets": ["shoe-18"]}"#;
        Error::invalid(place, format!("expected a list of queries such as {example}: {error}"))
    })
}
