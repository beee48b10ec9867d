//! The Combiner and both losses of CLIP4Cir against torch, and whole runs on composed queries.

use std::collections::BTreeMap;

use pictor::collection::backend::ItemWrite;
use pictor::compose::CombinerNetwork;
use pictor::encode::EncodeSettings;
use pictor::encode::offline::{EmbedRequest, embed};
use pictor::model::{DeviceChoice, ModelFolder, folder};
use pictor::train::combiner::{Combiner, PLACE};
use pictor::train::loss::{ComposedQueries, Term, Views};
use pictor::train::piece::{Settings, build};
use pictor::train::recipe::CombinerRecipe;
use pictor::train::student::normalise;
use pictor::train::trainer::{Finished, Outcome, train};
use pictor::types::Value;
use std::sync::atomic::AtomicBool;
use tch::{Device, Kind, Tensor};

use super::world::World;
use crate::compose::{formula, golden, numbers};
use crate::encoder::pictures::png;
use crate::encoder::tower_models::picture;
use crate::fixture::{Content, item, payload};

fn matrix(seed: f64, scale: f64, [rows, columns]: [i64; 2]) -> Tensor {
    let values: Vec<f32> =
        formula(seed, (rows * columns) as usize, scale).into_iter().map(|value| value as f32).collect();
    Tensor::from_slice(&values).view([rows, columns]).set_requires_grad(true)
}

fn check(found: &Tensor, expected: &[f64], what: &str) {
    let found: Vec<f32> = Vec::try_from(found.detach().contiguous().view(-1)).expect("numbers");
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(1.0_f64, |size, value| size.max(value.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!((f64::from(*found) - expected).abs() < 1e-5 * size, "{what}: {found} and not {expected}");
    }
}

fn term(table: &str) -> Box<dyn Term> {
    let settings = Settings { place: "objective".to_owned(), table: table.parse().expect("TOML") };
    build(pictor::train::loss::ALL, "term", settings).expect("a term")
}

fn loss(queries: Tensor, targets: &Tensor) -> Tensor {
    let n = queries.size()[0];
    let rows = Tensor::arange(n, (Kind::Int64, Device::Cpu));
    let composed = ComposedQueries { queries, targets: rows.copy(), gallery: None };
    let views = Views {
        images: vec![Tensor::zeros([n, 6], (Kind::Float, Device::Cpu)), normalise(targets)],
        texts: Vec::new(),
        concepts: rows,
        bank: None,
        targets: None,
        composed: Some(composed),
        attributes: Vec::new(),
        pictures: Vec::new(),
    };
    term("term = \"composed\"").loss(&views, &[]).expect("a loss")
}

/// Fails when: any factor, direction or order of the network or of the loss differs.
#[test]
fn combiner_and_losses_agree_with_torch() {
    let golden = golden();
    let recipe: CombinerRecipe = toml::from_str("projection = 1.3334\nhidden = 1.6667\ndropout = 0.5").expect("TOML");
    let encoder = ModelFolder { name: "some".to_owned(), revision: "r1".to_owned(), path: "/nonexistent".into() };
    let (combiner, mut tensors) =
        Combiner::new(&recipe, "/nonexistent".as_ref(), &encoder, ("s:6", 6), 1, Device::Cpu).expect("a combiner");
    assert_eq!((combiner.config.projection_dim, combiner.config.hidden_dim), (8, 10));
    for (number, tensor) in tensors.values_mut().enumerate() {
        let values = formula(number as f64 + 1.0, tensor.numel(), 0.5).into_iter().map(|value| value as f32);
        *tensor =
            Tensor::from_slice(&values.collect::<Vec<_>>()).view(tensor.size().as_slice()).set_requires_grad(true);
    }
    let inputs = || (matrix(100.0, 2.0, [5, 6]), matrix(200.0, 1.5, [5, 6]), matrix(300.0, 2.5, [5, 6]));
    let (images, texts, targets) = inputs();
    let composed = combiner.compose(&tensors, &images, &texts, None).expect("composed");
    check(&composed, &numbers(&golden["composed"]), "composed");
    let value = loss(composed, &targets);
    check(&value, &[golden["stage2_loss"].as_f64().expect("a number")], "the second stage's loss");
    value.backward();
    check(&targets.grad(), &numbers(&golden["stage2_target_gradient"]), "the targets' gradient");
    for (name, tensor) in &tensors {
        let name = name.strip_prefix(PLACE).expect("a Combiner's tensor");
        check(&tensor.grad(), &numbers(&golden["stage2_gradients"][name]), name);
    }
    let (images, texts, targets) = inputs();
    let sum = normalise(&(&images + &texts));
    check(&sum, &numbers(&golden["sum"]), "sum");
    let value = loss(sum, &targets);
    check(&value, &[golden["stage1_loss"].as_f64().expect("a number")], "the first stage's loss");
    value.backward();
    for (tensor, name) in [(images, "image"), (texts, "text"), (targets, "target")] {
        check(&tensor.grad(), &numbers(&golden[format!("stage1_{name}_gradient")]), name);
    }
    // What is left out depends on the seed and on nothing else, and only in training.
    let (images, texts, _) = inputs();
    let dropped = |seed| combiner.compose(&tensors, &images, &texts, seed).expect("composed");
    assert_eq!(dropped(Some(5)), dropped(Some(5)));
    assert_ne!(dropped(Some(5)), dropped(Some(6)));
    assert_eq!(dropped(None), dropped(None));
}

const COLOURS: [&str; 5] = ["red", "green", "blue", "white", "black"];
const SHAPES: usize = 40;

/// Things that come in colours: the same pattern, tinted.
fn things(side: u32) -> Vec<ItemWrite> {
    let mut items = Vec::new();
    for shape in 0..SHAPES {
        for (number, colour) in COLOURS.iter().enumerate() {
            let mut drawing = picture(shape, side, side);
            let tint = [[220, 30, 30], [30, 200, 30], [30, 30, 220], [235, 235, 235], [15, 15, 15]][number];
            for pixel in drawing.data.chunks_exact_mut(3) {
                for (value, tint) in pixel.iter_mut().zip(tint) {
                    *value = ((u32::from(*value) + 2 * tint) / 3) as u8;
                }
            }
            let word = |text: &str| Value::String(text.to_owned());
            let split = if shape % 4 == 0 {
                "test"
            } else if shape % 4 == 1 {
                "validation"
            } else {
                "train"
            };
            items.push(item(
                &format!("thing-{shape}-{colour}"),
                &Content {
                    payload: payload(&[
                        ("shape", word(&format!("shape {shape}"))),
                        ("colour", word(colour)),
                        ("split", word(split)),
                    ]),
                    media: vec![("picture.png".to_owned(), png(&drawing))],
                    texts: BTreeMap::from([("name".to_owned(), vec![format!("a {colour} thing")])]),
                    ..Content::default()
                },
            ));
        }
    }
    items
}

fn recipe(world: &World, steps: u64, change: impl FnOnce(&mut toml::Table)) -> String {
    let text = format!(
        r#"
        name = "joiner"
        seed = 3
        corpus = {{ collection = "things", concept = "shape" }}
        split = {{ key = "split" }}
        model = {{ start = "{}" }}
        combiner = {{ projection = 1, hidden = 2, dropout = 0.2 }}
        run = {{ steps = {steps}, batch = 64, eval_every = 50, checkpoint_every = 40, dtype = "f32" }}
        sampler = {{ kind = "triplets" }}
        views = {{ kind = "paired", pictures = 2, texts = 1 }}
        objective = [{{ term = "composed", mask_same_target = true }}]
        parameters = [{{ match = "combiner/.*" }}, {{ match = ".*", frozen = true }}]
        optimiser = {{ lr = 0.003, betas = [0.9, 0.999] }}
        schedule = {{ shape = "constant" }}

        [triplets]
        kind = "mined"
        [[triplets.change]]
        name = "colour"
        same = ["shape"]
        differs = "colour"
        wordings = ["in {{to}}", "the same but {{to}}", "{{to}} instead of {{from}}"]
        held_out = ["make it {{to}}"]
        words = {{ red = "red", green = "green", blue = "blue", white = "white", black = "black" }}

        [[eval]]
        evaluator = "composed"
        name = "held-out"
        split = "test"
        baselines = {{ split = "validation" }}
        at_end = true

        [[eval]]
        evaluator = "composed"
        name = "other-words"
        split = "test"
        wordings = "held-out"
        at_end = true

        [[eval]]
        evaluator = "composed"
        name = "wrong-words"
        split = "test"
        wordings = "wrong"
        at_end = true

        [[eval]]
        evaluator = "composed"
        name = "chosen-by"
        split = "validation"
        "#,
        world.tower.folder.name
    );
    let mut recipe: toml::Table = text.parse().expect("TOML");
    change(&mut recipe);
    recipe.to_string()
}

fn world() -> World {
    World::of("pictor", things)
}

/// Fails when: the Combiner learns nothing, is measured on what it learned from, or is not what the server would compute with.
#[test]
fn a_combiner_learns_changes_of_things_that_it_has_not_seen() {
    let world = world();
    let change = |recipe: &mut toml::Table| {
        recipe["combiner"]["dropout"] = 0.0.into();
        recipe["optimiser"]["lr"] = 0.001.into();
    };
    let finished = world.finish(recipe(&world, 800, change), "run");
    let value = |name: &str| finished.metrics[name];
    println!("{:#?}", finished.metrics);
    // Ten things in five colours, twenty changes each, among 200 pictures.
    assert!((value("held-out.queries") - 200.0).abs() < 1e-9 && (value("held-out.gallery") - 200.0).abs() < 1e-9);
    assert!(value("held-out.R@10") > value("held-out.best_baseline.R@10") + 0.2, "nothing was learned");
    assert!(value("held-out.error_ratio") < 1.0 && value("held-out.p") < 0.05);
    assert!(value("wrong-words.R@10") < 0.3 * value("held-out.R@10"), "the words do not matter");
    assert!(value("other-words.R@10") > 2.0 * value("wrong-words.R@10"), "only the wordings were learned");

    // The revision is a composer for the encoder's space, and computes what the trainer measured with.
    let written = folder::resolve(world.tower.models(), &finished.model).expect("a revision");
    assert!(finished.model.starts_with("joiner@t") && written.path.join("card.json").exists());
    let network = CombinerNetwork::read(&written.path, 1 << 24).expect("a network");
    assert_eq!(network.config.encoder, world.tower.folder.full_name());
    let texts = world.folder.path().join("texts");
    std::fs::write(&texts, "in red\n").expect("written");
    let request = EmbedRequest {
        model: world.tower.folder.path.clone(),
        texts_from: Some(texts),
        out: world.folder.path().join("out.safetensors"),
        settings: EncodeSettings { device: DeviceChoice::Cpu, ..EncodeSettings::default() },
        ..EmbedRequest::default()
    };
    assert_eq!(embed(&request).expect("embedded").space, network.config.space);
}

/// Fails when: a target is taken out with what is alike to it, or the whole gallery teaches nothing.
#[test]
fn a_combiner_learns_against_all_pictures_too() {
    let world = world();
    let change = |recipe: &mut toml::Table| {
        recipe["objective"][0] = toml::Value::Table("term = \"composed\"\nover = \"gallery\"".parse().expect("TOML"));
        recipe["combiner"]["dropout"] = 0.0.into();
        recipe["optimiser"]["lr"] = 0.001.into();
    };
    let finished = world.finish(recipe(&world, 400, change), "gallery");
    println!("{:#?}", finished.metrics);
    let value = |name: &str| finished.metrics[name];
    assert!(value("held-out.R@10") > value("held-out.best_baseline.R@10") + 0.1, "nothing was learned");
}

/// Fails when: what is left out depends on more than the step, or anything of the Combiner is not in the checkpoint.
#[test]
fn a_stopped_run_of_a_combiner_ends_with_the_same_bits() {
    let world = world();
    let text = recipe(&world, 90, |_| {});
    let whole = world.finish(text.clone(), "whole");
    let mut n_stops = 0;
    let finished: Finished = loop {
        let request = world.request(text.clone(), "stopped");
        // Asked from the start: it writes a checkpoint and stops before its first step, or goes on to the next one.
        let stop = AtomicBool::new(n_stops < 2);
        match train(&request, &stop).expect("a run") {
            Outcome::Stopped => n_stops += 1,
            Outcome::Finished(finished) => break finished,
        }
    };
    assert_eq!(n_stops, 2);
    assert_eq!(finished, whole);
}

#[test]
fn the_first_stage_changes_either_encoder_or_both() {
    let world = world();
    for (trained, frozen) in [("text", Some("vision/.*")), ("vision", Some("text/.*")), ("(text|vision)", None)] {
        let change = |recipe: &mut toml::Table| {
            recipe.remove("combiner");
            recipe["run"]["batch"] = 16.into();
            recipe["run"].as_table_mut().expect("a table").insert("freeze_batch_norm".to_owned(), true.into());
            recipe["optimiser"]["lr"] = 0.0005.into();
            let mut rules: Vec<toml::Value> = Vec::new();
            let mut rule = |table: String| rules.push(toml::Value::Table(table.parse().expect("TOML")));
            if let Some(frozen) = frozen {
                rule(format!("match = {frozen:?}\nfrozen = true"));
            }
            rule(format!("match = \"{trained}/.*\""));
            recipe["parameters"] = toml::Value::Array(rules);
        };
        let finished = world.finish(recipe(&world, 60, change), &format!("first-{}", trained.len()));
        let lines = pictor::train::progress::lines(&world.run(&format!("first-{}", trained.len()))).expect("metrics");
        let losses: Vec<f64> = lines.iter().filter_map(|line| line.values.get("loss").copied()).collect();
        let (first, last) = (losses[0], losses[losses.len() - 1]);
        assert!(last < 0.9 * first, "{trained}: {losses:?}");
        assert!(finished.model.starts_with("joiner@t"), "{}", finished.model);
    }
}

#[test]
fn recipes_that_make_no_sense_say_why() {
    let world = world();
    let check = |change: &dyn Fn(&mut toml::Table), expected: &str| {
        let error = match train(&world.request(recipe(&world, 5, change), expected), &AtomicBool::new(false)) {
            Err(error) => error.to_string(),
            other => panic!("{expected}: {other:?}"),
        };
        assert!(error.contains(expected), "{error}");
    };
    check(&|recipe| drop(recipe.remove("triplets")), "say where they are");
    check(
        &|recipe| {
            recipe["parameters"] = toml::Value::Array(vec![toml::Value::Table("match = \".*\"".parse().expect("TOML"))])
        },
        "a combiner learns on frozen encoders",
    );
    check(&|recipe| recipe["triplets"]["change"][0]["differs"] = "nothing".into(), "no two items share");
    check(
        &|recipe| recipe["triplets"]["change"][0]["wordings"] = toml::Value::Array(vec!["red".into()]),
        "no {to} where",
    );
    check(&|recipe| recipe["combiner"]["dropout"] = 1.0.into(), "combiner.dropout");
    check(&|recipe| recipe["eval"][0]["split"] = "tomorrow".into(), "expected train, validation or test");
    check(
        &|recipe| recipe["sampler"] = toml::Value::Table("kind = \"items\"".parse().expect("TOML")),
        "sampler.kind = \"triplets\"",
    );
}
