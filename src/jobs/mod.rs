//! The job table's runner: long work in child processes that may die without harm to the server.

mod child;
mod supervisor;

pub use supervisor::{JobSettings, Jobs};
