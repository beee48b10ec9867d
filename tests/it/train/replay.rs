//! A corpus that grows: what was learned before is kept by showing it again.

use std::collections::BTreeMap;

use pictor::train::trainer::Finished;
use pictor::types::Value;

use super::world::World;
use crate::encoder::pictures::png;
use crate::finetune::{GROUNDS, MARKS, PATTERNS, name, picture};
use crate::fixture::{Content, item, payload};
use crate::random::Random;

/// Items of each period; the first shows three grounds, the second the three others.
const N_ITEMS: usize = 300;

fn world() -> World {
    World::of("pictor", |side| {
        let mut random = Random::new(5);
        let mut items = Vec::new();
        for number in 0..2 * N_ITEMS {
            let period = number / N_ITEMS;
            let ground = 3 * period + random.below(GROUNDS.len() / 2);
            let look = [ground, random.below(MARKS.len()), random.below(PATTERNS.len())];
            let content = Content {
                payload: payload(&[("period", Value::Int(2020 + period as i64))]),
                media: vec![("picture.png".to_owned(), png(&picture(look, side, &mut random)))],
                texts: BTreeMap::from([("name".to_owned(), vec![name(look)])]),
                ..Content::default()
            };
            items.push(item(&format!("item-{number:03}"), &content));
        }
        items
    })
}

fn train(world: &World, run: &str, change: impl FnOnce(&mut toml::Table)) -> Finished {
    let recipe = world.recipe(120, |recipe| {
        let entries: toml::Table = r#"
            split = { test = 0.25 }
            run = { steps = 120, batch = 64, checkpoint_every = 1000, dtype = "f32" }
            objective = [{ term = "softmax", pair = "images-texts", positives = "mask" }]
            optimiser = { lr = 0.004, clip_norm = 1.0 }

            [[eval]]
            evaluator = "retrieval"
            name = "old"
            query = { of = "texts", filter = "period = 2020", split = "test" }
            gallery = { of = "pictures", filter = "period = 2020", split = "test" }

            [[eval]]
            evaluator = "retrieval"
            name = "new"
            query = { of = "texts", filter = "period = 2021", split = "test" }
            gallery = { of = "pictures", filter = "period = 2021", split = "test" }
        "#
        .parse()
        .expect("TOML");
        recipe.extend(entries);
        change(recipe);
    });
    world.finish(recipe, run)
}

/// As TiC-CLIP found, going on with the newest items only forgets the older ones, and half of them shown again keeps most.
///
/// Fails when: the sampler shows the wrong period, or shares are lost.
#[test]
fn replay_keeps_what_was_learned_before() {
    let world = world();
    let first = train(&world, "first", |recipe| {
        recipe["name"] = "first".into();
        recipe["corpus"].as_table_mut().expect("a table").insert("train_filter".to_owned(), "period = 2020".into());
    });
    let go_on = |run: &str, sampler: &str| {
        train(&world, run, |recipe| {
            recipe["model"]["start"] = first.model.clone().into();
            recipe["sampler"] = sampler.parse::<toml::Table>().expect("TOML").into();
        })
    };
    let newest = go_on("newest", "kind = \"replay\"\nperiod = \"period\"\nstrategy = \"none\"");
    let half = "kind = \"replay\"\nperiod = \"period\"\nstrategy = \"equal\"\nold_share = 0.5";
    let replayed = go_on("replayed", half);
    let figures = |of: &Finished| ["old.R@10", "new.R@10"].map(|name| of.metrics[name]);
    let [before, only_new, with_old] = [&first, &newest, &replayed].map(figures);
    println!(
        "old and new R@10: after the first period {before:?}, newest only {only_new:?}, half replayed {with_old:?}"
    );
    assert!(before[0] > 0.6, "the first period was learned: {before:?}");
    assert!(only_new[1] > before[1] + 0.1 && with_old[1] > before[1] + 0.1, "both learn the second period");
    assert!(with_old[0] > only_new[0] + 0.1, "what was learned before is kept: {with_old:?}, {only_new:?}");
}
