//! Answering queries: plan → encode → compose → find → hits.

mod query;
mod run;
mod warm_up;

pub use query::{Query, QueryContent, QueryPart};
pub use run::{SearchAnswer, SearchTimings, bind_composer, encode_query_text, item_vector, search};
pub use warm_up::warm_up;
