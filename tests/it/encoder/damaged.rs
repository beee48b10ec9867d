//! Broken model folders: each is refused by name, with what was expected and what was found.

use pictor::Error;
use pictor::encode::EncoderRegistry;
use pictor::encode::registry::load;
use pictor::model::{Precision, inspect};

use super::tiny::{Tiny, tensors};
use super::{block_on, pools, settings};

/// Damages a tiny model and expects its load to fail with all of `expected` in the message.
fn check(expected: &[&str], damage: impl Fn(&Tiny)) {
    let tiny = Tiny::new();
    load(&tiny.folder, &settings(Precision::F32), pools()).expect("a sound model loads");
    damage(&tiny);
    let error = load(&tiny.folder, &settings(Precision::F32), pools()).err().expect("a damaged model does not load");
    assert!(matches!(error, Error::FailedPrecondition { .. } | Error::Unsupported(_)), "{error:?}");
    let message = error.to_string();
    expected.iter().for_each(|part| assert!(message.contains(part), "expected {part:?} in: {message}"));
}

#[test]
fn tensors_are_checked_by_name() {
    const KEY: &str = "encoder.layer.1.attention.self.key.weight";
    check(&["model.safetensors", KEY, "missing"], |tiny| {
        tiny.write_weights(&tensors().into_iter().filter(|(name, ..)| name != KEY).collect::<Vec<_>>());
    });
    check(&["model.safetensors", KEY, "[32, 32]", "[32, 31]"], |tiny| {
        let mut tensors = tensors();
        for (name, shape, values) in &mut tensors {
            if name == KEY {
                *shape = vec![32, 31];
                values.truncate(32 * 31);
            }
        }
        tiny.write_weights(&tensors);
    });
    for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        check(&["model.safetensors", KEY, "not finite"], |tiny| {
            let mut tensors = tensors();
            for (name, _, values) in &mut tensors {
                if name == KEY {
                    values[7] = number;
                }
            }
            tiny.write_weights(&tensors);
        });
    }
}

#[test]
fn files_are_checked() {
    check(&["model.safetensors", "not a complete safetensors file"], |tiny| {
        let path = tiny.folder.path.join("model.safetensors");
        let bytes = std::fs::read(&path).expect("read");
        std::fs::write(&path, &bytes[..bytes.len() - 1]).expect("write");
    });
    check(&["model.safetensors", "not a complete safetensors file"], |tiny| tiny.write("model.safetensors", ""));
    for file in ["model.safetensors", "tokenizer.json", "config.json", "modules.json", "1_Pooling/config.json"] {
        check(&[file, "missing"], |tiny| std::fs::remove_file(tiny.folder.path.join(file)).expect("remove"));
    }
    for file in ["tokenizer.json", "config.json", "modules.json", "1_Pooling/config.json", "card.json"] {
        check(&[file], |tiny| tiny.write(file, "{\"type\": "));
    }
}

#[test]
fn configurations_are_checked() {
    let config = |from: &'static str, to: &'static str| {
        move |tiny: &Tiny| {
            let text = std::fs::read_to_string(tiny.folder.path.join("config.json")).expect("read");
            assert!(text.contains(from));
            tiny.write("config.json", &text.replace(from, to));
        }
    };
    check(&["config.json", "expected one of [\"bert\"", "found \"gpt2\""], config("\"bert\"", "\"gpt2\""));
    check(&["config.json", "hidden_act", "expected gelu", "\"relu\""], config("\"gelu\"", "\"relu\""));
    check(&["config.json", "relative_key"], config("\"absolute\"", "\"relative_key\""));
    check(&["config.json", "num_attention_heads"], config("\"num_attention_heads\": 2", "\"num_attention_heads\": 5"));
    check(&["config.json", "hidden_size", "-32"], config("\"hidden_size\": 32", "\"hidden_size\": -32"));
    check(&["tokenizer.json", "88 tokens", "80"], config("\"vocab_size\": 88", "\"vocab_size\": 80"));

    let modules = |kinds: &[(&str, &str)]| {
        let module = |(kind, path): &(&str, &str)| format!(r#"{{"type": "x.{kind}", "path": "{path}"}}"#);
        let text = format!("[{}]", kinds.iter().map(module).collect::<Vec<_>>().join(","));
        move |tiny: &Tiny| tiny.write("modules.json", &text)
    };
    let (transformer, pooling) = (("Transformer", ""), ("Pooling", "1_Pooling"));
    check(&["modules.json", "Dense"], modules(&[transformer, pooling, ("Dense", "2_Dense")]));
    check(&["modules.json", "expected"], modules(&[transformer]));
    check(&["modules.json", "position 0"], modules(&[pooling, transformer]));
    check(&["modules.json", "leads out"], modules(&[("Transformer", "../../secret"), pooling]));
    check(&["modules.json", "leads out"], modules(&[("Transformer", "/etc"), pooling]));
    check(&["lasttoken"], |tiny| tiny.write("1_Pooling/config.json", r#"{"pooling_mode": "lasttoken"}"#));
    check(&["default_prompt_name"], |tiny| {
        tiny.write("config_sentence_transformers.json", r#"{"prompts": {}, "default_prompt_name": "none"}"#);
    });
    check(&["leaves no room"], |tiny| {
        let prompt = "a ".repeat(20);
        tiny.write("config_sentence_transformers.json", &format!(r#"{{"prompts": {{"query": "{prompt}"}}}}"#));
    });
    check(&["tokenizer.json", "no room"], |tiny| tiny.write("sentence_bert_config.json", r#"{"max_seq_length": 2}"#));
}

#[test]
fn the_registry_finds_names_only() {
    let tiny = Tiny::new();
    let registry = EncoderRegistry::open(&tiny.models, settings(Precision::F32)).expect("registry");
    let error = |name: &str| block_on(registry.get(name)).err().expect(name);
    for path in ["../tiny", "tiny/r1", "tiny@../r1", "/etc/passwd", "tiny@", ""] {
        assert!(matches!(error(path), Error::InvalidArgument { .. }), "{path:?}");
    }
    for absent in ["other", "tiny@r2"] {
        let error = error(absent);
        assert!(matches!(&error, Error::NotFound { kind: "encoder", name } if name.contains("tiny@r1")), "{error}");
    }
    // A failed load is tried again.
    let weights = tiny.folder.path.join("model.safetensors");
    let bytes = std::fs::read(&weights).expect("read");
    std::fs::remove_file(&weights).expect("remove");
    assert!(matches!(error("tiny"), Error::FailedPrecondition { reason: "MODEL_INVALID", .. }));
    std::fs::write(&weights, bytes).expect("write");
    block_on(registry.get("tiny")).expect("the model is whole again");
}

#[test]
fn verify_compares_with_the_card() {
    let tiny = Tiny::new();
    let report = inspect::inspect(&tiny.folder).expect("inspect");
    assert_eq!(
        (report.dimension, report.text.as_ref().map(|text| text.max_tokens), report.architecture),
        (32, Some(16), "bert")
    );
    let hash = |file: &str| {
        let hash = pictor::model::fingerprint::hash_file(&tiny.folder.path.join(file)).expect("hash");
        blake3::Hash::from(hash).to_hex().to_string()
    };
    let card = serde_json::json!({
        "fingerprint": report.fingerprint,
        "files": {"config.json": hash("config.json"), "model.safetensors": hash("model.safetensors")},
        "licence": "none",
    });
    tiny.write("card.json", &card.to_string());
    let sound = inspect::verify(&tiny.folder).expect("verify");
    assert_eq!((sound.files_checked, sound.problems), (2, vec![]));

    let mut tensors = tensors();
    tensors[5].2[0] += 1.0;
    tiny.write_weights(&tensors);
    let problems = inspect::verify(&tiny.folder).expect("verify").problems;
    assert!(
        problems.len() == 2 && problems[0].contains("model.safetensors") && problems[1].contains("fingerprint"),
        "{problems:?}"
    );

    let lines = inspect::list(&tiny.models).expect("list");
    assert!(lines.len() == 1 && lines[0].is_current && lines[0].revision == "r1", "{lines:?}");
}
