//! `slerp`: along the great circle from one part to the next (Shoemake, Animating Rotation with Quaternion Curves, 1985, §3.3).

use std::sync::Arc;

use super::{Composed, Composer, ComposerEntry, Part};
use crate::types::vector::UnitVector;
use crate::types::{Error, Result};

pub(super) const ENTRY: ComposerEntry = ComposerEntry {
    name: "slerp",
    summary: "the way along the great circle between the parts, in their order, by the shares of their weights",
    build: |settings, _| {
        settings.expect_keys(&[])?;
        Ok((settings.clone(), Arc::new(Slerp)))
    },
};

struct Slerp;

/// A smaller angle, in radians, is none: the rounding of unit vectors in float32 makes as much. As near to the opposite direction
/// there is no one way to go.
const SMALLEST: f64 = 1e-3;

impl Composer for Slerp {
    /// The first part, then from what there is towards each next one by its share of the weights so far; a negative weight goes the
    /// other way by as much. A negative first part is its opposite.
    fn compose(&self, parts: &[Part]) -> Result<Composed> {
        let no_way = || Error::invalid("parts", "two parts point in opposite directions; change a weight or a part");
        let Some((first, rest)) = parts.split_first() else {
            return Err(Error::invalid("parts", "expected at least one part"));
        };
        let sign = f64::from(first.weight.signum());
        let mut at: Vec<f64> = first.vector.values.iter().map(|value| f64::from(*value) * sign).collect();
        let mut weights = f64::from(first.weight.abs());
        for part in rest {
            let weight = f64::from(part.weight);
            weights += weight.abs();
            let share = weight / weights;
            let to: Vec<f64> = part.vector.values.iter().map(|value| f64::from(*value)).collect();
            let cosine: f64 = at.iter().zip(&to).map(|(a, b)| a * b).sum();
            let angle = cosine.clamp(-1.0, 1.0).acos();
            if angle < SMALLEST {
                continue;
            }
            if std::f64::consts::PI - angle < SMALLEST {
                return Err(no_way());
            }
            let (stay, go) = (((1.0 - share) * angle).sin() / angle.sin(), (share * angle).sin() / angle.sin());
            at.iter_mut().zip(&to).for_each(|(a, b)| *a = stay * *a + go * b);
        }
        let joined = UnitVector::normalise(at.into_iter().map(|value| value as f32).collect());
        joined.map(|unit| Composed { vector: unit.values, lambdas: Vec::new() }).map_err(|_| no_way())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::PartKind;

    fn at(degrees: f32, weight: f32) -> Part {
        let angle = degrees.to_radians();
        Part::unit(vec![angle.cos(), angle.sin()], PartKind::Vector, weight)
    }

    #[test]
    fn angles_are_divided_by_the_weights() {
        let check = |parts: &[Part], degrees: f32| {
            let found = Slerp.compose(parts).expect("a vector").vector;
            let found = found[1].atan2(found[0]).to_degrees();
            assert!((found - degrees).abs() < 1e-3, "{parts:?}: {found} for {degrees}");
        };
        check(&[at(10.0, 1.0), at(70.0, 1.0)], 40.0);
        check(&[at(10.0, 1.0), at(70.0, 3.0)], 55.0);
        check(&[at(10.0, 5.0), at(70.0, 0.0001)], 10.001);
        // 40°, then a third of the way to 100°.
        check(&[at(10.0, 1.0), at(70.0, 1.0), at(100.0, 1.0)], 60.0);
        // Away from 70° by as much as a positive weight would go towards it.
        check(&[at(10.0, 3.0), at(70.0, -1.0)], -5.0);
        check(&[at(10.0, 1.0), at(10.0, 2.0)], 10.0);
        check(&[at(10.0, -2.0)], -170.0);
        assert!(Slerp.compose(&[at(10.0, 1.0), at(190.0, 1.0)]).is_err(), "no one way");
        assert!(Slerp.compose(&[]).is_err());
    }
}
