//! Exact search over the flat index, one thread, one query at a time; `scan.py` runs the peers on the same vectors.
//!
//! Vectors are written to the folder named by the first argument, so that the peers read the very same numbers.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use pictor::index::{Everything, FlatIndex, IndexSearch, VectorIndex as _, VectorKey};

const QUERIES: usize = 200;
const LIMIT: usize = 10;
const SHAPES: [(usize, usize); 2] = [(50_000, 512), (200_000, 384)];

/// Clustered unit vectors from a fixed seed: 100 centres, noise of the same length.
fn vectors(count: usize, dimension: usize, mut seed: u64) -> Vec<f32> {
    let mut next = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let centres: Vec<f32> = (0..100 * dimension).map(|_| next()).collect();
    let mut all = Vec::with_capacity(count * dimension);
    for n in 0..count {
        let centre = &centres[n % 100 * dimension..][..dimension];
        let vector: Vec<f32> = centre.iter().map(|value| value + next()).collect();
        let norm = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        all.extend(vector.iter().map(|value| value / norm));
    }
    all
}

fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).expect("a folder for the vectors"));
    for (count, dimension) in SHAPES {
        let all = vectors(count + QUERIES, dimension, 42);
        let bytes: Vec<u8> = all.iter().flat_map(|value| value.to_le_bytes()).collect();
        let path = folder.join(format!("{count}x{dimension}.f32"));
        std::fs::File::create(path).and_then(|mut file| file.write_all(&bytes)).expect("written");
        let (stored, queries) = all.split_at(count * dimension);
        let mut index = FlatIndex::new(dimension, None);
        let rows: Vec<_> =
            (0..).zip(stored.chunks(dimension)).map(|(item, row)| (VectorKey { item, part: 0 }, row)).collect();
        index.insert(&rows);
        for repeat in 1..=5 {
            let started = Instant::now();
            let mut checksum = 0;
            for query in queries.chunks(dimension) {
                let found = index.search(query, IndexSearch::exact(LIMIT), &Everything).expect("no disk").neighbours;
                checksum += found.iter().map(|neighbour| neighbour.key.item).sum::<u64>();
            }
            let seconds = started.elapsed().as_secs_f64();
            let line = serde_json::json!({
                "bench": "scan", "who": "pictor flat", "count": count, "dimension": dimension, "repeat": repeat,
                "queries_per_second": QUERIES as f64 / seconds, "sum_of_ids": checksum,
            });
            println!("{line}");
        }
    }
}
