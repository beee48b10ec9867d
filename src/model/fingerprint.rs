//! Tells models apart by what decides their vectors: BLAKE3 over weights, config, tokenizer, pooling, prompts, normalisation and
//! preprocessing version. Device, precision and role stand beside it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::fault::unreadable;
use super::layout::Layout;
use super::sentence_transformers::SentenceConfig;
use super::sides::{Sides, TextSide};
use super::weights;
use crate::Result;
use crate::image::{IMAGE_RULE_VERSION, ImageRule};

/// Raised when tokenizing, cutting, pooling or normalising changes what a folder's vectors are.
pub const PREPROCESSING_VERSION: u32 = 1;

/// Entries of `config.json` that decide nothing about inference.
const IRRELEVANT: &[&str] = &[
    "_name_or_path",
    "architectures",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "dtype",
    "gradient_checkpointing",
    "hidden_dropout_prob",
    "initializer_factor",
    "initializer_range",
    "logit_scale_init_value",
    "torch_dtype",
    "transformers_version",
    "use_cache",
];

/// Fingerprints a model: 64 hexadecimal digits.
///
/// # Errors
/// `FailedPrecondition` if a file cannot be read.
pub fn of_model(layout: &Layout, sides: &Sides, rule: ImageRule) -> Result<String> {
    if let (Some(sentence), Some(text)) = (&layout.sentence, &sides.text) {
        return of_sentence_encoder(sentence, &layout.config, text.max_tokens);
    }
    let mut parts = Parts::default();
    parts.add("preprocessing", &PREPROCESSING_VERSION.to_le_bytes());
    parts.add("config", relevant(&layout.config).to_string().as_bytes());
    for file in &sides.deciding_files {
        parts.add("file", &hash_file(file)?);
    }
    if let Some(text) = &sides.text {
        let TextSide { max_tokens, padding, cleaning, sentence, .. } = text;
        let sentence = sentence.as_ref().map(sentence_facts);
        let facts = serde_json::json!({
            "cleaning": cleaning, "max_tokens": max_tokens, "padding": padding, "sentence": sentence,
        });
        parts.add("text", facts.to_string().as_bytes());
    }
    if let Some(image) = &sides.image {
        let facts = serde_json::json!({
            "config": image.config, "rule": rule, "version": IMAGE_RULE_VERSION,
        });
        parts.add("image", facts.to_string().as_bytes());
    }
    Ok(parts.0.finalize().to_hex().to_string())
}

/// What decides a sentence encoder's vectors beside its network.
fn sentence_facts(sentence: &SentenceConfig) -> Value {
    serde_json::json!({
        "default_prompt": sentence.default_prompt,
        "include_prompt": sentence.include_prompt,
        "lower_case": sentence.lower_case,
        "normalise": sentence.normalise,
        "pooling": sentence.pooling,
        "prompts": sentence.prompts,
    })
}

/// Fingerprints a sentence encoder; `max_tokens` is the limit that texts are cut at. Gives 64 hexadecimal digits.
///
/// # Errors
/// `FailedPrecondition` if a file cannot be read.
fn of_sentence_encoder(sentence: &SentenceConfig, config: &Value, max_tokens: usize) -> Result<String> {
    let mut parts = Parts::default();
    parts.add("preprocessing", &PREPROCESSING_VERSION.to_le_bytes());
    for file in weights::files_in(&sentence.transformer)? {
        parts.add("weights", &hash_file(&file)?);
    }
    parts.add("config", relevant(config).to_string().as_bytes());
    parts.add("tokenizer", &hash_file(&sentence.transformer.join("tokenizer.json"))?);
    let mut facts = sentence_facts(sentence);
    facts["max_tokens"] = max_tokens.into();
    parts.add("sentence", facts.to_string().as_bytes());
    Ok(parts.0.finalize().to_hex().to_string())
}

/// Fingerprints labelled files by their bytes: 64 hexadecimal digits.
///
/// # Errors
/// `FailedPrecondition` if one cannot be read.
pub(super) fn of_files(files: &[(&str, PathBuf)]) -> Result<String> {
    let mut parts = Parts::default();
    for (label, path) in files {
        parts.add(label, &hash_file(path)?);
    }
    Ok(parts.0.finalize().to_hex().to_string())
}

/// The space that a model defines: the fingerprint's first 16 digits and the dimension.
#[must_use]
pub fn own_space(fingerprint: &str, dimension: usize) -> String {
    format!("{}:{dimension}", fingerprint.get(..16).unwrap_or(fingerprint))
}

/// BLAKE3 of a file's bytes.
///
/// # Errors
/// `FailedPrecondition` if it cannot be read.
pub fn hash_file(path: &Path) -> Result<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    let mut file = std::fs::File::open(path).map_err(|error| unreadable(path, &error))?;
    hasher.update_reader(&mut file).map_err(|error| unreadable(path, &error))?;
    Ok(*hasher.finalize().as_bytes())
}

/// Labelled and length-prefixed, so that no two lists of parts hash the same bytes.
#[derive(Default)]
struct Parts(blake3::Hasher);

impl Parts {
    fn add(&mut self, label: &str, bytes: &[u8]) {
        for field in [label.as_bytes(), bytes] {
            self.0.update(&(field.len() as u64).to_le_bytes());
            self.0.update(field);
        }
    }
}

/// The configuration with sorted keys and without what is irrelevant.
fn relevant(config: &Value) -> Value {
    let mut config = config.clone();
    drop_irrelevant(&mut config);
    config.sort_all_objects();
    config
}

fn drop_irrelevant(config: &mut Value) {
    if let Value::Object(entries) = config {
        entries.retain(|key, _| !IRRELEVANT.contains(&key.as_str()));
        entries.values_mut().for_each(drop_irrelevant);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_irrelevant_entries_do_not_matter() {
        let parse = |text: &str| relevant(&serde_json::from_str(text).expect(text)).to_string();
        let base = parse(r#"{"hidden_size": 4, "inner": {"b": 1, "a": 2}}"#);
        assert_eq!(base, parse(r#"{"inner": {"a": 2, "b": 1}, "use_cache": true, "hidden_size": 4}"#));
        assert_ne!(base, parse(r#"{"hidden_size": 5, "inner": {"b": 1, "a": 2}}"#));
    }

    #[test]
    fn parts_cannot_run_into_each_other() {
        let hash = |parts: &[(&str, &str)]| {
            let mut all = Parts::default();
            parts.iter().for_each(|(label, bytes)| all.add(label, bytes.as_bytes()));
            all.0.finalize()
        };
        assert_ne!(hash(&[("a", "bc")]), hash(&[("ab", "c")]));
        assert_ne!(hash(&[("a", "b"), ("c", "d")]), hash(&[("a", "bcd")]));
    }
}
