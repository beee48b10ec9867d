//! A trained Combiner's folder in the models folder: `config.json`, `model.safetensors`, `card.json`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::fault::{invalid_model, read_json};
use super::fingerprint::hash_file;
use crate::Result;

/// The `model_type` of a Combiner's configuration.
pub const COMBINER: &str = "clip4cir_combiner";

/// Which form of the encoder's vectors a Combiner takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CombinerFeatures {
    /// As the encoder gives them: CLIP4Cir's.
    #[default]
    Raw,
    /// At unit length.
    Unit,
}

/// A Combiner's `config.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CombinerConfig {
    pub model_type: String,
    pub dimension: usize,
    pub projection_dim: usize,
    pub hidden_dim: usize,
    /// The space that it was trained in; it composes vectors of no other.
    pub space: String,
    /// NAME@REVISION of the encoder whose vectors it was trained on.
    #[serde(default)]
    pub encoder: String,
    #[serde(default)]
    pub features: CombinerFeatures,
}

impl CombinerConfig {
    /// Reads a folder's configuration.
    ///
    /// # Errors
    /// `FailedPrecondition` naming the file if it is missing, damaged or another model's.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("config.json");
        let config: Self = read_json(&path)?;
        if config.model_type != COMBINER {
            let message = format!("model_type: expected {COMBINER}, found {:?}", config.model_type);
            return Err(invalid_model(&path, message));
        }
        let sizes = [config.dimension, config.projection_dim, config.hidden_dim];
        if sizes.iter().any(|size| !(1..=1 << 16).contains(size)) {
            return Err(invalid_model(&path, format!("dimensions are 1 to 65536, found {sizes:?}")));
        }
        Ok(config)
    }
}

/// True if a model's folder holds a Combiner and no encoder.
#[must_use]
pub fn is_combiner(folder: &Path) -> bool {
    let text = std::fs::read_to_string(folder.join("config.json")).unwrap_or_default();
    let config: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    config.get("model_type").and_then(serde_json::Value::as_str) == Some(COMBINER)
}

/// The tensors of a Combiner and their shapes, by their names in CLIP4Cir's checkpoints; alphabetic.
#[must_use]
pub fn shapes(dimension: usize, projection_dim: usize, hidden_dim: usize) -> [(&'static str, Vec<usize>); 12] {
    let (d, p, h) = (dimension, projection_dim, hidden_dim);
    [
        ("combiner_layer.bias", vec![h]),
        ("combiner_layer.weight", vec![h, 2 * p]),
        ("dynamic_scalar.0.bias", vec![h]),
        ("dynamic_scalar.0.weight", vec![h, 2 * p]),
        ("dynamic_scalar.3.bias", vec![1]),
        ("dynamic_scalar.3.weight", vec![1, h]),
        ("image_projection_layer.bias", vec![p]),
        ("image_projection_layer.weight", vec![p, d]),
        ("output_layer.bias", vec![d]),
        ("output_layer.weight", vec![d, h]),
        ("text_projection_layer.bias", vec![p]),
        ("text_projection_layer.weight", vec![p, d]),
    ]
}

/// Tells Combiners apart: BLAKE3 over configuration and weights, 64 hexadecimal digits.
///
/// # Errors
/// `FailedPrecondition` if a file cannot be read.
pub fn fingerprint(folder: &Path) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for file in ["config.json", "model.safetensors"] {
        hasher.update(&hash_file(&folder.join(file))?);
    }
    Ok(hasher.finalize().to_hex().to_string())
}
