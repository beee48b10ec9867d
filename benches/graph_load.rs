//! Searches by raw vectors through gRPC: 16 callers as fast as they can, then at half of that; beside the index of the same server called
//! in this process on one thread. 50,000 clustered unit vectors of 512 numbers. One JSON object a line.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use pictor::index::Everything;
use pictor::index::graph::{Segment, SegmentSearch};
use pictor_proto::client::Client;
use pictor_proto::v1;
use support::{clustered, start};

const VECTORS: usize = 50_000;
const DIMENSION: usize = 512;
const QUERIES: usize = 2_000;
const CALLERS: usize = 16;
const LIMIT: usize = 10;
const MEASURED: Duration = Duration::from_secs(10);
const REPEATS: usize = 3;

fn vector(values: &[f32]) -> v1::Vector {
    v1::Vector { values: values.to_vec() }
}

async fn fill(client: &Client, vectors: &[Vec<f32>]) {
    let source = v1::field_spec::Source::Vector(v1::VectorSource { dimension: DIMENSION as u32, ..Default::default() });
    let field = v1::FieldSpec { name: "vec".to_owned(), source: Some(source) };
    let spec = v1::CollectionSpec { name: "bench".to_owned(), fields: vec![field], ..Default::default() };
    let request = v1::CreateCollectionRequest { spec: Some(spec) };
    client.collections.clone().create_collection(request).await.expect("created");
    for (batch, vectors) in vectors.chunks(500).enumerate() {
        let item = |(n, values): (usize, &Vec<f32>)| {
            let vectors = v1::VectorParts { vectors: vec![vector(values)] };
            let id = format!("{:06}", batch * 500 + n);
            v1::Item { id, vectors: [("vec".to_owned(), vectors)].into(), ..Default::default() }
        };
        let request = v1::UpsertRequest {
            collection: "bench".to_owned(),
            items: vectors.iter().enumerate().map(item).collect(),
            durability: v1::Durability::Async as i32,
            ..Default::default()
        };
        client.items.clone().upsert(request).await.expect("stored");
    }
    loop {
        let stats = client.admin.clone().get_stats(v1::GetStatsRequest {}).await.expect("stats").into_inner();
        let index = &stats.collections[0].indexes[0];
        // Segments are joined when nobody writes.
        if index.self_retrieval.is_some() && index.tail_vectors < 20_000 && index.segments == 1 {
            println!("{}", serde_json::json!({"bench": "graph_load", "tail_vectors": index.tail_vectors}));
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn search(client: &Client, query: &[f32]) {
    let part = v1::QueryPart { content: Some(v1::query_part::Content::Vector(vector(query))), weight: None };
    let request = v1::SearchRequest {
        collection: "bench".to_owned(),
        parts: vec![part],
        limit: LIMIT as u32,
        ..Default::default()
    };
    let response = client.search.clone().search(request).await.expect("an answer").into_inner();
    assert_eq!(response.hits.len(), LIMIT);
}

/// Calls a second of the index itself, at the nodes kept that the server takes for a recall of .99.
fn own(folder: &Path, queries: &[Vec<f32>], repeat: usize) -> f64 {
    let file = std::fs::read_dir(folder.join("segments")).expect("segments").next().expect("one").expect("an entry");
    let segment = Segment::open(&file.path()).expect("a segment");
    let search = SegmentSearch {
        limit: LIMIT,
        ef: segment.calibration().ef(0.99, LIMIT),
        exact: false,
        pool: None,
        is_hidden: None,
        version: None,
    };
    let (started, mut n) = (Instant::now(), 0);
    while started.elapsed() < MEASURED / 3 {
        for query in queries {
            n += segment.search(query, search, &Everything).expect("a whole file").0.len() / LIMIT;
        }
    }
    let rate = n as f64 / started.elapsed().as_secs_f64();
    println!(
        "{}",
        serde_json::json!({"bench": "graph_load", "kind": "own, one thread", "repeat": repeat, "ef": search.ef, "qps": rate})
    );
    rate
}

/// Calls a second and latencies; with a rate each call has its time, and waits count.
async fn calls(address: &str, queries: &std::sync::Arc<Vec<Vec<f32>>>, rate: Option<f64>) -> (f64, Vec<Duration>) {
    let begin = Instant::now();
    let end = begin + MEASURED;
    let mut tasks = Vec::new();
    for caller in 0..CALLERS {
        let client = Client::connect(address, None).await.expect("a connection");
        let queries = std::sync::Arc::clone(queries);
        tasks.push(tokio::spawn(async move {
            let mut latencies = Vec::new();
            for number in 0.. {
                let mut due = Instant::now();
                if let Some(rate) = rate {
                    due = begin + Duration::from_secs_f64((number * CALLERS + caller) as f64 / rate);
                    tokio::time::sleep_until(due.into()).await;
                }
                if due >= end {
                    break;
                }
                search(&client, &queries[(number * CALLERS + caller) % queries.len()]).await;
                latencies.push(due.elapsed());
            }
            latencies
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.expect("no panic"));
    }
    all.sort_unstable();
    (all.len() as f64 / begin.elapsed().as_secs_f64(), all)
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, address) = start(folder.path(), &[]).await;
    let client = Client::connect(&address, None).await.expect("a connection");
    let mut vectors = clustered(VECTORS + QUERIES, VECTORS, DIMENSION);
    let queries = std::sync::Arc::new(vectors.split_off(VECTORS));
    fill(&client, &vectors).await;
    for repeat in 1..=REPEATS {
        let own = own(folder.path(), &queries, repeat);
        let (full, _) = calls(&address, &queries, None).await;
        let (half, latencies) = calls(&address, &queries, Some(full / 2.0)).await;
        let at = |share: f64| {
            latencies[((latencies.len() as f64 * share) as usize).min(latencies.len() - 1)].as_secs_f64() * 1e3
        };
        println!(
            "{}",
            serde_json::json!({
                "bench": "graph_load", "kind": "grpc", "repeat": repeat, "callers": CALLERS, "qps": full, "share_of_own": full / own,
                "half_qps": half, "half_p50_ms": at(0.5), "half_p99_ms": at(0.99),
            })
        );
    }
}
