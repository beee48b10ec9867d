//! What a row looks like: which of its examples each view shows.
//!
//! Adding views: one file that exports `PIECE`, its `mod` line, its line in [`ALL`].

mod paired;

use super::piece::Piece;
use super::sampler::Row;

/// Every way of viewing, alphabetic.
pub const ALL: &[&Piece<dyn ViewPlan>] = &[&paired::PIECE];

/// Chooses what the views of a row show.
pub trait ViewPlan: Send + Sync {
    /// Views of the pictures.
    fn n_pictures(&self) -> usize;

    /// Views of the texts.
    fn n_texts(&self) -> usize;

    /// The example whose picture a view shows; each view draws its own augmentation.
    fn picture(&self, row: &Row, view: usize) -> usize;

    /// The example whose text a view shows; each view draws its own text.
    fn text(&self, row: &Row, view: usize) -> usize;
}
