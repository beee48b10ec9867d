//! `sum`: the weighted sum of unit vectors, normalised. A negative weight pushes away.

use std::sync::Arc;

use super::{Composed, Composer, ComposerEntry, Part};
use crate::types::vector::UnitVector;
use crate::types::{Error, Result};

pub(super) const ENTRY: ComposerEntry = ComposerEntry {
    name: "sum",
    summary: "the weighted sum of the parts' unit vectors; normalise=raw sums them at the lengths their encoders gave them",
    build: |settings, _| {
        settings.expect_keys(&["normalise"])?;
        let is_raw = match settings.values.get("normalise").map_or("unit", String::as_str) {
            "unit" => false,
            "raw" => true,
            other => {
                return Err(Error::invalid("composer", format!("normalise: expected unit or raw, got {other:?}")));
            }
        };
        Ok((settings.clone(), Arc::new(Sum { is_raw })))
    },
};

/// Weighted sums.
pub(super) struct Sum {
    /// Vectors as their encoders gave them: CLIP4Cir's first stage (TOMM 2023, arXiv 2308.11485).
    pub(super) is_raw: bool,
}

/// Shorter sums are rounding noise around a query that cancels itself out.
const SHORTEST: f32 = 1e-4;

impl Sum {
    /// How much of the part's unit vector goes into the sum.
    fn share(&self, part: &Part) -> f32 {
        if self.is_raw { part.weight * part.vector.norm } else { part.weight }
    }
}

impl Composer for Sum {
    fn compose(&self, parts: &[Part]) -> Result<Composed> {
        let dimension = parts.first().map_or(0, |part| part.vector.values.len());
        let mut sum = vec![0.0_f32; dimension];
        for part in parts {
            let share = self.share(part);
            for (total, value) in sum.iter_mut().zip(&part.vector.values) {
                *total += share * value;
            }
        }
        let largest = parts.iter().map(|part| self.share(part).abs()).fold(0.0, f32::max);
        match UnitVector::normalise(sum) {
            Ok(unit) if unit.norm > SHORTEST * largest => Ok(Composed { vector: unit.values, lambdas: Vec::new() }),
            _ => Err(Error::invalid("parts", "the weighted parts cancel each other out; change a weight or a part")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::PartKind;

    #[test]
    fn cancelling_parts_are_refused() {
        let part = |weight| Part::unit(vec![0.6, 0.8], PartKind::Text, weight);
        let sum = |parts: &[Part]| Sum { is_raw: false }.compose(parts).map(|composed| composed.vector);
        assert!(sum(&[part(1.0), part(-1.0)]).is_err());
        assert!(sum(&[part(1e20), part(-1e20)]).is_err());
        assert_eq!(sum(&[part(1.0), part(-0.5)]).expect("a vector"), vec![0.6, 0.8]);
        assert_eq!(sum(&[part(-1.0)]).expect("a vector"), vec![-0.6, -0.8]);
    }

    #[test]
    fn raw_sums_weigh_by_length() {
        let part = |values: [f32; 2], norm| Part {
            vector: UnitVector { values: values.to_vec(), norm },
            kind: PartKind::Media,
            weight: 1.0,
        };
        let parts = [part([1.0, 0.0], 3.0), part([0.0, 1.0], 4.0)];
        let raw = Sum { is_raw: true }.compose(&parts).expect("a vector").vector;
        assert!((raw[0] - 0.6).abs() < 1e-6 && (raw[1] - 0.8).abs() < 1e-6, "{raw:?}");
    }
}
