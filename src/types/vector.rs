//! Vectors as the store and the indexes hold them: unit length, with the raw norm beside them.

use super::{Error, Result};

/// A unit vector and the length it had before.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitVector {
    pub values: Vec<f32>,
    pub norm: f32,
}

impl UnitVector {
    /// Normalises `values`; the sum is taken in f64.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if a number is not finite or all are (nearly) zero.
    pub fn normalise(values: Vec<f32>) -> Result<Self> {
        if let Some(position) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::invalid(
                "vector",
                format!("every number must be finite; number {position} is {}", values[position]),
            ));
        }
        let norm = values.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt();
        if norm < 1e-30 {
            return Err(Error::invalid("vector", "a zero vector has no direction, so it has no cosine"));
        }
        let values = values.into_iter().map(|value| (f64::from(value) / norm) as f32).collect();
        Ok(Self { values, norm: norm as f32 })
    }

    /// Accepts a vector of the expected dimension, then normalises it.
    ///
    /// # Errors
    /// As [`UnitVector::normalise`], and for a wrong dimension.
    pub fn of_dimension(values: Vec<f32>, dimension: usize) -> Result<Self> {
        if values.len() != dimension {
            return Err(Error::invalid("vector", format!("expected {dimension} numbers, got {}", values.len())));
        }
        Self::normalise(values)
    }
}
