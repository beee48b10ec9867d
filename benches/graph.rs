//! The graph index of one set of vectors: how long it takes to build, and queries a second by recall on one thread.
//!
//! `graph.py` writes the sets, runs the peers on the same numbers and calls this: FOLDER SET BUILDER M EF_CONSTRUCTION REPEATS.

use std::path::{Path, PathBuf};
use std::time::Instant;

use pictor::index::graph::{BuildSettings, Segment, SegmentSearch, SegmentWriter, builder};
use pictor::index::{Everything, VectorKey};
use serde_json::{Value, json};

const LIMIT: usize = 10;
const EF: [usize; 14] = [10, 12, 14, 16, 20, 24, 32, 40, 48, 64, 96, 128, 200, 400];

fn floats(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).expect("graph.py has written the set");
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// Memory of this process in bytes: all that is resident, and what is not a file's.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    (of("VmRSS:"), of("RssAnon:"))
}

fn main() {
    let arguments: Vec<String> = std::env::args().filter(|argument| argument != "--bench").collect();
    let [_, folder, set, name, m, ef_construction, repeats] = &arguments[..] else {
        panic!("expected FOLDER SET BUILDER M EF_CONSTRUCTION REPEATS; benches/run.sh graph calls this");
    };
    let number = |text: &String| text.parse::<usize>().expect("a number");
    let (folder, m, ef_construction) = (PathBuf::from(folder), number(m), number(ef_construction));
    let of = |what: &str| floats(&folder.join(format!("{set}.{what}.f32")));
    let (queries, tenths) = (of("queries"), of("tenths"));
    let dimension = queries.len() / tenths.len();
    let path = folder.join(format!("{set}-{name}-{m}-{ef_construction}.segment"));
    let say = |mut line: Value, index: &str| {
        line["index"] = json!(index);
        line["set"] = json!(set);
        println!("{line}");
    };
    let index = format!("pictor {name} m={m} efc={ef_construction}");
    if !path.exists() {
        let base = of("base");
        let started = Instant::now();
        let mut writer = SegmentWriter::new(dimension, base.len() / dimension);
        for (item, vector) in (0..).zip(base.chunks(dimension)) {
            writer.push(VectorKey { item, part: 0 }, vector);
        }
        let settings = BuildSettings { m, ef_construction, threads: 2, seed: 0 };
        let written =
            writer.write(&path, builder(name).expect("a builder"), &settings, &false.into()).expect("a segment");
        let seconds = started.elapsed().as_secs_f64();
        say(
            json!({"build_seconds": seconds, "lost_before_repair": written.repaired.lost, "strays": written.repaired.strays.len(), "bytes": written.segment.file_bytes()}),
            &index,
        );
    }
    let started = Instant::now();
    let segment = Segment::open(&path).expect("a segment");
    let opened = started.elapsed().as_secs_f64();
    let base = of("base");
    for repeat in 1..=number(repeats) {
        for ef in EF {
            let started = Instant::now();
            let found: Vec<_> = queries.chunks(dimension).map(|query| search(&segment, query, ef)).collect();
            let seconds = started.elapsed().as_secs_f64();
            let hits: usize = found
                .iter()
                .zip(queries.chunks(dimension).zip(&tenths))
                .map(|(found, (query, tenth))| {
                    let score = |item: u64| exact(query, &base[item as usize * dimension..][..dimension]);
                    found.iter().filter(|&&item| score(item) >= f64::from(*tenth) - 1e-6).count().min(LIMIT)
                })
                .sum();
            let recall = hits as f64 / (LIMIT * tenths.len()) as f64;
            say(json!({"repeat": repeat, "ef": ef, "recall": recall, "qps": tenths.len() as f64 / seconds}), &index);
        }
    }
    drop(base);
    // A process that only serves: what was read to build and to judge is forgotten.
    drop(segment);
    let segment = Segment::open(&path).expect("a segment");
    for query in queries.chunks(dimension).cycle().take(20_000) {
        search(&segment, query, segment.calibration().ef(0.99, LIMIT));
    }
    let (resident, anonymous) = memory();
    let calibrated = [0.99, 0.999].map(|recall| segment.calibration().ef(recall, LIMIT));
    say(
        json!({"open_seconds": opened, "resident": resident, "anonymous": anonymous, "calibrated_ef": calibrated}),
        &index,
    );
}

fn search(segment: &Segment, query: &[f32], ef: usize) -> Vec<u64> {
    let search = SegmentSearch { limit: LIMIT, ef, exact: false, pool: None, is_hidden: None, version: None };
    let (found, _) = segment.search(query, search, &Everything).expect("a whole file");
    found.into_iter().map(|found| found.key.item).collect()
}

fn exact(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}
