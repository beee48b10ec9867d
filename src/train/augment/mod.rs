//! Pictures as a run shows them: a pure function of the picture and a seed.
//!
//! Augmentations do not touch pixels one after the other. Each adds to a [`Plan`]; geometry and colour are composed, so that a
//! picture is sampled once and its colours are mapped once, and what needs neighbouring pixels runs after that in order.
//!
//! Adding an augmentation: one file that exports `PIECE`, its `mod` line, its line in [`ALL`].

use super::piece::Piece;

/// Every augmentation, alphabetic.
pub const ALL: &[&Piece<dyn Augment>] = &[];

/// One augmentation of a recipe.
pub trait Augment: Send + Sync {}
