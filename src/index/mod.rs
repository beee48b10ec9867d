//! Vector indexes: disposable caches over the vectors that the store holds.

mod flat;
mod top_k;
mod vector_index;

pub use flat::FlatIndex;
pub use top_k::TopK;
pub use vector_index::{Candidates, IndexSearch, Neighbour, VectorIndex, VectorKey};
