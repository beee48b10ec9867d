//! Which items a step shows.
//!
//! Adding a sampler: one file that exports `PIECE`, its `mod` line, its line in [`ALL`].

mod concepts;
mod items;
mod order;
mod replay;
mod triplets;

use super::data::Corpus;
use super::piece::Piece;
use crate::Result;

/// Every sampler, alphabetic.
pub const ALL: &[&Piece<dyn Sampler>] = &[&concepts::PIECE, &items::PIECE, &replay::PIECE, &triplets::PIECE];

/// Examples that stand side by side in a step: they show one concept, each in its own view; or a composed query's reference and
/// target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub examples: Vec<usize>,
    /// The number of the composed query, whose wording is the row's text.
    pub triplet: Option<usize>,
}

impl Row {
    /// A row that shows one concept.
    #[must_use]
    pub const fn of(examples: Vec<usize>) -> Self {
        Self { examples, triplet: None }
    }
}

/// Chooses rows; a pure function of corpus, seed and row number, so that a resumed run sees what the first would have.
pub trait Sampler: Send + Sync {
    /// Gets ready for a corpus.
    ///
    /// # Errors
    /// `FailedPrecondition` if the corpus has nothing that this sampler could choose.
    fn bind(&self, corpus: &Corpus, seed: u64) -> Result<Box<dyn Rows>>;
}

/// A sampler on its corpus.
pub trait Rows: Send {
    /// Rows `first..first + n` of the run's endless list.
    fn rows(&mut self, first: u64, n: usize) -> Vec<Row>;

    /// Rows until everything has been shown once.
    fn epoch(&self) -> usize;
}
