//! Pictures through a server: one caller, whole batches, 32 callers with one picture each, and half of the batches' rate.
//!
//! CLIP ViT-B/32 with weights by chance, made by `benches/dual_encoder.sh`. One JSON object a line; `benches/run.sh` keeps it.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pictor_proto::client::Client;
use pictor_proto::v1;

const ENCODER: &str = "clip-vit-b-32-by-chance";
const BATCH: usize = 32;
const MEASURED: Duration = Duration::from_secs(15);
const REPEATS: usize = 3;

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
        .args(["serve", "--models-dir", ".deps/bench-models", "--device", "cpu", "--data-dir"])
        .arg(folder)
        .args(["--grpc", &grpc.to_string(), "--http", &http.to_string()])
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

/// Embeds `n` photos, starting at the `first`; gives how long it took.
async fn embed(client: &Client, photos: &[Bytes], first: usize, n: usize) -> Duration {
    let input = |number: usize| v1::EmbedInput {
        content: Some(v1::embed_input::Content::Image(photos[number % photos.len()].clone())),
    };
    let inputs = (first..first + n).map(input).collect();
    let request = v1::EmbedRequest { encoder: format!("{ENCODER}@1"), inputs, role: v1::EncodeRole::Document as i32 };
    let started = Instant::now();
    let response = client.encoders.clone().embed(request).await.expect("vectors").into_inner();
    assert!(
        response.results.iter().all(|result| matches!(result.outcome, Some(v1::embed_result::Outcome::Embedding(_))))
    );
    started.elapsed()
}

/// `callers` callers send calls of `n` pictures one after another; gives pictures a second and the calls' times.
async fn closed(server: &Server, photos: &Arc<Vec<Bytes>>, callers: usize, n: usize) -> (f64, Vec<Duration>) {
    let (started, end) = (Instant::now(), Instant::now() + MEASURED);
    let mut tasks = Vec::new();
    for caller in 0..callers {
        let (client, photos) =
            (Client::connect(&server.1.to_string(), None).await.expect("a connection"), photos.clone());
        tasks.push(tokio::spawn(async move {
            let mut times = Vec::new();
            while Instant::now() < end {
                times.push(embed(&client, &photos, caller * 7 + times.len() * n, n).await);
            }
            times
        }));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.expect("no panic"));
    }
    ((times.len() * n) as f64 / started.elapsed().as_secs_f64(), times)
}

/// One picture at a time, at a fixed rate, whether or not the one before is done.
async fn paced(server: &Server, photos: &Arc<Vec<Bytes>>, rate: f64) -> Vec<Duration> {
    let client = Client::connect(&server.1.to_string(), None).await.expect("a connection");
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
    let (end, mut tasks) = (Instant::now() + MEASURED, Vec::new());
    while Instant::now() < end {
        ticks.tick().await;
        let (client, photos, number) = (client.clone(), photos.clone(), tasks.len());
        tasks.push(tokio::spawn(async move { embed(&client, &photos, number, 1).await }));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.push(task.await.expect("no panic"));
    }
    times
}

fn at(times: &mut [Duration], share: f64) -> f64 {
    times.sort();
    let position = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
    times.get(position).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}

#[tokio::main]
async fn main() {
    let data = std::env::var_os("PICTOR_TEST_DATA").map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from);
    let mut files: Vec<_> = std::fs::read_dir(data.join("coco/images"))
        .expect("the photos of the test data")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let photos: Arc<Vec<Bytes>> =
        Arc::new(files.iter().map(|path| std::fs::read(path).expect("a photo").into()).collect());
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path()).await;
    let client = Client::connect(&server.1.to_string(), None).await.expect("a connection");
    embed(&client, &photos, 0, BATCH).await;
    for repeat in 1..=REPEATS {
        let (_, mut single) = closed(&server, &photos, 1, 1).await;
        let (batches, _) = closed(&server, &photos, 2, BATCH).await;
        let (singles, mut under_load) = closed(&server, &photos, 32, 1).await;
        let mut half = paced(&server, &photos, batches / 2.0).await;
        let single_ms = at(&mut single, 0.5);
        let line = serde_json::json!({
            "bench": "image_load", "repeat": repeat, "single_p50_ms": single_ms,
            "batches_images_per_second": batches, "callers_32_images_per_second": singles,
            "callers_32_share_of_batches": singles / batches,
            "callers_32_p50_ms": at(&mut under_load, 0.5), "callers_32_p99_ms": at(&mut under_load, 0.99),
            "half_load_p50_ms": at(&mut half, 0.5), "half_load_p99_ms": at(&mut half, 0.99),
            "half_load_p50_over_single": at(&mut half, 0.5) / single_ms,
            "half_load_p99_over_single": at(&mut half, 0.99) / single_ms,
        });
        println!("{line}");
    }
}
