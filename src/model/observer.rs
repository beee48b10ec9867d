//! Looks into a tower while it runs: states of all tokens, weights of attention.

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

    /// The attention weights `[batch, heads, tokens, tokens]` of a layer, float32; each row sums to 1.
    fn attention(&mut self, _layer: usize, _weights: &Tensor) {}
}

/// Looks at nothing.
pub struct Unobserved;

impl Observer for Unobserved {}
