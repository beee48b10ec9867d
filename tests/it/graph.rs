//! Graphs: every builder finds every vector, files that were damaged are refused, and the index agrees with a scan.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pictor::Error;
use pictor::index::graph::{
    BUILDERS, BuildSettings, GraphBuilder, NodeRoom, NodeSets, Rows, Segment, SegmentSearch, SegmentWriter, builder,
};
use pictor::index::{
    Among, Candidates, DeviceIndex, Everything, FlatIndex, IndexSearch, Neighbour, SegmentPlan, SegmentedIndex,
    Sources, VectorIndex, VectorKey,
};
use pictor::model::DeviceChoice;
use pictor::model::device::preload_cuda;
use pictor::types::vector::UnitVector;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use roaring::RoaringTreemap;

use crate::support::is_verify;

/// Rows that are long enough to have sketches; the suites of collections have short ones.
const DIMENSION: usize = 256;

/// Every third item only.
struct Third;

impl Candidates for Third {
    fn accepts(&self, item: u64) -> bool {
        item.is_multiple_of(3)
    }

    fn compare(&self, a: u64, b: u64) -> Ordering {
        a.cmp(&b)
    }
}

fn near(center: &[f32], spread: f32, random: &mut ChaCha8Rng) -> Vec<f32> {
    let values = center.iter().map(|value| value + spread * (random.random::<f32>() - 0.5)).collect();
    UnitVector::normalise(values).expect("a direction").values
}

fn anywhere(random: &mut ChaCha8Rng) -> Vec<f32> {
    near(&[0.0; DIMENSION], 1.0, random)
}

fn key(item: usize) -> VectorKey {
    VectorKey { item: item as u64, part: 0 }
}

/// Vectors in the orders that graphs are known to break on.
fn orders(n: usize, seed: u64) -> [(&'static str, Vec<Vec<f32>>); 4] {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let shuffled: Vec<Vec<f32>> = (0..n).map(|_| anywhere(&mut random)).collect();
    let mut sorted = shuffled.clone();
    sorted.sort_by(|a, b| a[0].total_cmp(&b[0]));
    // Far clusters, one after the other: links between them are few.
    let centers: Vec<Vec<f32>> = (0..n.div_ceil(100)).map(|_| anywhere(&mut random)).collect();
    let clustered = (0..n).map(|number| near(&centers[number / 100], 0.02, &mut random)).collect();
    let mut repeated: Vec<Vec<f32>> = (0..n).map(|number| shuffled[number % (n / 20)].clone()).collect();
    repeated.shuffle(&mut random);
    [("random", shuffled), ("sorted", sorted), ("clustered", clustered), ("duplicates", repeated)]
}

fn segment(path: &Path, vectors: &[Vec<f32>], builder: &dyn GraphBuilder, settings: &BuildSettings) -> Segment {
    let mut writer = SegmentWriter::new(DIMENSION, vectors.len());
    vectors.iter().enumerate().for_each(|(item, vector)| writer.push(key(item), vector));
    writer.write(path, builder, settings, &false.into()).expect("a segment").segment
}

fn search(segment: &Segment, query: &[f32], limit: usize) -> Vec<Neighbour> {
    let ef = segment.calibration().ef(0.99, limit);
    let settings = SegmentSearch { limit, ef, exact: false, pool: None, is_hidden: None, version: None };
    segment.search(query, settings, &Everything).expect("a whole file").0
}

#[test]
fn every_vector_finds_itself_in_any_order_of_insertion() {
    let folder = tempfile::tempdir().expect("a folder");
    let (n, seeds) = if is_verify() { (4_000, 20) } else { (1_500, 2) };
    for builder in BUILDERS {
        for seed in 0..seeds {
            for (order, vectors) in orders(n, seed) {
                let settings = BuildSettings { m: 8, ef_construction: 60, threads: 4, seed };
                let path = folder.path().join("found.segment");
                let segment = segment(&path, &vectors, *builder, &settings);
                for (item, vector) in vectors.iter().enumerate() {
                    let found = search(&segment, vector, 1);
                    let is_own = found.first().is_some_and(|found| vectors[found.key.item as usize] == *vector);
                    assert!(is_own, "{} {order} seed {seed}: {item} found {found:?}", builder.name());
                }
            }
        }
    }
}

#[test]
fn walks_find_what_scans_find() {
    let folder = tempfile::tempdir().expect("a folder");
    for builder in BUILDERS {
        for (order, vectors) in orders(3_000, 7) {
            let path = folder.path().join("walked.segment");
            let segment = segment(&path, &vectors, *builder, &BuildSettings { threads: 2, ..BuildSettings::default() });
            let mut exact = FlatIndex::new(DIMENSION, None);
            vectors.iter().enumerate().for_each(|(item, vector)| exact.insert(&[(key(item), vector)]));
            let (mut hits, mut wanted) = (0, 0);
            let mut random = ChaCha8Rng::seed_from_u64(3);
            for _ in 0..300 {
                let query = near(&vectors[random.random_range(0..vectors.len())], 0.05, &mut random);
                let truth = exact.search(&query, IndexSearch::exact(10), &Everything).expect("no disk").neighbours;
                let found = search(&segment, &query, 10);
                assert_eq!(found.len(), 10);
                for neighbour in &found {
                    let score = pictor::distance::dot(&query, &vectors[neighbour.key.item as usize]);
                    assert!((neighbour.score - score).abs() < 1e-5, "{} {score}", neighbour.score);
                }
                wanted += 10;
                hits += found.iter().filter(|found| found.score >= truth[9].score - 1e-5).count();
            }
            assert!(hits as f64 >= 0.98 * f64::from(wanted), "{} {order}: {hits} of {wanted}", builder.name());
        }
    }
}

#[test]
fn small_and_empty_segments_are_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let vectors: Vec<Vec<f32>> = (0..70).map(|_| anywhere(&mut random)).collect();
    for builder in BUILDERS {
        for n in [0, 1, 2, 3, 70] {
            let path = folder.path().join(format!("{}-{n}.segment", builder.name()));
            drop(segment(&path, &vectors[..n], *builder, &BuildSettings::default()));
            let segment = Segment::open(&path).expect("a segment");
            segment.verify().expect("whole rows");
            assert_eq!((segment.n_keys(), segment.n_nodes()), (n, n));
            let found = search(&segment, &vectors[69], 100);
            assert_eq!(found.len(), n, "{} {n}", builder.name());
            assert!(found.is_sorted_by(|a, b| a.score >= b.score));
        }
    }
}

#[test]
fn a_filter_is_answered_in_full() {
    let folder = tempfile::tempdir().expect("a folder");
    let [_, _, (_, vectors), _] = orders(2_000, 5);
    let segment = segment(&folder.path().join("a.segment"), &vectors, BUILDERS[0], &BuildSettings::default());
    let mut random = ChaCha8Rng::seed_from_u64(2);
    for limit in [1, 10, 300, 5_000] {
        let query = anywhere(&mut random);
        let is_hidden = |place: u32| segment.key(place).item >= 1_000;
        let settings =
            SegmentSearch { limit, ef: 40, exact: false, pool: None, is_hidden: Some(&is_hidden), version: None };
        let (found, _) = segment.search(&query, settings, &Third).expect("a whole file");
        assert_eq!(found.len(), limit.min(334));
        assert!(found.iter().all(|found| found.key.item % 3 == 0 && found.key.item < 1_000));
    }
}

#[test]
fn threads_change_nothing_of_an_exact_search() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut random = ChaCha8Rng::seed_from_u64(4);
    // More than one task's nodes, many of them alike.
    let different: Vec<Vec<f32>> = (0..17_000).map(|_| anywhere(&mut random)).collect();
    let vectors: Vec<Vec<f32>> = (0..20_000).map(|number| different[number % different.len()].clone()).collect();
    let settings = BuildSettings { m: 4, ef_construction: 8, threads: 2, seed: 0 };
    let segment = segment(&folder.path().join("a.segment"), &vectors, BUILDERS[0], &settings);
    assert_eq!((segment.n_nodes(), segment.n_keys()), (17_000, 20_000));
    // High bytes, eight links of four bytes, a term and a sketch of each row; each key.
    assert_eq!(segment.memory_bytes(), 17_000 * (256 + 8 * 4 + 12 + 64) + 20_000 * 12);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("a pool");
    for _ in 0..10 {
        let query = anywhere(&mut random);
        let search = |pool| SegmentSearch {
            limit: 30,
            ef: 1,
            exact: true,
            pool,
            is_hidden: Some(&|place| place % 7 == 0),
            version: None,
        };
        let alone = segment.search(&query, search(None), &Everything).expect("a whole file");
        assert_eq!(segment.search(&query, search(Some(&pool)), &Everything).expect("a whole file"), alone);
        assert!(alone.1);
    }
}

/// Whatever is done to a file's bytes, it is refused, or what it answers is right.
#[test]
fn damaged_files_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let [(_, vectors), ..] = orders(600, 9);
    let path = folder.path().join("whole.segment");
    let whole = segment(&path, &vectors, BUILDERS[0], &BuildSettings::default());
    let expected: Vec<Vec<Neighbour>> = vectors[..20].iter().map(|query| search(&whole, query, 5)).collect();
    let bytes = fs::read(&path).expect("a file");
    let damaged = folder.path().join("damaged.segment");
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let (mut n_refused, cases) = (0, if is_verify() { 1_000 } else { 120 });
    for case in 0..cases {
        let mut bytes = bytes.clone();
        match case % 4 {
            0 => bytes.truncate(random.random_range(0..bytes.len())),
            1 => bytes[random.random_range(0..64)] ^= 1 << (case / 4 % 8),
            _ => {
                let place = random.random_range(0..bytes.len());
                bytes[place] ^= 1 << (case / 4 % 8);
            }
        }
        fs::write(&damaged, &bytes).expect("a file");
        let answers = Segment::open(&damaged).and_then(|segment| {
            let search = |query: &Vec<f32>| {
                let settings = SegmentSearch {
                    limit: 5,
                    ef: segment.calibration().ef(0.99, 5),
                    exact: false,
                    pool: None,
                    is_hidden: None,
                    version: None,
                };
                segment.search(query, settings, &Everything).map(|found| found.0)
            };
            vectors[..20].iter().map(search).collect::<Result<Vec<_>, _>>()
        });
        match answers {
            Ok(answers) => assert_eq!(answers, expected, "case {case}"),
            Err(Error::Corruption(why)) => {
                assert!(why.contains("damaged.segment"), "{why}");
                n_refused += 1;
            }
            Err(error) => panic!("case {case}: {error}"),
        }
    }
    // The rest hit the space between sections, or low bytes of rows that no query met.
    assert!(n_refused > cases / 2, "{n_refused} of {cases}");
}

#[test]
fn builders_are_found_by_name() {
    assert_eq!(builder("insertion").expect("the default").name(), BUILDERS[0].name());
    let error = builder("annoy").err().expect("an unknown builder").to_string();
    assert!(BUILDERS.iter().all(|builder| error.contains(builder.name())), "{error}");
}

/// What an index should hold.
type Contents = BTreeMap<VectorKey, Vec<f32>>;

/// An index under random writes, with segments that are built meanwhile and put in place later.
struct Model {
    folder: PathBuf,
    index: SegmentedIndex,
    contents: Contents,
    /// A segment that was begun, and has not been put in place.
    begun: Option<Segment>,
    n_segments: u32,
    /// Filters that are asked with from the first step to the last, with the nodes that they leave; there is not room for those of all.
    filters: Vec<(RoaringTreemap, NodeSets)>,
    room: Arc<NodeRoom>,
}

/// Some items only, perhaps with their nodes kept.
struct Left<'a>(Among<'a>);

impl Candidates for Left<'_> {
    fn accepts(&self, item: u64) -> bool {
        self.0.items.contains(item)
    }

    fn among(&self) -> Option<Among<'_>> {
        Some(self.0)
    }

    fn compare(&self, a: u64, b: u64) -> Ordering {
        a.cmp(&b)
    }
}

impl Model {
    fn write(&mut self, random: &mut ChaCha8Rng) {
        let item = random.random_range(0..120);
        if random.random_bool(0.3) {
            self.index.remove(&[item, 9_999]);
            self.contents.retain(|key, _| key.item != item);
            return;
        }
        let key = VectorKey { item, part: random.random_range(0..2) };
        // Half of the vectors stand more than once.
        let vector = match self.contents.values().nth(random.random_range(0..50)) {
            Some(known) if random.random_bool(0.5) => known.clone(),
            _ => anywhere(random),
        };
        self.index.insert(&[(key, &vector)]);
        self.contents.insert(key, vector);
    }

    /// Begins a segment of the tail, of some segments, or of both.
    fn begin(&mut self, random: &mut ChaCha8Rng) {
        let segments = (0..self.index.segments().len()).filter(|_| random.random_bool(0.4)).collect();
        let plan = SegmentPlan { takes_tail: random.random_bool(0.7), segments };
        self.index.begin_segment(&plan).expect("none was begun");
        self.n_segments += 1;
        let Some(writer) = self.index.sources().and_then(Sources::collect).expect("whole files") else {
            self.index.publish(None).expect("it was begun");
            return;
        };
        let path = self.folder.join(format!("{}.segment", self.n_segments));
        let settings = BuildSettings { seed: random.random(), ..BuildSettings::default() };
        self.begun = Some(writer.write(&path, BUILDERS[0], &settings, &false.into()).expect("a segment").segment);
    }

    fn reopen(&mut self) {
        // With the files that were replaced, as after a death before they were removed.
        let files = (1..=self.n_segments).filter_map(|n| Segment::open(&self.folder.join(format!("{n}.segment"))).ok());
        let mut index = SegmentedIndex::of_segments(DIMENSION, files.collect(), 40, None);
        let mut rows = Rows::new(DIMENSION, 1);
        self.contents.iter().for_each(|(&key, vector)| index.confirm(key, vector, &mut rows));
        index.prune();
        self.index = index;
        self.begun = None;
    }

    /// Kept nodes find what nodes that are looked up anew find, however few a walk keeps.
    fn check_kept(&self, query: &[f32], step: u32) {
        for (number, (items, nodes)) in self.filters.iter().enumerate() {
            for (limit, is_exact, ef) in [(1, false, 0), (3, false, 0), (7, false, 64), (7, true, 64), (500, false, 64)]
            {
                let search = IndexSearch { exact: is_exact, ef: Some(ef), ..IndexSearch::exact(limit) };
                let find = |nodes| {
                    let found = self.index.search(query, search, &Left(Among { items, nodes }));
                    found.expect("whole files")
                };
                assert_eq!(find(Some(nodes)), find(None), "step {step}, filter {number}, limit {limit}, ef {ef}");
                assert!(self.room.used() <= self.room.most(), "step {step}: {}", self.room.used());
            }
            if nodes.take_lacking() > 0 {
                self.filters.iter().for_each(|(_, nodes)| nodes.clear());
                assert_eq!(self.room.used(), 0, "step {step}");
            }
        }
    }

    fn check(&self, random: &mut ChaCha8Rng, step: u32) {
        assert_eq!(self.index.len(), self.contents.len(), "step {step}");
        let mut rows = Rows::new(DIMENSION, 1);
        for (&key, vector) in &self.contents {
            assert!(self.index.holds(key, vector, &mut rows), "step {step}: {key:?}");
        }
        let mut exact = FlatIndex::new(DIMENSION, None);
        self.contents.iter().for_each(|(&key, vector)| exact.insert(&[(key, vector)]));
        let query = anywhere(random);
        self.check_kept(&query, step);
        for limit in [1, 7, 500] {
            let truth = exact.search(&query, IndexSearch::exact(limit), &Everything).expect("no disk").neighbours;
            for is_exact in [true, false] {
                let search = IndexSearch { exact: is_exact, ef: Some(64), ..IndexSearch::exact(limit) };
                let found = self.index.search(&query, search, &Everything).expect("whole files").neighbours;
                assert_eq!(found.len(), truth.len(), "step {step}, limit {limit}");
                for (found, truth) in found.iter().zip(&truth) {
                    assert!((found.score - truth.score).abs() < 1e-5, "step {step}: {found:?} and {truth:?}");
                }
            }
        }
    }
}

#[test]
fn an_index_of_segments_agrees_with_a_scan() {
    let folder = tempfile::tempdir().expect("a folder");
    let rounds = if is_verify() { 20 } else { 2 };
    for seed in 0..rounds {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let index = SegmentedIndex::new(DIMENSION, 40, None);
        let folder = folder.path().to_owned();
        let room = NodeRoom::new(3_000);
        let mut some = |share: f64| (0..120).filter(|_| random.random_bool(share)).collect::<RoaringTreemap>();
        let filters = [0.0, 0.1, 0.5, 0.5, 0.9].map(|share| (some(share), NodeSets::new(&room))).into();
        let contents = Contents::new();
        let mut model = Model { folder, index, contents, begun: None, n_segments: 0, filters, room };
        for step in 0..600 {
            match random.random_range(0..60) {
                0 if model.begun.is_none() => model.begin(&mut random),
                1 if model.begun.is_some() => {
                    let segment = model.begun.take().expect("it was begun");
                    model.index.publish(Some(segment)).expect("a begun segment");
                }
                2 => model.reopen(),
                3 => {
                    // What was begun has a file already, as after a death before it was put in place.
                    model.index.abandon_segment();
                    model.begun = None;
                }
                _ => model.write(&mut random),
            }
            if step % 20 == 0 {
                model.check(&mut random, step);
            }
        }
        assert!(model.n_segments > 2 && model.room.used() > 0, "seed {seed}");
    }
}

/// One suite over every index: exact searches after random writes are those of a naive scan. `PICTOR_TEST_DEVICE=cuda:0` tries the
/// device's index on a GPU.
#[test]
fn every_index_finds_what_a_naive_scan_finds() {
    let device: DeviceChoice =
        std::env::var("PICTOR_TEST_DEVICE").as_deref().unwrap_or("cpu").parse().expect("a device");
    preload_cuda(device).expect("CUDA's libraries");
    let indexes: [(&str, Box<dyn VectorIndex>); 3] = [
        ("flat", Box::new(FlatIndex::new(DIMENSION, None))),
        ("segmented", Box::new(SegmentedIndex::new(DIMENSION, 40, None))),
        ("device", Box::new(DeviceIndex::new(DIMENSION, device.resolve().expect("the device")))),
    ];
    for (name, mut index) in indexes {
        let mut random = ChaCha8Rng::seed_from_u64(6);
        let mut contents = Contents::new();
        for step in 0..300 {
            let item = random.random_range(0..60);
            if random.random_bool(0.25) {
                index.remove(&[item, 9_999]);
                contents.retain(|key, _| key.item != item);
            } else {
                let vectors: Vec<(VectorKey, Vec<f32>)> = (0..random.random_range(1..4))
                    .map(|part| match contents.values().nth(random.random_range(0..30)) {
                        // Equal vectors make equal scores.
                        Some(known) if random.random_bool(0.5) => (VectorKey { item, part }, known.clone()),
                        _ => (VectorKey { item, part }, anywhere(&mut random)),
                    })
                    .collect();
                index.insert(&vectors.iter().map(|(key, vector)| (*key, vector.as_slice())).collect::<Vec<_>>());
                contents.extend(vectors);
            }
            assert_eq!((index.len(), index.is_empty()), (contents.len(), contents.is_empty()), "{name}");
            let query = anywhere(&mut random);
            for (limit, candidates) in [(1, &Everything as &dyn Candidates), (5, &Third), (200, &Everything)] {
                let found = index.search(&query, IndexSearch::exact(limit), candidates).expect("no disk");
                assert!(found.exact, "{name}");
                let expected = naive(&contents, &query, limit, candidates);
                let items = |list: &[(f32, u64)]| list.iter().map(|(_, item)| *item).collect::<Vec<_>>();
                let got: Vec<(f32, u64)> = found.neighbours.iter().map(|found| (found.score, found.key.item)).collect();
                assert_eq!(items(&got), items(&expected), "{name} step {step}");
                assert!(got.iter().zip(&expected).all(|(a, b)| (a.0 - b.0).abs() < 1e-5), "{name} step {step}");
            }
        }
        assert!(index.bytes() > 0, "{name}");
    }
}

/// The best part of each item, the best items first, the smaller first of those that score the same.
fn naive(contents: &Contents, query: &[f32], limit: usize, candidates: &dyn Candidates) -> Vec<(f32, u64)> {
    let mut best: BTreeMap<u64, f32> = BTreeMap::new();
    for (key, vector) in contents.iter().filter(|(key, _)| candidates.accepts(key.item)) {
        let score = pictor::distance::dot(query, vector);
        let known = best.entry(key.item).or_insert(score);
        *known = known.max(score);
    }
    let mut found: Vec<(f32, u64)> = best.into_iter().map(|(item, score)| (score, item)).collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    found.truncate(limit);
    found
}

#[test]
fn only_a_begun_segment_is_put_in_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let [(_, vectors), ..] = orders(40, 1);
    let segment = segment(&folder.path().join("a.segment"), &vectors, BUILDERS[0], &BuildSettings::default());
    let mut index = SegmentedIndex::new(DIMENSION, 40, None);
    assert!(matches!(index.publish(Some(segment)), Err(Error::Internal(_))));
}
