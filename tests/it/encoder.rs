//! Encoders against sentence-transformers, against broken folders, and under load.

mod cranfield;
mod damaged;
mod damaged_towers;
mod exit;
mod golden;
mod memory;
mod observed;
mod offline;
mod pictor_mini;
pub(crate) mod pictures;
mod queue;
mod resnets;
pub(crate) mod tiny;
pub(crate) mod tower_models;
mod towers;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use pictor::encode::handle::PreparationPools;
use pictor::encode::{EncodeSettings, EncoderHandle, EncoderRegistry, Role};
use pictor::model::{DeviceChoice, Precision, PrecisionChoice};
use pictor::types::vector::UnitVector;

use crate::support::{ENCODER, models_dir};

pub(crate) fn settings(precision: Precision) -> EncodeSettings {
    EncodeSettings {
        device: DeviceChoice::Cpu,
        dtype: PrecisionChoice::Exactly(precision),
        ..EncodeSettings::default()
    }
}

/// MiniLM in one precision, loaded once for all tests.
fn minilm(precision: Precision) -> EncoderHandle {
    static LOADED: [OnceLock<EncoderHandle>; 2] = [OnceLock::new(), OnceLock::new()];
    let models = models_dir();
    let slot = &LOADED[usize::from(precision == Precision::Bf16)];
    let load = || {
        let registry = EncoderRegistry::open(&models, settings(precision)).expect("registry");
        block_on(registry.get(ENCODER)).expect("MiniLM")
    };
    slot.get_or_init(load).clone()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime").block_on(future)
}

fn encode(handle: &EncoderHandle, texts: &[impl AsRef<str>], role: Role) -> Vec<Arc<UnitVector>> {
    let texts = texts.iter().map(|text| text.as_ref().to_owned()).collect();
    let embeddings = block_on(handle.encode_texts(texts, role, None)).expect("encode");
    embeddings.into_iter().map(|embedding| embedding.vector).collect()
}

fn pools() -> Arc<PreparationPools> {
    Arc::new(PreparationPools::start(2).expect("threads"))
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The smallest cosine between vectors of the same position.
fn worst(ours: &[Arc<UnitVector>], reference: &[Vec<f32>]) -> f64 {
    assert_eq!(ours.len(), reference.len());
    ours.iter().zip(reference).map(|(ours, reference)| cosine(&ours.values, reference)).fold(1.0, f64::min)
}

/// The rows of a float32 tensor in a safetensors file.
fn rows(path: &Path, tensor: &str) -> Vec<Vec<f32>> {
    let bytes = std::fs::read(path).expect("fixture");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    let view = tensors.tensor(tensor).expect("tensor");
    assert_eq!(view.dtype(), safetensors::Dtype::F32);
    let numbers: Vec<f32> =
        view.data().chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect();
    match view.shape() {
        [0, _] => Vec::new(),
        [_, dimension] => numbers.chunks_exact(*dimension).map(<[f32]>::to_vec).collect(),
        other => panic!("expected a matrix, found {other:?}"),
    }
}

fn golden_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn golden_texts(file: &str) -> Vec<String> {
    let bytes = std::fs::read(golden_folder().join(file)).expect("texts");
    serde_json::from_slice(&bytes).expect("JSON")
}
