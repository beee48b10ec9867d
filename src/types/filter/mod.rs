//! Conditions on payloads: the tree, its text form, and its evaluation. docs/filters.md is the manual.

mod ast;
mod evaluate;
mod parse;
mod print;
#[cfg(test)]
mod tests;

pub use ast::{Filter, Operator, Path};
pub use evaluate::{Mismatches, matches, values_at};
pub use parse::{parse, parse_path};
