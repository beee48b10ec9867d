//! Reads the layout of sentence-transformers: `modules.json` and the configurations beside it.
//!
//! Written against sentence-transformers 6.2.0, which renamed modules and entries; both dialects are read.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::fault::{invalid_model, read_json, read_json_if_present};
use super::pooling::Pooling;
use crate::{Error, Result};

/// A sentence encoder around a transformer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentenceConfig {
    /// Where `config.json`, the weights and the tokenizer are.
    pub transformer: PathBuf,
    pub pooling: Pooling,
    /// False if the tokens of a prompt are left out of pooling.
    pub include_prompt: bool,
    /// True if the authors normalise. Our vectors always are; the raw norm stays beside them.
    pub normalise: bool,
    /// Longest text in tokens, if the authors set one.
    pub max_tokens: Option<usize>,
    pub lower_case: bool,
    /// Prefixes by name.
    pub prompts: BTreeMap<String, String>,
    pub default_prompt: Option<String>,
}

#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Default, Deserialize)]
struct SentenceBertConfig {
    max_seq_length: Option<usize>,
    #[serde(default)]
    do_lower_case: bool,
}

#[derive(Default, Deserialize)]
struct PromptConfig {
    #[serde(default)]
    prompts: BTreeMap<String, String>,
    default_prompt_name: Option<String>,
}

/// Reads a sentence encoder's configuration.
///
/// # Errors
/// `FailedPrecondition` naming the file if one is missing or damaged; `Unsupported` for modules and poolings that are not
/// built.
pub fn read(folder: &Path) -> Result<SentenceConfig> {
    let modules_path = folder.join("modules.json");
    let modules: Vec<Module> = read_json(&modules_path)?;
    let mut transformer = None;
    let mut pooling = None;
    let mut normalise = false;
    for (position, module) in modules.iter().enumerate() {
        let path = join_inside(folder, &module.path).ok_or_else(|| {
            invalid_model(&modules_path, format!("path {:?} leads out of the model's folder", module.path))
        })?;
        let kind = module.kind.rsplit('.').next().unwrap_or_default();
        match (position, kind) {
            (0, "Transformer") => transformer = Some(path),
            (1, "Pooling") => pooling = Some(read_pooling(&path.join("config.json"))?),
            (2, "Normalize") => normalise = true,
            (_, "Transformer" | "Pooling" | "Normalize") => {
                let message = format!("{kind} at position {position}; expected Transformer, Pooling, then Normalize");
                return Err(invalid_model(&modules_path, message));
            }
            _ => {
                let known = "expected Transformer, Pooling, Normalize";
                let message = format!("{}: module {:?} ({known})", modules_path.display(), module.kind);
                return Err(Error::Unsupported(message));
            }
        }
    }
    let (Some(transformer), Some((pooling, include_prompt))) = (transformer, pooling) else {
        return Err(invalid_model(&modules_path, "expected the modules Transformer and Pooling"));
    };
    let limits: SentenceBertConfig =
        read_json_if_present(&transformer.join("sentence_bert_config.json"))?.unwrap_or_default();
    let prompts: PromptConfig =
        read_json_if_present(&folder.join("config_sentence_transformers.json"))?.unwrap_or_default();
    let config = SentenceConfig {
        transformer,
        pooling,
        include_prompt,
        normalise,
        max_tokens: limits.max_seq_length,
        lower_case: limits.do_lower_case,
        prompts: prompts.prompts,
        default_prompt: prompts.default_prompt_name,
    };
    match &config.default_prompt {
        Some(name) if !config.prompts.contains_key(name) => Err(invalid_model(
            &folder.join("config_sentence_transformers.json"),
            format!("default_prompt_name is {name:?}, but the prompts are {:?}", config.prompts.keys()),
        )),
        _ => Ok(config),
    }
}

/// Gives the pooling and whether prompts take part.
fn read_pooling(path: &Path) -> Result<(Pooling, bool)> {
    let config: BTreeMap<String, Value> = read_json(path)?;
    let include_prompt = match config.get("include_prompt") {
        None | Some(Value::Null) => true,
        Some(Value::Bool(include)) => *include,
        Some(other) => return Err(invalid_model(path, format!("include_prompt must be true or false, found {other}"))),
    };
    let modes: Vec<String> = match config.get("pooling_mode") {
        Some(Value::String(mode)) => vec![mode.clone()],
        Some(Value::Array(modes)) => modes.iter().map(|mode| mode.as_str().unwrap_or("?").to_owned()).collect(),
        Some(other) => return Err(invalid_model(path, format!("pooling_mode is {other}, expected a name or a list"))),
        // Before sentence-transformers 6: one flag a mode.
        None => config
            .iter()
            .filter(|(_, value)| **value == Value::Bool(true))
            .filter_map(|(key, _)| key.strip_prefix("pooling_mode_"))
            .map(|mode| mode.trim_end_matches("_tokens").trim_end_matches("_token").to_owned())
            .collect(),
    };
    match modes.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["mean"] => Ok((Pooling::Mean, include_prompt)),
        ["cls"] => Ok((Pooling::Cls, include_prompt)),
        [] => Err(invalid_model(path, "no pooling mode is set")),
        _ => Err(Error::Unsupported(format!("{}: pooling {modes:?} (expected one of mean, cls)", path.display()))),
    }
}

/// Joins a path that must stay inside the folder.
fn join_inside(folder: &Path, path: &str) -> Option<PathBuf> {
    let is_inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    is_inside.then(|| folder.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pooling_of(json: &str) -> Result<(Pooling, bool)> {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("config.json");
        std::fs::write(&path, json).expect("write");
        read_pooling(&path)
    }

    #[test]
    fn both_dialects_of_pooling_are_read() {
        let check = |json: &str, expected| assert_eq!(pooling_of(json).expect(json), expected);
        check(r#"{"pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true}"#, (Pooling::Mean, true));
        check(r#"{"pooling_mode_cls_token": true, "include_prompt": false}"#, (Pooling::Cls, false));
        check(r#"{"pooling_mode": "mean", "embedding_dimension": 4}"#, (Pooling::Mean, true));
        check(r#"{"pooling_mode": ["cls"], "include_prompt": true}"#, (Pooling::Cls, true));
    }

    #[test]
    fn other_poolings_are_named() {
        for json in [
            r#"{"pooling_mode_max_tokens": true}"#,
            r#"{"pooling_mode_mean_sqrt_len_tokens": true}"#,
            r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}"#,
            r#"{"pooling_mode": ["mean", "max"]}"#,
            r#"{"pooling_mode": "lasttoken"}"#,
        ] {
            assert!(matches!(pooling_of(json), Err(Error::Unsupported(_))), "{json}");
        }
        for json in ["{}", r#"{"pooling_mode": 1}"#, r#"{"pooling_mode": "mean", "include_prompt": 1}"#, "[", ""] {
            assert!(matches!(pooling_of(json), Err(Error::FailedPrecondition { .. })), "{json}");
        }
    }

    #[test]
    fn module_paths_stay_inside() {
        for (path, is_inside) in
            [("", true), ("1_Pooling", true), ("a/b", true), ("..", false), ("a/../..", false), ("/etc", false)]
        {
            assert_eq!(join_inside(Path::new("/models/m"), path).is_some(), is_inside, "{path:?}");
        }
    }
}
