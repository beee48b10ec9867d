//! Vector indexes: disposable caches over the vectors that the store holds.

mod canary;
mod coarse;
mod device;
mod flat;
pub mod graph;
mod growth;
mod sealed;
mod segmented;
mod top_k;
mod vector_index;

pub use canary::{Canary, KindReport, QueryKind, SegmentWatch};
pub use device::DeviceIndex;
pub use flat::FlatIndex;
pub use growth::{Growth, SegmentPlan, SegmentSize};
pub use sealed::Sealed;
pub use segmented::{SegmentedIndex, Sources};
pub use top_k::TopK;
pub use vector_index::{Among, Candidates, Everything, Found, IndexSearch, Neighbour, VectorIndex, VectorKey};
