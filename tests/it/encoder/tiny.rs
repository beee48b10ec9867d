//! A BERT small enough to be made in a test; `tests/golden/tiny_model.py` makes the same one.

use std::path::{Path, PathBuf};

use pictor::model::ModelFolder;
use safetensors::tensor::{Dtype, TensorView};

/// Name, shape and numbers of a tensor.
pub(crate) type NamedTensor = (String, Vec<usize>, Vec<f32>);

const WIDTH: usize = 32;
const INNER: usize = 48;
const POSITIONS: usize = 24;
const VOCABULARY: usize = 88;
const LAYERS: usize = 2;

/// The tiny model in a temporary models folder, as `tiny@r1`.
pub(crate) struct Tiny {
    _root: tempfile::TempDir,
    pub(crate) models: PathBuf,
    pub(crate) folder: ModelFolder,
}

impl Tiny {
    /// Writes the folder: cls pooling, prompts `query` and `passage`.
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().expect("temporary folder");
        let models = root.path().to_owned();
        let path = models.join("tiny/r1");
        copy_folder(&super::golden_folder().join("tiny"), &path);
        std::fs::write(models.join("tiny/current"), "r1\n").expect("write");
        let tiny = Self {
            _root: root,
            models,
            folder: ModelFolder { name: "tiny".to_owned(), revision: "r1".to_owned(), path },
        };
        tiny.write_weights(&tensors());
        tiny
    }

    pub(crate) fn write(&self, file: &str, content: &str) {
        std::fs::write(self.folder.path.join(file), content).expect("write");
    }

    pub(crate) fn write_weights(&self, tensors: &[NamedTensor]) {
        std::fs::write(self.folder.path.join("model.safetensors"), serialize(tensors)).expect("write");
    }

    /// Pools the mean over all tokens but the prompt's, in the newer dialect of the configuration.
    pub(crate) fn pool_mean_without_prompt(&self) {
        let config = r#"{"embedding_dimension": 32, "pooling_mode": "mean", "include_prompt": false}"#;
        self.write("1_Pooling/config.json", config);
    }
}

/// The weights' formula, tensor by tensor.
pub(crate) fn tensors() -> Vec<NamedTensor> {
    let mut shapes: Vec<(String, Vec<usize>)> = Vec::new();
    let mut add = |name: String, shape: &[usize]| shapes.push((name, shape.to_vec()));
    add("embeddings.word_embeddings.weight".to_owned(), &[VOCABULARY, WIDTH]);
    add("embeddings.position_embeddings.weight".to_owned(), &[POSITIONS, WIDTH]);
    add("embeddings.token_type_embeddings.weight".to_owned(), &[2, WIDTH]);
    add("embeddings.LayerNorm.weight".to_owned(), &[WIDTH]);
    add("embeddings.LayerNorm.bias".to_owned(), &[WIDTH]);
    for layer in 0..LAYERS {
        let mut linear = |name: &str, weight: &[usize]| {
            add(format!("encoder.layer.{layer}.{name}.weight"), weight);
            add(format!("encoder.layer.{layer}.{name}.bias"), &weight[..1]);
        };
        for name in ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"] {
            linear(name, &[WIDTH, WIDTH]);
        }
        linear("attention.output.LayerNorm", &[WIDTH]);
        linear("intermediate.dense", &[INNER, WIDTH]);
        linear("output.dense", &[WIDTH, INNER]);
        linear("output.LayerNorm", &[WIDTH]);
    }
    let fill = |(number, (name, shape)): (usize, (String, Vec<usize>))| {
        let values = (0..shape.iter().product()).map(|element| value(number, element, &name)).collect();
        (name, shape, values)
    };
    shapes.into_iter().enumerate().map(fill).collect()
}

/// A 32-bit hash of tensor and element in [−0.5, 0.5), scaled by the kind of tensor.
fn value(number: usize, element: usize, name: &str) -> f32 {
    let seed = (number as u32).wrapping_mul(2_246_822_519).wrapping_add(374_761_393);
    let mut hash = (element as u32).wrapping_mul(2_654_435_761).wrapping_add(seed);
    hash ^= hash >> 15;
    hash = hash.wrapping_mul(2_246_822_519);
    hash ^= hash >> 13;
    let unit = f64::from(hash) / 4_294_967_296.0 - 0.5;
    let scaled = match name {
        _ if name.ends_with("LayerNorm.weight") => 1.0 + 0.5 * unit,
        _ if name.ends_with("bias") => 0.2 * unit,
        _ if name.contains("embeddings") => 2.0 * unit,
        _ => 0.8 * unit,
    };
    scaled as f32
}

pub(crate) fn serialize(tensors: &[NamedTensor]) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, _, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).expect("view"))
    });
    safetensors::serialize(views, None).expect("serialize")
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("create");
    for entry in std::fs::read_dir(from).expect("read") {
        let path = entry.expect("entry").path();
        let target = to.join(path.file_name().expect("name"));
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("copy");
        }
    }
}
