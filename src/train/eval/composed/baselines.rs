//! What composed queries find without a trained network: picture alone, words alone, weighted sums, great circles, new weights.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use super::queries::Queries;
use crate::Result;
use crate::train::eval::Subject;
use crate::train::eval::metrics::recall;
use crate::train::student::normalise;

/// Shares of the words that are tried: 0 to 1 in steps of 1/20.
const GRID: u32 = 20;

/// One way's ranks, and the share of the words if it was tuned.
pub(super) struct Ranked {
    pub ranks: Vec<usize>,
    pub weight: Option<f64>,
}

/// Every simple way by name.
pub(super) struct Baselines {
    pub by_name: BTreeMap<&'static str, Ranked>,
}

type Compose = fn(&Tensor, &Tensor, f64) -> Tensor;

impl Baselines {
    /// Measures on `queries` what was tuned by the recall at 1 on `validation`.
    pub(super) fn measure(queries: &Queries<'_>, validation: &Queries<'_>, subject: &Subject<'_>) -> Result<Self> {
        let mut by_name = BTreeMap::new();
        for (name, share) in [("image", 0.0), ("text", 1.0)] {
            by_name.insert(name, Ranked { ranks: ranks(queries, sum, share, subject)?, weight: None });
        }
        let ways: [(&'static str, Compose); 2] = [("sum", sum), ("slerp", slerp)];
        for (name, compose) in ways {
            let mut best = (-1.0, 0.0);
            for step in 0..=GRID {
                let share = f64::from(step) / f64::from(GRID);
                let found = recall(&ranks(validation, compose, share, subject)?, 1);
                if found > best.0 {
                    best = (found, share);
                }
            }
            let ranked = Ranked { ranks: ranks(queries, compose, best.1, subject)?, weight: Some(best.1) };
            by_name.insert(name, ranked);
        }
        if let Some(vectors) = subject.compose_untrained(&queries.images, &queries.texts)? {
            by_name.insert("untrained", Ranked { ranks: queries.score(&vectors, subject)?.ranks, weight: None });
        }
        Ok(Self { by_name })
    }
}

fn ranks(queries: &Queries<'_>, compose: Compose, share: f64, subject: &Subject<'_>) -> Result<Vec<usize>> {
    let vectors = compose(&normalise(&queries.images), &normalise(&queries.texts), share);
    Ok(queries.score(&vectors, subject)?.ranks)
}

/// The weighted sum of unit rows, normalised.
fn sum(images: &Tensor, texts: &Tensor, share: f64) -> Tensor {
    normalise(&(images * (1.0 - share) + texts * share))
}

/// The point on the great circle from each picture to its words (Shoemake 1985, §3.3).
fn slerp(images: &Tensor, texts: &Tensor, share: f64) -> Tensor {
    let cosine = (images * texts).sum_dim_intlist(-1, true, Kind::Float).clamp(-1.0, 1.0);
    let angle = cosine.acos();
    let sine = angle.sin().clamp_min(1e-6);
    normalise(&(((&angle * (1.0 - share)).sin() / &sine) * images + ((&angle * share).sin() / &sine) * texts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_go_from_the_picture_to_the_words() {
        let at = |degrees: f64| {
            let angle = degrees.to_radians();
            Tensor::from_slice(&[angle.cos() as f32, angle.sin() as f32]).view([1, 2])
        };
        let degrees = |vector: &Tensor| vector.double_value(&[0, 1]).atan2(vector.double_value(&[0, 0])).to_degrees();
        for (compose, quarter) in [(slerp as Compose, 25.0), (sum, 18.22)] {
            assert!((degrees(&compose(&at(10.0), &at(70.0), 0.0)) - 10.0).abs() < 1e-3);
            assert!((degrees(&compose(&at(10.0), &at(70.0), 1.0)) - 70.0).abs() < 1e-3);
            assert!((degrees(&compose(&at(10.0), &at(70.0), 0.5)) - 40.0).abs() < 1e-3);
            let found = degrees(&compose(&at(10.0), &at(70.0), 0.25));
            assert!((found - quarter).abs() < 6.0 && found > 10.0, "{found}");
        }
        assert!((degrees(&slerp(&at(10.0), &at(70.0), 0.25)) - 25.0).abs() < 1e-3);
    }
}
