//! The integration tests: one binary, one file for each boundary.

mod tidy;
