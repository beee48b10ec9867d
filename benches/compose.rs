//! What composing costs: the Combiner alone at pictor-mini's sizes and at those of CLIP4Cir's RN50x4 (`compose.py` runs torch beside
//! it), and whole searches by a picture, by words, and by both through the Combiner, over the demo's pictures.
//! One JSON object a line on standard output; `benches/run.sh` keeps it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pictor::collection::backend::{Durability, Selection};
use pictor::collection::schema::{FieldSource, FieldSpec, MediaOriginals};
use pictor::compose::{Composers, Part};
use pictor::engine::{CollectionSpec, Engine, EngineSettings};
use pictor::image::ImageRule;
use pictor::ingest::{NewItem, NewMedia, UpsertSettings};
use pictor::model::combiner::{CombinerConfig, CombinerFeatures, MODEL_TYPE};
use pictor::model::{Description, DeviceChoice, PrecisionChoice, folder};
use pictor::resources::Resources;
use pictor::search::{Query, QueryContent, QueryPart, Ranking};
use pictor::types::PartKind;
use pictor::types::vector::UnitVector;
use safetensors::tensor::{Dtype, TensorView};

const REPEATS: usize = 5;
const CALLS: usize = 400;
const ITEMS: usize = 3000;

/// Writes a Combiner whose weights are waves as NAME@r1.
fn write(models: &Path, name: &str, space: &str, [dimension, projection_dim, hidden_dim]: [usize; 3]) {
    let path = models.join(name).join("r1");
    std::fs::create_dir_all(&path).expect("a folder");
    std::fs::write(models.join(name).join("current"), "r1\n").expect("written");
    let config = CombinerConfig {
        model_type: MODEL_TYPE.to_owned(),
        dimension,
        projection_dim,
        hidden_dim,
        space: space.to_owned(),
        encoder: String::new(),
        features: CombinerFeatures::Raw,
    };
    std::fs::write(path.join("config.json"), serde_json::to_string(&config).expect("JSON")).expect("written");
    let tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)> = config
        .shapes()
        .into_iter()
        .map(|(name, shape)| {
            let shape: Vec<usize> = shape.into_iter().map(|size| size as usize).collect();
            let wave = |index: usize| (0.01 * (index as f32 * 0.7).sin()).to_le_bytes();
            let bytes = (0..shape.iter().product()).flat_map(wave).collect();
            (name, (shape, bytes))
        })
        .collect();
    let views: Vec<(&String, TensorView<'_>)> = tensors
        .iter()
        .map(|(name, (shape, bytes))| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).expect("a tensor")))
        .collect();
    safetensors::serialize_to_file(views, None, &path.join("model.safetensors")).expect("written");
}

fn report(who: &str, repeat: usize, mut latencies: Vec<Duration>) {
    latencies.sort();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    let line = serde_json::json!({
        "bench": "compose", "who": who, "repeat": repeat, "calls": latencies.len(), "p50_ms": at(0.5), "p99_ms": at(0.99),
    });
    println!("{line}");
}

fn alone(models: &Path) {
    for sizes in [[384, 384, 768], [640, 2560, 5120]] {
        let (name, space) = (format!("combiner {sizes:?}"), format!("bench:{}", sizes[0]));
        write(models, &format!("c{}", sizes[0]), &space, sizes);
        let bound = Composers::open(models, 1 << 30).bind("combiner", &space, sizes[0]).expect("bound");
        let part = |seed: f32, kind| {
            let values = (0..sizes[0]).map(|index| (seed + index as f32).sin()).collect();
            Part { vector: UnitVector::normalise(values).expect("a direction"), kind, weight: 1.0 }
        };
        let parts = [part(1.0, PartKind::Media), part(2.0, PartKind::Text)];
        for repeat in 1..=REPEATS {
            let call = |_| {
                let started = Instant::now();
                std::hint::black_box(bound.composer.compose(&parts).expect("composed"));
                started.elapsed()
            };
            report(&name, repeat, (0..CALLS).map(call).collect());
        }
    }
}

async fn searches(models: &Path, data: &Path) {
    let source = folder::resolve(models, "pictor-mini").expect("`make setup` assembles pictor-mini");
    let description = Description::read(&source, ImageRule::Pictor).expect("a description");
    write(models, "joiner", &description.space, [384, 384, 768]);
    let engine = Engine::open(EngineSettings {
        data_dir: data.to_owned(),
        models_dir: models.to_owned(),
        device: DeviceChoice::Cpu,
        dtype: PrecisionChoice::Auto,
        encode_queue: 8192,
        resources: Resources::divide(None, None).expect("resources"),
    })
    .expect("an engine");
    let field =
        FieldSpec { name: "image".to_owned(), source: FieldSource::Media { encoder: "pictor-mini".to_owned() } };
    let spec = CollectionSpec {
        name: "bench".to_owned(),
        fields: vec![field],
        media_originals: MediaOriginals::Keep,
        default_field: String::new(),
        expiry: None,
    };
    engine.create_collection(spec).await.expect("created");
    let files = std::fs::read_dir(".deps/demo/corpus/images").expect("`make demo` fetches the pictures");
    let mut files: Vec<PathBuf> = files.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let pictures: Vec<Bytes> = files.iter().take(ITEMS).map(|file| std::fs::read(file).expect("read").into()).collect();
    for (number, picture) in pictures.iter().enumerate() {
        let item = NewItem {
            id: number.to_string(),
            media: vec![NewMedia { data: picture.clone(), name: String::new() }],
            ..NewItem::default()
        };
        let stored = engine
            .upsert(
                "bench",
                vec![Ok(item)],
                UpsertSettings { durability: Durability::Async, ..UpsertSettings::default() },
                None,
            )
            .await;
        stored.expect("stored");
    }
    for repeat in 1..=REPEATS {
        for who in ["search by picture", "search by words", "search by both"] {
            let mut latencies = Vec::with_capacity(CALLS);
            for call in 0..CALLS {
                let part = |content| QueryPart { content, weight: 1.0 };
                let picture = part(QueryContent::Image(pictures[(call * 7) % pictures.len()].clone()));
                // Words that no cache has seen.
                let words = part(QueryContent::Text(format!("with another colour {repeat} {who} {call}")));
                let parts = match who {
                    "search by picture" => vec![picture],
                    "search by words" => vec![words],
                    _ => vec![picture, words],
                };
                let query = Query {
                    field: String::new(),
                    parts,
                    composer: if who == "search by both" { "combiner".to_owned() } else { String::new() },
                    filter: None,
                    limit: 10,
                    offset: 0,
                    min_score: None,
                    exact: false,
                    exclude_reference: true,
                    select: Selection::default(),
                    only: None,
                    ranking: Ranking::default(),
                };
                let started = Instant::now();
                engine.search("bench", query, None).await.expect("an answer");
                latencies.push(started.elapsed());
            }
            report(who, repeat, latencies);
        }
    }
    engine.close().await.expect("closed");
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let models = folder.path().join("models");
    std::fs::create_dir_all(&models).expect("a folder");
    for name in ["all-minilm-l6-v2", "pictor-mini"] {
        let source = Path::new(".deps/models").join(name).canonicalize().expect("`make setup` assembles the models");
        std::os::unix::fs::symlink(source, models.join(name)).expect("linked");
    }
    alone(&models);
    searches(&models, &folder.path().join("data")).await;
}
