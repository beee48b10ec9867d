//! Whole preparation against transformers' Pillow processors and open_clip's steps. `tests/golden/prepare.py` says how.

use pictor::image::{ImageConfig, ImagePreparer, ImageRule};
use serde_json::Value;

use super::files::data_folder;
use crate::support::root;

#[derive(serde::Deserialize)]
struct Golden {
    /// File, family, what its configuration file holds, BLAKE3 of the pixels.
    cases: Vec<(String, String, Value, String)>,
}

#[test]
fn preparing_equals_the_families_own() {
    let Some(data) = data_folder("preparing_equals_the_families_own") else { return };
    let text = std::fs::read_to_string(root().join("tests/golden/prepare.json")).expect("prepare.json");
    let golden: Golden = serde_json::from_str(&text).expect("JSON");
    let mut wrong = Vec::new();
    for (name, family, file, digest) in &golden.cases {
        let config = match family.as_str() {
            "clip" => ImageConfig::from_hugging_face(file, &ImageConfig::CLIP),
            "chinese_clip" => ImageConfig::from_hugging_face(file, &ImageConfig::CHINESE_CLIP),
            "siglip" => ImageConfig::from_hugging_face(file, &ImageConfig::SIGLIP),
            "vit" => ImageConfig::from_hugging_face(file, &ImageConfig::VIT),
            _ => ImageConfig::from_open_clip(file, 224),
        };
        let preparer = config.and_then(|config| ImagePreparer::new(config, ImageRule::Reference)).expect(family);
        let pixels = preparer.prepare(&std::fs::read(data.join(name)).expect("readable")).expect(name);
        assert_eq!((pixels.height, pixels.width), preparer.output_size());
        if blake3::hash(&pixels.data).to_hex()[..16] != **digest {
            wrong.push(format!("{name} {family} {file}"));
        }
    }
    assert_eq!(golden.cases.len(), 210);
    assert!(wrong.is_empty(), "{} of {} differ: {wrong:#?}", wrong.len(), golden.cases.len());
}
