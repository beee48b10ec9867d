//! Answering queries: plan → encode → compose → find → hits.

mod query;
mod run;

pub use query::{Query, QueryContent, QueryPart};
pub use run::{SearchAnswer, SearchTimings, search};
