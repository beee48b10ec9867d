//! How parameters move.

pub mod adamw;
pub mod average;
pub mod parameters;
pub mod schedule;
