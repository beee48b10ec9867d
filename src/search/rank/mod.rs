//! Reordering what a search found: boosts, diversity, groups, fusion of lists, recommendation. Pure functions.

mod boost;
mod fuse;
mod group;
mod mmr;
mod near_equal;
mod recommend;
#[cfg(test)]
mod test_payload;

pub use boost::{Boost, BoostShape};
pub use fuse::{Fused, Fusion, Ranked, fuse};
pub use group::{Group, GroupDouble, GroupKey, group, keys_of};
pub use mmr::mmr;
pub use near_equal::{distinct, distinct_pictures};
pub use recommend::best_score;
