//! Where a network's tensors come from: the folder's files, or a training run's live parameters.
//!
//! A network is a view of named tensors: it stacks, reshapes and folds them when it is built. A training run builds it anew
//! from its parameters in every step, so that gradients reach the names that the checkpoint has, and every architecture that
//! can be served can be trained.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Normal};
use tch::{Device, Kind, Tensor};

/// A network's tensors by name: the tensor's name in the checkpoint behind the folder inside the model, such as
/// `vision/layernorm.weight`.
#[derive(Debug, Default)]
pub struct NamedTensors {
    /// What gradients may change.
    pub parameters: BTreeMap<String, Tensor>,
    /// What the network counts by itself, such as running means.
    pub buffers: BTreeMap<String, Tensor>,
    /// Where the tensors' files are: folders by what stands before the names, such as `vision/`.
    pub folders: BTreeMap<String, PathBuf>,
}

/// How a network gets its tensors while it is built.
pub struct Source<'a> {
    /// What the network computes in.
    pub kind: Kind,
    pub device: Device,
    origin: Origin<'a>,
    /// The folder inside the model, with a slash at its end, or nothing.
    place: String,
}

#[derive(Clone, Copy)]
pub(super) enum Origin<'a> {
    /// Read, converted, forgotten.
    Files,
    /// Read as float32, or drawn from a seed where the folder has no weights, and kept under their names.
    Start { seed: u64, into: &'a RefCell<NamedTensors> },
    /// Taken as they are and converted with gradient; `is_training` lets the network count its buffers.
    Live { tensors: &'a NamedTensors, is_training: bool },
}

impl<'a> Source<'a> {
    /// From the files, to compute in `kind`.
    #[must_use]
    pub fn files(kind: Kind, device: Device) -> Self {
        Self { kind, device, origin: Origin::Files, place: String::new() }
    }

    /// Like [`Source::files`] in float32, keeping each tensor under its name; a folder without weights gets new ones.
    #[must_use]
    pub fn start(device: Device, seed: u64, into: &'a RefCell<NamedTensors>) -> Self {
        Self { kind: Kind::Float, device, origin: Origin::Start { seed, into }, place: String::new() }
    }

    /// From tensors in memory, to compute in `kind`. While it is training, batch norms use and count the batch's statistics.
    #[must_use]
    pub fn live(tensors: &'a NamedTensors, kind: Kind, device: Device, is_training: bool) -> Self {
        Self { kind, device, origin: Origin::Live { tensors, is_training }, place: String::new() }
    }

    /// The source for a folder inside the model.
    #[must_use]
    pub fn inside(&self, folder: &str) -> Self {
        let place = format!("{}{folder}/", self.place);
        Self { kind: self.kind, device: self.device, origin: self.origin, place }
    }

    pub(super) fn origin(&self) -> Origin<'a> {
        self.origin
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }
}

/// A new tensor by the rule that its name and shape ask for: running variances and the scales of norms 1, other vectors 0,
/// convolutions normal with the variance 2 / fan-out (He et al., arXiv 1502.01852), all else normal with the deviation 0.02.
/// The same seed and name give the same tensor.
pub(super) fn new_tensor(seed: u64, name: &str, shape: &[i64]) -> Tensor {
    let is_one = name.ends_with("running_var") || (shape.len() == 1 && name.ends_with("weight"));
    if shape.len() < 2 {
        return Tensor::full(shape, if is_one { 1.0 } else { 0.0 }, (Kind::Float, Device::Cpu));
    }
    let deviation = match shape {
        [to, _, height, width] => (2.0 / (to * height * width) as f64).sqrt(),
        _ => 0.02,
    };
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).update(name.as_bytes());
    let mut random = ChaCha8Rng::from_seed(*hasher.finalize().as_bytes());
    let normal = Normal::new(0.0, deviation as f32).expect("a deviation above 0");
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| normal.sample(&mut random)).collect();
    Tensor::from_slice(&values).view(shape)
}
