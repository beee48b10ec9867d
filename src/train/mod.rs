//! Encoders learn from a corpus: one loop, and pluggable pieces that a recipe names.
//!
//! Adding a piece: one file that exports `PIECE`, its `mod` line, its line in the family's `ALL`.

mod agreement;
pub mod augment;
pub mod checkpoint;
pub mod combiner;
pub mod data;
pub mod eval;
pub mod loss;
pub mod optim;
pub mod overrides;
pub mod piece;
pub mod plot;
pub mod progress;
pub mod random;
pub mod recipe;
pub mod result;
pub mod sampler;
pub mod start;
pub mod step;
pub mod student;
pub mod targets;
pub mod trainer;
pub mod views;
