//! Objectives and the optimiser against reference values, augmentations, recipes, effects on a small
//! world, and whole runs of the trainer with what a recipe can ask of them.

mod augmentations;
mod composed;
mod losses;
mod optimiser;
mod recipes;
mod replay;
mod rules;
mod runs;
mod toy;
mod triplets;
mod world;
