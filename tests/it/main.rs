//! The integration tests: one binary, one file for each boundary.

mod errors;
mod serve;
mod support;
mod tidy;
