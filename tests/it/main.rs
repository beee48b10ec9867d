//! The integration tests: one binary, one file for each boundary.

mod crash_server;
mod encoder;
mod errors;
mod ingest;
mod serve;
mod support;
mod tidy;
