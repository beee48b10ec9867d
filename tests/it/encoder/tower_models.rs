//! Dual encoders small enough to be made in a test; `tests/golden/tower_models.py` makes the same ones.

use std::path::Path;

use pictor::encode::{EncoderInput, PreparedImage};
use pictor::image::Pixels;
use pictor::model::ModelFolder;
use serde_json::Value;

use super::golden_folder;
use super::tiny::{NamedTensor, Tiny, copy_folder, serialize};

/// Every model of `towers.json`.
pub(crate) const TOWERS: [&str; 9] = [
    "chinese_clip",
    "clip",
    "clip_and_bert",
    "clip_larger_pictures",
    "clip_largest_id",
    "open_clip",
    "pictor",
    "siglip",
    "vit_and_bert",
];

/// A model's folder in a temporary models folder, as `NAME@r1`.
pub(crate) struct Tower {
    root: tempfile::TempDir,
    pub(crate) folder: ModelFolder,
    entry: Value,
    /// The numbers of a tensor by its name and shape.
    formula: fn(&str, &[usize]) -> Vec<f32>,
}

pub(crate) fn towers_json() -> Value {
    let text = std::fs::read_to_string(golden_folder().join("towers.json")).expect("towers.json");
    serde_json::from_str(&text).expect("towers.json")
}

impl Tower {
    /// Writes the folder as its authors would publish it.
    pub(crate) fn new(name: &str) -> Self {
        Self::of(name, towers_json()["models"][name].clone(), weight)
    }

    /// A model that another file than `towers.json` describes.
    pub(crate) fn of(name: &str, entry: Value, formula: fn(&str, &[usize]) -> Vec<f32>) -> Self {
        let root = tempfile::tempdir().expect("temporary folder");
        let path = root.path().join(name).join("r1");
        std::fs::create_dir_all(&path).expect("create");
        std::fs::write(root.path().join(name).join("current"), "r1\n").expect("write");
        let folder = ModelFolder { name: name.to_owned(), revision: "r1".to_owned(), path };
        let tower = Self { root, folder, entry, formula };
        tower.write_all();
        tower
    }

    /// The models folder that it lies in.
    pub(crate) fn models(&self) -> &Path {
        self.root.path()
    }

    /// The side of its pictures.
    pub(crate) fn side(&self) -> u32 {
        self.entry["size"].as_u64().expect("size") as u32
    }

    pub(crate) fn write(&self, file: &str, content: &Value) {
        std::fs::write(self.folder.path.join(file), content.to_string()).expect("write");
    }

    /// Every tensor, by the formula.
    pub(crate) fn tensors(&self) -> Vec<NamedTensor> {
        let shapes = self.entry["shapes"].as_object().expect("shapes");
        let tensor = |(name, shape): (&String, &Value)| {
            let shape: Vec<usize> = serde_json::from_value(shape.clone()).expect("a shape");
            (name.clone(), shape.clone(), (self.formula)(name, &shape))
        };
        shapes.iter().map(tensor).collect()
    }

    pub(crate) fn write_weights(&self, tensors: &[NamedTensor]) {
        let file = match (self.folder.name.as_str(), self.entry.get("open_clip_config")) {
            ("pictor", _) => "vision/model.safetensors",
            (_, Some(_)) => "open_clip_model.safetensors",
            _ => "model.safetensors",
        };
        std::fs::write(self.folder.path.join(file), serialize(tensors)).expect("write");
    }

    fn write_all(&self) {
        let is_pictor = self.folder.name == "pictor";
        let network = if is_pictor { "vision/" } else { "" };
        if is_pictor {
            self.write_pictor();
        }
        for (entry, file) in [
            ("config", "config.json"),
            ("preprocessor", "preprocessor_config.json"),
            ("tokenizer_config", "tokenizer_config.json"),
            ("open_clip_config", "open_clip_config.json"),
        ] {
            if let Some(content) = self.entry.get(entry) {
                self.write(&format!("{network}{file}"), content);
            }
        }
        match self.entry["tokenizer"].as_str().expect("tokenizer") {
            "bert" if is_pictor => {}
            "bert" => {
                let tokenizer = golden_folder().join("tiny/tokenizer.json");
                std::fs::copy(tokenizer, self.folder.path.join("tokenizer.json")).expect("copy");
            }
            name => {
                let text = std::fs::read_to_string(golden_folder().join("towers.tokenizers.json")).expect("read");
                let tokenizers: Value = serde_json::from_str(&text).expect("JSON");
                self.write("tokenizer.json", &tokenizers[name]);
            }
        }
        self.write_weights(&self.tensors());
    }

    /// Our own layout: an untouched sentence encoder beside the image network.
    fn write_pictor(&self) {
        std::fs::create_dir_all(self.folder.path.join("vision")).expect("create");
        self.write("config.json", &serde_json::json!({"model_type": "pictor_dual_encoder"}));
        copy_folder(&Tiny::new().folder.path, &self.folder.path.join("text"));
    }

    /// Pictures of the network's own size.
    pub(crate) fn prepared(&self, numbers: std::ops::Range<usize>, tokens: usize) -> Vec<EncoderInput> {
        let side = self.side();
        let input = |number| {
            EncoderInput::Image(PreparedImage { pixels: picture(number, side, side), tokens, perceptual_hash: 0 })
        };
        numbers.map(input).collect()
    }
}

/// The numbers of a tensor: a hash of its name and position, scaled by the kind of tensor.
pub(crate) fn weight(name: &str, shape: &[usize]) -> Vec<f32> {
    let seed = name.bytes().fold(2_166_136_261_u32, |seed, byte| (seed ^ u32::from(byte)).wrapping_mul(16_777_619));
    let is_table = || ["embed", "token", "probe"].iter().any(|word| name.contains(word));
    let fan_in = shape.iter().skip(1).product::<usize>() as f64;
    (0..shape.iter().product())
        .map(|element| {
            let unit = hashed(seed, element);
            let scaled = if name.ends_with("bias") {
                0.2 * unit
            } else if shape.len() == 1 && name.ends_with("weight") {
                1.0 + 0.5 * unit
            } else if shape.len() < 2 || (shape.len() < 4 && is_table()) {
                2.0 * unit
            } else {
                4.5 * unit / fan_in.sqrt()
            };
            scaled as f32
        })
        .collect()
}

/// RGB bytes: slow waves with some noise, so that resampling and cropping leave marks.
pub(crate) fn picture(number: usize, height: u32, width: u32) -> Pixels {
    let mut data = Vec::with_capacity(height as usize * width as usize * 3);
    for row in 0..height {
        for column in 0..width {
            for channel in 0..3_u32 {
                let (x, y, c, n) = (f64::from(column), f64::from(row), f64::from(channel), number as f64);
                let wave = (y * (0.11 + 0.07 * c) + n).sin() + (x * (0.13 + 0.05 * n) - c).cos();
                let noise = hashed(1000 * number as u32 + channel, (row * width + column) as usize);
                data.push((127.5 + 50.0 * wave + 40.0 * noise).floor().clamp(0.0, 255.0) as u8);
            }
        }
    }
    Pixels { width, height, data }
}

/// A 32-bit hash of seed and element in [−0.5, 0.5).
fn hashed(seed: u32, element: usize) -> f64 {
    let mut hash = (element as u32).wrapping_mul(2_654_435_761).wrapping_add(seed);
    hash ^= hash >> 15;
    hash = hash.wrapping_mul(2_246_822_519);
    hash ^= hash >> 13;
    f64::from(hash) / 4_294_967_296.0 - 0.5
}
