//! A second backend, as simple as it can be: a sorted map and an exact scan. Every other backend must agree with it.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use pictor::collection::backend::{
    BackendHit, BackendStats, Capabilities, CollectionBackend, Durability, Facet, FacetReply, FillOutcome, Filling,
    FilterPlan, ItemWrite, OrderBy, OrderedPage, PartVector, PayloadChange, PayloadWrite, ScrollPage, SearchParams,
    SearchReply, Selection, StoredItem, StoredMedia, UpsertMode, VectorQuery, WriteAck, WriteOutcome,
};
use pictor::collection::schema::CollectionSchema;
use pictor::types::filter::{Filter, Mismatches, Path, matches, values_at};
use pictor::types::value::check_payload;
use pictor::types::{Error, ItemId, Payload, Result, Timestamp, Value};

#[derive(Clone, Default)]
pub(crate) struct Contents {
    items: BTreeMap<ItemId, StoredItem>,
    version: u64,
}

/// All of a collection in memory.
pub(crate) struct Oracle {
    schema: Arc<CollectionSchema>,
    contents: Mutex<Contents>,
}

impl Oracle {
    pub(crate) fn new(schema: Arc<CollectionSchema>) -> Self {
        Self { schema, contents: Mutex::default() }
    }

    /// Everything as it is now, for a return to it.
    pub(crate) fn save(&self) -> Contents {
        self.contents().clone()
    }

    pub(crate) fn restore(&self, contents: Contents) {
        *self.contents() = contents;
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().expect("no test panics while it holds the oracle")
    }

    /// The stored form of a write, its vectors in the order of fields, generations and parts.
    fn stored(&self, write: ItemWrite, version: u64) -> StoredItem {
        let field = |name: &str| self.schema.fields.iter().position(|field| field.name == name);
        let mut vectors = write.vectors;
        let part = |vector: &PartVector| write.parts.iter().position(|(part, _)| *part == vector.part);
        vectors.sort_by_key(|vector| (field(&vector.field), vector.generation, part(vector)));
        let media = write.media.into_iter().map(|media| StoredMedia { info: media.info, data: media.data });
        StoredItem {
            id: write.id,
            version,
            payload: write.payload,
            media: media.collect(),
            texts: write.texts,
            parts: write.parts,
            vectors,
        }
    }

    fn upsert_one(&self, contents: &mut Contents, write: ItemWrite) -> Result<WriteAck> {
        check_payload(&write.payload)?;
        let name = write.id.as_str().to_owned();
        let stored = contents.items.get(&write.id);
        match (write.mode, stored) {
            (UpsertMode::Insert, Some(_)) => return Err(Error::AlreadyExists { kind: "item", name }),
            (UpsertMode::Update, None) => return Err(Error::NotFound { kind: "item", name }),
            _ => {}
        }
        check_version(&write.id, write.if_version, stored)?;
        let new = self.stored(write, stored.map_or(0, |stored| stored.version));
        if stored == Some(&new) {
            return Ok(WriteAck { version: new.version, outcome: WriteOutcome::Unchanged });
        }
        let outcome = if stored.is_some() { WriteOutcome::Updated } else { WriteOutcome::Created };
        contents.version += 1;
        let version = contents.version;
        contents.items.insert(new.id.clone(), StoredItem { version, ..new });
        Ok(WriteAck { version, outcome })
    }
}

fn check_version(id: &ItemId, expected: Option<u64>, stored: Option<&StoredItem>) -> Result<()> {
    let found = stored.map_or(0, |stored| stored.version);
    match expected.filter(|&expected| expected != found) {
        Some(expected) => Err(Error::VersionMismatch { id: id.as_str().to_owned(), expected, found }),
        None => Ok(()),
    }
}

fn set_payload_one(contents: &mut Contents, write: &PayloadWrite) -> Result<WriteAck> {
    let missing = || Error::NotFound { kind: "item", name: write.id.as_str().to_owned() };
    let stored = contents.items.get_mut(&write.id).ok_or_else(missing)?;
    check_version(&write.id, write.if_version, Some(stored))?;
    let mut payload = stored.payload.clone();
    match &*write.change {
        PayloadChange::Replace(new) => payload.clone_from(new),
        PayloadChange::Merge { set, remove } => {
            remove.iter().for_each(|key| drop(payload.remove(key)));
            payload.extend(set.clone());
        }
    }
    check_payload(&payload)?;
    if payload == stored.payload {
        return Ok(WriteAck { version: stored.version, outcome: WriteOutcome::Unchanged });
    }
    contents.version += 1;
    stored.version = contents.version;
    stored.payload = payload;
    Ok(WriteAck { version: stored.version, outcome: WriteOutcome::Updated })
}

fn selected(item: &StoredItem, select: Selection) -> StoredItem {
    let mut item = item.clone();
    if !select.payload {
        item.payload.clear();
    }
    if !select.texts {
        item.texts.clear();
    }
    if !select.vectors {
        item.vectors.clear();
    }
    if !select.media_data {
        item.media.iter_mut().for_each(|media| media.data = None);
    }
    if !select.media && !select.media_data {
        item.media.clear();
    }
    item
}

/// The inner product, in f64.
fn score(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>() as f32
}

#[async_trait]
impl CollectionBackend for Oracle {
    fn capabilities(&self) -> Capabilities {
        Capabilities { media: true, sync_durability: false, read_your_writes: true }
    }

    fn schema(&self) -> Arc<CollectionSchema> {
        Arc::clone(&self.schema)
    }

    async fn upsert(&self, writes: Vec<ItemWrite>, _: Durability) -> Result<Vec<Result<WriteAck>>> {
        let mut contents = self.contents();
        Ok(writes.into_iter().map(|write| self.upsert_one(&mut contents, write)).collect())
    }

    async fn delete(&self, ids: Vec<ItemId>, only_if: Option<Filter>, _: Durability) -> Result<Vec<Option<u64>>> {
        let mut contents = self.contents();
        let mut delete = |id: &ItemId| {
            let payload = &contents.items.get(id)?.payload;
            if only_if.as_ref().is_some_and(|filter| !matches(filter, payload, &mut Mismatches::default())) {
                return None;
            }
            contents.items.remove(id)?;
            contents.version += 1;
            Some(contents.version)
        };
        Ok(ids.iter().map(&mut delete).collect())
    }

    async fn expire(&self, _: Timestamp, _: usize) -> Result<u64> {
        Ok(0)
    }

    async fn set_payload(&self, writes: Vec<PayloadWrite>, _: Durability) -> Result<Vec<Result<WriteAck>>> {
        let mut contents = self.contents();
        Ok(writes.iter().map(|write| set_payload_one(&mut contents, write)).collect())
    }

    async fn get(&self, ids: Vec<ItemId>, select: Selection) -> Result<Vec<Option<StoredItem>>> {
        let contents = self.contents();
        Ok(ids.iter().map(|id| contents.items.get(id).map(|item| selected(item, select))).collect())
    }

    async fn scroll(
        &self,
        after: Option<ItemId>,
        filter: Option<Filter>,
        limit: usize,
        select: Selection,
    ) -> Result<ScrollPage> {
        let contents = self.contents();
        let mut mismatches = Mismatches::default();
        let is_after = |id: &ItemId| after.as_ref().is_none_or(|after| id > after);
        let rest: Vec<&StoredItem> =
            contents.items.iter().filter(|(id, _)| is_after(id)).map(|(_, item)| item).collect();
        let mut items = Vec::new();
        let mut next = None;
        for (position, item) in rest.iter().enumerate() {
            if filter.as_ref().is_none_or(|filter| matches(filter, &item.payload, &mut mismatches)) {
                items.push(selected(item, select));
            }
            if items.len() == limit {
                next = (position + 1 < rest.len()).then(|| item.id.clone());
                break;
            }
        }
        Ok(ScrollPage { items, next, mismatches })
    }

    async fn count(&self, filter: Option<Filter>) -> Result<u64> {
        let contents = self.contents();
        let mut mismatches = Mismatches::default();
        let is_match =
            |item: &&StoredItem| filter.as_ref().is_none_or(|filter| matches(filter, &item.payload, &mut mismatches));
        Ok(contents.items.values().filter(is_match).count() as u64)
    }

    async fn scroll_by(
        &self,
        order: OrderBy,
        after: Option<Vec<u8>>,
        filter: Option<Filter>,
        limit: usize,
        select: Selection,
    ) -> Result<OrderedPage> {
        let contents = self.contents();
        let mut mismatches = Mismatches::default();
        let mut found: Vec<(Value, &StoredItem)> = Vec::new();
        for item in contents.items.values() {
            if filter.as_ref().is_some_and(|filter| !matches(filter, &item.payload, &mut mismatches)) {
                continue;
            }
            let values = ordered_values(&item.payload, &order.path).into_iter();
            // Tests order by numbers alone.
            let mut values: Vec<Value> =
                values.filter(|value| matches!(value, Value::Int(_) | Value::Double(_))).collect();
            // Beside values of other types they had no order.
            values.sort_by(|a, b| a.compare(b).expect("numbers"));
            let first = if order.is_descending { values.into_iter().next_back() } else { values.into_iter().next() };
            found.extend(first.map(|value| (value, item)));
        }
        // Stably, so that equal values stay in the order of ids.
        found.sort_by(|(a, _), (b, _)| {
            let ordering = a.compare(b).expect("values of one type");
            if order.is_descending { ordering.reverse() } else { ordering }
        });
        let from = after.map_or(0, |after| {
            let last = String::from_utf8(after).expect("an id");
            1 + found.iter().position(|(_, item)| item.id.as_str() == last).expect("an item of the page before")
        });
        let page: Vec<&StoredItem> = found[from..].iter().take(limit).map(|(_, item)| *item).collect();
        let is_more = found.len() > from + page.len();
        let next = page.last().filter(|_| is_more).map(|item| item.id.as_str().as_bytes().to_vec());
        let items = page.into_iter().map(|item| selected(item, select)).collect();
        Ok(OrderedPage { items, next, mismatches, plan: FilterPlan::default() })
    }

    async fn facets(&self, paths: Vec<Path>, filter: Option<Filter>, limit: usize) -> Result<FacetReply> {
        let contents = self.contents();
        let mut mismatches = Mismatches::default();
        let is_match =
            |item: &&StoredItem| filter.as_ref().is_none_or(|filter| matches(filter, &item.payload, &mut mismatches));
        let items: Vec<&StoredItem> = contents.items.values().filter(is_match).collect();
        let facet = |path: Path| {
            let mut counts: Vec<(Value, u64)> = Vec::new();
            for item in &items {
                for value in ordered_values(&item.payload, &path) {
                    match counts.iter_mut().find(|(own, _)| own.compare(&value) == Some(Ordering::Equal)) {
                        Some((_, count)) => *count += 1,
                        None => counts.push((value, 1)),
                    }
                }
            }
            let rank = |value: &Value| match value {
                Value::String(_) => 0,
                Value::Int(_) | Value::Double(_) => 1,
                Value::Bool(_) => 2,
                _ => 3,
            };
            counts.sort_by(|(a, n), (b, m)| {
                m.cmp(n).then(rank(a).cmp(&rank(b))).then_with(|| a.compare(b).unwrap_or(Ordering::Equal))
            });
            let distinct = counts.len() as u64;
            counts.truncate(limit);
            Facet { path, values: counts, distinct }
        };
        let facets = paths.into_iter().map(facet).collect();
        Ok(FacetReply {
            facets,
            items: items.len() as u64,
            unindexed: Vec::new(),
            mismatches,
            plan: FilterPlan::default(),
        })
    }

    async fn fill(&self, field: &str, generation: u32, fillings: Vec<Filling>) -> Result<Vec<FillOutcome>> {
        let source = self.schema.field(field)?.source.clone();
        let mut contents = self.contents();
        let mut fill = |filling: Filling| {
            let Some(item) = contents.items.get_mut(&filling.id) else { return FillOutcome::NotNeeded };
            let of_generation = |vector: &&PartVector| vector.field == field && vector.generation == generation;
            let wanted = item.parts.iter().filter(|(part, _)| source.takes(field, part)).count();
            if item.vectors.iter().filter(of_generation).count() == wanted {
                return FillOutcome::NotNeeded;
            }
            if item.parts != filling.parts {
                return FillOutcome::Changed;
            }
            item.vectors.retain(|vector| !of_generation(&vector));
            let new = filling.vectors.into_iter();
            item.vectors.extend(new.map(|(part, vector)| PartVector {
                field: field.to_owned(),
                generation,
                part,
                vector,
            }));
            FillOutcome::Filled
        };
        Ok(fillings.into_iter().map(&mut fill).collect())
    }

    async fn filled(&self, field: &str, generation: u32, ids: Vec<ItemId>) -> Result<Vec<usize>> {
        let contents = self.contents();
        let is_counted = |vector: &&PartVector| vector.field == field && vector.generation == generation;
        let count =
            |id: &ItemId| contents.items.get(id).map_or(0, |item| item.vectors.iter().filter(is_counted).count());
        Ok(ids.iter().map(count).collect())
    }

    async fn search_batch(
        &self,
        field: &str,
        generation: u32,
        queries: Vec<VectorQuery>,
        filter: Option<Filter>,
        params: SearchParams,
    ) -> Result<SearchReply> {
        let contents = self.contents();
        let field = &self.schema.field(field)?.name;
        let mut mismatches = Mismatches::default();
        let mut search = |query: &VectorQuery| {
            let mut hits = Vec::new();
            // In the order of ids, and sorted stably by score: ties stand by id.
            for item in contents.items.values().filter(|item| {
                !query.exclude.contains(&item.id) && query.only.as_ref().is_none_or(|only| only.contains(&item.id))
            }) {
                if filter.as_ref().is_some_and(|filter| !matches(filter, &item.payload, &mut mismatches)) {
                    continue;
                }
                let mut best: Option<(f32, usize)> = None;
                for (position, (part, _)) in item.parts.iter().enumerate() {
                    let is_wanted = |vector: &&PartVector| {
                        vector.field == *field && vector.generation == generation && vector.part == *part
                    };
                    if let Some(vector) = item.vectors.iter().find(is_wanted) {
                        let score = score(&query.vector, &vector.vector.values);
                        if best.is_none_or(|(most, _)| score > most) {
                            best = Some((score, position));
                        }
                    }
                }
                if let Some((score, position)) =
                    best.filter(|(score, _)| query.min_score.is_none_or(|min| *score >= min))
                {
                    let part = item.parts[position].0.clone();
                    hits.push(BackendHit { score, part, item: selected(item, params.select) });
                }
            }
            hits.sort_by(|a, b| b.score.total_cmp(&a.score));
            hits.truncate(query.limit);
            hits
        };
        let hits = queries.iter().map(&mut search).collect();
        let no_time = Duration::ZERO;
        Ok(SearchReply {
            hits,
            exact: true,
            deferred: 0,
            mismatches,
            plan: None,
            search_time: no_time,
            fetch_time: no_time,
        })
    }

    async fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn stats(&self) -> BackendStats {
        let contents = self.contents();
        let mut stats = BackendStats {
            items: contents.items.len() as u64,
            version: contents.version,
            applied_version: contents.version,
            ..BackendStats::default()
        };
        for field in &self.schema.fields {
            let count = |item: &StoredItem| item.vectors.iter().filter(|vector| vector.field == field.name).count();
            stats.vectors.insert((field.name.clone(), 1), contents.items.values().map(count).sum::<usize>() as u64);
        }
        stats
    }
}

/// The distinct scalars at a path, in their order within a type: strings, numbers, bools, times.
fn ordered_values(payload: &Payload, path: &Path) -> Vec<Value> {
    let mut values: Vec<Value> = Vec::new();
    values_at(payload, path, &mut |value| {
        let is_scalar = !matches!(value, Value::Null | Value::List(_) | Value::Map(_));
        if is_scalar && !values.iter().any(|own| own.compare(value) == Some(Ordering::Equal)) {
            values.push(value.clone());
        }
    });
    values.sort_by(|a, b| a.compare(b).unwrap_or(Ordering::Equal));
    values
}
