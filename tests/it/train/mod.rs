//! Objectives against reference values, augmentations, recipes, and whole runs of the trainer.

mod augmentations;
mod objectives;
mod recipes;
mod runs;
