//! `sum`: the weighted sum of unit vectors, normalised. A negative weight pushes away.

use super::{Composer, WeightedVector};
use crate::types::vector::UnitVector;
use crate::types::{Error, Result};

pub(super) struct Sum;

/// Shorter sums are rounding noise around a query that cancels itself out.
const SHORTEST: f32 = 1e-4;

impl Composer for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn summary(&self) -> &'static str {
        "the weighted sum of the parts' unit vectors"
    }

    fn compose(&self, parts: &[WeightedVector]) -> Result<Vec<f32>> {
        let dimension = parts.first().map_or(0, |part| part.vector.len());
        let mut sum = vec![0.0_f32; dimension];
        for part in parts {
            for (total, value) in sum.iter_mut().zip(&part.vector) {
                *total += part.weight * value;
            }
        }
        let largest = parts.iter().map(|part| part.weight.abs()).fold(0.0, f32::max);
        match UnitVector::normalise(sum) {
            Ok(unit) if unit.norm > SHORTEST * largest => Ok(unit.values),
            _ => Err(Error::invalid("parts", "the weighted parts cancel each other out; change a weight or a part")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancelling_parts_are_refused() {
        let part = |weight| WeightedVector { vector: vec![0.6, 0.8], weight };
        assert!(Sum.compose(&[part(1.0), part(-1.0)]).is_err());
        assert!(Sum.compose(&[part(1e20), part(-1e20)]).is_err());
        assert_eq!(Sum.compose(&[part(1.0), part(-0.5)]).expect("a vector"), vec![0.6, 0.8]);
        assert_eq!(Sum.compose(&[part(-1.0)]).expect("a vector"), vec![-0.6, -0.8]);
    }
}
