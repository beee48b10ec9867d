//! Looks into a tower while it runs: states of all tokens, weights of attention; and says which patches it sees.

use tch::Tensor;

/// What a caller wants to see. Every method does nothing unless it is overridden.
pub trait Observer {
    /// The states `[batch, tokens, width]` after a layer, counted from 0, in the network's kind. A tower's final norm comes
    /// last, numbered one more than its last layer.
    fn states(&mut self, _layer: usize, _states: &Tensor) {}

    /// True if [`Observer::attention`] shall be called for this layer; it costs the fused kernel.
    fn wants_attention(&self, _layer: usize) -> bool {
        false
    }

    /// The patches that a vision transformer sees of each picture, int64 `[batch, kept]`, each row distinct; `None`: all. They
    /// are taken before the first layer, and a class token is always kept (FLIP, arXiv 2212.00794).
    fn kept_patches(&mut self, _batch: i64, _n_patches: i64) -> Option<Tensor> {
        None
    }

    /// The attention weights `[batch, heads, tokens, tokens]` of a layer, float32; each row sums to 1.
    fn attention(&mut self, _layer: usize, _weights: &Tensor) {}
}

/// Looks at nothing.
pub struct Unobserved;

impl Observer for Unobserved {}
