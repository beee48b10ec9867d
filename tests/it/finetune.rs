//! Finetuning through the server and the command line: what is held out is found better than before, and only if the texts tell
//! the truth.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use pictor::image::Pixels;
use pictor_proto::v1;
use serde_json::json;

use crate::encoder::pictures::png;
use crate::encoder::tower_models::Tower;
use crate::fixture::block_on;
use crate::ingest::pictor;
use crate::random::Random;
use crate::support::{ChildServer, is_verify};

const N_ITEMS: usize = 500;
const GROUNDS: [(&str, [u8; 3]); 6] = [
    ("a", [200, 40, 40]),
    ("b", [40, 200, 40]),
    ("c", [40, 40, 200]),
    ("d", [200, 200, 40]),
    ("e", [40, 200, 200]),
    ("f", [230, 230, 230]),
];
const MARKS: [(&str, [u8; 3]); 5] =
    [("g", [0, 0, 0]), ("h", [255, 255, 255]), ("i", [255, 0, 255]), ("j", [255, 128, 0]), ("k", [0, 90, 0])];
const PATTERNS: [&str; 4] = ["rows", "columns", "dots", "block"];

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
type Look = [usize; 3];

fn name([ground, mark, pattern]: Look) -> String {
    format!("{} {} {}", GROUNDS[ground].0, MARKS[mark].0, ["red", "shoe", "find", "text"][pattern])
}

/// A picture of the look with noise, its marks moved by chance.
fn picture(look: Look, side: u32, random: &mut Random) -> Pixels {
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
async fn fill(server: &ChildServer, collection: &str, encoder: &str, side: u32) -> BTreeMap<String, Vec<String>> {
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

/// Runs the command line and gives its JSON lines.
fn call(server: &ChildServer, arguments: &[&str]) -> Vec<serde_json::Value> {
    let url = format!("http://{}", server.grpc);
    let mut command = pictor();
    let output =
        command.args(["--url", &url, "--json"]).args(arguments).stdin(Stdio::null()).output().expect("it runs");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Trains with entries replaced and gives the job as it ended.
fn train(server: &ChildServer, recipe: &Path, entries: &[&str]) -> serde_json::Value {
    let recipe = recipe.display().to_string();
    let mut arguments = vec!["train", "things", "--recipe", &recipe, "--watch"];
    entries.iter().for_each(|entry| arguments.extend(["--set", entry]));
    call(server, &arguments).pop().expect("a job")
}

fn held_out(job: &serde_json::Value, figure: &str) -> f64 {
    job["result"]["metrics"][format!("held-out.{figure}")].as_f64().unwrap_or_else(|| panic!("no {figure} in {job}"))
}

fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (values.len() - 1) as f64).sqrt())
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
