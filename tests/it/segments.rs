//! Segments under a collection: made beside writers, kept over restarts, replaced when damaged, gone with what they belong to.

use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pictor::Error;
use pictor::collection::backend::{
    Durability, IndexReport, Indexing, ItemWrite, PartVector, QueryKind, SearchParams, UpsertMode, VectorQuery,
};
use pictor::collection::schema::{FieldSource, FieldSpec, MediaOriginals};
use pictor::collection::{Catalog, CatalogSettings, GenerationSpec, NewCollection, NewField, SegmentSettings};
use pictor::index::Growth;
use pictor::index::graph::BuildSettings;
use pictor::store::{Store, StoreSettings};
use pictor::types::vector::UnitVector;
use pictor::types::{PartRef, Payload, Value};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::fixture::{Client, block_on, content_hash, filter, id};

const DIMENSION: usize = 24;
const SEAL_AT: usize = 200;

/// Segments of few vectors.
pub(crate) fn settings() -> SegmentSettings {
    let build = BuildSettings { m: 8, ef_construction: 60, ..BuildSettings::default() };
    // Nothing is joined while a test looks, unless it says so.
    let growth = Growth { seal_at: SEAL_AT, small: 50, idle: Duration::from_secs(3_600), ..Growth::default() };
    SegmentSettings { growth, build, ..SegmentSettings::default() }
}

pub(crate) fn open(folder: &Path) -> Catalog {
    open_with(folder, settings())
}

fn open_with(folder: &Path, segments: SegmentSettings) -> Catalog {
    let store =
        Store::open(folder, &StoreSettings { memory_bytes: 32 << 20, ..StoreSettings::default() }).expect("a store");
    let settings = CatalogSettings { segments, ..CatalogSettings::default() };
    Catalog::open(store, settings).expect("a catalog")
}

pub(crate) fn collection(catalog: &Catalog) -> Client {
    let source = FieldSource::Vector { dimension: DIMENSION as u32, space: String::new() };
    let field = NewField { spec: FieldSpec { name: "own".to_owned(), source }, encoder: None::<GenerationSpec> };
    let new = NewCollection {
        name: "c".to_owned(),
        fields: vec![field],
        media_originals: MediaOriginals::Keep,
        default_field: String::new(),
        expiry: None,
    };
    catalog.create(new).expect("a collection");
    Client(catalog.resolve("c").expect("a collection"))
}

fn vector(seed: u64) -> UnitVector {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    UnitVector::normalise((0..DIMENSION).map(|_| random.random::<f32>() - 0.5).collect()).expect("a direction")
}

fn write(number: u64, seed: u64) -> ItemWrite {
    let part = PartRef::vector("own", 0);
    let payload: Payload = [("n".to_owned(), Value::Int(number as i64))].into_iter().collect();
    ItemWrite {
        id: id(&format!("item-{number:05}")),
        payload,
        media: vec![],
        texts: [].into(),
        parts: vec![(part.clone(), content_hash(&seed.to_le_bytes()))],
        vectors: vec![PartVector { field: "own".to_owned(), generation: 1, part, vector: vector(seed) }],
        mode: UpsertMode::Upsert,
        indexing: Indexing::AtOnce,
        if_version: None,
    }
}

pub(crate) fn upsert(client: &Client, numbers: impl Iterator<Item = (u64, u64)>) {
    let writes: Vec<ItemWrite> = numbers.map(|(number, seed)| write(number, seed)).collect();
    for batch in writes.chunks(100) {
        client.upsert(batch.to_vec()).into_iter().for_each(|ack| assert!(ack.is_ok(), "{ack:?}"));
    }
}

fn report(client: &Client) -> IndexReport {
    client.0.stats().indexes.pop().expect("an index")
}

/// Waits until the index satisfies a condition.
pub(crate) fn wait_for(client: &Client, what: &str, is_so: impl Fn(&IndexReport) -> bool) -> IndexReport {
    let start = Instant::now();
    loop {
        let report = report(client);
        if is_so(&report) {
            return report;
        }
        assert!(start.elapsed() < Duration::from_secs(120), "{what}: {report:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn is_sealed(report: &IndexReport) -> bool {
    report.segment_bytes > 0 && (report.tail_vectors as usize) < SEAL_AT && report.self_retrieval.is_some()
}

/// True once all but the rest is in segments.
pub(crate) fn is_sealed_all(report: &IndexReport) -> bool {
    report.segments > 0 && report.tail_vectors == 0
}

fn query(seed: u64, limit: usize) -> VectorQuery {
    VectorQuery {
        kind: QueryKind::Image,
        vector: vector(seed).values,
        limit,
        min_score: None,
        exclude: vec![],
        only: None,
    }
}

/// The ids that a search gives, approximately or by every vector.
fn ids(client: &Client, seed: u64, limit: usize, exact: bool) -> Vec<String> {
    let params = SearchParams { exact, ..SearchParams::default() };
    let found = block_on(client.0.search_batch("own", 1, vec![query(seed, limit)], None, params)).expect("a search");
    assert!(found.exact || !exact, "an exact search says so");
    found.hits[0].iter().map(|hit| hit.item.id.to_string()).collect()
}

/// Every item by its number and the seed of its vector.
type Expected = std::collections::BTreeMap<u64, u64>;

/// Every item finds itself, and exact searches are those of brute force.
fn check(client: &Client, expected: &Expected) {
    assert_eq!(report(client).vectors as usize, expected.len());
    for (&number, &seed) in expected {
        assert_eq!(ids(client, seed, 1, false), [format!("item-{number:05}")]);
    }
    for seed in 1_000_000..1_000_010 {
        let query = vector(seed).values;
        let mut scored: Vec<(f32, u64)> = expected
            .iter()
            .map(|(&number, &seed)| (pictor::distance::dot(&query, &vector(seed).values), number))
            .collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let best: Vec<String> = scored.iter().take(10).map(|(_, number)| format!("item-{number:05}")).collect();
        assert_eq!(ids(client, seed, 10, true), best);
    }
}

pub(crate) fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder.join("segments")) else { return vec![] };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == ending)).collect()
}

#[test]
fn segments_are_made_beside_writers_and_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = open(folder.path());
    let client = collection(&catalog);
    let mut expected: Expected = (0..250).map(|number| (number, number)).collect();
    upsert(&client, expected.clone().into_iter());
    // Changed while the segment may be on its way: other vectors, items that go, items that come.
    upsert(&client, (0..40).map(|number| (number, number + 10_000)));
    expected.extend((0..40).map(|number| (number, number + 10_000)));
    let gone: Vec<u64> = (60..90).collect();
    block_on(client.0.delete(gone.iter().map(|number| write(*number, 0).id).collect(), None, Durability::Async))
        .expect("deletes");
    expected.retain(|number, _| !gone.contains(number));
    upsert(&client, (500..540).map(|number| (number, number)));
    expected.extend((500..540).map(|number| (number, number)));
    let sealed = wait_for(&client, "a segment", is_sealed);
    assert_eq!(sealed.self_retrieval, Some(1.0));
    check(&client, &expected);
    // And again when they are long there.
    upsert(&client, (100..140).map(|number| (number, number + 20_000)));
    expected.extend((100..140).map(|number| (number, number + 20_000)));
    check(&client, &expected);
    let local = catalog.resolve_local("c").expect("a collection");
    assert_eq!(local.verify().expect("an audit").problems, Vec::<String>::new());
    drop((local, client, catalog));

    let catalog = open(folder.path());
    let client = Client(catalog.resolve("c").expect("a collection"));
    let reopened = report(&client);
    assert!(reopened.segment_bytes > 0, "the segment is used again: {reopened:?}");
    check(&client, &expected);
    // A filter is answered by every vector that it leaves.
    let filtered = client.ids("own", query(5, 7), Some(filter("n >= 500")));
    assert_eq!(filtered.len(), 7);
    assert!(filtered.iter().all(|id| id.as_str() >= "item-00500"));
    // Growth makes new segments, and files that are not used go.
    upsert(&client, (1_000..1_400).map(|number| (number, number)));
    expected.extend((1_000..1_400).map(|number| (number, number)));
    let grown = wait_for(&client, "another segment", |report| report.tail_vectors < SEAL_AT as u64);
    check(&client, &expected);
    let start = Instant::now();
    while files(folder.path(), "segment").len() as u64 != grown.segments {
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", files(folder.path(), "segment"));
        std::thread::sleep(Duration::from_millis(10));
    }
    catalog.drop_collection("c").expect("a drop");
    assert_eq!(files(folder.path(), "segment"), Vec::<PathBuf>::new());
}

/// Writes other bytes over a part of a file.
pub(crate) fn scribble(path: &Path, at: u64, length: usize) {
    let mut file = fs::OpenOptions::new().write(true).open(path).expect("a segment");
    file.seek(SeekFrom::Start(at)).expect("a place");
    file.write_all(&vec![0xa5; length]).expect("bytes");
}

#[test]
fn damaged_segments_are_put_aside_and_built_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let expected: Expected = (0..400).map(|number| (number, number)).collect();
    let catalog = open(folder.path());
    let client = collection(&catalog);
    upsert(&client, expected.clone().into_iter());
    wait_for(&client, "a segment", is_sealed);
    drop((client, catalog));
    // In the header, in the high bytes (which begin at 4,096), in the low bytes (at 32,768).
    let mut n_damaged = 0;
    for at in [30, 5_000, 33_000] {
        let segments = files(folder.path(), "segment");
        segments.iter().for_each(|path| scribble(path, at, 8));
        n_damaged += segments.len();
        let catalog = open(folder.path());
        let client = Client(catalog.resolve("c").expect("a collection"));
        check(&client, &expected);
        wait_for(&client, "a new segment", is_sealed);
        check(&client, &expected);
        assert_eq!(files(folder.path(), "damaged").len(), n_damaged);
    }
}

/// Searches see every acknowledged write, and nothing that was deleted, while segments come and go.
#[test]
fn searches_agree_with_writes_while_segments_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = open(folder.path());
    let client = collection(&catalog);
    let rounds = if crate::support::is_verify() { 60 } else { 12 };
    let mut random = ChaCha8Rng::seed_from_u64(8);
    let mut expected = Expected::new();
    for round in 0..rounds {
        let first = round * 90;
        upsert(&client, (first..first + 90).map(|number| (number, number)));
        expected.extend((first..first + 90).map(|number| (number, number)));
        for _ in 0..20 {
            let number = random.random_range(0..first + 90);
            block_on(client.0.delete(vec![write(number, 0).id], None, Durability::Async)).expect("a delete");
            expected.remove(&number);
            let number = random.random_range(0..first + 90);
            let seed = random.random_range(2_000_000..u64::MAX);
            upsert(&client, std::iter::once((number, seed)));
            expected.insert(number, seed);
            let (&known, &seed) = expected.iter().nth(random.random_range(0..expected.len())).expect("an item");
            assert_eq!(ids(&client, seed, 1, false), [format!("item-{known:05}")], "round {round}");
        }
    }
    wait_for(&client, "a segment", is_sealed);
    check(&client, &expected);
}

#[test]
fn segments_are_joined_when_nobody_writes() {
    let folder = tempfile::tempdir().expect("a folder");
    let large = SegmentSettings { growth: Growth { seal_at: 600, ..settings().growth }, ..settings() };
    let catalog = open_with(folder.path(), large);
    let client = collection(&catalog);
    let expected: Expected = (0..850).map(|number| (number, number)).collect();
    upsert(&client, (0..600).map(|number| (number, number)));
    wait_for(&client, "a segment", |report| report.tail_vectors == 0);
    drop((client, catalog));
    // The second is too small beside the first to be joined while writes come.
    let catalog = open(folder.path());
    let client = Client(catalog.resolve("c").expect("a collection"));
    upsert(&client, (600..850).map(|number| (number, number)));
    wait_for(&client, "another segment", |report| report.segments == 2 && report.tail_vectors < 200);
    drop((client, catalog));
    let growth = Growth { idle: Duration::from_millis(50), ..settings().growth };
    let catalog = open_with(folder.path(), SegmentSettings { growth, ..settings() });
    let client = Client(catalog.resolve("c").expect("a collection"));
    wait_for(&client, "one segment", |report| report.segments == 1 && is_sealed(report));
    check(&client, &expected);
    drop((client, catalog));
    assert_eq!(files(folder.path(), "segment").len(), 1);
}

#[test]
fn deleted_vectors_leave_a_segment_when_they_are_many() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = open(folder.path());
    let client = collection(&catalog);
    let mut expected: Expected = (0..250).map(|number| (number, number)).collect();
    upsert(&client, expected.clone().into_iter());
    let made = wait_for(&client, "a segment", is_sealed);
    let mut delete = |from: u64, to: u64| {
        let ids = (from..to).map(|number| write(number, 0).id).collect();
        block_on(client.0.delete(ids, None, Durability::Async)).expect("deletes");
        expected.retain(|number, _| !(from..to).contains(number));
        check(&client, &expected);
    };
    delete(0, 30);
    assert_eq!(report(&client).deleted_vectors, 30, "a few stay where they are");
    delete(30, 80);
    let renewed = wait_for(&client, "a segment without them", |report| report.deleted_vectors == 0);
    assert!(renewed.segment_bytes < made.segment_bytes, "{made:?} {renewed:?}");
    delete(80, 250);
    wait_for(&client, "no segment", |report| report.segments == 0 && report.deleted_vectors == 0);
    drop((client, catalog));
    assert_eq!(files(folder.path(), "segment"), Vec::<PathBuf>::new());
}

#[test]
fn a_segment_that_is_damaged_while_it_is_used_is_put_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    // Segments are joined soon, whatever their sizes.
    let growth = Growth { idle: Duration::from_millis(50), ..settings().growth };
    let catalog = open_with(folder.path(), SegmentSettings { growth, ..settings() });
    let client = collection(&catalog);
    let mut expected: Expected = (0..250).map(|number| (number, number)).collect();
    upsert(&client, expected.clone().into_iter());
    wait_for(&client, "one segment", |report| report.segments == 1 && report.tail_vectors < 50 && is_sealed(report));
    files(folder.path(), "segment").iter().for_each(|path| scribble(path, 33_000, 8));
    // The next segment would take over what the damaged one holds.
    upsert(&client, (300..550).map(|number| (number, number)));
    expected.extend((300..550).map(|number| (number, number)));
    wait_for(&client, "one segment", |report| report.segments == 1 && report.tail_vectors < 50 && is_sealed(report));
    check(&client, &expected);
    assert_eq!(files(folder.path(), "damaged").len(), 1);
}

/// As on a full disk: writers are slowed and then refused, nothing is lost, and with room again all goes on.
#[test]
fn writers_are_refused_while_no_segment_can_be_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let segments = folder.path().join("segments");
    fs::write(&segments, "in the way").expect("a file");
    let retry = Duration::from_millis(200);
    let growth = Growth { seal_at: 50, ..settings().growth };
    let catalog = open_with(folder.path(), SegmentSettings { retry, growth, ..settings() });
    let client = collection(&catalog);
    let mut expected = Expected::new();
    let refused = (0..1_000).step_by(50).find_map(|first| {
        let writes = (first..first + 50).map(|number| write(number, number)).collect();
        match block_on(client.0.upsert(writes, Durability::Async)) {
            Ok(_) => expected.extend((first..first + 50).map(|number| (number, number))),
            Err(error) => return Some(error),
        }
        None
    });
    let refused = refused.expect("a limit");
    assert!(matches!(refused, Error::Overloaded { depth: 500, capacity: 500, .. }), "{refused}");
    assert!(refused.retry_after().is_some());
    check(&client, &expected);
    block_on(client.0.delete(vec![write(3, 0).id], None, Durability::Async)).expect("deletes make room");
    expected.remove(&3);
    check(&client, &expected);
    fs::remove_file(&segments).expect("room again");
    wait_for(&client, "a segment", |report| report.tail_vectors < 50);
    upsert(&client, (2_000..2_050).map(|number| (number, number)));
    expected.extend((2_000..2_050).map(|number| (number, number)));
    check(&client, &expected);
}
