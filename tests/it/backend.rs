//! One behaviour suite over every backend, and what only the local one must show.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pictor::collection::CollectionBackend;
use pictor::collection::backend::{Durability, PayloadChange, PayloadWrite, Selection, UpsertMode, VectorQuery};
use pictor::types::{Error, Payload, Value};

use crate::fixture::{Client, Content, block_on, filter, id, item, new_collection, open, payload, query, simple};
use crate::oracle::Oracle;
use crate::random::{Random, seed};

/// Runs a check over the oracle and over the local backend; what it returns must be equal.
fn for_each_backend<T: PartialEq + std::fmt::Debug>(check: impl Fn(&Client) -> T) {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = open(folder.path());
    catalog.create(new_collection("c")).expect("a collection");
    let local = catalog.resolve("c").expect("a collection");
    let oracle: Arc<dyn CollectionBackend> = Arc::new(Oracle::new(local.schema()));
    let expected = check(&Client(oracle));
    assert_eq!(check(&Client(local)), expected);
    let report = catalog.resolve_local("c").expect("a collection").verify().expect("an audit");
    assert_eq!(report.problems, Vec::<String>::new());
}

fn ack(version: u64, outcome: &str) -> Result<(u64, String), Error> {
    Ok((version, outcome.to_owned()))
}

#[test]
fn upserts_answer_per_item_and_in_order() {
    for_each_backend(|client| {
        let with_mode = |mode, write: pictor::collection::backend::ItemWrite| pictor::collection::backend::ItemWrite {
            mode,
            ..write
        };
        let expecting = |version, write: pictor::collection::backend::ItemWrite| {
            pictor::collection::backend::ItemWrite { if_version: Some(version), ..write }
        };
        let acks = client.upsert(vec![
            simple("a", 1, 1),
            simple("a", 1, 1),
            simple("a", 2, 1),
            with_mode(UpsertMode::Insert, simple("a", 3, 1)),
            with_mode(UpsertMode::Update, simple("b", 1, 1)),
            with_mode(UpsertMode::Insert, simple("b", 1, 2)),
            expecting(2, simple("a", 4, 4)),
            expecting(2, simple("a", 5, 5)),
            expecting(0, simple("c", 1, 1)),
            expecting(0, simple("c", 2, 2)),
        ]);
        let exists = Error::AlreadyExists { kind: "item", name: "a".to_owned() };
        let missing = Error::NotFound { kind: "item", name: "b".to_owned() };
        let stale = |id: &str, expected, found| Err(Error::VersionMismatch { id: id.to_owned(), expected, found });
        let expected = [
            ack(1, "Created"),
            ack(1, "Unchanged"),
            ack(2, "Updated"),
            Err(exists),
            Err(missing),
            ack(3, "Created"),
            ack(4, "Updated"),
            stale("a", 2, 4),
            ack(5, "Created"),
            stale("c", 0, 5),
        ];
        assert_eq!(acks, expected);
        assert_eq!(client.0.stats().items, 3);
    });
}

#[test]
fn a_bad_item_never_harms_its_neighbours() {
    for_each_backend(|client| {
        let mut bad = simple("bad", 1, 1);
        bad.payload.insert(String::new(), Value::Null);
        let acks = client.upsert(vec![simple("a", 1, 1), bad, simple("b", 1, 1)]);
        assert_eq!(acks.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
        assert_eq!(client.ids("own", query(1, 9), None), ["a", "b"]);
    });
}

#[test]
fn deletes_have_versions_and_are_final() {
    for_each_backend(|client| {
        client.upsert(vec![simple("a", 1, 1), simple("b", 1, 1)]);
        let deleted =
            block_on(client.0.delete(vec![id("a"), id("x"), id("a")], None, Durability::Sync)).expect("a delete");
        assert_eq!(deleted, [Some(3), None, None]);
        assert_eq!(client.ids("own", query(1, 9), None), ["b"]);
        assert_eq!(client.upsert(vec![simple("a", 1, 1)]), [ack(4, "Created")]);
        assert_eq!(block_on(client.0.get(vec![id("x")], Selection::ALL)), Ok(vec![None]));
    });
}

#[test]
fn payloads_change_without_touching_vectors() {
    for_each_backend(|client| {
        client.upsert(vec![simple("a", 1, 1)]);
        let set = |change, if_version| {
            let write = PayloadWrite { id: id("a"), change: Arc::new(change), if_version };
            block_on(client.0.set_payload(vec![write], Durability::Async)).expect("a call").remove(0)
        };
        let merge = |remove: &[&str]| PayloadChange::Merge {
            set: payload(&[("s", Value::String("x".to_owned()))]),
            remove: remove.iter().map(|key| (*key).to_owned()).collect(),
        };
        assert_eq!(set(merge(&[]), Some(1)).expect("an ack").version, 2);
        assert_eq!(set(merge(&[]), None).expect("an ack").version, 2);
        assert_eq!(set(merge(&["n", "s"]), Some(1)).expect_err("a mismatch").reason(), "VERSION_MISMATCH");
        assert_eq!(set(merge(&["n", "s"]), Some(2)).expect("an ack").version, 3);
        let found = block_on(client.0.get(vec![id("a")], Selection::ALL)).expect("a get").remove(0).expect("an item");
        assert_eq!(found.payload, payload(&[("s", Value::String("x".to_owned()))]));
        assert_eq!(found.vectors.len(), 1);
        let large = payload(&[("k", Value::String("x".repeat(40_000)))]);
        assert_eq!(set(PayloadChange::Replace(large), None).expect("an ack").version, 4);
        let larger = PayloadChange::Merge { set: payload(&[("l", Value::String("x".repeat(40_000)))]), remove: vec![] };
        assert_eq!(set(larger, None).expect_err("too large").reason(), "LIMIT_EXCEEDED");
        assert_eq!(set(PayloadChange::Replace(Payload::new()), None).expect("an ack").version, 5);
        assert_eq!(client.ids("own", query(1, 9), None), ["a"]);
        let missing = PayloadWrite { id: id("x"), change: Arc::new(merge(&[])), if_version: None };
        let outcome = block_on(client.0.set_payload(vec![missing], Durability::Async)).expect("a call").remove(0);
        assert_eq!(outcome.expect_err("missing").reason(), "NOT_FOUND");
    });
}

#[test]
fn reads_return_what_was_selected() {
    let content = Content {
        payload: payload(&[("n", Value::Int(1))]),
        media: vec![("p".to_owned(), vec![7; 9000]), ("q".to_owned(), vec![1])],
        texts: [("t".to_owned(), vec!["one".to_owned(), "two".to_owned()])].into(),
        own: vec![5],
    };
    for_each_backend(|client| {
        client.upsert(vec![item("a", &content)]);
        let get = |select| block_on(client.0.get(vec![id("a")], select)).expect("a get").remove(0).expect("an item");
        let all = get(Selection::ALL);
        assert_eq!(all.media[0].data.as_deref(), Some([7; 9000].as_slice()));
        assert_eq!((all.texts["t"].len(), all.vectors.len(), all.parts.len()), (2, 5, 5));
        assert_eq!(all.vectors[0].vector.norm, 2.0);
        let none = get(Selection::default());
        assert!(none.payload.is_empty() && none.media.is_empty() && none.texts.is_empty() && none.vectors.is_empty());
        let media = get(Selection { media: true, ..Selection::default() });
        assert_eq!((media.media.len(), &media.media[1].data), (2, &None));
        assert_eq!(get(Selection::PAYLOAD).payload, content.payload);
    });
}

#[test]
fn a_hit_names_the_best_part_and_ties_stand_by_id() {
    for_each_backend(|client| {
        let own = |name: &str, seeds: &[u64]| item(name, &Content { own: seeds.to_vec(), ..Content::default() });
        client.upsert(vec![own("c", &[1]), own("b", &[2, 1, 1]), own("a", &[1]), own("z", &[3]), own("empty", &[])]);
        let reply = client.search("own", vec![query(1, 3), query(1, 100)], None);
        let hits = |list: usize| -> Vec<(String, u32)> {
            reply.hits[list].iter().map(|hit| (hit.item.id.to_string(), hit.part.index)).collect()
        };
        let expected = [("a".to_owned(), 0), ("b".to_owned(), 1), ("c".to_owned(), 0)];
        assert_eq!(hits(0), expected);
        assert_eq!(hits(1)[..3], expected);
        assert_eq!(hits(1).len(), 4, "an item without vectors is not found");
        let picky = VectorQuery { min_score: Some(1.0), exclude: vec![id("b")], ..query(1, 9) };
        assert_eq!(client.ids("own", picky, None), ["a", "c"]);
    });
}

#[test]
fn scrolls_are_stable_under_writes() {
    for_each_backend(|client| {
        client.upsert((0..50).map(|n| simple(&format!("{n:02}"), n, 1)).collect());
        let wanted = filter("n >= 10");
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let page = block_on(client.0.scroll(after, Some(wanted.clone()), 7, Selection::default())).expect("a page");
            assert!(page.items.len() <= 7);
            seen.extend(page.items.into_iter().map(|item| item.id.to_string()));
            client.upsert(vec![simple(&format!("0{}", seen.len()), 99, 3), simple(&format!("x{}", seen.len()), 1, 1)]);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let expected: Vec<String> = (10..50).map(|n| format!("{n:02}")).collect();
        seen.retain(|id| expected.contains(id));
        assert_eq!(seen, expected);
    });
}

#[test]
fn filters_of_any_width_give_all_hits() {
    for_each_backend(|client| {
        let writes =
            |range: std::ops::Range<i64>| range.map(|n| simple(&format!("{n:05}"), n, n as u64 % 300)).collect();
        client.upsert(writes(0..2000));
        client.upsert(writes(2000..4000));
        let mut answers = Vec::new();
        for (text, count) in
            [("n >= 0", 4000), ("n < 2000", 2000), ("n in [5, 3999]", 2), ("n < 40", 40), ("n = -1", 0)]
        {
            assert_eq!(block_on(client.0.count(Some(filter(text)))), Ok(count));
            for limit in [1, 10, 100, 5000] {
                let hits = client.ids("own", query(7, limit), Some(filter(text)));
                assert_eq!(hits.len() as u64, count.min(limit as u64), "{text} limit {limit}");
                answers.push(hits);
            }
        }
        let batch = client.search("own", vec![query(1, 5), query(2, 2000)], Some(filter("n < 1500")));
        assert_eq!(batch.hits.iter().map(Vec::len).collect::<Vec<_>>(), [5, 1500]);
        let mistyped = client.search("own", vec![query(1, 5)], Some(filter(r#"n = "1""#)));
        assert_eq!((mistyped.hits[0].len(), mistyped.mismatches.warnings().len()), (0, 1));
        answers
    });
}

#[test]
fn unknown_names_are_errors() {
    for_each_backend(|client| {
        let search = |field: &str| {
            let params = pictor::collection::backend::SearchParams::default();
            block_on(client.0.search_batch(field, 1, vec![query(1, 1)], None, params))
        };
        assert_eq!(search("nope").expect_err("no field").reason(), "NOT_FOUND");
        assert!(search("").is_ok(), "an empty name means the default field");
    });
}

/// Every write sets payload and vector to the same number; a hit that shows two numbers is half old and half new.
///
/// Fails when a read that met a write on its way is not repeated.
#[test]
fn no_hit_is_half_old_and_half_new() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = open(folder.path());
    catalog.create(new_collection("c")).expect("a collection");
    let client = Client(catalog.resolve("c").expect("a collection"));
    let mut random = Random::new(seed("no_hit_is_half_old_and_half_new"));
    const ITEMS: usize = 1200;
    let write = |name: usize, number: u64| simple(&format!("{name:04}"), number as i64, number);
    client.upsert((0..ITEMS).map(|name| write(name, 0)).collect());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also when the reader panics, or the writers would go on forever.
        let _stop_at_the_end = StopAtTheEnd(&stop);
        for thread in 0..2 {
            let (client, stop) = (&client, &stop);
            let mut random = Random::new(random.next());
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let number = random.below(5) as u64;
                    let names: Vec<usize> = (0..40).map(|_| random.below(ITEMS / 2) * 2 + thread).collect();
                    client.upsert(names.into_iter().map(|name| write(name, number)).collect());
                }
            });
        }
        for round in 0..1500 {
            let number = random.below(5) as u64;
            let wanted = query(number, 20);
            let is_filtered = round % 2 == 0;
            let condition = is_filtered.then(|| filter(&format!("n = {number}")));
            let reply = client.search("own", vec![wanted.clone()], condition);
            for hit in &reply.hits[0] {
                let Some(Value::Int(found)) = hit.item.payload.get("n") else { panic!("a payload without number") };
                let of_payload = query(*found as u64, 1).vector;
                let expected: f32 = of_payload.iter().zip(&wanted.vector).map(|(a, b)| a * b).sum();
                assert_eq!(hit.score, expected, "round {round}: the payload says {found}");
                assert_eq!(hit.item.vectors[0].vector.values, of_payload, "round {round}");
                assert!(!is_filtered || *found as u64 == number, "round {round}: a hit beside the filter");
            }
        }
    });
    let report = catalog.resolve_local("c").expect("a collection").verify().expect("an audit");
    assert_eq!(report.problems, Vec::<String>::new());
}

struct StopAtTheEnd<'a>(&'a AtomicBool);

impl Drop for StopAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
