//! Searches by raw vectors through gRPC: 16 callers as fast as they can, then at half of that; beside the index of the same server called
//! in this process on one thread. 50,000 clustered unit vectors of 512 numbers. One JSON object a line.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pictor::index::Everything;
use pictor::index::graph::{Segment, SegmentSearch};
use pictor_proto::client::Client;
use pictor_proto::v1;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

const VECTORS: usize = 50_000;
const DIMENSION: usize = 512;
const QUERIES: usize = 2_000;
const CALLERS: usize = 16;
const LIMIT: usize = 10;
const MEASURED: Duration = Duration::from_secs(10);
const REPEATS: usize = 3;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|value| *value /= length);
    vector
}

/// Unit vectors around a centre for each fifty of them, at a distance of 0.8 from it.
fn clustered(n: usize) -> Vec<Vec<f32>> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let normal = |random: &mut ChaCha8Rng| (0..DIMENSION).map(|_| random.sample::<f32, _>(StandardNormal)).collect();
    let centres: Vec<Vec<f32>> = (0..VECTORS / 50).map(|_| unit(normal(&mut random))).collect();
    let near = |random: &mut ChaCha8Rng, noise: Vec<f32>| {
        let centre = &centres[random.random_range(0..centres.len())];
        let scale = 0.8 / (DIMENSION as f32).sqrt();
        unit(centre.iter().zip(noise).map(|(centre, noise)| centre + scale * noise).collect())
    };
    (0..n)
        .map(|_| {
            let noise = normal(&mut random);
            near(&mut random, noise)
        })
        .collect()
}

fn vector(values: &[f32]) -> v1::Vector {
    v1::Vector { values: values.to_vec() }
}

async fn start(folder: &Path) -> (Server, String) {
    let port = || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let (grpc, http) = (port().to_string(), port().to_string());
    let child = Command::new(env!("CARGO_BIN_EXE_pictor-server"))
        .args(["serve", "--models-dir", ".deps/models", "--grpc", &grpc, "--http", &http, "--data-dir"])
        .arg(folder)
        .env("PICTOR_LOG", "warn")
        .stdin(Stdio::null())
        .spawn()
        .expect("pictor-server starts");
    let server = Server(child);
    while Client::connect(&grpc, None).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (server, grpc)
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
        if index.self_retrieval.is_some() && index.tail_vectors < 20_000 {
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
        is_hidden: &|_| false,
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
    let (_server, address) = start(folder.path()).await;
    let client = Client::connect(&address, None).await.expect("a connection");
    let mut vectors = clustered(VECTORS + QUERIES);
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
