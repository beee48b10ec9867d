//! Published data sets of composed queries: folders of their shape go through training and measuring, and every figure is that of an
//! independent computation.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use pictor::collection::backend::ItemWrite;
use pictor::compose::CombinerNetwork;
use pictor::encode::offline::{EmbedRequest, embed};
use pictor::model::Precision;
use pictor::model::combiner::CombinerFeatures;
use pictor::types::vector::UnitVector;
use rand::Rng as _;
use rand::seq::{IndexedRandom as _, index};
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;
use serde_json::{Value, json};

use super::world::World;
use crate::compose::write;
use crate::encoder::pictures::png;
use crate::encoder::settings;
use crate::encoder::tower_models::picture;
use crate::fixture::{Content, item};
use crate::support::root;

/// Pictures of each split.
const N: usize = 90;
const WORDS: [&str; 8] =
    ["is more red", "has a shoe", "is green and white", "is a shoe.", "no red", "find a red one", "is Blue", "text"];

fn name(split: &str, number: usize) -> String {
    format!("{split}-{number}")
}

fn random() -> ChaCha8Rng {
    pictor::train::random::random_for(11, "data sets", &[])
}

fn save(path: &Path, value: &Value) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    std::fs::write(path, value.to_string()).expect("written");
}

/// Pictures of three splits under the ids that ingesting the data set's folder gives them.
fn items(side: u32, splits: [&str; 3], id: impl Fn(&str, usize) -> String) -> Vec<ItemWrite> {
    let mut items = Vec::new();
    for (place, split) in splits.iter().enumerate() {
        for number in 0..N {
            let media = vec![("picture.png".to_owned(), png(&picture(place * N + number, side, side)))];
            items.push(item(&id(split, number), &Content { media, ..Content::default() }));
        }
    }
    items
}

fn fashioniq(folder: &Path) {
    let mut random = random();
    for (place, category) in ["dress", "shirt"].into_iter().enumerate() {
        for split in ["train", "val"] {
            // Each category has its half of the split's pictures.
            let names: Vec<String> =
                (0..N).filter(|number| number % 2 == place).map(|number| name(split, number)).collect();
            let entry = |_| {
                let pair: Vec<&String> = names.choose_multiple(&mut random, 2).collect();
                let mut caption = || WORDS.choose(&mut random).expect("words").to_string();
                json!({ "candidate": pair[0], "target": pair[1], "captions": [caption(), caption()] })
            };
            save(&folder.join(format!("captions/cap.{category}.{split}.json")), &(0..40).map(entry).collect());
            save(&folder.join(format!("image_splits/split.{category}.{split}.json")), &json!(names));
        }
    }
}

fn cirr(folder: &Path) {
    let mut random = random();
    for (place, split) in ["train", "val", "test1"].into_iter().enumerate() {
        let paths: BTreeMap<String, String> =
            (0..N).map(|number| (name(split, number), format!("./{split}/{}.png", name(split, number)))).collect();
        let entry = |number: usize| {
            let members: Vec<String> = index::sample(&mut random, N, 6).into_iter().map(|n| name(split, n)).collect();
            let mut entry = json!({
                "pairid": 1000 * place + number, "reference": members[0], "caption": WORDS[random.random_range(0..8)],
                "img_set": { "id": number, "members": members },
            });
            if split != "test1" {
                entry["target_hard"] = json!(members[3]);
            }
            entry
        };
        save(&folder.join(format!("cirr/captions/cap.rc2.{split}.json")), &(0..50).map(entry).collect());
        save(&folder.join(format!("cirr/image_splits/split.rc2.{split}.json")), &json!(paths));
    }
}

fn recipe(world: &World, triplets: &str, protocol: &str, steps: u64, splits: &[&str]) -> String {
    let text = format!(
        r#"
        name = "joiner"
        corpus = {{ collection = "things" }}
        split = {{}}
        model = {{ start = "{}" }}
        combiner = {{ start = "mine" }}
        run = {{ steps = {steps}, batch = 16, dtype = "f32" }}
        sampler = {{ kind = "triplets" }}
        views = {{ kind = "paired", pictures = 2, texts = 1 }}
        objective = [{{ term = "composed" }}]
        parameters = [{{ match = "combiner/.*" }}, {{ match = ".*", frozen = true }}]
        optimiser = {{ lr = 0.00002, betas = [0.9, 0.999] }}
        schedule = {{ shape = "constant" }}
        triplets = {{ {triplets} }}
        "#,
        world.tower.folder.name
    );
    let mut recipe: toml::Table = text.parse().expect("TOML");
    let eval = |split: &&str| {
        let table =
            format!("evaluator = \"composed\"\nname = \"{split}\"\nsplit = \"{split}\"\nprotocol = \"{protocol}\"");
        toml::Value::Table(table.parse().expect("TOML"))
    };
    recipe.insert("eval".to_owned(), toml::Value::Array(splits.iter().map(eval).collect()));
    recipe.to_string()
}

/// What the independent computation says, from vectors that the encoder gives outside of the trainer and queries that the server's
/// composer makes of them.
fn reference(
    world: &World,
    network: &CombinerNetwork,
    kind: &str,
    folder: &Path,
    queries: &[(String, String, String)],
) -> Value {
    let scratch = world.folder.path();
    let mut names: Vec<String> = Vec::new();
    let mut paths = String::new();
    let side = world.tower.side();
    for (place, split) in
        [["train", "val", "test"], ["train", "val", "test1"]][usize::from(kind == "cirr")].iter().enumerate()
    {
        for number in 0..N {
            let path: PathBuf = scratch.join(format!("{}.png", name(split, number)));
            std::fs::write(&path, png(&picture(place * N + number, side, side))).expect("written");
            paths += &format!("{}\n", path.display());
            names.push(name(split, number));
        }
    }
    let texts: String = queries.iter().map(|(_, _, text)| format!("{text}\n")).collect();
    let [images_from, texts_from, out] = ["images", "texts", "out.safetensors"].map(|name| scratch.join(name));
    std::fs::write(&images_from, paths).expect("written");
    std::fs::write(&texts_from, texts).expect("written");
    embed(&EmbedRequest {
        model: world.tower.folder.path.clone(),
        images_from: Some(images_from),
        texts_from: Some(texts_from),
        out: out.clone(),
        settings: settings(Precision::F32),
        ..EmbedRequest::default()
    })
    .expect("embedded");
    let bytes = std::fs::read(&out).expect("read");
    let tensors = SafeTensors::deserialize(&bytes).expect("tensors");
    let rows = |name: &str| -> Vec<Vec<f32>> {
        let view = tensors.tensor(name).expect("a tensor");
        let values: Vec<f32> = view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        values.chunks_exact(view.shape()[1]).map(<[f32]>::to_vec).collect()
    };
    let (images, words) = (rows("images"), rows("texts"));
    let of_name: BTreeMap<&String, &Vec<f32>> = names.iter().zip(&images).collect();
    let asked: BTreeMap<&String, Vec<f32>> = queries
        .iter()
        .zip(&words)
        .map(|((key, reference, _), words)| {
            let (joined, _) = network.forward(of_name[reference], words);
            (key, UnitVector::normalise(joined).expect("a direction").values)
        })
        .collect();
    let vectors = scratch.join("vectors.json");
    save(&vectors, &json!({ "images": of_name, "queries": asked }));
    let script = root().join("tests/golden/composed_metrics.py");
    let output = Command::new("python3").arg(script).arg(kind).arg(folder).arg(vectors).output().expect("python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn compare(found: &BTreeMap<String, f64>, place: &str, expected: &Value) {
    for (name, value) in expected["figures"].as_object().expect("figures") {
        let (found, expected) = (found[&format!("{place}.{name}")], value.as_f64().expect("a number"));
        assert!((found - expected).abs() < 1e-12, "{place}.{name}: {found} and not {expected}");
    }
}

fn combiner(world: &World) -> CombinerNetwork {
    // Without prompts, `embed` encodes a text as a search does.
    world.tower.write("text/config_sentence_transformers.json", &json!({ "prompts": {} }));
    let folder = &world.tower.folder;
    let description =
        pictor::model::Description::read(folder, pictor::image::ImageRule::Pictor).expect("a description");
    let d = description.sides.dimension;
    let path = write(world.tower.models(), "mine", &description.space, [d, d, 2 * d], CombinerFeatures::Unit);
    CombinerNetwork::read(&path, 1 << 24).expect("a network")
}

fn json_of(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("read")).expect("JSON")
}

#[test]
fn fashioniqs_figures_are_those_of_an_independent_computation() {
    let world =
        World::of("pictor", |side| items(side, ["train", "val", "test"], |split, n| format!("{}.jpg", name(split, n))));
    let (folder, network) = (world.folder.path().join("fashionIQ_dataset"), combiner(&world));
    fashioniq(&folder);
    let source = format!("kind = \"fashioniq\", folder = {folder:?}, categories = [\"dress\", \"shirt\"]");
    let measured = world.finish(recipe(&world, &source, "fashioniq", 0, &["validation"]), "measured");
    assert_eq!(measured.model, world.tower.folder.full_name(), "nothing was trained");
    let mut queries = Vec::new();
    for category in ["dress", "shirt"] {
        for (number, entry) in json_of(&folder.join(format!("captions/cap.{category}.val.json")))
            .as_array()
            .expect("a list")
            .iter()
            .enumerate()
        {
            let text = |place: usize| {
                entry["captions"][place].as_str().expect("a text").trim_matches(['.', '?', ',', ' ']).to_owned()
            };
            let first = text(0);
            let first = first[..1].to_uppercase() + &first[1..].to_lowercase();
            let reference = entry["candidate"].as_str().expect("a name").to_owned();
            queries.push((format!("{category}.val.{number}"), reference, format!("{first} and {}", text(1))));
        }
    }
    let expected = reference(&world, &network, "fashioniq", &folder, &queries);
    println!("{} {}", expected["figures"], expected["closest"]);
    compare(&measured.metrics, "validation", &expected);
    let trained = world.finish(recipe(&world, &source, "fashioniq", 12, &["validation"]), "trained");
    assert!(trained.model.starts_with("joiner@t"), "{}", trained.model);
}

#[test]
fn cirrs_figures_and_submission_are_those_of_an_independent_computation() {
    let world = World::of("pictor", |side| {
        items(side, ["train", "val", "test1"], |split, n| format!("{split}/{}.png", name(split, n)))
    });
    let (folder, network) = (world.folder.path().join("cirr_dataset"), combiner(&world));
    cirr(&folder);
    let source = format!("kind = \"cirr\", folder = {folder:?}");
    let measured = world.finish(recipe(&world, &source, "cirr", 0, &["validation", "test"]), "measured");
    let mut queries = Vec::new();
    for split in ["val", "test1"] {
        for entry in json_of(&folder.join(format!("cirr/captions/cap.rc2.{split}.json"))).as_array().expect("a list") {
            let text = |key: &str| entry[key].as_str().expect("a text").to_owned();
            queries.push((entry["pairid"].to_string(), text("reference"), text("caption")));
        }
    }
    let expected = reference(&world, &network, "cirr", &folder, &queries);
    println!("{} {}", expected["figures"], expected["closest"]);
    compare(&measured.metrics, "validation", &expected);
    for metric in ["recall", "recall_subset"] {
        assert_eq!(json_of(&world.run("measured").join(format!("test.{metric}.json"))), expected[metric]);
    }
    let trained = world.finish(recipe(&world, &source, "cirr", 12, &["validation"]), "trained");
    assert!(trained.model.starts_with("joiner@t"), "{}", trained.model);
}

#[test]
fn queries_of_a_file_are_read_and_bad_ones_named_by_their_line() {
    use std::sync::atomic::AtomicBool;
    let world = World::of("pictor", |side| items(side, ["train", "val", "test"], name));
    combiner(&world);
    let path = world.folder.path().join("queries.jsonl");
    let source = format!("kind = \"jsonl\", path = {path:?}");
    let good = r#"{"reference": "train-1", "modification": ["in red", "red"], "target": "train-2"}
{"reference": "val-1", "modification": "in red", "target": "val-2", "members": ["val-2", "val-3"], "split": "validation"}
"#;
    std::fs::write(&path, good).expect("written");
    let measured = world.finish(recipe(&world, &source, "generic", 3, &["validation"]), "good");
    assert!((measured.metrics["validation.queries"] - 1.0).abs() < 1e-12);
    assert!(measured.metrics["validation.Rs@2"] > 0.99);
    for (number, (line, expected)) in [
        ("{", "line 3"),
        (r#"{"reference": "train-1", "modification": [], "target": "train-2"}"#, "expected a text"),
        (r#"{"reference": "nobody", "modification": "red", "target": "train-2"}"#, "\"nobody\""),
        (
            r#"{"reference": "val-1", "modification": "red", "target": "val-2", "members": ["val-3"]}"#,
            "the target is not among",
        ),
        (r#"{"reference": "val-1", "modification": "red", "target": "val-2", "split": "train"}"#, "stands in"),
        (r#"{"reference": "val-1", "modification": "red", "colour": "red"}"#, "unknown field"),
    ]
    .into_iter()
    .enumerate()
    {
        std::fs::write(&path, format!("{good}{line}\n")).expect("written");
        let request = world.request(recipe(&world, &source, "generic", 3, &["validation"]), &format!("bad-{number}"));
        let error = pictor::train::trainer::train(&request, &AtomicBool::new(false)).expect_err(line).to_string();
        assert!(error.contains(expected), "{line}: {error}");
    }
}
