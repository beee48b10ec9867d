//! Searches among the 50, 10, 1 and 0.1 % of 200,000 items that a filter leaves, which lie anyhow, near the queries or far from them: recall, and
//! the time of one query beside that without a filter and that of a scan of the matches, on one thread; and counts of five fields' values.
//!
//! Writes what it stores and asks to FOLDER, where `filters.py` finds it for a peer. Arguments: FOLDER [--count N] [--dimension N]; N items are a
//! multiple of 1,000. One JSON object a line.

#[path = "support/filters/mod.rs"]
mod filters;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use filters::{FACETS, FilterSet, LIMIT, Question, best_of};
use pictor::collection::backend::{
    CollectionBackend, Durability, Indexing, ItemWrite, PartVector, QueryKind, SearchParams, SearchReply, UpsertMode,
    VectorQuery,
};
use pictor::collection::schema::{FieldSource, FieldSpec};
use pictor::collection::{Catalog, CatalogSettings, LocalCollection, NewCollection, NewField, stopped};
use pictor::distance;
use pictor::store::{Store, StoreSettings};
use pictor::types::filter::{Filter, parse_path};
use pictor::types::payload_index::{PayloadIndexSpec, PayloadKind};
use pictor::types::vector::UnitVector;
use pictor::types::{ItemId, PartRef};
use serde_json::{Value, json};

const COLLECTION: &str = "bench";
const FIELD: &str = "vector";
const BATCH: usize = 1_000;
const REPEATS: usize = 3;
/// Bytes for the store.
const MEMORY: usize = 1 << 30;
/// Queries whose matches are scanned, and calls that count.
const SCANS: usize = 100;
const COUNTS: usize = 100;
/// Values of each field that a call for counts returns.
const VALUES: usize = 100;
/// What is promised: the share of the true hits, and milliseconds that counts take.
const RECALL: f64 = 0.98;
const COUNTS_MS: f64 = 20.0;

fn say(mut line: Value) -> Value {
    line["bench"] = json!("filters");
    line["who"] = json!("pictor");
    println!("{line}");
    line
}

fn open(folder: &Path, settings: CatalogSettings) -> Catalog {
    let store = StoreSettings { memory_bytes: MEMORY, ..StoreSettings::default() };
    Catalog::open(Store::open(folder, &store).expect("a store"), settings).expect("a catalog")
}

fn write(set: &FilterSet, item: usize) -> ItemWrite {
    let (part, values) = (PartRef::vector(FIELD, 0), set.vector(item).to_vec());
    let hash = blake3::hash(bytemuck::cast_slice(&values));
    let vector = UnitVector { values, norm: 1.0 };
    ItemWrite {
        id: ItemId::new(&format!("{item:06}")).expect("an id"),
        payload: set.payload(item),
        media: vec![],
        texts: [].into(),
        parts: vec![(part.clone(), hash.as_bytes()[..16].try_into().expect("16 of 32 bytes"))],
        vectors: vec![PartVector { field: FIELD.to_owned(), generation: 1, part, vector }],
        mode: UpsertMode::Upsert,
        indexing: Indexing::AtOnce,
        if_version: None,
    }
}

/// Stores every item with its payload indexed; no segment is made meanwhile.
async fn store(folder: &Path, set: &FilterSet) {
    let mut settings = CatalogSettings::default();
    settings.segments.growth.seal_at = usize::MAX;
    let catalog = open(folder, settings);
    let source = FieldSource::Vector { dimension: set.dimension as u32, space: String::new() };
    let field = NewField { spec: FieldSpec { name: FIELD.to_owned(), source }, encoder: None };
    let new = NewCollection { name: COLLECTION.to_owned(), fields: vec![field], ..NewCollection::default() };
    catalog.create(new).expect("a collection");
    for (path, is_number) in FilterSet::fields() {
        let kind = if is_number { PayloadKind::Number } else { PayloadKind::Keyword };
        let spec = PayloadIndexSpec { path: parse_path(&path).expect("a path"), kind };
        catalog.create_payload_index(COLLECTION, &spec, "").expect("an index");
    }
    let backend = catalog.resolve(COLLECTION).expect("a collection");
    for first in (0..set.count).step_by(BATCH) {
        let writes = (first..set.count.min(first + BATCH)).map(|item| write(set, item)).collect();
        let outcomes = backend.upsert(writes, Durability::Async).await.expect("a batch");
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    }
    backend.flush().await.expect("durable");
}

/// Makes one segment of everything, on two threads.
fn build(folder: &Path, set: &FilterSet) {
    let mut settings = CatalogSettings::with_threads(2).expect("threads");
    settings.segments.growth.seal_at = set.count;
    let segments = stopped::rebuild(folder, MEMORY, settings).expect("segments");
    let vectors: Vec<_> = segments.iter().map(|segment| segment.vectors).collect();
    assert_eq!(vectors, [Some(set.count)]);
}

/// As the peer, on the thread that asks.
fn search(backend: &LocalCollection, query: &[f32], filter: Option<&Filter>) -> (SearchReply, Duration) {
    let (kind, vector) = (QueryKind::default(), query.to_vec());
    let queries = [VectorQuery { kind, vector, limit: LIMIT, min_score: None, exclude: vec![], only: None }];
    let started = Instant::now();
    let reply = backend.search_batch_blocking(FIELD, 1, &queries, filter, &SearchParams::default());
    (reply.expect("an answer"), started.elapsed())
}

/// Asks everything once, both sets of queries by turns first, and waits until the index has measured its walks with them.
fn warm_up(backend: &LocalCollection, set: &FilterSet) {
    let [any, leaning, filtered @ ..] = &set.questions[..] else { panic!("there are questions") };
    for (any, leaning) in set.queries(any).zip(set.queries(leaning)) {
        search(backend, any, None);
        search(backend, leaning, None);
    }
    for question in filtered {
        ask(backend, set, question);
    }
    // Without walks, as in a small index, there is nothing to measure.
    let until = Instant::now() + Duration::from_secs(20);
    while backend.stats().indexes[0].kinds.is_empty() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(100));
    }
    let indexes = backend.stats().indexes;
    let report = &indexes[0];
    say(json!({
        "segments": report.segments, "tail_vectors": report.tail_vectors, "ef": report.kinds.first().map(|kind| kind.ef),
        "recall": report.kinds.first().map(|kind| kind.recall), "kernel": distance::best().name,
    }));
}

/// What asking all queries of a question once gave.
#[derive(Default)]
struct Asked {
    /// The share of the true hits that were found.
    recall: f64,
    times: Vec<Duration>,
    /// Of those, the time in the index and that for reading items.
    search: Vec<Duration>,
    fetch: Vec<Duration>,
    strategies: BTreeSet<&'static str>,
}

fn ask(backend: &LocalCollection, set: &FilterSet, question: &Question) -> Asked {
    let (filter, mut asked, mut hits) = (question.filter(), Asked::default(), 0);
    for (query, exact) in set.queries(question).zip(&question.exact) {
        let (reply, time) = search(backend, query, filter.as_ref());
        asked.times.push(time);
        asked.search.push(reply.search_time);
        asked.fetch.push(reply.fetch_time);
        asked.strategies.extend(reply.plan.map(|plan| plan.strategy.name()));
        for hit in &reply.hits[0] {
            let item = hit.item.id.as_str().parse().expect("a number");
            assert!(question.matches.binary_search(&item).is_ok(), "{}: {item} does not match", question.name());
            hits += usize::from(exact.contains(&item));
        }
    }
    asked.recall = hits as f64 / question.exact.iter().map(Vec::len).sum::<usize>() as f64;
    asked
}

/// Times of comparing queries with the matches one by one.
fn scan(set: &FilterSet, question: &Question) -> Vec<Duration> {
    let dot = distance::best().dot;
    let scan = |(query, exact): (&[f32], &Vec<u32>)| {
        let started = Instant::now();
        let scored = question.matches.iter().map(|&item| (item, dot(query, set.vector(item as usize))));
        let found = best_of(LIMIT, scored);
        let time = started.elapsed();
        assert_eq!(&found, exact);
        time
    };
    set.queries(question).zip(&question.exact).take(SCANS).map(scan).collect()
}

fn median<T: Copy>(mut values: Vec<T>, order: impl Fn(&T, &T) -> std::cmp::Ordering) -> T {
    values.sort_by(order);
    values[values.len() / 2]
}

fn milliseconds(times: Vec<Duration>) -> f64 {
    median(times, Duration::cmp).as_secs_f64() * 1e3
}

/// One question and the same queries without a filter, by turns with the scan.
fn measure(backend: &LocalCollection, set: &FilterSet, question: &Question, repeat: usize) -> Value {
    let unfiltered = ask(backend, set, &set.questions[question.queries()]).times;
    let asked = ask(backend, set, question);
    let qps = asked.times.len() as f64 / asked.times.iter().sum::<Duration>().as_secs_f64();
    say(json!({
        "question": question.name(), "repeat": repeat, "recall": asked.recall, "qps": qps, "ms": milliseconds(asked.times),
        "search_ms": milliseconds(asked.search), "fetch_ms": milliseconds(asked.fetch), "strategies": asked.strategies,
        "unfiltered_ms": milliseconds(unfiltered), "scan_ms": milliseconds(scan(set, question)),
    }))
}

/// Medians over repeats, beside what is promised.
fn summary(set: &FilterSet, question: &Question, lines: &[Value]) -> Value {
    let of = |name: &str| {
        let values: Vec<f64> = lines.iter().map(|line| line[name].as_f64().expect("a number")).collect();
        median(values, f64::total_cmp)
    };
    let [recall, qps, ms, unfiltered, scan] = ["recall", "qps", "ms", "unfiltered_ms", "scan_ms"].map(of);
    let beside = if question.percent() >= 10.0 { 3.0 * unfiltered } else { 1.5 * scan };
    let allowed = beside + 0.1;
    let nearest = &set.questions[question.queries()].exact;
    let matching = nearest.iter().flatten().filter(|item| question.matches.binary_search(item).is_ok()).count();
    say(json!({
        "summary": question.name(), "percent": question.percent(), "matches": question.matches.len(), "recall": recall, "qps": qps,
        "ms": ms, "unfiltered_ms": unfiltered, "scan_ms": scan, "allowed_ms": allowed, "of_allowed": ms / allowed,
        "is_held": !question.is_filtered() || (recall >= RECALL && ms <= allowed),
        // Of the nearest of all; it says how matches lie to the queries.
        "matching_nearest": matching as f64 / nearest.iter().flatten().count() as f64,
    }))
}

/// Counts the values of all fields at once, of all items and of a tenth.
async fn count(backend: &dyn CollectionBackend, set: &FilterSet) {
    let tenth = set.questions.iter().find(|question| question.percent() == 10.0).expect("a question");
    let everything: Vec<u32> = (0..set.count as u32).collect();
    let paths: Vec<_> = FACETS.iter().map(|(field, _)| parse_path(field).expect("a path")).collect();
    for (of, filter, items) in
        [("everything".to_owned(), None, &everything), (tenth.name(), tenth.filter(), &tenth.matches)]
    {
        let expected = set.facets(items, VALUES);
        let mut medians = Vec::new();
        for repeat in 1..=REPEATS {
            let mut times = Vec::new();
            for _ in 0..COUNTS {
                let (paths, filter) = (paths.clone(), filter.clone());
                let started = Instant::now();
                let reply = backend.facets(paths, filter, VALUES).await.expect("counts");
                times.push(started.elapsed());
                let found: Vec<_> = reply.facets.into_iter().map(|facet| facet.values).collect();
                assert_eq!(found, expected);
            }
            let ms = milliseconds(times);
            say(json!({"counts": of, "repeat": repeat, "ms": ms}));
            medians.push(ms);
        }
        let ms = median(medians, f64::total_cmp);
        say(
            json!({"summary": format!("counts of {of}"), "ms": ms, "allowed_ms": COUNTS_MS, "is_held": ms <= COUNTS_MS}),
        );
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().filter(|argument| argument != "--bench").collect();
    let number = |name: &str, default: usize| {
        let place = arguments.iter().position(|argument| argument == name);
        place.map_or(default, |place| arguments[place + 1].parse().expect("a number"))
    };
    let folder = PathBuf::from(arguments.get(1).expect("a folder for what is stored and asked"));
    let set = FilterSet::new(number("--count", 200_000), number("--dimension", 256));
    set.write(&folder);
    let data = tempfile::tempdir_in(&folder).expect("a folder");
    let started = Instant::now();
    store(data.path(), &set).await;
    let stored = started.elapsed().as_secs_f64();
    build(data.path(), &set);
    let built = started.elapsed().as_secs_f64() - stored;
    say(json!({"items": set.count, "dimension": set.dimension, "store_seconds": stored, "build_seconds": built}));
    // Without a pool every search runs on its own thread.
    // Records get an eleventh of what the store gets, as in a server.
    let catalog = open(data.path(), CatalogSettings { record_bytes: MEMORY as u64 / 11, ..CatalogSettings::default() });
    let backend = catalog.resolve_local(COLLECTION).expect("a collection");
    warm_up(&backend, &set);
    let mut lines: Vec<Vec<Value>> = set.questions.iter().map(|_| vec![]).collect();
    for repeat in 1..=REPEATS {
        for (question, lines) in set.questions.iter().zip(&mut lines) {
            lines.push(measure(&backend, &set, question, repeat));
        }
    }
    let summaries: Vec<Value> =
        set.questions.iter().zip(&lines).map(|(question, lines)| summary(&set, question, lines)).collect();
    std::fs::write(folder.join("pictor.json"), Value::Array(summaries).to_string()).expect("written");
    count(&*backend, &set).await;
}
