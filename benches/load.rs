//! Goodput, latency and refusals of a server under load: 1, 16 and 64 callers that embed documents, then that search.
//!
//! The queue holds what 16 callers can have in work (16 × 32 texts), so 64 callers are too many on purpose. A caller that is
//! refused waits as RetryInfo says and tries again. One JSON object a line on standard output; `benches/run.sh` keeps it.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pictor_proto::client::Client;
use pictor_proto::v1;
use tonic_types::StatusExt as _;

const ENCODER: &str = "all-minilm-l6-v2";
const TEXTS_PER_CALL: usize = 32;
const QUEUE: usize = 16 * TEXTS_PER_CALL;
const MEASURED: Duration = Duration::from_secs(10);
const REPEATS: usize = 3;

/// What one caller saw.
#[derive(Default)]
struct Seen {
    latencies: Vec<Duration>,
    refused: usize,
    refused_without_delay: usize,
    failed: usize,
}

struct Server(Child, SocketAddr);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn start(folder: &std::path::Path) -> Server {
    let port = || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let (grpc, http) = (port(), port());
    let child = Command::new(env!("CARGO_BIN_EXE_pictor-server"))
        .args(["serve", "--models-dir", ".deps/models", "--data-dir"])
        .arg(folder)
        .args(["--grpc", &grpc.to_string(), "--http", &http.to_string(), "--encode-queue", &QUEUE.to_string()])
        .env("PICTOR_LOG", "warn")
        .stdin(Stdio::null())
        .spawn()
        .expect("pictor-server starts");
    let server = Server(child, grpc);
    while Client::connect(&grpc.to_string(), None).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server
}

/// A text of about 16 tokens that no cache has seen.
fn text(caller: usize, call: usize, n: usize) -> String {
    format!("document {n} of call {call} by caller {caller} tells of a small brown dog in the park")
}

async fn embed(client: &Client, caller: usize, call: usize) -> Result<(), tonic::Status> {
    let input = |n| v1::EmbedInput { content: Some(v1::embed_input::Content::Text(text(caller, call, n))) };
    let inputs = (0..TEXTS_PER_CALL).map(input).collect();
    let request = v1::EmbedRequest { encoder: ENCODER.to_owned(), inputs, role: 0 };
    client.encoders.clone().embed(request).await.map(|_| ())
}

async fn search(client: &Client, caller: usize, call: usize) -> Result<(), tonic::Status> {
    let part = v1::QueryPart { content: Some(v1::query_part::Content::Text(text(caller, call, 0))), weight: None };
    let request =
        v1::SearchRequest { collection: "bench".to_owned(), parts: vec![part], limit: 10, ..Default::default() };
    client.search.clone().search(request).await.map(|_| ())
}

async fn call_until<F: Future<Output = Result<(), tonic::Status>>>(
    end: Instant,
    mut call: impl FnMut(usize) -> F,
) -> Seen {
    let mut seen = Seen::default();
    let mut number = 0;
    while Instant::now() < end {
        number += 1;
        let started = Instant::now();
        match call(number).await {
            Ok(()) => seen.latencies.push(started.elapsed()),
            Err(status) if status.code() == tonic::Code::ResourceExhausted => {
                seen.refused += 1;
                let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
                seen.refused_without_delay += usize::from(delay.is_none());
                tokio::time::sleep(delay.unwrap_or(Duration::from_millis(100))).await;
            }
            Err(_) => seen.failed += 1,
        }
    }
    seen
}

async fn measure(server: &Server, kind: &str, callers: usize, repeat: usize) {
    let end = Instant::now() + MEASURED;
    let started = Instant::now();
    let is_embed = kind == "embed";
    let mut tasks = Vec::new();
    for caller in 0..callers {
        let client = Client::connect(&server.1.to_string(), None).await.expect("a connection");
        let caller = repeat * 1000 + caller;
        tasks.push(tokio::spawn(async move {
            if is_embed {
                call_until(end, |call| embed(&client, caller, call)).await
            } else {
                call_until(end, |call| search(&client, caller, call)).await
            }
        }));
    }
    let mut all = Seen::default();
    for task in tasks {
        let seen = task.await.expect("no panic");
        all.latencies.extend(seen.latencies);
        all.refused += seen.refused;
        all.refused_without_delay += seen.refused_without_delay;
        all.failed += seen.failed;
    }
    let seconds = started.elapsed().as_secs_f64();
    all.latencies.sort();
    let n_calls = all.latencies.len();
    let at = |share: f64| {
        let position = ((n_calls as f64 * share) as usize).min(n_calls.saturating_sub(1));
        all.latencies.get(position).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    };
    let per_call = if is_embed { TEXTS_PER_CALL } else { 1 };
    let line = serde_json::json!({
        "bench": "load", "kind": kind, "callers": callers, "repeat": repeat, "seconds": seconds,
        "answered": n_calls, "refused": all.refused, "refused_without_delay": all.refused_without_delay, "failed": all.failed,
        "texts_per_second": (n_calls * per_call) as f64 / seconds, "p50_ms": at(0.5), "p99_ms": at(0.99),
    });
    println!("{line}");
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path()).await;
    let client = Client::connect(&server.1.to_string(), None).await.expect("a connection");
    let source = v1::field_spec::Source::Text(v1::TextSource { encoder: ENCODER.to_owned(), names: vec![] });
    let field = v1::FieldSpec { name: "text".to_owned(), source: Some(source) };
    let spec = v1::CollectionSpec { name: "bench".to_owned(), fields: vec![field], ..Default::default() };
    client
        .collections
        .clone()
        .create_collection(v1::CreateCollectionRequest { spec: Some(spec) })
        .await
        .expect("created");
    for batch in 0..20 {
        let item = |n: usize| {
            let texts =
                v1::TextParts { chunks: vec![format!("stored note {n} of batch {batch} about topic {}", n % 17)] };
            v1::Item { id: format!("{batch}-{n}"), texts: [("body".to_owned(), texts)].into(), ..Default::default() }
        };
        let request = v1::UpsertRequest {
            collection: "bench".to_owned(),
            items: (0..500).map(item).collect(),
            ..Default::default()
        };
        client.items.clone().upsert(request).await.expect("stored");
    }
    for repeat in 1..=REPEATS {
        for kind in ["embed", "search"] {
            for callers in [1, 16, 64] {
                measure(&server, kind, callers, repeat).await;
            }
        }
    }
}
