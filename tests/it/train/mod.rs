//! Objectives and the optimiser against reference values, augmentations, recipes, effects on a small
//! world, and whole runs of the trainer.

mod augmentations;
mod losses;
mod optimiser;
mod recipes;
mod runs;
mod toy;
