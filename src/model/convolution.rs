//! A convolution and its batch norm, the piece that residual networks are made of.
//!
//! A network that serves folds each batch norm into the convolution before it; one that trains computes them apart.

use tch::Tensor;

use super::layers::Scope;
use crate::Result;

/// torch's own for batch norms: added to the variance, and the share of a new batch in the running statistics.
const EPSILON: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;

/// A convolution without bias and its batch norm.
pub(super) struct Convolution {
    weight: Tensor,
    norm: Norm,
    stride: i64,
    padding: i64,
}

/// What comes after a convolution.
enum Norm {
    /// Folded into the weight; what is left is a bias.
    Folded { bias: Tensor },
    /// Over the batch, counting its statistics.
    Batch { weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor },
}

impl Convolution {
    /// Loads `SCOPE.weight` `[to, from, kernel, kernel]` and the norm's tensors; the padding keeps the size at stride 1.
    pub(super) fn load(
        scope: &Scope<'_>,
        norm: &Scope<'_>,
        [from, to]: [i64; 2],
        kernel: i64,
        stride: i64,
    ) -> Result<Self> {
        let weight = scope.exact("weight", &[to, from, kernel, kernel])?;
        let (scale, bias) = (norm.exact("weight", &[to])?, norm.exact("bias", &[to])?);
        let (mean, variance) = (norm.buffer("running_mean", &[to])?, norm.buffer("running_var", &[to])?);
        let (padding, kind) = (kernel / 2, scope.weights.kind());
        if scope.weights.is_training() {
            let norm = Norm::Batch { weight: scale, bias, mean, variance };
            return Ok(Self { weight: weight.to_kind(kind), norm, stride, padding });
        }
        // In float32, so that a network in half precision is rounded once.
        let factor = scale / (variance + EPSILON).sqrt();
        let folded = weight * factor.view([-1, 1, 1, 1]);
        let norm = Norm::Folded { bias: (bias - mean * factor).to_kind(kind) };
        Ok(Self { weight: folded.to_kind(kind), norm, stride, padding })
    }

    pub(super) fn forward(&self, states: &Tensor) -> Tensor {
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        match &self.norm {
            Norm::Folded { bias } => states.conv2d(&self.weight, Some(bias), stride, padding, [1, 1], 1),
            Norm::Batch { weight, bias, mean, variance } => {
                let states = states.conv2d(&self.weight, None::<&Tensor>, stride, padding, [1, 1], 1);
                states.batch_norm(Some(weight), Some(bias), Some(mean), Some(variance), true, MOMENTUM, EPSILON, false)
            }
        }
    }
}

/// The same picture with its channels beside each other in memory, which convolutions on the CPU are fastest with.
pub(super) fn channels_last(pixels: &Tensor) -> Tensor {
    pixels.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}
