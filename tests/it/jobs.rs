//! Training as a job of a server: it survives its child's death and the server's, and the server serves on.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use pictor_proto::client::Client;
use pictor_proto::v1;

use crate::encoder::pictures::png;
use crate::encoder::tower_models::{Tower, picture};
use crate::fixture::block_on;
use crate::support::ChildServer;

const RECIPE: &str = r#"
name = "taught"
seed = 3
corpus = { collection = "" }
captions = { from = [{ path = "texts.name" }] }
split = {}
model = { start = "pictor" }
run = { steps = 300, batch = 8, checkpoint_every = 10, dtype = "f32" }
sampler = { kind = "items" }
views = { kind = "paired" }
objective = [{ term = "softmax", pair = "images-texts" }]
parameters = [{ match = ".*" }]
optimiser = { lr = 0.003 }
schedule = { shape = "cosine" }
"#;

async fn fill(client: &Client, side: u32) {
    let field = |name: &str, source| v1::FieldSpec { name: name.to_owned(), source: Some(source) };
    let image = v1::field_spec::Source::Media(v1::MediaSource { encoder: "pictor".to_owned() });
    let spec =
        v1::CollectionSpec { name: "things".to_owned(), fields: vec![field("image", image)], ..Default::default() };
    let request = v1::CreateCollectionRequest { spec: Some(spec) };
    client.collections.clone().create_collection(request).await.expect("a collection");
    let item = |number: usize| {
        let text = v1::TextParts { chunks: vec![format!("thing {number} red")] };
        v1::Item {
            id: format!("item-{number}"),
            media: vec![v1::Media { data: png(&picture(number, side, side)).into(), ..Default::default() }],
            texts: [("name".to_owned(), text)].into(),
            ..Default::default()
        }
    };
    let request =
        v1::UpsertRequest { collection: "things".to_owned(), items: (0..16).map(item).collect(), ..Default::default() };
    client.items.clone().upsert(request).await.expect("stored");
}

async fn train(client: &Client, recipe: &str) -> v1::Job {
    let request = v1::TrainRequest { collection: "things".to_owned(), recipe: recipe.to_owned(), ..Default::default() };
    client.training.clone().train(request).await.expect("a job").into_inner().job.expect("a job")
}

async fn job(client: &Client, id: &str) -> v1::Job {
    let reply = client.jobs.clone().get_job(v1::GetJobRequest { id: id.to_owned() }).await.expect("the job");
    reply.into_inner().job.expect("the job")
}

/// Waits for something of a job, while the server has to answer other calls.
async fn until(client: &Client, id: &str, is_so: impl Fn(&v1::Job) -> bool) -> v1::Job {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let now = job(client, id).await;
        if is_so(&now) {
            return now;
        }
        assert!(Instant::now() < deadline, "waited in vain: {now:?}");
        let count = v1::CountRequest { collection: "things".to_owned(), ..Default::default() };
        client.items.clone().count(count).await.expect("a count while a job runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn has_ended(job: &v1::Job) -> bool {
    matches!(job.state(), v1::JobState::Succeeded | v1::JobState::Failed | v1::JobState::Cancelled)
}

/// The process of a job, by its command line.
fn child_of(data: &Path, id: &str) -> Option<i32> {
    let run = data.join("runs").join(id).display().to_string();
    std::fs::read_dir("/proc").expect("processes").flatten().find_map(|entry| {
        let number = entry.file_name().to_string_lossy().parse().ok()?;
        let command = std::fs::read_to_string(entry.path().join("cmdline")).ok()?;
        (command.contains("\0train\0") && command.split('\0').any(|word| word == run)).then_some(number)
    })
}

/// Waits for a job's checkpoint of at least `step` steps, and gives the process that goes on from there.
///
/// The folder is read and not the job, which tells its steps once a second: a fast machine has finished by then.
async fn process_after(data: &Path, id: &str, step: u64) -> i32 {
    let run = data.join("runs").join(id);
    let reached = || -> Option<u64> {
        let names = std::fs::read_dir(&run).ok()?.flatten().map(|entry| entry.file_name());
        names.filter_map(|name| name.to_str()?.strip_prefix("checkpoint-")?.parse().ok()).max()
    };
    let deadline = Instant::now() + Duration::from_secs(90);
    while reached() < Some(step) {
        assert!(Instant::now() < deadline, "no checkpoint of {step} steps in {}", run.display());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    child_of(data, id).expect("the job's process")
}

fn model_of(job: &v1::Job) -> String {
    match job.result.as_ref().and_then(|result| result.fields["model"].kind.clone()) {
        Some(prost_types::value::Kind::StringValue(model)) => model,
        other => panic!("no model in {other:?}"),
    }
}

#[test]
fn a_job_survives_its_child_and_its_server() {
    block_on(async {
        let (folder, tower) = (tempfile::tempdir().expect("a folder"), Tower::new("pictor"));
        let data = folder.path().join("data");
        let server = ChildServer::start_with_models(&data, tower.models()).await;
        let client = server.client().await;
        fill(&client, tower.side()).await;

        let whole = train(&client, RECIPE).await;
        let killed = train(&client, RECIPE).await;
        assert_eq!(killed.state(), v1::JobState::Queued, "one training run at a time");
        let whole = until(&client, &whole.id, has_ended).await;
        assert_eq!(whole.state(), v1::JobState::Succeeded, "{whole:?}");

        let child = process_after(&data, &killed.id, 20).await;
        // SAFETY: `kill` takes numbers only; at worst the process has ended by itself.
        unsafe { libc::kill(child, libc::SIGKILL) };
        process_after(&data, &killed.id, 60).await;
        server.kill();
        let patience = Instant::now() + Duration::from_secs(10);
        while child_of(&data, &killed.id).is_some() {
            assert!(Instant::now() < patience, "the process outlives its server");
            std::thread::sleep(Duration::from_millis(20));
        }

        let server = ChildServer::start_with_models(&data, tower.models()).await;
        let client = server.client().await;
        let killed = until(&client, &killed.id, has_ended).await;
        assert_eq!(killed.state(), v1::JobState::Succeeded, "{killed:?}");
        assert_eq!(model_of(&killed), model_of(&whole), "the killed run ends with the same bits");
        // Removed once the job's end is on the disk, so that a crash in between does not run it again without its corpus.
        let patience = Instant::now() + Duration::from_secs(10);
        while data.join("runs").join(&killed.id).join("corpus").exists() {
            assert!(Instant::now() < patience, "the frozen corpus is let go");
            std::thread::sleep(Duration::from_millis(20));
        }
    });
}

/// Fails when: what encodes and searches in the server waits for a training run.
#[test]
fn a_training_run_keeps_no_other_lane_waiting() {
    block_on(async {
        let (folder, tower) = (tempfile::tempdir().expect("a folder"), Tower::new("pictor"));
        let data = folder.path().join("data");
        let server = ChildServer::start_with_models(&data, tower.models()).await;
        let client = server.client().await;
        fill(&client, tower.side()).await;
        let long = train(&client, &RECIPE.replace("steps = 300", "steps = 100000")).await;
        until(&client, &long.id, |job| job.done >= 5).await;
        let request = v1::EvaluateRequest {
            collection: "things".to_owned(),
            evaluator: "drift".to_owned(),
            parameters: Some(prost_types::Struct {
                fields: ["from", "to"].map(|name| (name.to_owned(), number(1.0))).into(),
            }),
            ..Default::default()
        };
        let short = client.training.clone().evaluate(request).await.expect("a job").into_inner().job.expect("a job");
        let short = until(&client, &short.id, has_ended).await;
        assert_eq!(short.state(), v1::JobState::Succeeded, "{short:?}");
        assert_eq!(job(&client, &long.id).await.state(), v1::JobState::Running);
        client.jobs.clone().cancel_job(v1::CancelJobRequest { id: long.id.clone() }).await.expect("cancelled");
        assert_eq!(until(&client, &long.id, has_ended).await.state(), v1::JobState::Cancelled);
    });
}

fn number(value: f64) -> prost_types::Value {
    prost_types::Value { kind: Some(prost_types::value::Kind::NumberValue(value)) }
}

#[test]
fn jobs_fail_and_are_cancelled_by_name() {
    block_on(async {
        let (folder, tower) = (tempfile::tempdir().expect("a folder"), Tower::new("pictor"));
        let data = folder.path().join("data");
        let server = ChildServer::start_with_models(&data, tower.models()).await;
        let client = server.client().await;
        fill(&client, tower.side()).await;

        let wrong = train(&client, &RECIPE.replace("\".*\"", "\"vision/x\"")).await;
        let wrong = until(&client, &wrong.id, has_ended).await;
        assert_eq!(wrong.state(), v1::JobState::Failed);
        assert!(wrong.error.contains("matched by no rule"), "{}", wrong.error);

        let long = train(&client, &RECIPE.replace("steps = 300", "steps = 100000")).await;
        until(&client, &long.id, |job| job.done >= 5).await;
        client.jobs.clone().cancel_job(v1::CancelJobRequest { id: long.id.clone() }).await.expect("cancelled");
        let mut watched = client
            .jobs
            .clone()
            .watch_job(v1::WatchJobRequest { id: long.id.clone() })
            .await
            .expect("a watch")
            .into_inner();
        let mut last = None;
        while let Some(reply) = watched.message().await.expect("a reply") {
            last = reply.job;
        }
        assert_eq!(last.expect("a job").state(), v1::JobState::Cancelled);
        assert_eq!(child_of(&data, &long.id), None);

        let refused = client.jobs.clone().get_job(v1::GetJobRequest { id: "job-none".to_owned() }).await;
        assert_eq!(refused.expect_err("no such job").code(), tonic::Code::NotFound);
    });
}

/// Takes the right to grow from a process.
fn exhaust(process: i32) {
    let limit = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
    // SAFETY: `prlimit` reads the limit and takes numbers; at worst the process has ended by itself.
    let result = unsafe { libc::prlimit(process, libc::RLIMIT_DATA, &raw const limit, std::ptr::null_mut()) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Fails when: a child may take what the server needs, an exhausted child takes the server with it, or it does not go on from its
/// checkpoint.
#[test]
fn a_job_that_runs_out_of_memory_harms_nobody() {
    block_on(async {
        let (folder, tower) = (tempfile::tempdir().expect("a folder"), Tower::new("pictor"));
        let data = folder.path().join("data");
        // Memory that is freed goes back at once, so that a process which may not grow notices it at the next step.
        let add = |command: &mut Command| {
            command.args(["--memory", "1500000000"]).env("MALLOC_MMAP_THRESHOLD_", "16384");
        };
        let server = ChildServer::start_with(&data, tower.models(), add).await;
        let client = server.client().await;
        fill(&client, tower.side()).await;

        let recipe = RECIPE.replace("batch = 8", "batch = 512").replace("steps = 300", "steps = 60");
        let whole = train(&client, &recipe).await;
        let whole = until(&client, &whole.id, has_ended).await;
        assert_eq!(whole.state(), v1::JobState::Succeeded, "{whole:?}");

        let exhausted = train(&client, &recipe).await;
        let child = process_after(&data, &exhausted.id, 20).await;
        exhaust(child);
        let mut is_another = false;
        while !has_ended(&job(&client, &exhausted.id).await) {
            is_another |= child_of(&data, &exhausted.id).is_some_and(|now| now != child);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(is_another, "the process that could not grow was not replaced");
        let exhausted = job(&client, &exhausted.id).await;
        assert_eq!(exhausted.state(), v1::JobState::Succeeded, "{exhausted:?}");
        assert_eq!(model_of(&exhausted), model_of(&whole), "the run ends with the same bits");

        // A batch that can never fit: three eighths of the server's memory are the limit.
        let huge = train(&client, &RECIPE.replace("batch = 8", "batch = 65536")).await;
        let huge = until(&client, &huge.id, has_ended).await;
        assert_eq!(huge.state(), v1::JobState::Failed);
        let is_told = huge.error.contains("it may take 562500000 bytes") && huge.error.contains("alloc");
        assert!(is_told, "{}", huge.error);
        println!("{}", huge.error);
    });
}
