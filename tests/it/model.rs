//! Random operations on the local backend and on the oracle, with restarts, kills, segments made and joined, snapshots taken and restored: both
//! must answer alike.
//!
//! 5,000 operations, or 200,000 with `PICTOR_VERIFY=1`; `PICTOR_OPERATIONS` says another number. `PICTOR_SEED` repeats a run.

use std::cmp::Ordering;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pictor::collection::backend::{
    BackendHit, CollectionBackend, Durability, Indexing, OrderBy, PayloadChange, PayloadWrite, QueryKind, SearchParams,
    Selection, StoredItem, UpsertMode, VectorQuery,
};
use pictor::collection::{Catalog, LocalCollection};
use pictor::types::filter::{Filter, Operator, Path};
use pictor::types::payload_index::{PayloadIndexSpec, PayloadKind};
use pictor::types::{ItemId, Payload, Result, Value};

use crate::fixture::{Content, block_on, content_hash, id, item, new_collection, open, vector_of};
use crate::oracle::{Contents, Oracle};
use crate::random::{Random, is_verify, seed};

const IDS: usize = 150;

/// Fails when the store loses or invents anything, when versions differ, when a tie is ordered by anything but the id, or when
/// a restart changes an answer.
#[test]
fn random_operations_agree_with_the_oracle() {
    let seed = seed("model");
    let chosen = std::env::var("PICTOR_OPERATIONS").ok().and_then(|number| number.parse().ok());
    let operations = chosen.unwrap_or(if is_verify() { 200_000 } else { 5_000 });
    let folder = tempfile::tempdir().expect("a folder");
    let mut run = Run::start(folder.path(), seed);
    for operation in 0..operations {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run.step(operation)));
        if outcome.is_err() {
            panic!("the backends disagree at operation {operation}; repeat with PICTOR_SEED={seed}");
        }
    }
    run.compare_everything();
    let Met { hits, wanted, walks, kills, restores, payload_indexes, bulk_writes, segments } = run.met;
    let recall = hits as f64 / wanted as f64;
    println!(
        "{operations} operations, {kills} kills, {restores} restores, {payload_indexes} payload indexes, {bulk_writes} bulk writes, {walks} walks with recall {recall:.4}, up to {segments} segments"
    );
    assert!(
        kills > 0 && restores > 0 && walks > 50 && segments > 1 && payload_indexes > 1 && bulk_writes > 1,
        "every kind of event is met"
    );
    assert!(recall > 0.97, "walks find {recall:.4}");
}

/// What a run has met.
#[derive(Default)]
struct Met {
    /// Hits of walks that belong to the best, of so many.
    hits: usize,
    wanted: usize,
    /// Searches that did not compare everything.
    walks: usize,
    kills: usize,
    restores: usize,
    payload_indexes: usize,
    bulk_writes: usize,
    /// The most of a generation.
    segments: u64,
}

struct Run<'a> {
    /// Where data folders stand, the current one and those before kills.
    base: &'a FilePath,
    folder: PathBuf,
    /// A snapshot's name, and what the oracle held then.
    snapshot: Option<(String, Contents)>,
    met: Met,
    catalog: Option<Catalog>,
    local: Arc<LocalCollection>,
    oracle: Oracle,
    random: Random,
}

impl<'a> Run<'a> {
    fn start(base: &'a FilePath, seed: u64) -> Self {
        let folder = base.join("0");
        let catalog = open(&folder);
        catalog.create(new_collection("c")).expect("a collection");
        let local = catalog.resolve_local("c").expect("a collection");
        let oracle = Oracle::new(local.schema());
        let (catalog, random) = (Some(catalog), Random::new(seed));
        Self { base, folder, snapshot: None, met: Met::default(), catalog, local, oracle, random }
    }

    fn step(&mut self, operation: usize) {
        match self.random.below(1000) {
            0..350 => self.upsert(),
            350..470 => self.delete(),
            470..580 => self.set_payload(),
            580..650 => self.get(),
            650..720 => self.scroll(),
            720..760 => self.count(),
            760..900 => self.search(),
            900..980 => self.walk(),
            980..985 => self.facets(),
            985..989 => self.scroll_by(),
            989..992 => self.change_payload_index(),
            992..995 => self.reopen(),
            995..997 => self.kill(),
            997..999 => self.take_snapshot(),
            _ => self.restore(),
        }
        if operation.is_multiple_of(1000) {
            self.compare_everything();
        }
    }

    fn upsert(&mut self) {
        let count = 1 + self.random.below(6);
        let is_bulk = self.random.chance(6);
        self.met.bulk_writes += usize::from(is_bulk);
        let mut writes = Vec::new();
        for _ in 0..count {
            let name = self.name();
            let mut write = item(&name, &self.content());
            write.mode =
                *self.random.pick(&[UpsertMode::Upsert, UpsertMode::Upsert, UpsertMode::Insert, UpsertMode::Update]);
            write.if_version = self.if_version(&write.id);
            if is_bulk {
                write.indexing = Indexing::Deferred;
            }
            writes.push(write);
        }
        let durability = self.durability();
        let expected = block_on(self.oracle.upsert(writes.clone(), durability));
        assert_eq!(block_on(self.local.upsert(writes, durability)), expected);
    }

    fn delete(&mut self) {
        let count = 1 + self.random.below(4);
        let ids: Vec<ItemId> = (0..count).map(|_| id(&self.name())).collect();
        let only_if = if self.random.chance(30) { self.condition() } else { None };
        let durability = self.durability();
        let expected = block_on(self.oracle.delete(ids.clone(), only_if.clone(), durability));
        assert_eq!(block_on(self.local.delete(ids, only_if, durability)), expected);
    }

    fn set_payload(&mut self) {
        let count = 1 + self.random.below(4);
        let mut writes = Vec::new();
        for _ in 0..count {
            let id = id(&self.name());
            let change = match self.random.chance(50) {
                true => PayloadChange::Replace(self.payload()),
                false => {
                    PayloadChange::Merge { set: self.payload(), remove: vec![self.random.pick(&KEYS).to_string()] }
                }
            };
            let if_version = self.if_version(&id);
            writes.push(PayloadWrite { id, change: Arc::new(change), if_version });
        }
        let durability = self.durability();
        let expected = block_on(self.oracle.set_payload(writes.clone(), durability));
        assert_eq!(block_on(self.local.set_payload(writes, durability)), expected);
    }

    fn get(&mut self) {
        let ids: Vec<ItemId> = (0..5).map(|_| id(&self.name())).collect();
        let select = self.selection();
        assert_eq!(block_on(self.local.get(ids.clone(), select)), block_on(self.oracle.get(ids, select)));
    }

    fn scroll(&mut self) {
        let after = self.random.chance(70).then(|| id(&self.name()));
        let (condition, limit, select) = (self.condition(), 1 + self.random.below(40), self.selection());
        let expected = block_on(self.oracle.scroll(after.clone(), condition.clone(), limit, select)).expect("a page");
        let found = block_on(self.local.scroll(after, condition, limit, select)).expect("a page");
        assert_eq!((found.items, found.next), (expected.items, expected.next));
    }

    fn count(&mut self) {
        let condition = self.condition();
        assert_eq!(block_on(self.local.count(condition.clone())), block_on(self.oracle.count(condition)));
    }

    /// Waits until searches find what was written in bulk.
    fn settle(&self) {
        while self.local.stats().indexes.iter().any(|index| index.deferred_vectors > 0) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn search(&mut self) {
        self.settle();
        let queries: Vec<VectorQuery> = (0..1 + self.random.below(2))
            .map(|_| VectorQuery {
                kind: QueryKind::default(),
                vector: vector_of(&content_hash(&self.random.below(9).to_le_bytes())).values,
                limit: *self.random.pick(&[1, 2, 5, 10, 200]),
                min_score: self.random.chance(20).then(|| *self.random.pick(&[-0.5, 0.25, 0.5, 1.0])),
                exclude: (0..self.random.below(3)).map(|_| id(&self.name())).collect(),
                only: None,
            })
            .collect();
        let field = *self.random.pick(&["image", "text", "own"]);
        let params = SearchParams { exact: true, select: self.selection(), ..SearchParams::default() };
        let condition = self.condition();
        let expected = block_on(self.oracle.search_batch(field, 1, queries.clone(), condition.clone(), params.clone()));
        let expected = expected.expect("a search").hits;
        let short = |hits: &[Vec<BackendHit>]| -> Vec<Vec<String>> {
            let hit = |hit: &BackendHit| format!("{} {} {:?}", hit.item.id, hit.score, hit.part);
            hits.iter().map(|list| list.iter().map(hit).collect()).collect()
        };
        // What a filter leaves is kept: its nodes from the second question on, which the third finds.
        for question in 1..=3 {
            let found = self.local.search_batch(field, 1, queries.clone(), condition.clone(), params.clone());
            let found = block_on(found).expect("a search").hits;
            assert_eq!(short(&found), short(&expected), "{field}, question {question}");
            assert_eq!(found, expected);
        }
    }

    fn facets(&mut self) {
        let paths: Vec<Path> = (0..1 + self.random.below(3)).map(|_| self.path()).collect();
        let (condition, limit) = (self.condition(), 1 + self.random.below(6));
        let expected = block_on(self.oracle.facets(paths.clone(), condition.clone(), limit)).expect("facets");
        let found = block_on(self.local.facets(paths, condition, limit)).expect("facets");
        assert_eq!(found.items, expected.items);
        for (found, expected) in found.facets.iter().zip(&expected.facets) {
            assert_eq!(
                (&found.path, found.distinct, found.values.len()),
                (&expected.path, expected.distinct, expected.values.len())
            );
            for ((value, count), (wanted, wanted_count)) in found.values.iter().zip(&expected.values) {
                assert_eq!((value.compare(wanted), count), (Some(Ordering::Equal), wanted_count), "{}", found.path);
            }
        }
    }

    /// Every page of a scroll in the order of a value that has an index.
    fn scroll_by(&mut self) {
        let schema = self.local.schema();
        let Some(index) = schema.payload_indexes.iter().find(|index| index.spec.kind == PayloadKind::Number) else {
            return;
        };
        let order = OrderBy { path: index.spec.path.clone(), is_descending: self.random.chance(50) };
        let (condition, limit, select) = (self.condition(), 1 + self.random.below(40), self.selection());
        let (mut at, mut at_oracle) = (None, None);
        loop {
            let page = |backend: &dyn CollectionBackend, after| {
                block_on(backend.scroll_by(order.clone(), after, condition.clone(), limit, select)).expect("a page")
            };
            let (found, expected) = (page(&*self.local, at), page(&self.oracle, at_oracle));
            let ids = |items: &[StoredItem]| items.iter().map(|item| item.id.as_str().to_owned()).collect::<Vec<_>>();
            assert_eq!(ids(&found.items), ids(&expected.items), "{order:?}");
            assert_eq!((found.items, found.next.is_some()), (expected.items, expected.next.is_some()));
            if found.next.is_none() {
                return;
            }
            (at, at_oracle) = (found.next, expected.next);
        }
    }

    /// Adds an index on payloads beside the items, perhaps in the middle of other work, or drops one.
    fn change_payload_index(&mut self) {
        let spec = PayloadIndexSpec { path: self.path(), kind: *self.random.pick(&PayloadKind::ALL) };
        let catalog = self.catalog.as_ref().expect("open");
        let known = self.local.schema().payload_indexes.iter().any(|index| index.spec == spec);
        if known {
            catalog.drop_payload_index("c", &spec).expect("an index");
            return;
        }
        let index = catalog.create_payload_index("c", &spec, "job").expect("an index");
        let mut from = 0;
        while let Some(next) = catalog.fill_payload_index("c", index.id, from).expect("a page").next {
            from = next;
        }
        catalog.complete_payload_index("c", index.id).expect("an index");
        self.met.payload_indexes += 1;
    }

    /// A search that walks graphs where there are any.
    fn walk(&mut self) {
        self.settle();
        let query = VectorQuery {
            kind: QueryKind::default(),
            vector: vector_of(&content_hash(&self.random.below(60).to_le_bytes())).values,
            limit: 10,
            min_score: None,
            exclude: vec![],
            only: None,
        };
        let field = *self.random.pick(&["image", "text", "own"]);
        let search = |backend: &dyn CollectionBackend| {
            let reply = backend.search_batch(field, 1, vec![query.clone()], None, SearchParams::default());
            block_on(reply).expect("a search")
        };
        let (found, expected) = (search(&*self.local), search(&self.oracle));
        let (hits, best) = (&found.hits[0], &expected.hits[0]);
        assert_eq!(hits.len(), best.len(), "as many as there are");
        let least = best.last().map_or(0.0, |hit| hit.score) - 1e-5;
        self.met.hits += hits.iter().filter(|hit| hit.score >= least).count();
        self.met.wanted += best.len();
        self.met.walks += usize::from(!found.exact);
        let segments = self.local.stats().indexes.into_iter().map(|index| index.segments).max();
        self.met.segments = self.met.segments.max(segments.unwrap_or(0));
    }

    fn reopen(&mut self) {
        self.close();
        self.open();
    }

    /// Goes on with the files as they are while the store is open, which is what a kill leaves.
    fn kill(&mut self) {
        self.met.kills += 1;
        let copy = self.base.join(self.met.kills.to_string());
        copy_at_rest(&self.folder, &copy);
        self.close();
        std::fs::remove_dir_all(&self.folder).expect("a folder");
        self.folder = copy;
        self.open();
    }

    fn take_snapshot(&mut self) {
        let store = self.catalog.as_ref().expect("an open catalog").store();
        if let Some((name, _)) = self.snapshot.take() {
            store.delete_snapshot(&name).expect("a snapshot");
        }
        let name = store.create_snapshot().expect("a snapshot").name;
        self.snapshot = Some((name, self.oracle.save()));
    }

    fn restore(&mut self) {
        let Some((name, contents)) = self.snapshot.clone() else { return };
        self.catalog.as_ref().expect("an open catalog").store().stage_snapshot(&name).expect("a whole snapshot");
        self.reopen();
        self.oracle.restore(contents);
        self.met.restores += 1;
        self.compare_everything();
    }

    fn close(&mut self) {
        self.catalog = None;
        // The last handle closes the store; a placeholder takes its place until the folder is open again.
        let placeholder = tempfile::tempdir().expect("a folder");
        let other = open(placeholder.path());
        other.create(new_collection("c")).expect("a collection");
        self.local = other.resolve_local("c").expect("a collection");
    }

    fn open(&mut self) {
        let catalog = open(&self.folder);
        self.local = catalog.resolve_local("c").expect("a collection");
        self.catalog = Some(catalog);
    }

    fn compare_everything(&self) {
        let all = |backend: &dyn CollectionBackend| block_on(backend.scroll(None, None, 10 * IDS, Selection::ALL));
        let (found, expected) = (all(&*self.local), all(&self.oracle));
        assert_eq!(found.expect("a page").items, expected.expect("a page").items);
        let (found, expected) = (self.local.stats(), self.oracle.stats());
        assert_eq!((found.items, found.version, found.vectors), (expected.items, expected.version, expected.vectors));
        assert_eq!(self.local.verify().expect("an audit").problems, Vec::<String>::new());
    }

    fn name(&mut self) -> String {
        format!("item/{}", self.random.below(IDS))
    }

    fn durability(&mut self) -> Durability {
        if self.random.chance(5) { Durability::Sync } else { Durability::Async }
    }

    fn if_version(&mut self, id: &ItemId) -> Option<u64> {
        match self.random.below(10) {
            0 => Some(0),
            1 => Some(1),
            2 => {
                let found = block_on(self.oracle.get(vec![id.clone()], Selection::default())).expect("a get");
                Some(found[0].as_ref().map_or(0, |item| item.version))
            }
            _ => None,
        }
    }

    fn selection(&mut self) -> Selection {
        let mut coin = || self.random.chance(50);
        Selection { payload: coin(), texts: coin(), media: coin(), media_data: coin(), vectors: coin() }
    }

    /// Contents from a small pool, so that unchanged items and shared pictures are common.
    fn content(&mut self) -> Content {
        let media = (0..self.random.below(3)).map(|_| {
            let picture = self.random.below(12);
            (format!("{}.png", self.random.below(2)), vec![picture as u8; 1 + picture * 700])
        });
        let media = media.collect();
        let mut texts = std::collections::BTreeMap::new();
        for name in ["title", "keywords"] {
            let chunks: Vec<String> =
                (0..self.random.below(3)).map(|_| format!("text {}", self.random.below(9))).collect();
            if !chunks.is_empty() {
                texts.insert(name.to_owned(), chunks);
            }
        }
        let own = (0..self.random.below(3)).map(|_| self.random.below(9) as u64).collect();
        Content { payload: self.payload(), media, texts, own }
    }

    fn payload(&mut self) -> Payload {
        let count = self.random.below(3);
        (0..count).map(|_| (self.random.pick(&KEYS).to_string(), self.value())).collect()
    }

    fn value(&mut self) -> Value {
        match self.random.below(6) {
            0 | 1 => Value::Int(self.random.below(4) as i64),
            2 => Value::Double(self.random.below(8) as f64 / 2.0),
            3 => Value::List(vec![Value::Int(self.random.below(4) as i64), Value::String("b".to_owned())]),
            4 => Value::Null,
            _ => Value::String(self.random.pick(&["a", "b", "bc"]).to_string()),
        }
    }

    fn path(&mut self) -> Path {
        Path::new(vec![self.random.pick(&KEYS).to_string()]).expect("a path")
    }

    fn condition(&mut self) -> Option<Filter> {
        self.random.chance(60).then(|| self.filter(2))
    }

    fn filter(&mut self, depth: usize) -> Filter {
        let path = self.path();
        let scalar = |run: &mut Self| match run.value() {
            Value::List(_) => Value::Bool(true),
            other => other,
        };
        match self.random.below(if depth == 0 { 4 } else { 7 }) {
            0 | 1 => {
                let operators = [
                    Operator::Equal,
                    Operator::NotEqual,
                    Operator::Less,
                    Operator::LessOrEqual,
                    Operator::Greater,
                    Operator::GreaterOrEqual,
                ];
                Filter::Compare(path, *self.random.pick(&operators), scalar(self))
            }
            2 => Filter::In(path, vec![scalar(self), scalar(self)]),
            3 => match self.random.chance(50) {
                true => Filter::Exists(path),
                false => Filter::Prefix(path, "b".to_owned()),
            },
            4 => Filter::And(vec![self.filter(depth - 1), self.filter(depth - 1)]),
            5 => Filter::Or(vec![self.filter(depth - 1), self.filter(depth - 1)]),
            _ => Filter::Not(Box::new(self.filter(depth - 1))),
        }
    }
}

/// Copies a folder at a moment at which nothing in it changes.
pub(crate) fn copy_at_rest(from: &FilePath, to: &FilePath) {
    let look = || {
        let mut found: Vec<(PathBuf, u64, Option<SystemTime>)> = Vec::new();
        let mut folders = vec![from.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let Ok(about) = entry.metadata() else { continue };
                match about.is_dir() {
                    true => folders.push(entry.path()),
                    false => found.push((entry.path(), about.len(), about.modified().ok())),
                }
            }
        }
        found.sort();
        found
    };
    loop {
        let _ = std::fs::remove_dir_all(to);
        let before = look();
        let copied = before.iter().try_for_each(|(path, ..)| {
            let target = to.join(path.strip_prefix(from).expect("a path below"));
            std::fs::create_dir_all(target.parent().expect("a folder"))?;
            std::fs::copy(path, target).map(drop)
        });
        if copied.is_ok() && look() == before {
            return;
        }
    }
}

const KEYS: [&str; 3] = ["n", "s", "tags"];

/// The oracle itself can be wrong: it must notice a lost write.
#[test]
fn the_comparison_notices_a_lost_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = Run::start(folder.path(), 1);
    let write = item("item/1", &Content { own: vec![1], ..Content::default() });
    let ack: Result<Vec<_>> = block_on(run.oracle.upsert(vec![write], Durability::Async));
    assert!(ack.is_ok());
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run.compare_everything()));
    assert!(outcome.is_err(), "only one backend has the item");
}
