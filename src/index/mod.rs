//! Vector indexes: disposable caches over the vectors that the store holds.

mod canary;
mod device;
mod flat;
pub mod graph;
mod segmented;
mod top_k;
mod vector_index;

pub use canary::{Canary, KindReport, QueryKind};
pub use device::DeviceIndex;
pub use flat::FlatIndex;
pub use segmented::SegmentedIndex;
pub use top_k::TopK;
pub use vector_index::{Candidates, Everything, Found, IndexSearch, Neighbour, VectorIndex, VectorKey};
