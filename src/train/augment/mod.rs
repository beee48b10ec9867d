//! Pictures as a run shows them: a pure function of the picture and a seed.
//!
//! Augmentations do not touch pixels one after the other. Each adds to a [`Plan`]; geometry and colour are composed, so that a
//! picture is sampled once and its colours are mapped once, and what needs neighbouring pixels runs after that in order.
//!
//! Adding an augmentation: one file that exports `PIECE`, its `mod` line, its line in [`ALL`].

mod affine;
mod background;
mod blur;
mod chance;
mod contrast;
mod drawing;
mod erase;
mod flip;
mod grey;
mod hue;
mod invert;
mod noise;
mod outline;
mod plan;
mod posterise;
mod random_resized_crop;
mod saturation;

use rand_chacha::ChaCha8Rng;

pub use drawing::Drawing;
pub use plan::{Affine, Augmenter, ColourMap, Picture, PixelStep, Plan};

use super::piece::Piece;

/// Every augmentation, alphabetic.
pub const ALL: &[&Piece<dyn Augment>] = &[
    &affine::PIECE,
    &background::PIECE,
    &blur::PIECE,
    &contrast::PIECE,
    &erase::PIECE,
    &flip::PIECE,
    &grey::PIECE,
    &hue::PIECE,
    &invert::PIECE,
    &noise::PIECE,
    &outline::PIECE,
    &posterise::PIECE,
    &random_resized_crop::PIECE,
    &saturation::PIECE,
];

/// One augmentation of a recipe.
pub trait Augment: Send + Sync {
    /// Draws what happens to one picture.
    fn plan(&self, plan: &mut Plan, drawing: &Drawing, random: &mut ChaCha8Rng);
}
