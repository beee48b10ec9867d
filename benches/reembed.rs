//! Searches' latency while a field of 30,000 pictures is embedded again: 8 searchers and 2 writers, first with nothing else going
//! on, then beside the job. The pictures are the demo's, the encoders pictor-mini and a copy whose projection is negated.
//! One JSON object a line on standard output; `benches/run.sh` keeps it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pictor_proto::client::Client;
use pictor_proto::v1;

const ITEMS: usize = 30_000;
const SEARCHERS: usize = 8;
const WRITERS: usize = 2;
const IDLE: Duration = Duration::from_secs(20);
const REPEATS: usize = 3;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A models folder with pictor-mini and, as revision `other`, the same with the projection's signs turned.
fn models(folder: &Path) -> PathBuf {
    let models = folder.join("models");
    let source = Path::new(".deps/models/pictor-mini");
    let revision = std::fs::read_to_string(source.join("current")).expect("`make setup` assembles pictor-mini");
    let copy = |from: PathBuf, to: PathBuf| {
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("created");
        let status = Command::new("cp").arg("-r").args([&from, &to]).status().expect("cp runs");
        assert!(status.success(), "{} is not copied", from.display());
    };
    for name in [revision.trim(), "other"] {
        copy(source.join(revision.trim()), models.join("pictor-mini").join(name));
    }
    std::fs::write(models.join("pictor-mini/current"), &revision).expect("written");
    let other = models.join("pictor-mini/other");
    std::fs::remove_file(other.join("card.json")).expect("removed");
    let path = other.join("vision/model.safetensors");
    let mut bytes = std::fs::read(&path).expect("weights");
    let header = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes"))).expect("a length");
    let names: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).expect("a header");
    let place =
        |end: usize| names["visual_projection.weight"]["data_offsets"][end].as_u64().expect("an offset") as usize;
    let range = 8 + header + place(0)..8 + header + place(1);
    // Little-endian float16: the sign is the second byte's highest bit.
    bytes[range].iter_mut().skip(1).step_by(2).for_each(|byte| *byte ^= 0x80);
    std::fs::write(path, bytes).expect("written");
    models
}

async fn start(folder: &Path) -> (Server, Client) {
    let port = || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let (grpc, http) = (port(), port());
    let child = Command::new(env!("CARGO_BIN_EXE_pictor-server"))
        .args(["serve", "--grpc", &grpc.to_string(), "--http", &http.to_string(), "--models-dir"])
        .arg(models(folder))
        .arg("--data-dir")
        .arg(folder.join("data"))
        .env("PICTOR_LOG", "warn")
        .stdin(Stdio::null())
        .spawn()
        .expect("pictor-server starts");
    let server = Server(child);
    loop {
        if let Ok(client) = Client::connect(&grpc.to_string(), None).await {
            return (server, client);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn item(number: usize, pictures: &[Vec<u8>]) -> v1::Item {
    let data = pictures[number % pictures.len()].clone().into();
    v1::Item { id: format!("{number:06}"), media: vec![v1::Media { data, ..Default::default() }], ..Default::default() }
}

async fn upsert(client: &Client, items: Vec<v1::Item>) {
    let request = v1::UpsertRequest { collection: "bench".to_owned(), items, ..Default::default() };
    client.items.clone().upsert(request).await.expect("no upsert fails");
}

/// Searches and writes until `is_over`; gives the searches' latencies.
async fn load(client: &Client, pictures: &Arc<Vec<Vec<u8>>>, is_over: &Arc<AtomicBool>, phase: usize) -> Vec<Duration> {
    let mut tasks = Vec::new();
    for caller in 0..SEARCHERS {
        let (client, is_over) = (client.clone(), is_over.clone());
        tasks.push(tokio::spawn(async move {
            let mut latencies = Vec::new();
            for call in 0.. {
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
                // A text that no cache has seen.
                let text = format!("thing {call} of caller {caller} in phase {phase}");
                let part = v1::QueryPart { content: Some(v1::query_part::Content::Text(text)), weight: None };
                let (collection, parts) = ("bench".to_owned(), vec![part]);
                let request = v1::SearchRequest { collection, parts, limit: 10, ..Default::default() };
                let started = Instant::now();
                client.search.clone().search(request).await.expect("no search fails");
                latencies.push(started.elapsed());
            }
            latencies
        }));
    }
    for writer in 0..WRITERS {
        let (client, is_over, pictures) = (client.clone(), is_over.clone(), pictures.clone());
        tasks.push(tokio::spawn(async move {
            for call in 0.. {
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
                let number = (call * 7919 + writer * 104_729 + phase * 31) % ITEMS;
                upsert(&client, vec![v1::Item { id: format!("{number:06}"), ..item(number + call, &pictures) }]).await;
            }
            Vec::new()
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.expect("no panic"));
    }
    all.sort();
    all
}

fn report(phase: &str, repeat: usize, seconds: f64, latencies: &[Duration]) -> f64 {
    let at = |share: f64| {
        let position = ((latencies.len() as f64 * share) as usize).min(latencies.len().saturating_sub(1));
        latencies.get(position).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    };
    let line = serde_json::json!({
        "bench": "reembed", "phase": phase, "repeat": repeat, "items": ITEMS, "searchers": SEARCHERS, "writers": WRITERS,
        "seconds": seconds, "searches": latencies.len(), "p50_ms": at(0.5), "p99_ms": at(0.99),
    });
    println!("{line}");
    at(0.99)
}

async fn reembed(client: &Client, encoder: &str) {
    let request = v1::ReembedRequest {
        collection: "bench".to_owned(),
        field: "image".to_owned(),
        encoder: encoder.to_owned(),
        ..Default::default()
    };
    let job = client.training.clone().reembed(request).await.expect("a job").into_inner().job.expect("a job");
    loop {
        let request = v1::GetJobRequest { id: job.id.clone() };
        let job = client.jobs.clone().get_job(request).await.expect("the job").into_inner().job.expect("the job");
        match job.state() {
            v1::JobState::Succeeded => return,
            v1::JobState::Failed | v1::JobState::Cancelled => panic!("{job:?}"),
            _ => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = std::fs::read_dir(".deps/demo/corpus/images").expect("`make demo` fetches the pictures");
    let mut files: Vec<PathBuf> = files.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let pictures: Arc<Vec<Vec<u8>>> =
        Arc::new(files.iter().map(|file| std::fs::read(file).expect("a picture")).collect());
    let (_server, client) = start(folder.path()).await;
    let source = v1::field_spec::Source::Media(v1::MediaSource { encoder: "pictor-mini".to_owned() });
    let field = v1::FieldSpec { name: "image".to_owned(), source: Some(source) };
    let spec = v1::CollectionSpec { name: "bench".to_owned(), fields: vec![field], ..Default::default() };
    let request = v1::CreateCollectionRequest { spec: Some(spec) };
    client.collections.clone().create_collection(request).await.expect("created");
    for start in (0..ITEMS).step_by(500) {
        upsert(&client, (start..start + 500).map(|number| item(number, &pictures)).collect()).await;
    }
    for repeat in 1..=REPEATS {
        let is_over = Arc::new(AtomicBool::new(false));
        let started = Instant::now();
        let stop = async {
            tokio::time::sleep(IDLE).await;
            is_over.store(true, Ordering::SeqCst);
        };
        let (idle, ()) = tokio::join!(load(&client, &pictures, &is_over, 2 * repeat), stop);
        let idle_p99 = report("idle", repeat, started.elapsed().as_secs_f64(), &idle);
        is_over.store(false, Ordering::SeqCst);
        let started = Instant::now();
        let work = async {
            reembed(&client, "pictor-mini@other").await;
            is_over.store(true, Ordering::SeqCst);
        };
        let (beside, ()) = tokio::join!(load(&client, &pictures, &is_over, 2 * repeat + 1), work);
        let p99 = report("reembed", repeat, started.elapsed().as_secs_f64(), &beside);
        println!("{}", serde_json::json!({"bench": "reembed", "repeat": repeat, "p99_ratio": p99 / idle_p99}));
        let generation = 1 + u32::try_from(repeat).expect("few repeats");
        let request =
            v1::DropGenerationRequest { collection: "bench".to_owned(), field: "image".to_owned(), generation };
        client.training.clone().drop_generation(request).await.expect("dropped");
    }
}
