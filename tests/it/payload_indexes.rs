//! Indexes on payloads: what they answer equals what reading every payload answers, whoever writes, dies or asks meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering as Atomic};
use std::time::Duration;

use pictor::collection::backend::{
    CollectionBackend, Durability, FilterStrategy, OrderBy, PayloadChange, PayloadWrite, SearchParams, Selection,
    VectorQuery,
};
use pictor::collection::{Catalog, LocalCollection};
use pictor::compose::Composers;
use pictor::encode::{EncodeSettings, EncoderRegistry};
use pictor::search::{EncodedPictures, GroupBy, Query, QueryContent, QueryPart, Ranking, SearchAnswer, search};
use pictor::types::filter::{Filter, Operator, Path, parse_path, values_at};
use pictor::types::payload_index::{PayloadIndexSpec, PayloadKind};
use pictor::types::{Payload, Timestamp, Value};

use crate::fixture::{Content, block_on, filter, id, item, new_collection, open, payload, query, simple};
use crate::oracle::Oracle;
use crate::random::{Random, is_verify, seed};

mod served;
mod walks;

const PATHS: [&str; 5] = ["a", "b", "c.d", "when", "text"];
const ITEMS: usize = 300;

fn spec(path: &str, kind: PayloadKind) -> PayloadIndexSpec {
    PayloadIndexSpec { path: parse_path(path).expect(path), kind }
}

/// Adds an index and fills it, as a job does.
fn create(catalog: &Catalog, spec: &PayloadIndexSpec) {
    let index = catalog.create_payload_index("c", spec, "job").expect("an index");
    let mut from = 0;
    while let Some(next) = catalog.fill_payload_index("c", index.id, from).expect("a page").next {
        from = next;
    }
    catalog.complete_payload_index("c", index.id).expect("an index");
}

fn value(random: &mut Random) -> Value {
    match random.below(9) {
        0 => Value::Int(random.below(5) as i64 - 2),
        1 => Value::Double(random.below(9) as f64 / 2.0 - 2.0),
        2 => Value::Int(i64::MAX - random.below(3) as i64),
        3 => Value::Double(9_223_372_036_854_775_807.0),
        4 => Value::Bool(random.chance(50)),
        5 => Value::Timestamp(Timestamp::new(random.below(4) as i64 - 2, random.below(2) as i32).expect("a time")),
        6 => Value::Null,
        7 => Value::String("x".repeat(510 + random.below(6)) + *random.pick(&["", "y"])),
        _ => Value::String((*random.pick(&["", "a", "ab", "abc", "b", "\u{0}", "a\u{0}b", "ä"])).to_owned()),
    }
}

fn stored_value(random: &mut Random) -> Value {
    match random.below(8) {
        0 => Value::List((0..random.below(4)).map(|_| value(random)).collect()),
        1 => Value::List(vec![Value::List(vec![value(random)]), value(random)]),
        _ => value(random),
    }
}

fn random_payload(random: &mut Random) -> Payload {
    let mut payload = Payload::new();
    for path in ["a", "b", "when", "text"] {
        if random.chance(70) {
            payload.insert(path.to_owned(), stored_value(random));
        }
    }
    let below = |random: &mut Random| Value::Map([("d".to_owned(), stored_value(random))].into());
    match random.below(4) {
        0 => _ = payload.insert("c".to_owned(), below(random)),
        1 => _ = payload.insert("c".to_owned(), Value::List(vec![below(random), Value::Int(1), below(random)])),
        2 => _ = payload.insert("c".to_owned(), value(random)),
        _ => {}
    }
    payload
}

fn random_path(random: &mut Random) -> Path {
    parse_path(random.pick::<&str>(&PATHS)).expect("a path")
}

fn random_filter(random: &mut Random, depth: usize) -> Filter {
    const OPERATORS: [Operator; 6] = [
        Operator::Equal,
        Operator::NotEqual,
        Operator::Less,
        Operator::LessOrEqual,
        Operator::Greater,
        Operator::GreaterOrEqual,
    ];
    match random.below(if depth == 0 { 5 } else { 9 }) {
        0 | 1 => Filter::Compare(random_path(random), *random.pick(&OPERATORS), value(random)),
        2 => Filter::In(random_path(random), (0..random.below(4)).map(|_| value(random)).collect()),
        3 => Filter::Exists(random_path(random)),
        4 => {
            let prefix = (*random.pick(&["", "a", "ab", "\u{0}", "ä"])).to_owned();
            let long = "x".repeat(62 + random.below(4) + 448 * random.below(2));
            Filter::Prefix(random_path(random), if random.chance(80) { prefix } else { long })
        }
        5 | 6 => Filter::Not(Box::new(random_filter(random, depth - 1))),
        7 => Filter::And((0..2 + random.below(2)).map(|_| random_filter(random, depth - 1)).collect()),
        _ => Filter::Or((0..2 + random.below(2)).map(|_| random_filter(random, depth - 1)).collect()),
    }
}

/// Everything that a filter decides, from both backends.
fn check(local: &LocalCollection, oracle: &Oracle, condition: &Filter, random: &mut Random) {
    let some = || Some(condition.clone());
    let count = block_on(oracle.count(some())).expect("a count");
    assert_eq!(block_on(local.count(some())).expect("a count"), count, "count of {condition}");

    let ids = |backend: &dyn CollectionBackend| -> Vec<String> {
        let page = block_on(backend.scroll(None, some(), 10 * ITEMS, Selection::default())).expect("a page");
        page.items.into_iter().map(|item| item.id.to_string()).collect()
    };
    assert_eq!(ids(local), ids(oracle), "scroll of {condition}");

    let asked = query(random.below(40) as u64, *random.pick(&[1, 7, 30]));
    let search = |backend: &dyn CollectionBackend, exact: bool| {
        let params = SearchParams { exact, ..SearchParams::default() };
        block_on(backend.search_batch("own", 1, vec![asked.clone()], some(), params)).expect("a search")
    };
    let hits = |reply: &pictor::collection::backend::SearchReply| -> Vec<(String, f32)> {
        reply.hits[0].iter().map(|hit| (hit.item.id.to_string(), hit.score)).collect()
    };
    let (found, expected) = (search(local, true), search(oracle, true));
    assert_eq!(hits(&found), hits(&expected), "exact search of {condition}");
    let walked = search(local, false);
    assert_eq!(walked.hits[0].len(), expected.hits[0].len(), "as many as there are, of {condition}: {:?}", walked.plan);

    let paths: Vec<Path> = (0..2).map(|_| random_path(random)).collect();
    let limit = 1 + random.below(20);
    let facets =
        |backend: &dyn CollectionBackend| block_on(backend.facets(paths.clone(), some(), limit)).expect("facets");
    let (found, expected) = (facets(local), facets(oracle));
    assert_eq!(found.items, expected.items, "facets of {condition}");
    for (found, expected) in found.facets.iter().zip(&expected.facets) {
        let counts = |facet: &pictor::collection::backend::Facet| {
            facet.values.iter().map(|(_, count)| *count).collect::<Vec<_>>()
        };
        assert_eq!(
            (counts(found), found.distinct),
            (counts(expected), expected.distinct),
            "{} of {condition}",
            found.path
        );
        for ((value, _), (wanted, _)) in found.values.iter().zip(&expected.values) {
            let is_cut = matches!(value, Value::String(text) if text.ends_with('…'));
            assert!(is_cut || value.compare(wanted) == Some(std::cmp::Ordering::Equal), "{value:?} {wanted:?}");
        }
    }
}

/// Pages of random length in the order of a number, from both backends.
fn check_order(local: &LocalCollection, oracle: &Oracle, condition: &Filter, path: &Path, random: &mut Random) {
    let order = OrderBy { path: path.clone(), is_descending: random.chance(50) };
    let scroll = |backend: &dyn CollectionBackend, after: Option<Vec<u8>>, limit: usize| {
        let page = backend.scroll_by(order.clone(), after, Some(condition.clone()), limit, Selection::default());
        block_on(page).expect("a page")
    };
    let expected = scroll(oracle, None, 10 * ITEMS).items;
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = scroll(local, after, 1 + random.below(120));
        found.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let ids = |items: &[pictor::collection::backend::StoredItem]| -> Vec<String> {
        items.iter().map(|item| item.id.to_string()).collect()
    };
    assert_eq!(ids(&found), ids(&expected), "{order:?} of {condition}");
}

/// What a query without words needs.
struct Queries {
    encoders: EncoderRegistry,
    composers: Composers,
    _models: tempfile::TempDir,
}

impl Queries {
    fn new() -> Self {
        let models = tempfile::tempdir().expect("a folder");
        let encoders = EncoderRegistry::open(models.path(), EncodeSettings::default()).expect("no models");
        Self { encoders, composers: Composers::open(models.path(), 0), _models: models }
    }

    fn ask(&self, backend: &Arc<dyn CollectionBackend>, query: Query) -> SearchAnswer {
        let pictures = EncodedPictures::default();
        block_on(search(backend, &self.encoders, &self.composers, query, (&pictures, None))).expect("an answer")
    }
}

/// Groups of hits, beside all hits put one by one to the values that they have.
fn check_groups(
    (local, queries): (&Arc<LocalCollection>, &Queries),
    oracle: &Oracle,
    condition: &Filter,
    random: &mut Random,
) {
    let (path, size, limit) = (random_path(random), 1 + random.below(3), 1 + random.below(12));
    let vector = query(random.below(40) as u64, 1).vector;
    let params = SearchParams { exact: true, select: Selection::PAYLOAD, ..SearchParams::default() };
    let everything = VectorQuery { vector: vector.clone(), limit: 10 * ITEMS, ..query(0, 1) };
    let all = block_on(oracle.search_batch("own", 1, vec![everything], Some(condition.clone()), params));
    let mut expected: Vec<(Value, Vec<String>)> = Vec::new();
    for hit in &all.expect("a search").hits[0] {
        let mut own: Vec<Value> = Vec::new();
        values_at(&hit.item.payload, &path, &mut |value| {
            let is_scalar = !matches!(value, Value::Null | Value::List(_) | Value::Map(_));
            if is_scalar && !own.iter().any(|known| known.compare(value) == Some(std::cmp::Ordering::Equal)) {
                own.push(value.clone());
            }
        });
        for value in own {
            let known = expected.iter().position(|(known, _)| known.compare(&value) == Some(std::cmp::Ordering::Equal));
            let at = known.unwrap_or_else(|| {
                expected.push((value, vec![]));
                expected.len() - 1
            });
            expected[at].1.push(hit.item.id.to_string());
        }
    }
    expected.truncate(limit);
    expected.iter_mut().for_each(|(_, ids)| ids.truncate(size));
    let backend: Arc<dyn CollectionBackend> = local.clone();
    let ranking =
        Ranking { candidates: 10 * ITEMS, group_by: Some(GroupBy { path: path.clone(), size }), ..Ranking::default() };
    let answer = queries.ask(
        &backend,
        Query {
            field: "own".to_owned(),
            parts: vec![QueryPart { content: QueryContent::Vector(vector), weight: 1.0 }],
            composer: String::new(),
            filter: Some(condition.clone()),
            limit,
            offset: 0,
            min_score: None,
            exact: true,
            exclude_reference: true,
            select: Selection::default(),
            only: None,
            ranking,
        },
    );
    let ids = |places: &[usize]| -> Vec<String> {
        places.iter().map(|&place| answer.hits[place].item.id.to_string()).collect()
    };
    let found: Vec<Vec<String>> = answer.groups.iter().map(|group| ids(&group.hits)).collect();
    let wanted: Vec<Vec<String>> = expected.iter().map(|(_, ids)| ids.clone()).collect();
    assert_eq!(found, wanted, "groups by {path} of {condition}");
    for (group, (value, _)) in answer.groups.iter().zip(&expected) {
        assert_eq!(group.value.compare(value), Some(std::cmp::Ordering::Equal), "{:?} {value:?}", group.value);
    }
}

/// 1,000 filters, 10,000 in the long form, over random payloads and random indexes.
///
/// Fails when: an index answers a comparison otherwise than the payloads do, for any operator, type, list, missing path or long text; when an
/// order or a group differs from one that is made item by item.
#[test]
fn indexes_answer_as_payloads_do() {
    let seed = seed("payload_indexes");
    let worlds = if is_verify() { 40 } else { 4 };
    let mut n_indexed = 0;
    let queries = Queries::new();
    for world in 0..worlds {
        let mut random = Random::new(seed.wrapping_add(world));
        let folder = tempfile::tempdir().expect("a folder");
        let catalog = open(folder.path());
        catalog.create(new_collection("c")).expect("a collection");
        let local = catalog.resolve_local("c").expect("a collection");
        let oracle = Oracle::new(local.schema());
        let write = |random: &mut Random, n_items: usize| {
            for _ in 0..n_items {
                let content = Content {
                    payload: random_payload(random),
                    own: vec![random.below(40) as u64],
                    ..Content::default()
                };
                let write = item(&format!("item/{}", random.below(ITEMS)), &content);
                for backend in [&*local as &dyn CollectionBackend, &oracle] {
                    block_on(backend.upsert(vec![write.clone()], Durability::Async)).expect("written");
                }
            }
        };
        let mut ordered: Vec<Path> = Vec::new();
        // Some items are there before the indexes, others come after them or are written anew.
        write(&mut random, ITEMS);
        for path in PATHS {
            for kind in PayloadKind::ALL {
                if random.chance(60) {
                    create(&catalog, &spec(path, kind));
                    n_indexed += 1;
                    // Where there is one, an order goes by numbers.
                    ordered.extend((kind == PayloadKind::Number).then(|| parse_path(path).expect("a path")));
                }
            }
        }
        write(&mut random, ITEMS);
        for number in 0..250 {
            let condition = random_filter(&mut random, 2);
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                check(&local, &oracle, &condition, &mut random);
                if !ordered.is_empty() {
                    let path = random.pick(&ordered).clone();
                    check_order(&local, &oracle, &condition, &path, &mut random);
                }
                check_groups((&local, &queries), &oracle, &condition, &mut random);
            }));
            assert!(outcome.is_ok(), "filter {number} of world {world}; repeat with PICTOR_SEED={seed}: {condition}");
        }
        assert_eq!(local.verify().expect("an audit").problems, Vec::<String>::new());
    }
    assert!(n_indexed > worlds, "indexes were there");
}

/// Fails when: a plan reads payloads that indexes answer for, or does not say which index is missing.
#[test]
fn a_plan_says_what_it_took() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = open(folder.path());
    catalog.create(new_collection("c")).expect("a collection");
    let local = catalog.resolve_local("c").expect("a collection");
    let writes = (0..200).map(|number| simple(&format!("i{number:03}"), number, number as u64 % 30)).collect();
    block_on(local.upsert(writes, Durability::Async)).expect("written");
    let plan = |text: &str| {
        let params = SearchParams::default();
        let reply = block_on(local.search_batch("own", 1, vec![query(3, 5)], Some(filter(text)), params));
        let reply = reply.expect("a search");
        (reply.plan.expect("a plan"), reply.hits[0].len())
    };
    let (before, n_hits) = plan("n < 20 and m = 1");
    assert_eq!((n_hits, before.missing.len()), (0, 2), "{before:?}");
    assert!(before.payloads_read >= 200, "{before:?}");
    create(&catalog, &spec("n", PayloadKind::Number));
    let (after, n_hits) = plan("n < 20");
    assert_eq!((n_hits, after.payloads_read, after.matches), (5, 0, Some(20)), "{after:?}");
    assert_eq!((after.strategy, after.missing), (FilterStrategy::Listed, vec![]));
    let (partly, _) = plan("n < 10 and m = 1");
    assert_eq!(partly.payloads_read, 10, "only what the index leaves: {partly:?}");
    assert_eq!(partly.missing, [(parse_path("m").expect("a path"), Some(PayloadKind::Number))]);
}

/// Every item that keeps its value is met once, while others come, go and change beside the scroll.
///
/// Fails when: a page is cut at equal values, or a cursor counts places instead of naming one.
#[test]
fn a_scroll_in_order_meets_each_stable_item_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = open(folder.path());
    catalog.create(new_collection("c")).expect("a collection");
    create(&catalog, &spec("n", PayloadKind::Number));
    let local = catalog.resolve_local("c").expect("a collection");
    // Many items share a value.
    let stable: Vec<_> = (0..400).map(|number| simple(&format!("stable/{number:03}"), number % 9, 1)).collect();
    block_on(local.upsert(stable, Durability::Async)).expect("written");
    let is_done = Arc::new(AtomicBool::new(false));
    let writer = {
        let (local, is_done) = (Arc::clone(&local), Arc::clone(&is_done));
        std::thread::spawn(move || {
            let mut random = Random::new(5);
            let mut rounds = 0;
            while !is_done.load(Atomic::Relaxed) {
                let name = format!("restless/{}", random.below(60));
                match random.below(3) {
                    0 => _ = block_on(local.delete(vec![id(&name)], None, Durability::Async)).expect("gone"),
                    1 => {
                        let set = payload(&[("n", Value::Int(random.below(9) as i64))]);
                        let change = Arc::new(PayloadChange::Merge { set, remove: vec![] });
                        let write = PayloadWrite { id: id(&name), change, if_version: None };
                        block_on(local.set_payload(vec![write], Durability::Async)).expect("written");
                    }
                    _ => {
                        let write = simple(&name, random.below(9) as i64, random.below(30) as u64);
                        block_on(local.upsert(vec![write], Durability::Async)).expect("written");
                    }
                }
                rounds += 1;
            }
            rounds
        })
    };
    for is_descending in [false, true] {
        for limit in [1, 7, 50] {
            let order = OrderBy { path: parse_path("n").expect("a path"), is_descending };
            let (mut seen, mut last, mut after) = (BTreeSet::new(), None, None);
            loop {
                let page = block_on(local.scroll_by(order.clone(), after, None, limit, Selection::PAYLOAD));
                let page = page.expect("a page");
                for item in page.items.iter().filter(|item| item.id.as_str().starts_with("stable/")) {
                    let Some(Value::Int(n)) = item.payload.get("n") else { panic!("{item:?}") };
                    assert!(seen.insert(item.id.to_string()), "{} twice", item.id);
                    let rank = if is_descending { -n } else { *n };
                    let at = (rank, item.id.to_string());
                    assert!(last.as_ref().is_none_or(|last| *last < at), "{last:?} before {at:?}");
                    last = Some(at);
                }
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            assert_eq!(seen.len(), 400, "{order:?} by {limit}");
        }
    }
    is_done.store(true, Atomic::Relaxed);
    let rounds = writer.join().expect("no panic");
    assert!(rounds > 20, "{rounds} writes beside the scrolls");
    std::thread::sleep(Duration::from_millis(1));
}
