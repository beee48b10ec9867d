//! Integration tests, one binary.

mod backend;
mod crash;
mod crash_judge;
mod fixture;
mod model;
mod oracle;
mod random;
mod store;
