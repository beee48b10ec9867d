//! What a teacher says about the rows of a step.
//!
//! Adding a source of targets: one file that exports `PIECE`, its `mod` line, its line in [`ALL`].

mod stored;

use tch::Device;

use super::data::Corpus;
use super::loss::Targets;
use super::piece::Piece;
use crate::Result;

/// Every source of targets, alphabetic.
pub const ALL: &[&Piece<dyn TargetSource>] = &[&stored::PIECE];

/// Where a teacher's vectors come from.
pub trait TargetSource: Send + Sync {
    /// Gets ready for a corpus.
    ///
    /// # Errors
    /// `NotFound` for a field; `FailedPrecondition` if items that the run learns from have no target.
    fn bind(&self, corpus: &Corpus, device: Device) -> Result<Box<dyn BoundTargets>>;
}

/// A source on its corpus.
pub trait BoundTargets: Send {
    /// The teacher's vectors of trained examples, one row each.
    ///
    /// # Errors
    /// `Internal` for an example that the run does not learn from.
    fn targets(&self, examples: &[usize]) -> Result<Targets>;

    /// The space that the vectors lie in.
    fn space(&self) -> &str;
}
