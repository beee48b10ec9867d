//! Measuring a collection's searches: queries with known answers, and what the ranks of these answers say.

pub mod queries;
pub mod ranking;
