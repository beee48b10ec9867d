//! Finetuning through the server and the command line: what is held out is found better than before, and only if the texts tell
//! the truth.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pictor::image::Pixels;
use pictor_proto::v1;
use serde_json::json;

use crate::encoder::pictures::png;
use crate::encoder::tower_models::Tower;
use crate::fixture::block_on;
use crate::ingest::pictor;
use crate::random::Random;
use crate::support::{ChildServer, is_verify};

pub(crate) const N_ITEMS: usize = 500;
pub(crate) const GROUNDS: [(&str, [u8; 3]); 6] = [
    ("a", [200, 40, 40]),
    ("b", [40, 200, 40]),
    ("c", [40, 40, 200]),
    ("d", [200, 200, 40]),
    ("e", [40, 200, 200]),
    ("f", [230, 230, 230]),
];
pub(crate) const MARKS: [(&str, [u8; 3]); 5] =
    [("g", [0, 0, 0]), ("h", [255, 255, 255]), ("i", [255, 0, 255]), ("j", [255, 128, 0]), ("k", [0, 90, 0])];
pub(crate) const PATTERNS: [&str; 4] = ["rows", "columns", "dots", "block"];

const RECIPE: &str = r#"
name = "finetuned"
seed = 1
corpus = { collection = "" }
captions = { from = [{ path = "texts.name" }] }
split = { test = 0.25 }
model = { start = "pictor" }
run = { steps = 120, batch = 64, checkpoint_every = 1000, eval_every = 60, dtype = "f32" }
sampler = { kind = "items" }
views = { kind = "paired" }
objective = [{ term = "softmax", pair = "images-texts", positives = "mask" }]
parameters = [{ match = ".*" }]
optimiser = { lr = 0.004, clip_norm = 1.0 }
schedule = { shape = "cosine", warmup = 5 }

[[eval]]
evaluator = "retrieval"
name = "held-out"
query = { of = "texts", split = "test" }
gallery = { of = "pictures", split = "test" }
"#;

/// Number of the ground, mark and pattern of an item.
pub(crate) type Look = [usize; 3];

pub(crate) fn name([ground, mark, pattern]: Look) -> String {
    format!("{} {} {}", GROUNDS[ground].0, MARKS[mark].0, ["red", "shoe", "find", "text"][pattern])
}

/// A picture of the look with noise, its marks moved by chance.
pub(crate) fn picture(look: Look, side: u32, random: &mut Random) -> Pixels {
    let [ground, mark, pattern] = look;
    let (dx, dy) = (random.below(4) as u32, random.below(4) as u32);
    let mut data = Vec::with_capacity((side * side * 3) as usize);
    for y in 0..side {
        for x in 0..side {
            let (x, y) = (x + dx, y + dy);
            let is_mark = match PATTERNS[pattern] {
                "rows" => y / 2 % 2 == 0,
                "columns" => x / 2 % 2 == 0,
                "dots" => x / 2 % 2 == 0 && y / 2 % 2 == 0,
                _ => x > side / 3 && y > side / 3,
            };
            let colour = if is_mark { MARKS[mark].1 } else { GROUNDS[ground].1 };
            data.extend(colour.map(|value| (i32::from(value) + random.below(61) as i32 - 30).clamp(0, 255) as u8));
        }
    }
    Pixels { width: side, height: side, data }
}

/// Stores the items and gives the ids of each name.
pub(crate) async fn fill(
    server: &ChildServer,
    collection: &str,
    encoder: &str,
    side: u32,
) -> BTreeMap<String, Vec<String>> {
    let client = server.client().await;
    let source = v1::field_spec::Source::Media(v1::MediaSource { encoder: encoder.to_owned() });
    let field = v1::FieldSpec { name: "image".to_owned(), source: Some(source) };
    let spec = v1::CollectionSpec { name: collection.to_owned(), fields: vec![field], ..Default::default() };
    let request = v1::CreateCollectionRequest { spec: Some(spec) };
    client.collections.clone().create_collection(request).await.expect("a collection");
    let (mut random, mut ids, mut items) = (Random::new(7), BTreeMap::<String, Vec<String>>::new(), Vec::new());
    for number in 0..N_ITEMS {
        let look = [random.below(GROUNDS.len()), random.below(MARKS.len()), random.below(PATTERNS.len())];
        let id = format!("item-{number:03}");
        ids.entry(name(look)).or_default().push(id.clone());
        items.push(v1::Item {
            id,
            media: vec![v1::Media { data: png(&picture(look, side, &mut random)).into(), ..Default::default() }],
            texts: [("name".to_owned(), v1::TextParts { chunks: vec![name(look)] })].into(),
            ..Default::default()
        });
    }
    let request = v1::UpsertRequest { collection: collection.to_owned(), items, ..Default::default() };
    let results = client.items.clone().upsert(request).await.expect("stored").into_inner().results;
    assert!(results.iter().all(|result| result.error.is_none()), "{results:?}");
    ids
}

/// Runs the command line; its JSON lines, its exit code and its errors.
pub(crate) fn run(url: &str, arguments: &[&str]) -> (Vec<serde_json::Value>, Option<i32>, String) {
    let mut command = pictor();
    let output = command.args(["--url", url, "--json"]).args(arguments).stdin(Stdio::null()).output().expect("it runs");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let lines = stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    (lines, output.status.code(), stderr.into_owned())
}

/// Runs the command line, which has to succeed, and gives its JSON lines.
pub(crate) fn call(server: &ChildServer, arguments: &[&str]) -> Vec<serde_json::Value> {
    let (lines, code, errors) = run(&format!("http://{}", server.grpc), arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {errors}");
    lines
}

/// Trains with entries replaced; the job as it was last seen, the exit code and what was said.
fn train_by(url: &str, recipe: &Path, entries: &[&str]) -> (serde_json::Value, Option<i32>, String) {
    let recipe = recipe.display().to_string();
    let mut arguments = vec!["train", "things", "--recipe", &recipe, "--watch"];
    entries.iter().for_each(|entry| arguments.extend(["--set", entry]));
    let (mut lines, code, errors) = run(url, &arguments);
    (lines.pop().unwrap_or_default(), code, errors)
}

pub(crate) fn try_train(
    server: &ChildServer,
    recipe: &Path,
    entries: &[&str],
) -> (serde_json::Value, Option<i32>, String) {
    train_by(&format!("http://{}", server.grpc), recipe, entries)
}

fn train_at(url: &str, recipe: &Path, entries: &[&str]) -> serde_json::Value {
    let (job, code, errors) = train_by(url, recipe, entries);
    assert_eq!(code, Some(0), "{entries:?}: {errors}");
    job
}

/// Trains with entries replaced and gives the job as it ended.
pub(crate) fn train(server: &ChildServer, recipe: &Path, entries: &[&str]) -> serde_json::Value {
    train_at(&format!("http://{}", server.grpc), recipe, entries)
}

fn held_out(job: &serde_json::Value, figure: &str) -> f64 {
    job["result"]["metrics"][format!("held-out.{figure}")].as_f64().unwrap_or_else(|| panic!("no {figure} in {job}"))
}

fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (values.len() - 1) as f64).sqrt())
}

async fn described(server: &ChildServer) -> Vec<v1::Generation> {
    let request = v1::GetCollectionRequest { collection: "things".to_owned() };
    let reply = server.client().await.collections.get_collection(request).await.expect("described").into_inner();
    reply.collection.expect("a collection").fields.remove(0).generations
}

fn encoder_in_use(generations: &[v1::Generation]) -> (u32, &str) {
    let is_current = |one: &&v1::Generation| one.state() == v1::GenerationState::Current;
    let current = generations.iter().find(is_current).expect("one is current");
    (current.number, &current.encoder)
}

const SWITCH: &str = "switch={\"metric\":\"held-out.R@10\",\"margin\":0.05}";

/// Fails when: a worse model is put to use, a better one is not, a search fails meanwhile, or the figures are not those of the same
/// held-out items.
#[test]
fn a_result_is_put_to_use_only_if_it_is_better() {
    block_on(async {
        let (folder, tower) = (tempfile::tempdir().expect("a folder"), Tower::new("pictor"));
        let data = folder.path().join("data");
        let server = ChildServer::start_with_models(&data, tower.models()).await;
        let ids = fill(&server, "things", "pictor", tower.side()).await;
        let recipe = folder.path().join("recipe.toml");
        std::fs::write(&recipe, RECIPE.replace("model = { start = \"pictor\" }\n", "")).expect("write");
        let start = encoder_in_use(&described(&server).await).1.to_owned();

        // Negative controls: a learning rate far too high, and one that changes nothing.
        for (lr, least) in [("optimiser.lr=3", -1.0), ("optimiser.lr=0", 0.0)] {
            let worse = train(&server, &recipe, &[SWITCH, lr]);
            println!("{lr}: {}", worse["message"]);
            let comparison = &worse["result"]["comparison"];
            assert_eq!((&worse["kind"], &worse["result"]["switched"]), (&json!("finetune"), &json!(false)), "{worse}");
            let gain = comparison["gain"].as_f64().expect("a gain");
            assert!(comparison["is_better"] == json!(false) && (least..=0.0).contains(&gain), "{worse}");
            let generations = described(&server).await;
            assert_eq!((generations.len(), encoder_in_use(&generations)), (1, (1, start.as_str())));
        }

        // Somebody searches all the while.
        let (client, text) = (server.client().await, ids.keys().next().expect("a name").clone());
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let searcher = tokio::spawn(async move {
            let mut seen = Vec::new();
            while !over.load(Ordering::SeqCst) {
                let content = Some(v1::query_part::Content::Text(text.clone()));
                let request = v1::SearchRequest {
                    collection: "things".to_owned(),
                    parts: vec![v1::QueryPart { content, weight: None }],
                    limit: 5,
                    ..Default::default()
                };
                let reply = client.search.clone().search(request).await.expect("no search fails").into_inner();
                assert_eq!(reply.hits.len(), 5);
                seen.push(reply.generation);
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
            (seen.len(), seen.first().copied(), seen.last().copied())
        });
        let (url, path) = (format!("http://{}", server.grpc), recipe.clone());
        let better =
            tokio::task::spawn_blocking(move || train_at(&url, &path, &[SWITCH])).await.expect("the command line");
        println!("{}", better["message"]);
        let (result, model) = (&better["result"], better["result"]["model"].as_str().expect("a model"));
        assert_eq!(result["switched"], json!(true), "{better}");
        let comparison = &result["comparison"];
        assert_eq!(comparison["before"], result["before"]["held-out.R@10"]);
        assert_eq!(comparison["after"], result["metrics"]["held-out.R@10"]);
        assert!(comparison["gain"].as_f64().expect("a gain") >= 0.05, "{better}");
        assert_eq!(encoder_in_use(&described(&server).await), (2, model));
        // Recall through the server, on the same held-out items' texts, is what the trainer measured.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        is_over.store(true, Ordering::SeqCst);
        let (searches, first, last) = searcher.await.expect("no search failed");
        println!("{searches} searches");
        assert_eq!((first, last), (Some(1), Some(2)));

        // The next run starts from what is in use now.
        let next = train(&server, &recipe, &[SWITCH, "optimiser.lr=0"]);
        assert_eq!(next["result"]["comparison"]["before"], comparison["after"], "{next}");
        let (_, code, said) = try_train(&server, &recipe, &[SWITCH, &format!("model.start=\"{start}\"")]);
        assert!(code == Some(1) && said.contains("is served with"), "{said}");
        for (entry, expected) in [
            ("switch={\"metric\":\"other.R@10\",\"margin\":0}", "no evaluator gives"),
            ("switch={\"metric\":\"held-out.median_rank\",\"margin\":0}", "an evaluator's recall"),
            ("eval.0.query={\"of\":\"texts\"}", "queries are learned from"),
        ] {
            let (job, _, said) = try_train(&server, &recipe, &[SWITCH, entry]);
            let error = job["error"].as_str().unwrap_or_default();
            assert!(error.contains(expected) || said.contains(expected), "{entry}: {error} {said}");
        }
    });
}

/// Fails when: a step cannot be taken up again, or is taken twice.
#[test]
fn a_server_that_dies_while_it_puts_a_model_to_use_ends_with_it_in_use() {
    let tower = Tower::new("pictor");
    for step in ["finetune.trained", "reembed.page:2", "finetune.filled", "finetune.switched"] {
        block_on(async {
            let folder = tempfile::tempdir().expect("a folder");
            let data = folder.path().join("data");
            let arm = |command: &mut std::process::Command| {
                command.env("PICTOR_FAIL_POINT", step);
            };
            let server = ChildServer::start_with(&data, tower.models(), arm).await;
            fill(&server, "things", "pictor@r1", tower.side()).await;
            let recipe = folder.path().join("recipe.toml");
            std::fs::write(&recipe, RECIPE.replace("model = { start = \"pictor\" }\n", "")).expect("write");
            let (_, code, said) = try_train(&server, &recipe, &[SWITCH]);
            assert_ne!(code, Some(0), "{step}: the server lives: {said}");
            server.kill();

            let server = ChildServer::start_with_models(&data, tower.models()).await;
            let jobs = call(&server, &["job", "list"]);
            assert_eq!(jobs.len(), 1, "{step}");
            let job = call(&server, &["job", "watch", jobs[0]["id"].as_str().expect("an id")]).pop().expect("a job");
            assert_eq!(
                (&job["state"], &job["result"]["switched"]),
                (&json!("succeeded"), &json!(true)),
                "{step}: {job}"
            );
            let generations = described(&server).await;
            let states: Vec<_> = generations.iter().map(|one| (one.number, one.state(), one.vectors)).collect();
            use v1::GenerationState::{Current, Retired};
            let n_items = N_ITEMS as u64;
            assert_eq!(states, [(1, Retired, n_items), (2, Current, n_items)], "{step}");
            assert_eq!(encoder_in_use(&generations).1, job["result"]["model"].as_str().expect("a model"));
        });
    }
}

/// Each seed has its own split. Beside the run stand one whose learning rate is 0 and one whose texts belong to other items.
///
/// Fails when: held-out items are trained on (shuffled texts would gain), overrides are lost, or gradients do not reach the towers.
#[test]
fn finetuning_finds_held_out_items_better() {
    block_on(async {
        let (folder, tower) = (tempfile::tempdir().expect("a folder"), Tower::new("pictor"));
        let data = folder.path().join("data");
        let server = ChildServer::start_with_models(&data, tower.models()).await;
        fill(&server, "things", "pictor", tower.side()).await;
        let recipe = folder.path().join("recipe.toml");
        std::fs::write(&recipe, RECIPE).expect("write");

        let n_seeds = if is_verify() { 5 } else { 3 };
        let figure = "R@10";
        let (mut control, mut taught, mut shuffled) = (Vec::new(), Vec::new(), Vec::new());
        let mut first = None;
        for seed in 1..=n_seeds {
            let (seed, salt) = (format!("seed={seed}"), format!("split.salt=\"{seed}\""));
            let run = |entries: &[&str]| train(&server, &recipe, &[&[seed.as_str(), salt.as_str()], entries].concat());
            let trained = run(&[]);
            taught.push(held_out(&trained, figure));
            control.push(held_out(&run(&["optimiser.lr=0"]), figure));
            shuffled.push(held_out(&run(&["captions.shuffled=true"]), figure));
            first.get_or_insert(trained);
        }
        let first = first.expect("a run");
        println!(
            "held-out {figure}, text to picture, {} queries, {} pictures: control {control:?}, taught {taught:?}, shuffled {shuffled:?}",
            held_out(&first, "queries"),
            held_out(&first, "gallery")
        );
        let (mean, deviation) = mean_and_deviation(&control);
        let gains: Vec<f64> = taught.iter().zip(&control).map(|(taught, control)| taught - control).collect();
        let n_better = gains.iter().filter(|gain| **gain > 0.0).count();
        assert!(n_better * 5 >= n_seeds * 4, "{n_better} of {n_seeds} seeds gain: {gains:?}");
        assert!(mean_and_deviation(&gains).0 > deviation, "{gains:?}, the control's deviation is {deviation}");
        let by_chance = mean_and_deviation(&shuffled).0 - mean;
        assert!(
            by_chance < deviation.max(0.1),
            "shuffled texts gain {by_chance}, the control's deviation is {deviation}"
        );

        // The command line's own figures of the taught model, through the server, are those that the trainer measured.
        let everything = ["eval.0.query={\"of\":\"texts\"}", "eval.0.gallery={\"of\":\"pictures\"}"];
        let whole = train(&server, &recipe, &everything);
        let model = whole["result"]["model"].as_str().expect("a model");
        let ids = fill(&server, "again", model, tower.side()).await;
        let queries = folder.path().join("queries.jsonl");
        let lines = ids.iter().map(|(name, ids)| json!({"text": name, "targets": ids}).to_string() + "\n");
        std::fs::write(&queries, lines.collect::<String>()).expect("write");
        for exact in [&["--exact"][..], &[]] {
            let queries = queries.display().to_string();
            let figures = call(&server, &[&["eval", "again", "--queries", &queries], exact].concat());
            assert_eq!(figures.len(), 4);
            for line in figures {
                let expected = held_out(&whole, line["metric"].as_str().expect("a name"));
                let found = line["value"].as_f64().expect("a value");
                assert!((found - expected).abs() <= 0.02, "{line}: the trainer measured {expected}");
                assert_eq!((&line["gallery"], &line["queries"]), (&json!(N_ITEMS), &json!(ids.len())));
                assert_eq!(line["direction"], "text-to-image");
            }
        }
        let run = data.join("runs").join(whole["id"].as_str().expect("an id"));
        assert!(std::fs::read_to_string(run.join("ranks.json")).expect("ranks").contains("held-out"));
    });
}
