//! How the parts of a query become one query vector. One composer a file, one line in [`ALL`].

mod combiner;
mod composers;
mod part;
mod settings;
mod slerp;
mod sum;

use std::sync::Arc;

pub use combiner::CombinerNetwork;
pub use composers::{BoundComposer, Composers, Place};
pub use part::Part;
pub use settings::ComposerSettings;

use crate::types::Result;

/// A query vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Composed {
    /// Of unit length.
    pub vector: Vec<f32>,
    /// For composers that weigh by themselves: each text's share beside the picture, 0 to 1, in the order of the texts.
    pub lambdas: Vec<f32>,
}

/// Joins parts into one query vector.
pub trait Composer: Send + Sync {
    /// Accepts parts by their kinds and weights.
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] saying what is expected.
    fn check(&self, _parts: &[Part]) -> Result<()> {
        Ok(())
    }

    /// Composes parts that [`Composer::check`] accepted; all have one dimension and there is at least one.
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] if the result has no direction.
    fn compose(&self, parts: &[Part]) -> Result<Composed>;
}

/// A registered composer.
pub struct ComposerEntry {
    /// The name in requests.
    pub name: &'static str,
    /// One line for people.
    pub summary: &'static str,
    /// Builds it from its settings for the vectors of one place. May read the disk.
    pub build: fn(&ComposerSettings, &Place<'_>) -> Result<Built>,
}

/// A composer, and its settings as they were resolved.
pub type Built = (ComposerSettings, Arc<dyn Composer>);

/// The composer used when nobody names one.
pub const DEFAULT: &str = "sum";

/// Every composer, alphabetic.
pub const ALL: &[&ComposerEntry] = &[&combiner::ENTRY, &slerp::ENTRY, &sum::ENTRY];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::PartKind;

    fn build(text: &str) -> Arc<BoundComposer> {
        Composers::open(std::path::Path::new("/nonexistent"), 1 << 20).bind(text, "space", 2).expect(text)
    }

    /// What holds for every composer that needs no trained weights.
    #[test]
    fn composers_give_unit_vectors() {
        for name in ["slerp", "sum", "sum:normalise=raw", ""] {
            let composer = build(name);
            let part = |vector: [f32; 2], weight| Part::unit(vector.to_vec(), PartKind::Vector, weight);
            let compose = |parts: &[Part]| {
                composer.composer.check(parts).expect(name);
                composer.composer.compose(parts).expect(name).vector
            };
            let alone = compose(&[part([0.6, 0.8], 2.0)]);
            assert!((alone[0] - 0.6).abs() < 1e-6 && (alone[1] - 0.8).abs() < 1e-6, "{name}: one part stays itself");
            let both = compose(&[part([1.0, 0.0], 1.0), part([0.0, 1.0], 0.5)]);
            assert!((both.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-6, "{name}");
        }
    }

    #[test]
    fn every_composer_describes_itself() {
        let names: Vec<_> = ALL.iter().map(|entry| entry.name).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
        assert!(ALL.iter().all(|entry| !entry.summary.is_empty()));
    }
}
