//! Vectors through gRPC streams, durable before they are acknowledged: a burst of 100,000, then as fast as the server takes them, with searches
//! beside; with `--bulk`, a first load of 200,000 as bulk writes beside ordinary ones; or, with `--minutes N`, a soak of writes, searches and deletes.
//! 512 numbers, one JSON object a line.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pictor_proto::client::Client;
use pictor_proto::v1;
use support::{clustered, start};
use tokio_stream::wrappers::ReceiverStream;
use tonic_types::StatusExt as _;

const DIMENSION: usize = 512;
/// Distinct vectors; ids go on.
const POOL: usize = 100_000;
const BATCH: usize = 500;
const STREAMS: usize = 2;
/// Of a first load.
const LOADED: usize = 200_000;
const BULK_BATCH: usize = 5_000;
/// Searches a second beside the writers.
const SEARCHES: f64 = 50.0;
/// Writers that begin may burst; then they are paced.
const BEGINNING: Duration = Duration::from_secs(60);
const SUSTAINED: Duration = Duration::from_secs(60);
const REPEATS: usize = 3;
/// Of a soak: items that stay, writes a second, seconds between two lines.
const LIVE: usize = 50_000;
const RATE: f64 = 1_000.0;
/// Bytes: caches are full after minutes, so that growth shows.
const MEMORY: &str = "1000000000";
const EVERY: Duration = Duration::from_secs(30);

fn item(vectors: &[Vec<f32>], number: usize) -> v1::Item {
    let values = vectors[number % vectors.len()].clone();
    let parts = v1::VectorParts { vectors: vec![v1::Vector { values }] };
    v1::Item { id: format!("{number:09}"), vectors: [("vec".to_owned(), parts)].into(), ..Default::default() }
}

async fn create(client: &Client) {
    let source = v1::field_spec::Source::Vector(v1::VectorSource { dimension: DIMENSION as u32, ..Default::default() });
    let field = v1::FieldSpec { name: "vec".to_owned(), source: Some(source) };
    let spec = v1::CollectionSpec { name: "bench".to_owned(), fields: vec![field], ..Default::default() };
    let request = v1::CreateCollectionRequest { spec: Some(spec) };
    client.collections.clone().create_collection(request).await.expect("created");
}

/// How writers write.
#[derive(Clone, Copy)]
struct Manner {
    batch: usize,
    indexing: v1::Indexing,
}

const AT_ONCE: Manner = Manner { batch: BATCH, indexing: v1::Indexing::AtOnce };

/// Writes batches from `first` on until `end` says so; gives how many items were acknowledged, and refusals.
async fn write(
    address: String,
    vectors: Arc<Vec<Vec<f32>>>,
    next: Arc<AtomicU64>,
    manner: Manner,
    end: impl Fn(usize) -> bool + Send + 'static,
) -> (u64, u64) {
    let size = manner.batch;
    let client = Client::connect(&address, None).await.expect("a connection");
    let (send, receive) = tokio::sync::mpsc::channel(4);
    let (again, mut refused) = tokio::sync::mpsc::unbounded_channel::<(u64, u32)>();
    let writer = tokio::spawn(async move {
        loop {
            // What was refused comes first, after the time that the server asks for.
            let batch = match refused.try_recv() {
                Ok((batch, wait)) => {
                    tokio::time::sleep(Duration::from_millis(wait.into())).await;
                    if end(batch as usize * size) {
                        return;
                    }
                    batch
                }
                Err(_) => {
                    let batch = next.fetch_add(1, Ordering::Relaxed);
                    if end(batch as usize * size) {
                        return;
                    }
                    batch
                }
            };
            let items = (batch as usize * size..(batch as usize + 1) * size).map(|number| item(&vectors, number));
            let upsert = v1::UpsertRequest {
                collection: "bench".to_owned(),
                items: items.collect(),
                durability: v1::Durability::Sync as i32,
                indexing: manner.indexing as i32,
                ..Default::default()
            };
            if send.send(v1::UpsertStreamRequest { batch, upsert: Some(upsert) }).await.is_err() {
                return;
            }
        }
    });
    let mut replies =
        client.items.clone().upsert_stream(ReceiverStream::new(receive)).await.expect("a stream").into_inner();
    let (mut acknowledged, mut n_refused) = (0, 0);
    while let Some(reply) = replies.message().await.expect("an answer") {
        match reply.outcome.expect("an outcome") {
            v1::upsert_stream_response::Outcome::Upserted(upserted) => {
                assert!(upserted.results.iter().all(|result| result.error.is_none()));
                acknowledged += upserted.results.len() as u64;
            }
            v1::upsert_stream_response::Outcome::Refused(refusal) => {
                assert!(refusal.retry_after_ms > 0, "{refusal:?}");
                n_refused += 1;
                let _ = again.send((reply.batch, refusal.retry_after_ms));
            }
        }
    }
    writer.await.expect("no panic");
    (acknowledged, n_refused)
}

/// What searches beside writers took.
struct Searches {
    /// From the moment at which each was due.
    latencies: Vec<Duration>,
    /// The mean time in the index, in microseconds.
    index_us: u64,
}

/// Searches at a steady rate until told to stop.
async fn search(address: String, vectors: Arc<Vec<Vec<f32>>>, stop: Arc<AtomicBool>) -> Searches {
    let client = Client::connect(&address, None).await.expect("a connection");
    let (begin, mut latencies) = (Instant::now(), Vec::new());
    let mut index_us = 0;
    for number in 0.. {
        let due = begin + Duration::from_secs_f64(f64::from(number) / SEARCHES);
        tokio::time::sleep_until(due.into()).await;
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let values = vectors[number as usize * 37 % vectors.len()].clone();
        let content = v1::query_part::Content::Vector(v1::Vector { values });
        let request = v1::SearchRequest {
            collection: "bench".to_owned(),
            parts: vec![v1::QueryPart { content: Some(content), weight: None }],
            limit: 10,
            ..Default::default()
        };
        let reply = client.search.clone().search(request).await.expect("an answer").into_inner();
        latencies.push(due.elapsed());
        index_us += reply.timings.unwrap_or_default().search_us;
    }
    let n = latencies.len().max(1) as u64;
    Searches { latencies, index_us: index_us / n }
}

fn quantile(searches: &mut Searches, share: f64) -> f64 {
    let latencies = &mut searches.latencies;
    latencies.sort_unstable();
    let place = ((latencies.len() as f64 * share) as usize).min(latencies.len().saturating_sub(1));
    latencies.get(place).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
}

async fn index(client: &Client) -> v1::IndexStats {
    let stats = client.admin.clone().get_stats(v1::GetStatsRequest {}).await.expect("stats").into_inner();
    stats.collections[0].indexes[0].clone()
}

/// Every write has its number.
async fn version(client: &Client) -> u64 {
    let stats = client.admin.clone().get_stats(v1::GetStatsRequest {}).await.expect("stats").into_inner();
    stats.collections[0].version
}

/// Lets `work` run with searches beside it.
async fn beside<T>(address: &str, vectors: &Arc<Vec<Vec<f32>>>, work: impl Future<Output = T>) -> (T, Searches) {
    let stop = Arc::new(AtomicBool::new(false));
    let searches = tokio::spawn(search(address.to_owned(), Arc::clone(vectors), Arc::clone(&stop)));
    let done = work.await;
    stop.store(true, Ordering::Relaxed);
    (done, searches.await.expect("no panic"))
}

async fn writers(
    address: &str,
    vectors: &Arc<Vec<Vec<f32>>>,
    next: &Arc<AtomicU64>,
    manner: Manner,
    end: impl Fn(usize) -> bool + Clone + Send + 'static,
) -> (u64, u64) {
    let tasks: Vec<_> = (0..STREAMS)
        .map(|_| tokio::spawn(write(address.to_owned(), Arc::clone(vectors), Arc::clone(next), manner, end.clone())))
        .collect();
    let mut sum = (0, 0);
    for task in tasks {
        let (acknowledged, refused) = task.await.expect("no panic");
        sum = (sum.0 + acknowledged, sum.1 + refused);
    }
    sum
}

async fn burst(repeat: usize, vectors: &Arc<Vec<Vec<f32>>>) {
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, address) = start(folder.path(), &[]).await;
    let client = Client::connect(&address, None).await.expect("a connection");
    create(&client).await;
    let next = Arc::new(AtomicU64::new(0));
    let begin = Instant::now();
    let (acknowledged, refused) = writers(&address, vectors, &next, AT_ONCE, |first| first >= POOL).await;
    let seconds = begin.elapsed().as_secs_f64();
    let tail = index(&client).await.tail_vectors;
    println!(
        "{}",
        serde_json::json!({"bench": "ingest_load", "kind": "burst", "repeat": repeat, "vectors": acknowledged, "refused": refused,
            "seconds": seconds, "vectors_per_s": acknowledged as f64 / seconds, "tail_after": tail})
    );
    while index(&client).await.tail_vectors >= 20_000 {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!(
        "{}",
        serde_json::json!({"bench": "ingest_load", "kind": "indexed", "repeat": repeat, "seconds": begin.elapsed().as_secs_f64()})
    );
    let ((), mut idle) = beside(&address, vectors, tokio::time::sleep(Duration::from_secs(10))).await;
    let until = Instant::now() + BEGINNING + SUSTAINED;
    next.store((POOL / BATCH) as u64, Ordering::Relaxed);
    let work = {
        let (address, vectors) = (address.clone(), Arc::clone(vectors));
        tokio::spawn(async move { writers(&address, &vectors, &next, AT_ONCE, move |_| Instant::now() >= until).await })
    };
    let ((), mut beginning) = beside(&address, vectors, tokio::time::sleep(BEGINNING)).await;
    let (begin, before) = (Instant::now(), version(&client).await);
    let ((), mut busy) = beside(&address, vectors, tokio::time::sleep_until(until.into())).await;
    let (seconds, acknowledged) = (begin.elapsed().as_secs_f64(), version(&client).await - before);
    let report = index(&client).await;
    let (_, refused) = work.await.expect("no panic");
    println!(
        "{}",
        serde_json::json!({"bench": "ingest_load", "kind": "sustained", "repeat": repeat, "vectors": acknowledged, "refused": refused,
            "vectors_per_s": acknowledged as f64 / seconds, "beginning_p99_ms": quantile(&mut beginning, 0.99), "tail_after": report.tail_vectors,
            "segments_after": report.segments, "idle_p50_ms": quantile(&mut idle, 0.5), "idle_p99_ms": quantile(&mut idle, 0.99),
            "p50_ms": quantile(&mut busy, 0.5), "p99_ms": quantile(&mut busy, 0.99), "idle_index_us": idle.index_us,
            "index_us": busy.index_us})
    );
}

/// A first load: until it is stored, and until searches find all of it.
async fn load(repeat: usize, vectors: &Arc<Vec<Vec<f32>>>, (kind, manner): (&str, Manner)) {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, address) = start(folder.path(), &[]).await;
    let client = Client::connect(&address, None).await.expect("a connection");
    create(&client).await;
    let next = Arc::new(AtomicU64::new(0));
    let begin = Instant::now();
    let (acknowledged, refused) = writers(&address, vectors, &next, manner, |first| first >= LOADED).await;
    let stored = begin.elapsed().as_secs_f64();
    loop {
        let report = index(&client).await;
        if report.tail_vectors < 20_000 && report.deferred_vectors == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let indexed = begin.elapsed().as_secs_f64();
    let io = std::fs::read_to_string(format!("/proc/{}/io", server.0.id())).unwrap_or_default();
    let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse::<u64>().ok());
    println!(
        "{}",
        serde_json::json!({"bench": "ingest_load", "kind": kind, "repeat": repeat, "vectors": acknowledged, "refused": refused,
            "seconds": stored, "vectors_per_s": acknowledged as f64 / stored, "indexed_seconds": indexed,
            "written_mib": written.unwrap_or(0) >> 20, "segments": index(&client).await.segments})
    );
}

fn folder_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(about) if about.is_dir() => folder_bytes(&entry.path()),
            Ok(about) => about.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Stores items, and waits as long as the server asks for when it has no room; gives how often.
async fn upsert(client: &Client, items: Vec<v1::Item>) -> u64 {
    for refused in 0.. {
        let request = v1::UpsertRequest { collection: "bench".to_owned(), items: items.clone(), ..Default::default() };
        match client.items.clone().upsert(request).await {
            Ok(_) => return refused,
            Err(status) => {
                let details = status.get_error_details();
                let wait = details.retry_info().and_then(|info| info.retry_delay);
                tokio::time::sleep(wait.unwrap_or_else(|| panic!("{status}"))).await;
            }
        }
    }
    unreachable!("it is asked until it is stored")
}

async fn soak(minutes: u64, vectors: &Arc<Vec<Vec<f32>>>) {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, address) = start(folder.path(), &["--memory", MEMORY]).await;
    let client = Client::connect(&address, None).await.expect("a connection");
    create(&client).await;
    let begin = Instant::now();
    let (mut number, mut deleted, mut refused) = (0_usize, 0_usize, 0);
    while begin.elapsed() < Duration::from_secs(60 * minutes) {
        let work = async {
            let until = Instant::now() + EVERY;
            while Instant::now() < until {
                let due = begin + Duration::from_secs_f64(number as f64 / RATE);
                tokio::time::sleep_until(due.into()).await;
                refused +=
                    upsert(&client, (number..number + BATCH).map(|number| item(vectors, number)).collect()).await;
                number += BATCH;
                if number > LIVE + deleted {
                    let ids = (deleted..deleted + BATCH).map(|number| format!("{number:09}")).collect();
                    let target = Some(v1::delete_request::Target::Ids(v1::IdList { ids }));
                    let request = v1::DeleteRequest { collection: "bench".to_owned(), target, ..Default::default() };
                    client.items.clone().delete(request).await.expect("deleted");
                    deleted += BATCH;
                }
            }
        };
        let ((), mut latencies) = beside(&address, vectors, work).await;
        let process = format!("/proc/{}", server.0.id());
        let status = std::fs::read_to_string(format!("{process}/status")).unwrap_or_default();
        let resident =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<u64>().ok());
        let report = index(&client).await;
        println!(
            "{}",
            serde_json::json!({"bench": "ingest_load", "kind": "soak", "seconds": begin.elapsed().as_secs(), "written": number,
                "refused": refused, "live": number - deleted, "resident_mib": resident.unwrap_or(0) / 1024,
                "descriptors": std::fs::read_dir(format!("{process}/fd")).map_or(0, Iterator::count),
                "disk_mib": folder_bytes(folder.path()) >> 20, "tail": report.tail_vectors, "segments": report.segments,
                "marked": report.deleted_vectors, "p50_ms": quantile(&mut latencies, 0.5), "p99_ms": quantile(&mut latencies, 0.99)})
        );
    }
}

#[tokio::main]
async fn main() {
    let vectors = Arc::new(clustered(POOL, POOL, DIMENSION));
    let arguments: Vec<String> = std::env::args().collect();
    let after = |flag: &str| {
        let value = arguments.get(arguments.iter().position(|argument| argument == flag)? + 1)?;
        Some(value.parse::<u64>().expect("a number"))
    };
    let repeats = after("--repeats").map_or(REPEATS, |repeats| repeats as usize);
    match after("--minutes") {
        Some(minutes) => soak(minutes, &vectors).await,
        None if arguments.iter().any(|argument| argument == "--bulk") => {
            for repeat in 1..=repeats {
                load(repeat, &vectors, ("first load, at once", AT_ONCE)).await;
                let bulk = Manner { batch: BULK_BATCH, indexing: v1::Indexing::Deferred };
                load(repeat, &vectors, ("first load, in bulk", bulk)).await;
            }
        }
        None => {
            for repeat in 1..=repeats {
                burst(repeat, &vectors).await;
            }
        }
    }
}
