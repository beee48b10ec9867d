//! The model that is shipped: its two folders against transformers and sentence-transformers, and its untouched text tower.

use std::path::PathBuf;

use pictor::encode::EncodeSettings;
use pictor::encode::offline::{EmbedRequest, embed};
use pictor::model::combiner::{self, CombinerConfig};
use pictor::model::{Precision, folder};

use super::pictures::png;
use super::tower_models::picture;
use super::{cosine, golden_folder, rows, settings};
use crate::support::{ENCODER, models_dir, root};

const TEXTS: [&str; 8] =
    ["", "a red apple", "grinning face", "emoji of a fox", "heavy snow on a mountain", "猫", "", "flag: Japan"];

fn model(name: &str) -> PathBuf {
    folder::resolve(&models_dir(), name).expect("a model that set-up assembled").path
}

fn embedded(name: &str, precision: Precision, pictures: usize) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let folder = tempfile::tempdir().expect("a folder");
    let (list, texts, out) =
        (folder.path().join("list"), folder.path().join("texts.jsonl"), folder.path().join("out.safetensors"));
    let write = |number: usize| {
        let path = folder.path().join(format!("{number}.png"));
        std::fs::write(&path, png(&picture(number, 64, 64))).expect("write");
        format!("{}\n", path.display())
    };
    std::fs::write(&list, (0..pictures).map(write).collect::<String>()).expect("write");
    let long = "A ".repeat(300);
    let line = |text: &&str| serde_json::json!(text).to_string() + "\n";
    let all: Vec<&str> =
        TEXTS.iter().enumerate().map(|(place, text)| if place == 6 { long.as_str() } else { *text }).collect();
    std::fs::write(&texts, all.iter().map(line).collect::<String>()).expect("write");
    embed(&EmbedRequest {
        model: model(name),
        images_from: (pictures > 0).then_some(list),
        texts_jsonl: Some(texts),
        out: out.clone(),
        settings: EncodeSettings { ..settings(precision) },
        ..EmbedRequest::default()
    })
    .expect("embedded");
    (if pictures > 0 { rows(&out, "images") } else { Vec::new() }, rows(&out, "texts"))
}

/// Fails when the published layout differs from transformers' `ResNetModel` or sentence-transformers' folder. Control: the same
/// vectors moved by one.
#[test]
fn pictor_mini_agrees_with_the_libraries_of_its_layouts() {
    let golden = golden_folder().join("pictor_mini.safetensors");
    for (precision, least) in [(Precision::F32, 0.99999), (Precision::Bf16, 0.999)] {
        let (images, texts) = embedded("pictor-mini", precision, 16);
        for (kind, found) in [("images", images), ("texts", texts)] {
            let expected = rows(&golden, kind);
            assert_eq!(found.len(), expected.len());
            let worst = found.iter().zip(&expected).map(|(one, other)| cosine(one, other)).fold(1.0, f64::min);
            println!("{kind} {precision:?}: worst cosine {worst:.8}");
            assert!(worst >= least, "{kind} {precision:?}: {worst}");
            let control = found.iter().zip(expected.iter().cycle().skip(1)).map(|(one, other)| cosine(one, other));
            assert!(control.fold(1.0, f64::min) < 0.95, "{kind}: other vectors agree as well");
        }
    }
}

#[test]
fn the_text_tower_of_pictor_mini_is_untouched() {
    let (own, original) = (model("pictor-mini").join("text"), model(ENCODER));
    for file in ["model.safetensors", "tokenizer.json", "config.json"] {
        let read = |folder: &PathBuf| std::fs::read(folder.join(file)).expect(file);
        assert!(read(&own) == read(&original), "{file} differs");
    }
    // Not only near: the same bits, so that every text-to-text figure is the same.
    assert_eq!(embedded("pictor-mini", Precision::F32, 0).1, embedded(ENCODER, Precision::F32, 0).1);
}

#[test]
fn the_shipped_files_are_small_and_have_their_card() {
    let folder = root().join("models/pictor-mini");
    let revision = std::fs::read_to_string(folder.join("current")).expect("a revision");
    let folder = folder.join(revision.trim());
    let bytes = std::fs::metadata(folder.join("vision/model.safetensors")).expect("weights").len();
    assert!(bytes <= 10 << 20, "{bytes} bytes");
    let card: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("card.json")).expect("a card")).expect("JSON");
    let fingerprint = card["fingerprint"].as_str().expect("a fingerprint");
    assert_eq!(revision.trim(), format!("t{}", &fingerprint[..12]));
    let loaded = pictor::model::Description::read(
        &folder::resolve(&models_dir(), "pictor-mini").expect("assembled"),
        pictor::image::ImageRule::Pictor,
    )
    .expect("a model");
    assert_eq!(loaded.fingerprint, fingerprint, "what is assembled is what was trained");
    let recipe = std::fs::read_to_string(root().join("recipes/pictor-mini.toml")).expect("the recipe");
    let table = |text: &str| text.parse::<toml::Table>().expect("TOML");
    assert_eq!(table(card["trained"]["recipe"].as_str().expect("a recipe")), table(&recipe));
}

/// A Combiner that was trained on another network's vectors would be refused by every field of this one.
#[test]
fn the_shipped_combiner_is_small_and_of_the_shipped_networks_space() {
    let path = folder::resolve(&root().join("models"), "pictor-mini-combiner").expect("a folder").path;
    let bytes = std::fs::metadata(path.join(combiner::WEIGHTS)).expect("weights").len();
    assert!(bytes <= 4 << 20, "{bytes} bytes");
    let config = CombinerConfig::read(&path).expect("a configuration");
    let encoder = folder::resolve(&models_dir(), "pictor-mini").expect("assembled");
    let description = pictor::model::Description::read(&encoder, pictor::image::ImageRule::Pictor).expect("a model");
    assert_eq!((config.space, config.encoder), (description.space, encoder.full_name()));
}
