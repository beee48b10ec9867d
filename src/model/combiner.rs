//! The folder of CLIP4Cir's combiner (Baldrati et al., TOMM 2023): a network that makes one query vector of a picture's and a
//! text's, in the space of one encoder.
//!
//! `config.json` is [`CombinerConfig`]; `model.safetensors` has the tensors of [`CombinerConfig::shapes`] under CLIP4Cir's names.

use std::path::{Path, PathBuf};

use tch::{Device, Kind};

use super::card::Card;
use super::fault::{invalid_model, read_json};
use super::fingerprint;
use super::weights::Weights;
use crate::Result;

/// What `model_type` is in the folder's `config.json`.
pub const MODEL_TYPE: &str = "clip4cir_combiner";
/// The folder's configuration.
pub const CONFIG: &str = "config.json";
/// The folder's weights.
pub const WEIGHTS: &str = "model.safetensors";

/// Which form of the encoder's vectors a combiner takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CombinerFeatures {
    /// As the encoder gives them: CLIP4Cir's.
    #[default]
    Raw,
    /// At unit length.
    Unit,
}

/// The sizes of a combiner and where it belongs.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CombinerConfig {
    pub model_type: String,
    /// Numbers in a vector of the space, D.
    pub dimension: usize,
    /// P, four times D as the authors have it.
    pub projection_dim: usize,
    /// H, eight times D as the authors have it.
    pub hidden_dim: usize,
    /// The space that it takes vectors of and writes to.
    pub space: String,
    /// NAME@REVISION of the encoder that it was made for.
    pub encoder: String,
    #[serde(default)]
    pub features: CombinerFeatures,
}

impl CombinerConfig {
    /// Reads a folder's `config.json`.
    ///
    /// # Errors
    /// `FailedPrecondition` if it is missing, damaged or of another kind of model.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(CONFIG);
        let config: Self = read_json(&path)?;
        if config.model_type != MODEL_TYPE {
            let found = &config.model_type;
            return Err(invalid_model(&path, format!("model_type: expected {MODEL_TYPE:?}, found {found:?}")));
        }
        let sizes = [config.dimension, config.projection_dim, config.hidden_dim];
        if sizes.iter().all(|size| (1..=1 << 20).contains(size)) {
            return Ok(config);
        }
        Err(invalid_model(&path, format!("the sizes {sizes:?} must be between 1 and 2^20")))
    }

    /// Names and shapes of all tensors; of a linear map `[to, from]` and `[to]`. Text comes before picture where both are laid
    /// side by side.
    #[must_use]
    pub fn shapes(&self) -> Vec<(String, Vec<i64>)> {
        let [d, p, h] = [self.dimension, self.projection_dim, self.hidden_dim].map(|size| size as i64);
        let layers = [
            ("text_projection_layer", d, p),
            ("image_projection_layer", d, p),
            ("combiner_layer", 2 * p, h),
            ("output_layer", h, d),
            ("dynamic_scalar.0", 2 * p, h),
            ("dynamic_scalar.3", h, 1),
        ];
        let tensors = |(name, from, to): (&str, i64, i64)| {
            [(format!("{name}.weight"), vec![to, from]), (format!("{name}.bias"), vec![to])]
        };
        layers.into_iter().flat_map(tensors).collect()
    }
}

/// True if the folder's configuration says that it is a combiner's.
#[must_use]
pub fn is_combiner(folder: &Path) -> bool {
    #[derive(serde::Deserialize)]
    struct Kind {
        model_type: String,
    }
    read_json::<Kind>(&folder.join(CONFIG)).is_ok_and(|kind| kind.model_type == MODEL_TYPE)
}

/// Fingerprints a combiner, 64 hexadecimal digits: weights and configuration.
///
/// # Errors
/// `FailedPrecondition` if a file cannot be read.
pub fn fingerprint(folder: &Path) -> Result<String> {
    fingerprint::of_files(&[("weights", folder.join(WEIGHTS)), ("config", folder.join(CONFIG))])
}

/// Reads a combiner's folder, all tensors once.
///
/// # Errors
/// `FailedPrecondition` naming the file, entry or tensor at fault, also if the card has another fingerprint.
pub fn check(folder: &Path) -> Result<CombinerConfig> {
    let config = CombinerConfig::read(folder)?;
    let path = folder.join(WEIGHTS);
    let weights = Weights::open(&[PathBuf::from(&path)], Kind::Float, Device::Cpu)?;
    for (name, shape) in config.shapes() {
        drop(weights.tensor(&name, &shape)?);
    }
    let found = fingerprint(folder)?;
    match Card::read(folder)?.fingerprint {
        Some(expected) if expected != found => {
            Err(invalid_model(folder, format!("fingerprint: card.json says {expected}, found {found}")))
        }
        _ => Ok(config),
    }
}
