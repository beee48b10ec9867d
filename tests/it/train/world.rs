//! A store with pictures, each with a text of its own, and a small model to start from.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use pictor::collection::backend::ItemWrite;
use pictor::model::DeviceChoice;
use pictor::resources::Resources;
use pictor::train::trainer::{Finished, Outcome, TrainRequest, train};
use pictor::types::Value;

use crate::encoder::pictures::png;
use crate::encoder::tower_models::{Tower, picture};
use crate::fixture::{Client, Content, item, new_collection, open, payload};

const COLOURS: [&str; 6] = ["red", "green", "blue", "white", "black", "shoe"];

pub(super) struct World {
    pub(super) folder: tempfile::TempDir,
    pub(super) tower: Tower,
}

impl World {
    pub(super) fn new(model: &str, n_items: usize) -> Self {
        let write = |side: u32, number: usize| {
            let text = format!("{} {} {number}", COLOURS[number % 6], COLOURS[number / 6 % 6]);
            item(
                &format!("item-{number}"),
                &Content {
                    payload: payload(&[("n", Value::Int(number as i64))]),
                    media: vec![("picture.png".to_owned(), png(&picture(number, side, side)))],
                    texts: BTreeMap::from([("name".to_owned(), vec![text])]),
                    ..Content::default()
                },
            )
        };
        Self::of(model, |side| (0..n_items).map(|number| write(side, number)).collect())
    }

    /// With items of the test's own, whose pictures have the given side.
    pub(super) fn of(model: &str, items: impl FnOnce(u32) -> Vec<ItemWrite>) -> Self {
        let (folder, tower) = (tempfile::tempdir().expect("a folder"), Tower::new(model));
        let catalog = open(&folder.path().join("data"));
        catalog.create(new_collection("things")).expect("a collection");
        let client = Client(catalog.resolve("things").expect("a collection"));
        client.upsert(items(tower.side())).into_iter().for_each(|ack| assert!(ack.is_ok(), "{ack:?}"));
        Self { folder, tower }
    }

    pub(super) fn recipe(&self, steps: u64, change: impl FnOnce(&mut toml::Table)) -> String {
        let text = format!(
            r#"
            name = "taught"
            seed = 3
            corpus = {{ collection = "things" }}
            captions = {{ from = [{{ path = "texts.name" }}] }}
            split = {{}}
            model = {{ start = "{}" }}
            run = {{ steps = {steps}, batch = 8, eval_every = 10, checkpoint_every = 7, dtype = "f32" }}
            sampler = {{ kind = "items" }}
            views = {{ kind = "paired" }}
            augment = [{{ kind = "noise", limit = 0.02 }}]
            objective = [{{ term = "softmax", pair = "images-texts" }}]
            parameters = [{{ match = ".*" }}]
            optimiser = {{ lr = 0.003, weight_decay = 0.01, clip_norm = 1.0 }}
            schedule = {{ shape = "cosine", warmup = 3 }}
            eval = [{{ evaluator = "retrieval", name = "all", query = {{ of = "texts" }}, gallery = {{ of = "pictures" }} }}]
            "#,
            self.tower.folder.name
        );
        let mut recipe: toml::Table = text.parse().expect("TOML");
        change(&mut recipe);
        recipe.to_string()
    }

    pub(super) fn request(&self, recipe: String, run: &str) -> TrainRequest {
        TrainRequest {
            recipe,
            corpus: self.folder.path().join("data"),
            models_dir: self.tower.models().to_owned(),
            run: self.run(run),
            device: DeviceChoice::Cpu,
            resources: Resources::divide(Some(2), Some(1 << 30)).expect("resources"),
        }
    }

    pub(super) fn run(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn finish(&self, recipe: String, run: &str) -> Finished {
        match train(&self.request(recipe, run), &AtomicBool::new(false)) {
            Ok(Outcome::Finished(finished)) => finished,
            other => panic!("{other:?}"),
        }
    }
}
