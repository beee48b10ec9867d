//! Vectors against sentence-transformers 6.2.0 (`make golden` recomputes the references).

use std::sync::Arc;

use pictor::encode::registry::load;
use pictor::encode::torch::EncoderPlan;
use pictor::encode::{Encoder, EncoderInput, Role};
use pictor::model::{ModelFolder, Precision};
use pictor::types::vector::UnitVector;

use super::tiny::{Tiny, copy_folder};
use super::{cosine, encode, golden_folder, golden_texts, minilm, pools, rows, settings, worst};
use crate::support::{ENCODER, models_dir};

fn minilm_reference() -> Vec<Vec<f32>> {
    (0..2).flat_map(|part| rows(&golden_folder().join(format!("minilm-{part}.safetensors")), "texts")).collect()
}

/// Fails when a layer, the pooling, the tokenizer or the cut at 256 tokens differs from the reference, or padding leaks.
fn check_minilm(test: &str, precision: Precision, least_agreement: f64, least_invariance: f64) {
    let handle = minilm(precision);
    let (texts, reference) = (golden_texts("minilm.texts.json"), minilm_reference());
    assert_eq!(texts.len(), 64);

    let alone: Vec<_> = texts.iter().flat_map(|text| encode(&handle, &[text], Role::Document)).collect();
    let together = encode(&handle, &texts, Role::Document);
    // One batch whatever the lengths: most of it is padding.
    let folder = pictor::model::folder::resolve(&models_dir(), ENCODER).expect("folder");
    let plan = EncoderPlan::read(&folder, &settings(precision)).expect("plan");
    let inputs: Vec<EncoderInput> =
        texts.iter().map(|text| plan.preprocessor().text(text, Role::Document).expect("tokens")).collect();
    let padded = plan.load().expect("load").encode(&inputs.iter().collect::<Vec<_>>()).expect("encode");
    let padded: Vec<_> = padded.into_iter().map(Arc::new).collect();

    let alone_values: Vec<_> = alone.iter().map(|vector| vector.values.clone()).collect();
    let figures = [
        ("alone and sentence-transformers", worst(&alone, &reference), least_agreement),
        ("batched and sentence-transformers", worst(&together, &reference), least_agreement),
        ("padded and sentence-transformers", worst(&padded, &reference), least_agreement),
        ("batched and alone", worst(&together, &alone_values), least_invariance),
        ("padded and alone", worst(&padded, &alone_values), least_invariance),
    ];
    for (what, found, least) in figures {
        println!("{test}: worst cosine between {what}: {found:.8}");
        assert!(found >= least, "{what}: worst cosine {found:.8}, expected at least {least}");
    }

    // Control: the same numbers in another order must fail.
    let mut rotated = together.clone();
    rotated.rotate_left(1);
    assert!(worst(&rotated, &reference) < 0.9);
}

#[test]
fn minilm_agrees_in_f32() {
    check_minilm("minilm_agrees_in_f32", Precision::F32, 0.99999, 1.0 - 1e-5);
}

#[test]
fn minilm_agrees_in_bf16() {
    check_minilm("minilm_agrees_in_bf16", Precision::Bf16, 0.999, 0.999);
}

/// Control for the two tests above: cls pooling in place of mean, and a limit of 128 tokens in place of 256, both fail.
#[test]
fn wrong_configurations_disagree() {
    let original = pictor::model::folder::resolve(&models_dir(), ENCODER).expect("folder");
    let (texts, reference) = (golden_texts("minilm.texts.json"), minilm_reference());
    let vectors_with = |file: &str, content: &str| -> Vec<Arc<UnitVector>> {
        let root = tempfile::tempdir().expect("temporary folder");
        copy_folder(&original.path, root.path());
        std::fs::write(root.path().join(file), content).expect("write");
        let folder = ModelFolder { path: root.path().to_owned(), ..original.clone() };
        let handle = load(&folder, &settings(Precision::F32), pools()).expect("load");
        assert_ne!(handle.info().fingerprint, minilm(Precision::F32).info().fingerprint);
        encode(&handle, &texts, Role::Document)
    };
    let cls = vectors_with("1_Pooling/config.json", r#"{"pooling_mode": "cls"}"#);
    assert!(worst(&cls, &reference) < 0.9);
    let short = vectors_with("sentence_bert_config.json", r#"{"max_seq_length": 128}"#);
    assert!(worst(&short, &reference) < 0.999);
    // Texts that fit in 128 tokens do not change.
    assert!(cosine(&short[0].values, &reference[0]) > 0.99999);
}

#[test]
fn truncation_and_tokens_are_told() {
    let handle = minilm(Precision::F32);
    let check = |text: &str, tokens: usize, is_truncated: bool| {
        let embedding = super::block_on(handle.encode_query(text, None)).expect("encode").0;
        assert_eq!((embedding.tokens, embedding.is_truncated), (tokens, is_truncated), "{text:.40}");
    };
    check("", 2, false);
    check("hello", 3, false);
    check(&"word ".repeat(254), 256, false);
    check(&"word ".repeat(255), 256, true);
    check(&"word ".repeat(200_000), 256, true);
    check(&" ".repeat(1_000_000), 2, false);
    // Whitespace beyond what is looked at first hides no words.
    check(&format!("{}hello", " ".repeat(100_000)), 3, false);
}

/// Fails when cls pooling, a prompt, its exclusion from pooling or the limit of 16 tokens is wrong.
#[test]
fn tiny_model_agrees() {
    let texts = golden_texts("tiny.texts.json");
    for pooling in ["cls", "mean_without_prompt"] {
        let tiny = Tiny::new();
        if pooling == "mean_without_prompt" {
            tiny.pool_mean_without_prompt();
        }
        for (precision, least) in [(Precision::F32, 0.99999), (Precision::Bf16, 0.999)] {
            let handle = load(&tiny.folder, &settings(precision), pools()).expect("load");
            let reference = |role: &str| rows(&golden_folder().join("tiny.safetensors"), &format!("{pooling}.{role}"));
            for (role, name, other) in [(Role::Query, "query", "document"), (Role::Document, "document", "query")] {
                let ours = encode(&handle, &texts, role);
                let found = worst(&ours, &reference(name));
                assert!(found >= least, "{pooling} {name} {precision:?}: worst cosine {found:.8}");
                // Control: the other role's prompt must fail.
                assert!(worst(&ours, &reference(other)) < 0.999, "{pooling} {name}");
                let alone: Vec<_> = texts.iter().flat_map(|text| encode(&handle, &[text], role)).collect();
                let together: Vec<_> = ours.iter().map(|vector| vector.values.clone()).collect();
                assert!(worst(&alone, &together) >= if precision == Precision::F32 { 1.0 - 1e-5 } else { 0.999 });
            }
        }
    }
}

#[test]
fn a_prefix_of_bert_is_tolerated() {
    let plain = Tiny::new();
    let prefixed = Tiny::new();
    let renamed: Vec<_> = super::tiny::tensors()
        .into_iter()
        .map(|(name, shape, values)| (format!("bert.{name}"), shape, values))
        .collect();
    prefixed.write_weights(&renamed);
    let vectors = [&plain, &prefixed].map(|tiny| {
        let handle = load(&tiny.folder, &settings(Precision::F32), pools()).expect("load");
        encode(&handle, &["red shoes"], Role::Query)
    });
    assert_eq!(vectors[0], vectors[1]);
}

#[test]
fn precision_is_no_part_of_the_space() {
    let tiny = Tiny::new();
    let info = |precision| load(&tiny.folder, &settings(precision), pools()).expect("load").info().clone();
    let (f32, bf16) = (info(Precision::F32), info(Precision::Bf16));
    assert_eq!((&f32.fingerprint, &f32.space), (&bf16.fingerprint, &bf16.space));
    assert_eq!((f32.dtype, bf16.dtype), ("f32", "bf16"));
    assert_eq!(f32.space, format!("{}:32", &f32.fingerprint[..16]));
    assert_eq!((f32.full_name().as_str(), f32.max_tokens, f32.dimension), ("tiny@r1", 16, 32));
    tiny.write("card.json", r#"{"space": "0123456789abcdef:32"}"#);
    assert_eq!(info(Precision::F32).space, "0123456789abcdef:32");
    tiny.write("config_sentence_transformers.json", "{}");
    assert_ne!(info(Precision::F32).fingerprint, f32.fingerprint);
}
