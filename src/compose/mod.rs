//! How the parts of a query become one query vector. One composer a file, one line in [`ALL`].

mod slerp;
mod sum;

use crate::types::{Error, Result};

/// A part of a query: a unit vector and its weight (finite, not 0).
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedVector {
    pub vector: Vec<f32>,
    pub weight: f32,
}

/// Joins parts into one query vector.
pub trait Composer: Sync {
    /// The name in requests.
    fn name(&self) -> &'static str;

    fn summary(&self) -> &'static str;

    /// Gives a unit vector; all parts have its dimension and there is at least one.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the result has no direction.
    fn compose(&self, parts: &[WeightedVector]) -> Result<Vec<f32>>;
}

/// The composer used when nobody names one.
pub const DEFAULT: &str = "sum";

/// Every composer, alphabetic.
pub const ALL: &[&dyn Composer] = &[&slerp::Slerp, &sum::Sum];

/// Finds a composer; the empty name means the default.
///
/// # Errors
/// [`Error::InvalidArgument`] listing the known names.
pub fn find(name: &str) -> Result<&'static dyn Composer> {
    let name = if name.is_empty() { DEFAULT } else { name };
    ALL.iter().copied().find(|composer| composer.name() == name).ok_or_else(|| {
        let known: Vec<_> = ALL.iter().map(|composer| composer.name()).collect();
        Error::invalid("composer", format!("there is no composer {name:?}; there are {}", known.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What holds for every composer.
    #[test]
    fn every_composer_gives_unit_vectors() {
        for composer in ALL {
            let part = |vector: [f32; 2], weight| WeightedVector { vector: vector.to_vec(), weight };
            let alone = composer.compose(&[part([0.6, 0.8], 2.0)]).expect("a vector");
            assert!(
                (alone[0] - 0.6).abs() < 1e-6 && (alone[1] - 0.8).abs() < 1e-6,
                "{}: one part stays itself",
                composer.name()
            );
            let both = composer.compose(&[part([1.0, 0.0], 1.0), part([0.0, 1.0], 0.5)]).expect("a vector");
            assert!((both.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-6, "{}", composer.name());
            assert!(!composer.summary().is_empty());
        }
        let mut names: Vec<_> = ALL.iter().map(|composer| composer.name()).collect();
        names.dedup();
        assert!(names.is_sorted() && names.len() == ALL.len());
        assert!(find("").is_ok() && find("nonsense").is_err());
    }
}
