//! What a recipe can ask of a run beside its objective: means of weights, early stops, hidden patches, mixed captions.

use std::path::Path;

use pictor::model::folder;
use pictor::train::data::captions::{CaptionMix, Captions};
use pictor::train::progress::lines;
use pictor::train::random::random_for;
use pictor::train::recipe::CaptionsRecipe;
use pictor::train::trainer::Finished;
use safetensors::SafeTensors;

use super::world::World;

fn insert(recipe: &mut toml::Table, entries: &str) {
    recipe.extend(entries.parse::<toml::Table>().expect("TOML"));
}

/// The image tower's tensors in the order of their names.
fn tensors(folder: &Path) -> Vec<(String, Vec<f32>)> {
    let bytes = std::fs::read(folder.join("vision/model.safetensors")).expect("weights");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let numbers = |bytes: &[u8]| bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let mut tensors: Vec<_> = file.tensors().into_iter().map(|(name, view)| (name, numbers(view.data()))).collect();
    tensors.sort_by(|one, other| one.0.cmp(&other.0));
    tensors
}

fn written(world: &World, finished: &Finished) -> Vec<(String, Vec<f32>)> {
    tensors(&folder::resolve(world.tower.models(), &finished.model).expect("the new revision").path)
}

#[test]
fn the_mean_with_the_start_is_the_mean() {
    let world = World::new("pictor", 16);
    let with = |entries: &str, run: &str| world.finish(world.recipe(12, |recipe| insert(recipe, entries)), run);
    let plain = with("", "plain");
    assert_eq!(with("average = 1.0", "whole").model, plain.model);
    let start = tensors(&world.tower.folder.path);
    let trained = written(&world, &plain);
    for (share, run) in [(0.25_f32, "quarter"), (0.0, "nothing")] {
        let mean = written(&world, &with(&format!("average = {share:?}"), run));
        let mut n_moved = 0;
        for (((name, start), (_, trained)), (_, mean)) in start.iter().zip(&trained).zip(&mean) {
            for ((start, trained), mean) in start.iter().zip(trained).zip(mean) {
                let expected = start + share * (trained - start);
                assert!((mean - expected).abs() <= 1e-6 * (1.0 + expected.abs()), "{name}: {mean}, not {expected}");
                n_moved += usize::from(start != trained);
            }
        }
        assert!(n_moved > 100, "only {n_moved} numbers were learned");
    }
}

#[test]
fn the_mean_over_steps_is_what_is_measured_and_written() {
    let world = World::new("pictor", 16);
    let with = |entries: &str, run: &str| world.finish(world.recipe(12, |recipe| insert(recipe, entries)), run);
    let plain = with("", "plain");
    assert_eq!(with("ema = { decay = 0.0 }", "now").model, plain.model, "a mean without memory is the last step");
    let mean = with("ema = { decay = 0.9 }", "mean");
    assert_ne!(mean.model, plain.model);
    // It lags behind: nearer to the start than the last step.
    let (start, trained, mean) = (tensors(&world.tower.folder.path), written(&world, &plain), written(&world, &mean));
    let distance = |to: &[(String, Vec<f32>)]| -> f64 {
        let pairs = start.iter().zip(to).filter(|((name, _), _)| !name.contains("running") && !name.contains("num_"));
        let all = pairs.flat_map(|((_, one), (_, other))| one.iter().zip(other));
        all.map(|(one, other)| f64::from(one - other).powi(2)).sum()
    };
    assert!(distance(&mean) < distance(&trained), "{} and {}", distance(&mean), distance(&trained));
}

#[test]
fn a_run_ends_when_nothing_gets_better_and_keeps_the_best() {
    let world = World::new("pictor", 24);
    let recipe = world.recipe(400, |recipe| {
        insert(recipe, "stop = { metric = \"all.R@1\", patience = 3 }");
        insert(recipe, "optimiser = { lr = 0.003, clip_norm = 1.0 }\nschedule = { shape = \"constant\" }");
    });
    let finished = world.finish(recipe, "run");
    let evals: Vec<(u64, f64)> = lines(&world.run("run"))
        .expect("metrics")
        .iter()
        .filter(|line| line.kind == "eval")
        .map(|line| (line.step, line.values["all.R@1"]))
        .collect();
    let best = evals.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let first_best = evals.iter().position(|(_, value)| *value == best).expect("a best one");
    assert_eq!(finished.metrics["all.R@1"], best, "{evals:?}");
    assert_eq!(evals.len(), first_best + 4, "three measurements without a rise end the run: {evals:?}");
    assert!(evals.last().is_some_and(|(step, _)| *step < 400), "{evals:?}");
    let written = folder::resolve(world.tower.models(), &finished.model).expect("the new revision");
    let card: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(written.path.join("card.json")).expect("a card")).expect("JSON");
    assert_eq!(card["trained"]["kept_step"], evals[first_best].0);
}

/// Patches are hidden while the tail of the run sees them all, and the model is measured on whole pictures.
#[test]
fn a_transformer_learns_from_parts_of_its_patches() {
    let world = World::new("clip", 24);
    let with = |entries: &str, run: &str| world.finish(world.recipe(60, |recipe| insert(recipe, entries)), run);
    let dropped = with("patch_drop = { share = 0.5, unmasked_tail = 0.2 }", "dropped");
    assert!(dropped.metrics["all.R@1"] >= 0.5, "{:?}", dropped.metrics);
    let whole = with("patch_drop = { share = 0.5, unmasked_tail = 1.0 }", "whole");
    assert_eq!(whole.model, with("", "plain").model, "a tail as long as the run hides nothing");
    assert_ne!(whole.model, dropped.model);
}

fn mix(recipe: &str) -> CaptionMix {
    CaptionMix::new(&toml::from_str::<CaptionsRecipe>(recipe).expect("captions"))
}

#[test]
fn captions_are_drawn_in_their_shares() {
    let mix = mix(
        "from = [{ path = \"texts.a\", share = 0.5 }, { path = \"texts.b\", share = 0.3 }, { path = \"texts.c\", share = 0.2 }]",
    );
    let captions: Captions = ["a", "b", "c"].map(|text| vec![text.to_owned()]).to_vec();
    let n = 10_000;
    let mut counts = [0_u32; 3];
    for draw in 0..n {
        let text = mix.draw(&captions, &mut random_for(1, "text", &[draw])).expect("a text");
        counts[usize::from(text.as_bytes()[0] - b'a')] += 1;
    }
    let expected = [0.5, 0.3, 0.2].map(|share| share * n as f64);
    let terms = counts.iter().zip(expected).map(|(found, expected)| (f64::from(*found) - expected).powi(2) / expected);
    let chi_squared: f64 = terms.sum();
    // Two degrees of freedom: p > 0.01 below 9.21.
    assert!(chi_squared < 9.21, "{counts:?}: χ² = {chi_squared}");
    // An item without one of the sources draws among the others.
    let without: Captions = vec![vec![], vec!["b".to_owned()], vec![]];
    assert_eq!(mix.draw(&without, &mut random_for(1, "text", &[0])), Some("b".to_owned()));
    assert_eq!(mix.draw(&vec![vec![], vec![], vec![]], &mut random_for(1, "text", &[0])), None);
}

#[test]
fn a_text_of_too_few_words_is_replaced_by_the_first() {
    let mix = mix("min_words = 2\nfrom = [{ path = \"texts.a\" }, { path = \"texts.b\", share = 1000.0 }]");
    let captions: Captions =
        vec![vec!["the original text".to_owned()], vec!["short".to_owned(), "two words".to_owned()]];
    let drawn: std::collections::BTreeSet<String> =
        (0..200).map(|draw| mix.draw(&captions, &mut random_for(1, "text", &[draw])).expect("a text")).collect();
    assert_eq!(drawn.into_iter().collect::<Vec<_>>(), ["the original text", "two words"]);
}
