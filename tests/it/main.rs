//! The integration tests: one binary, one file for each boundary.

mod backend;
mod compose;
mod crash;
mod crash_judge;
mod crash_server;
mod drift;
mod encoder;
mod errors;
mod finetune;
mod fixture;
mod generations;
mod image;
mod ingest;
mod jobs;
mod model;
mod new_field;
mod oracle;
mod pictures;
mod pull;
mod random;
mod serve;
mod spaces;
mod store;
mod support;
mod tidy;
mod train;
