//! The layouts that models are published in: Hugging Face, sentence-transformers, open_clip.

use std::path::{Path, PathBuf};

use super::fault::{invalid_model, read_json, read_json_if_present};
use super::network::Config;
use super::open_clip;
use super::sentence_transformers::{self, SentenceConfig};
use super::source::Source;
use super::weights::{self, Weights};
use crate::Result;
use crate::image::ImageConfig;
use serde_json::Value;

/// Hugging Face's description of a model.
const CONFIG: &str = "config.json";
/// open_clip's.
const OPEN_CLIP_CONFIG: &str = "open_clip_config.json";

/// A model's folder, read but not loaded.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The folder with the configuration, the weights and the tokenizer.
    pub folder: PathBuf,
    /// Where `config` was read from.
    pub config_path: PathBuf,
    /// In Hugging Face's form, whatever the layout.
    pub config: Value,
    /// What stands around the network, if this is sentence-transformers' layout.
    pub sentence: Option<SentenceConfig>,
    /// True if the weights come from open_clip, whose tables of positions are resized with antialiasing.
    pub is_open_clip: bool,
}

impl Layout {
    /// Reads a folder: `modules.json`, else `config.json` with a `model_type`, else `open_clip_config.json`.
    ///
    /// # Errors
    /// `FailedPrecondition` or `Unsupported` naming the file at fault.
    pub fn read(root: &Path) -> Result<Self> {
        if root.join("modules.json").exists() {
            let sentence = sentence_transformers::read(root)?;
            let folder = sentence.transformer.clone();
            let config_path = folder.join(CONFIG);
            let config = read_json(&config_path)?;
            return Ok(Self { folder, config_path, config, sentence: Some(sentence), is_open_clip: false });
        }
        let (config_path, open_clip_path) = (root.join(CONFIG), root.join(OPEN_CLIP_CONFIG));
        let config: Option<Value> = read_json_if_present(&config_path)?;
        let says_type = config.as_ref().is_some_and(|config| config.get("model_type").is_some());
        if !says_type && open_clip_path.exists() {
            let config = open_clip::to_hugging_face(&open_clip_path, &read_json(&open_clip_path)?)?;
            let folder = root.to_owned();
            return Ok(Self { folder, config_path: open_clip_path, config, sentence: None, is_open_clip: true });
        }
        match config {
            Some(config) => {
                Ok(Self { folder: root.to_owned(), config_path, config, sentence: None, is_open_clip: false })
            }
            None => Err(invalid_model(
                root,
                "expected modules.json, config.json or open_clip_config.json, found none of them",
            )),
        }
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> Config<'_> {
        Config { path: &self.config_path, json: &self.config }
    }

    /// The sentence-transformers layout, for networks that mean nothing without it.
    ///
    /// # Errors
    /// `FailedPrecondition` if it is another layout.
    pub fn expect_sentence(&self) -> Result<&SentenceConfig> {
        let missing = || {
            let message = "the file is missing; a text network needs it to say how tokens become a sentence";
            invalid_model(&self.folder.join("modules.json"), message)
        };
        self.sentence.as_ref().ok_or_else(missing)
    }

    /// Where the tokenizer is.
    #[must_use]
    pub fn tokenizer(&self) -> PathBuf {
        self.folder.join("tokenizer.json")
    }

    /// The files with the weights.
    ///
    /// # Errors
    /// `FailedPrecondition` if there are none.
    pub fn weights_files(&self) -> Result<Vec<PathBuf>> {
        weights::files_in(&self.folder)
    }

    /// Opens the weights where the source has them.
    ///
    /// # Errors
    /// `FailedPrecondition` naming the file at fault.
    pub fn weights<'a>(&self, source: &Source<'a>) -> Result<Weights<'a>> {
        Weights::of(&self.folder, source)
    }

    /// How the folder wants its pictures prepared; `defaults` are the family's, `side` what its network takes.
    ///
    /// # Errors
    /// `FailedPrecondition` naming the file at fault.
    pub fn image_config(&self, defaults: &ImageConfig, side: i64) -> Result<ImageConfig> {
        let side =
            u32::try_from(side).map_err(|_| invalid_model(&self.config_path, format!("image_size is {side}")))?;
        let defaults = defaults.with_side(side);
        if self.is_open_clip {
            let json: Value = read_json(&self.config_path)?;
            let preprocess = json.get("preprocess_cfg").cloned().unwrap_or_default();
            return ImageConfig::from_open_clip(&preprocess, side)
                .map_err(|error| invalid_model(&self.config_path, error));
        }
        for name in ["preprocessor_config.json", "processor_config.json"] {
            let path = self.folder.join(name);
            if let Some(json) = read_json_if_present::<Value>(&path)? {
                return ImageConfig::from_hugging_face(&json, &defaults).map_err(|error| invalid_model(&path, error));
            }
        }
        Ok(defaults)
    }

    /// An entry of `tokenizer_config.json`, if there is one.
    ///
    /// # Errors
    /// `FailedPrecondition` if the file is damaged.
    pub fn tokenizer_entry(&self, name: &str) -> Result<Option<Value>> {
        let config: Option<Value> = read_json_if_present(&self.folder.join("tokenizer_config.json"))?;
        Ok(config.and_then(|config| config.get(name).cloned()).filter(|value| !value.is_null()))
    }
}
