//! One part of a query, as composers take it.

use crate::types::PartKind;
use crate::types::vector::UnitVector;

/// A part of a query: its vector with the length that the encoder gave it, and its weight (finite, not 0).
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    pub vector: UnitVector,
    /// What the vector was made of; the caller's own stands for a picture where a composer asks for one.
    pub kind: PartKind,
    pub weight: f32,
}

impl Part {
    /// A part whose vector has unit length.
    #[must_use]
    pub fn unit(values: Vec<f32>, kind: PartKind, weight: f32) -> Self {
        Self { vector: UnitVector { values, norm: 1.0 }, kind, weight }
    }

    /// The vector as the encoder gave it, before it was normalised.
    #[must_use]
    pub fn raw(&self) -> Vec<f32> {
        self.vector.values.iter().map(|value| value * self.vector.norm).collect()
    }
}
