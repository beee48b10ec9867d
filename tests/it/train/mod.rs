//! Objectives and the optimiser against reference values, augmentations, recipes, and whole runs of the trainer.

mod augmentations;
mod losses;
mod optimiser;
mod recipes;
mod runs;
