//! Dual encoders' folders that are damaged, sharded or wrapped.

use pictor::encode::torch::EncoderPlan;
use pictor::encode::{Encoder, Role};
use pictor::model::Precision;
use pictor::{Error, Result};

use super::settings;
use super::tiny::{NamedTensor, serialize};
use super::tower_models::{TOWERS, Tower};

fn load(tower: &Tower) -> Result<Vec<Vec<f32>>> {
    let plan = EncoderPlan::read(&tower.folder, &settings(Precision::F32))?;
    let mut encoder = plan.load()?;
    let mut inputs = tower.prepared(0..1, 10);
    inputs.push(plan.preprocessor().text("a red shoe", Role::Query)?);
    let vectors = encoder.encode(&inputs.iter().collect::<Vec<_>>())?;
    Ok(vectors.into_iter().map(|vector| vector.values).collect())
}

/// Tensors that no embedding needs.
fn is_unused(name: &str) -> bool {
    name.starts_with("logit_") || name.contains("pooler")
}

fn check_refused(tower: &Tower, words: &[&str]) {
    let error = load(tower).expect_err("a damaged folder");
    assert!(matches!(error, Error::FailedPrecondition { .. }), "{error}");
    let said = error.to_string();
    assert!(words.iter().all(|word| said.contains(word)), "{said}: expected {words:?}");
}

/// Fails when an architecture reads a tensor without checking that it is there, has its shape and holds numbers.
#[test]
fn every_tensor_is_checked_by_name() {
    for name in TOWERS.iter().filter(|name| **name != "clip_larger_pictures") {
        let tower = Tower::new(name);
        let tensors = tower.tensors();
        let used: Vec<usize> = (0..tensors.len()).filter(|&at| !is_unused(&tensors[at].0)).collect();
        for (turn, &at) in used.iter().enumerate().step_by(5) {
            let mut damaged: Vec<NamedTensor> = tensors.clone();
            // The last part of a name is in the message, whatever the prefixes that were tried.
            let last = tensors[at].0.rsplit("layers.").next().unwrap_or_default().to_owned();
            match turn % 3 {
                0 => drop(damaged.remove(at)),
                1 => {
                    damaged[at].1.push(1);
                }
                _ => damaged[at].2[0] = f32::NAN,
            }
            tower.write_weights(&damaged);
            check_refused(&tower, &[&last]);
        }
        tower.write_weights(&tensors);
        assert!(load(&tower).is_ok(), "{name}: whole again");
    }
}

#[test]
fn configurations_are_checked() {
    let check = |file: &str, change: &dyn Fn(&mut serde_json::Value), words: &[&str]| {
        let tower = Tower::new("clip");
        let path = tower.folder.path.join(file);
        let mut json = serde_json::from_slice(&std::fs::read(&path).expect("read")).expect("JSON");
        change(&mut json);
        tower.write(file, &json);
        check_refused(&tower, words);
    };
    check("config.json", &|json| json["model_type"] = "blip".into(), &["unknown model_type", "siglip", "blip"]);
    check("config.json", &|json| json["text_config"]["vocab_size"] = 100.into(), &["tokenizer.json", "100"]);
    check("config.json", &|json| json["vision_config"]["patch_size"] = 0.into(), &["patch_size"]);
    check("config.json", &|json| json["vision_config"]["patch_size"] = 64.into(), &["patch_size", "64"]);
    check("config.json", &|json| json["vision_config"] = 3.into(), &["vision_config", "object"]);
    check("config.json", &|json| json["vision_config"]["hidden_act"] = "relu".into(), &["hidden_act", "relu"]);
    check("preprocessor_config.json", &|json| json["image_std"] = serde_json::json!([0, 1, 1]), &["image_std"]);
    check("preprocessor_config.json", &|json| json["resample"] = "round".into(), &["resample"]);
    let tower = Tower::new("clip");
    std::fs::remove_file(tower.folder.path.join("model.safetensors")).expect("remove");
    check_refused(&tower, &["model.safetensors", "safetensors only"]);
}

#[test]
fn shards_and_wrapped_names_are_read() {
    let tower = Tower::new("clip");
    let (expected, tensors) = (load(&tower).expect("vectors"), tower.tensors());
    let wrapped: Vec<NamedTensor> =
        tensors.iter().map(|(name, shape, values)| (format!("module.{name}"), shape.clone(), values.clone())).collect();
    tower.write_weights(&wrapped);
    assert_eq!(load(&tower).expect("wrapped"), expected);

    std::fs::remove_file(tower.folder.path.join("model.safetensors")).expect("remove");
    let mut map = serde_json::Map::new();
    for (number, half) in tensors.chunks(tensors.len().div_ceil(2)).enumerate() {
        let file = format!("model-{number}.safetensors");
        std::fs::write(tower.folder.path.join(&file), serialize(half)).expect("write");
        map.extend(half.iter().map(|(name, _, _)| (name.clone(), file.clone().into())));
    }
    let write_index = |map: &serde_json::Map<String, serde_json::Value>| {
        tower.write("model.safetensors.index.json", &serde_json::json!({"weight_map": map}));
    };
    write_index(&map);
    assert_eq!(load(&tower).expect("shards"), expected);
    map.insert("evil".to_owned(), "../model-0.safetensors".into());
    write_index(&map);
    check_refused(&tower, &["index.json", "no file's name"]);
    map["evil"] = "model-9.safetensors".into();
    write_index(&map);
    check_refused(&tower, &["model-9.safetensors", "missing"]);
}
