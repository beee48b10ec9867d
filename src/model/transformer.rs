//! The pre-norm transformer that CLIP, SigLIP and ViT share.

use tch::Tensor;

use super::layers::{Attending, Attention, FeedForward, LayerNames, LayerNorm, Scope, Shape};
use super::observer::Observer;
use crate::Result;

/// x += attention(norm(x)); x += feed-forward(norm(x)), layer by layer. No norm at the end.
pub(super) struct Transformer {
    layers: Vec<Layer>,
}

struct Layer {
    attention_norm: LayerNorm,
    attention: Attention,
    inner_norm: LayerNorm,
    feed_forward: FeedForward,
}

impl Transformer {
    /// Loads the layers `PATH.0`, `PATH.1`, …
    pub(super) fn load(scope: &Scope<'_>, names: &LayerNames, shape: &Shape) -> Result<Self> {
        let layer = |number: i64| {
            let scope = scope.child(&number.to_string());
            Ok(Layer {
                attention_norm: LayerNorm::load(&scope.child(names.attention_norm), shape)?,
                attention: Attention::load(
                    &scope,
                    &names.query_key_value,
                    names.attention_output,
                    shape.width,
                    shape.n_heads,
                )?,
                inner_norm: LayerNorm::load(&scope.child(names.inner_norm), shape)?,
                feed_forward: FeedForward::load(&scope, names.inner, names.output, shape)?,
            })
        };
        Ok(Self { layers: (0..shape.n_layers).map(layer).collect::<Result<_>>()? })
    }

    /// Maps `[batch, tokens, width]` to the same shape.
    pub(super) fn forward(&self, states: Tensor, attending: Attending<'_>, observer: &mut dyn Observer) -> Tensor {
        self.layers.iter().enumerate().fold(states, |states, (number, layer)| {
            let attended = layer.attention.forward(&layer.attention_norm.forward(&states), attending, number, observer);
            let states = states + attended;
            let states = &states + layer.feed_forward.forward(&layer.inner_norm.forward(&states));
            observer.states(number, &states);
            states
        })
    }
}
