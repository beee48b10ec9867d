//! Listings as hubs send them, and what is taken from them.

use super::*;
use crate::model::pull::hub::LargeFile;

fn sibling(path: &str) -> Sibling {
    Sibling { rfilename: path.to_owned(), size: Some(3), blob_id: Some("0".repeat(40)), lfs: None }
}

fn listing(paths: &[&str]) -> Vec<Sibling> {
    paths.iter().map(|path| sibling(path)).collect()
}

#[track_caller]
fn check(paths: &[&str], expected: &[&str]) -> Selection {
    let selection = select(&listing(paths)).expect("a selection");
    let mut expected: Vec<_> = expected.iter().map(|path| (*path).to_owned()).collect();
    expected.sort();
    assert_eq!(selection.files.keys().cloned().collect::<Vec<_>>(), expected);
    selection
}

#[test]
fn sentence_encoders_come_with_their_modules() {
    let selection = check(
        &[
            ".gitattributes",
            "1_Pooling/config.json",
            "2_Dense/config.json",
            "2_Dense/model.safetensors",
            "2_Dense/pytorch_model.bin",
            "LICENSE",
            "README.md",
            "config.json",
            "config_sentence_transformers.json",
            "model.safetensors",
            "modeling_custom.py",
            "modules.json",
            "onnx/config.json",
            "onnx/model.onnx",
            "onnx/a/b/c/d/model.onnx",
            "openvino/openvino_model.bin",
            "pytorch_model.bin",
            "rust_model.ot",
            "sentence_bert_config.json",
            "special_tokens_map.json",
            "tf_model.h5",
            "tokenizer.json",
            "tokenizer_config.json",
            "train_script.py",
            "vocab.txt",
        ],
        &[
            "1_Pooling/config.json",
            "2_Dense/config.json",
            "2_Dense/model.safetensors",
            "LICENSE",
            "README.md",
            "config.json",
            "config_sentence_transformers.json",
            "model.safetensors",
            "modules.json",
            "sentence_bert_config.json",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json",
        ],
    );
    assert!(selection.warnings.is_empty() && selection.indices.is_empty());
}

#[test]
fn the_first_kind_of_weights_is_taken() {
    check(
        &["config.json", "model.safetensors", "model.safetensors.index.json", "open_clip_model.safetensors"],
        &["config.json", "model.safetensors"],
    );
    check(
        &["open_clip_config.json", "open_clip_model.safetensors", "open_clip_pytorch_model.bin"],
        &["open_clip_config.json", "open_clip_model.safetensors"],
    );
    // An older sentence encoder has everything in its module; ours has two towers.
    check(
        &["modules.json", "0_Transformer/model.safetensors", "0_Transformer/sentence_roberta_config.json"],
        &["modules.json", "0_Transformer/model.safetensors", "0_Transformer/sentence_roberta_config.json"],
    );
    check(
        &["config.json", "text/1_Pooling/config.json", "text/model.safetensors", "vision/model.safetensors"],
        &["config.json", "text/1_Pooling/config.json", "text/model.safetensors", "vision/model.safetensors"],
    );
}

#[test]
fn an_index_brings_its_shards() {
    let files = listing(&["a.safetensors", "b.safetensors", "c.safetensors", "model.safetensors.index.json", "x.bin"]);
    let mut selection = select(&files).expect("a selection");
    assert_eq!(selection.indices, ["model.safetensors.index.json"]);
    let index = br#"{"weight_map": {"x": "a.safetensors", "y": "c.safetensors", "z": "a.safetensors"}}"#;
    selection.add_shards("model.safetensors.index.json", index, &files).expect("shards");
    let names: Vec<_> = selection.files.keys().map(String::as_str).collect();
    assert_eq!(names, ["a.safetensors", "c.safetensors", "model.safetensors.index.json"]);
    for bad in ["../a.safetensors", "x.bin", "d.safetensors", "/a.safetensors", ""] {
        let index = format!(r#"{{"weight_map": {{"x": {bad:?}}}}}"#);
        let error = selection.add_shards("model.safetensors.index.json", index.as_bytes(), &files).expect_err(bad);
        assert!(matches!(error, Error::FailedPrecondition { .. }), "{bad:?}: {error}");
    }
    for bad in ["", "[]", "{}", r#"{"weight_map": {}}"#] {
        assert!(selection.add_shards("model.safetensors.index.json", bad.as_bytes(), &files).is_err(), "{bad:?}");
    }
}

#[test]
fn an_old_tokenizer_is_taken_with_a_warning() {
    let selection =
        check(&["merges.txt", "model.safetensors", "vocab.json"], &["merges.txt", "model.safetensors", "vocab.json"]);
    assert!(selection.warnings[0].contains("tokenizer.json"), "{:?}", selection.warnings);
    assert!(check(&["config.json", "model.safetensors"], &["config.json", "model.safetensors"]).warnings.is_empty());
}

#[test]
fn without_safetensors_nothing_is_taken() {
    for (paths, expected) in [
        (&["config.json", "pytorch_model.bin", "onnx/model.onnx"][..], "pytorch_model.bin"),
        (&["adapter_config.json", "adapter_model.safetensors"], "adapter_model.safetensors"),
        (&["README.md"], "no weights at all"),
        (&["model.safetensors", "2_Dense/config.json", "2_Dense/pytorch_model.bin"], "2_Dense"),
    ] {
        let error = select(&listing(paths)).expect_err(expected);
        assert!(matches!(&error, Error::Unsupported(message) if message.contains(expected)), "{error}");
    }
}

#[test]
fn evil_names_end_the_pull() {
    for evil in ["../config.json", "/etc/passwd", "a/../../b", "a//b", "a/./b", "", "a\\b", "C:x", "a\nb", "a\0b", "a/"]
    {
        let error = select(&listing(&["model.safetensors", evil])).expect_err(evil);
        assert!(matches!(error, Error::FailedPrecondition { .. }), "{evil:?}: {error}");
    }
    assert!(select(&listing(&["model.safetensors", "model.safetensors"])).is_err());
    // Names that are merely unusual belong to files that nobody needs.
    check(&["model.safetensors", "Ünï cøde.txt", "a b/c", ".x/y", "LICENSE.py"], &["model.safetensors"]);
}

#[test]
fn sizes_and_hashes_are_demanded() {
    let weights = |edit: fn(&mut Sibling)| {
        let mut file = sibling("model.safetensors");
        edit(&mut file);
        select(&[file])
    };
    let selection =
        weights(|file| file.lfs = Some(LargeFile { sha256: "a".repeat(64), size: 7 })).expect("a selection");
    let file = &selection.files["model.safetensors"];
    assert_eq!((file.size, &file.hash), (7, &ContentHash::Sha256("a".repeat(64))));
    assert!(weights(|file| file.lfs = Some(LargeFile { sha256: "A".repeat(64), size: 7 })).is_err());
    assert!(weights(|file| file.size = None).is_err());
    assert!(weights(|file| file.blob_id = None).is_err());
    assert!(weights(|file| file.blob_id = Some("x".repeat(40))).is_err());

    let mut readme = sibling("README.md");
    readme.size = Some(DOCUMENT_BYTES + 1);
    assert_eq!(select(&[sibling("model.safetensors"), readme]).expect("a selection").files.len(), 1);
    let mut config = sibling("config.json");
    config.size = Some(CONFIGURATION_BYTES + 1);
    assert!(select(&[sibling("model.safetensors"), config]).is_err());
}
