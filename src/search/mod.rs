//! Answering queries: plan → encode → compose → find → hits.

mod query;
pub mod rank;
mod ranked;
mod ranking;
mod run;
mod shared;
mod warm_up;

pub use query::{Query, QueryContent, QueryPart};
pub use ranked::{Explanation, FacetCount, HitGroup, RECIPROCAL_RANK_K};
pub use ranking::{FusedField, GroupBy, Prefetch, Ranking, Recommend, RecommendStrategy};
pub use run::{
    SearchAnswer, SearchTimings, bind_composer, encode_query_text, facet_warnings, item_vector, plan_warnings, search,
};
pub use shared::EncodedPictures;
pub use warm_up::warm_up;
