//! ResNet (He et al., arXiv 1512.03385) in the names of transformers' `ResNetModel`; a part of dual encoders.

use tch::{Kind, Tensor};

use super::convolution::{Convolution, channels_last};
use super::fault::invalid_model;
use super::layers::{Linear, Scope};
use super::network::{Config, ImageTower};
use super::observer::Observer;
use crate::Result;

/// 7×7 stem, pooling → stages of residual layers → mean over positions → projection.
pub(super) struct ResNetTower {
    stem: Convolution,
    layers: Vec<Layer>,
    projection: Linear,
}

/// The sizes in a `ResNetModel`'s configuration.
pub(super) struct ResNetShape {
    embedding_size: i64,
    hidden_sizes: Vec<i64>,
    depths: Vec<i64>,
    is_bottleneck: bool,
    downsample_in_first_stage: bool,
    downsample_in_bottleneck: bool,
}

impl ResNetShape {
    /// Reads the configuration.
    ///
    /// # Errors
    /// `FailedPrecondition` naming the entry at fault.
    pub(super) fn read(config: &Config<'_>) -> Result<Self> {
        config.expect("hidden_act", "relu")?;
        let layer_type = config.get_or("layer_type", "bottleneck".to_owned())?;
        if !matches!(layer_type.as_str(), "basic" | "bottleneck") {
            let message = format!("layer_type: expected basic or bottleneck, found {layer_type:?}");
            return Err(invalid_model(config.path, message));
        }
        let shape = Self {
            embedding_size: config.size("embedding_size")?,
            hidden_sizes: config.get("hidden_sizes")?,
            depths: config.get("depths")?,
            is_bottleneck: layer_type == "bottleneck",
            downsample_in_first_stage: config.get_or("downsample_in_first_stage", false)?,
            downsample_in_bottleneck: config.get_or("downsample_in_bottleneck", false)?,
        };
        let sizes = || shape.hidden_sizes.iter().chain(&shape.depths);
        let is_possible = !shape.depths.is_empty()
            && shape.depths.len() == shape.hidden_sizes.len()
            && sizes().all(|size| (1..=1 << 16).contains(size));
        if is_possible {
            return Ok(shape);
        }
        let (hidden, depths) = (&shape.hidden_sizes, &shape.depths);
        let message = format!("hidden_sizes {hidden:?} and depths {depths:?} must be equally many, each 1 to 65536");
        Err(invalid_model(config.path, message))
    }

    /// Channels that the last stage gives.
    pub(super) fn width(&self) -> i64 {
        self.hidden_sizes.last().copied().unwrap_or_default()
    }

    /// Positions of the last stage for a picture of this size, its share of a batch's budget.
    pub(super) fn n_positions(&self, height: u32, width: u32) -> usize {
        let halvings = 1 + self.depths.len() + usize::from(self.downsample_in_first_stage);
        let side = |size: u32| (0..halvings).fold(size as usize, |size, _| size.div_ceil(2));
        side(height) * side(width)
    }
}

impl ResNetTower {
    /// Loads the network in `scope` and projects the mean over its last positions.
    pub(super) fn load(shape: &ResNetShape, scope: &Scope<'_>, projection: Linear) -> Result<Self> {
        let stem = scope.child("embedder.embedder");
        let stem = convolution(&stem, [3, shape.embedding_size], 7, 2)?;
        let mut layers = Vec::new();
        let mut from = shape.embedding_size;
        for (stage, (&to, &depth)) in shape.hidden_sizes.iter().zip(&shape.depths).enumerate() {
            for number in 0..depth {
                let scope = scope.child(&format!("encoder.stages.{stage}.layers.{number}"));
                let halves = number == 0 && (stage > 0 || shape.downsample_in_first_stage);
                layers.push(Layer::load(&scope, shape, [from, to], if halves { 2 } else { 1 })?);
                from = to;
            }
        }
        Ok(Self { stem, layers, projection })
    }
}

impl ImageTower for ResNetTower {
    fn embed(&self, pixels: &Tensor, observer: &mut dyn Observer) -> Tensor {
        let states = self.stem.forward(&channels_last(pixels)).relu();
        let states = states.max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false);
        let states = self.layers.iter().enumerate().fold(states, |states, (number, layer)| {
            let states = layer.forward(&states);
            observer.states(number, &states.flatten(2, 3).transpose(1, 2));
            states
        });
        let pooled = states.mean_dim([2, 3].as_slice(), false, Kind::Float).to_kind(states.kind());
        self.projection.forward(&pooled).to_kind(Kind::Float)
    }
}

/// Convolutions around which the input is added.
struct Layer {
    shortcut: Option<Convolution>,
    convolutions: Vec<Convolution>,
}

impl Layer {
    fn load(scope: &Scope<'_>, shape: &ResNetShape, [from, to]: [i64; 2], stride: i64) -> Result<Self> {
        // Channels, kernel and stride of each.
        let plan = if shape.is_bottleneck {
            let inner = (to / 4).max(1);
            let (first, second) = if shape.downsample_in_bottleneck { (stride, 1) } else { (1, stride) };
            vec![([from, inner], 1, first), ([inner, inner], 3, second), ([inner, to], 1, 1)]
        } else {
            vec![([from, to], 3, stride), ([to, to], 3, 1)]
        };
        let planned = |(number, (channels, kernel, stride)): (usize, ([i64; 2], i64, i64))| {
            convolution(&scope.child(&format!("layer.{number}")), channels, kernel, stride)
        };
        let shortcut = (from != to || stride != 1)
            .then(|| convolution(&scope.child("shortcut"), [from, to], 1, stride))
            .transpose()?;
        Ok(Self { shortcut, convolutions: plan.into_iter().enumerate().map(planned).collect::<Result<_>>()? })
    }

    fn forward(&self, states: &Tensor) -> Tensor {
        let last = self.convolutions.len() - 1;
        let inner = self.convolutions[..last]
            .iter()
            .fold(states.shallow_clone(), |states, convolution| convolution.forward(&states).relu());
        let residual = self.convolutions[last].forward(&inner);
        match &self.shortcut {
            Some(shortcut) => (residual + shortcut.forward(states)).relu(),
            None => (residual + states).relu(),
        }
    }
}

/// A convolution and its norm in transformers' names.
fn convolution(scope: &Scope<'_>, channels: [i64; 2], kernel: i64, stride: i64) -> Result<Convolution> {
    Convolution::load(&scope.child("convolution"), &scope.child("normalization"), channels, kernel, stride)
}
