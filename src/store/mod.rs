//! RocksDB as Pictor uses it: column families and keys as data, records, media, jobs, the format number and the group commit.
//!
//! RocksDB is the truth; everything that an index holds can be built again from here. No other folder says `rocksdb`.

mod audit;
mod backup;
mod batch;
mod bulk;
mod error;
mod families;
mod format;
mod jobs;
mod keys;
mod lock;
mod open;
mod record;
mod rocks;
mod room;
mod scan;
mod snapshot;
mod sync_gate;
mod unique;
mod watermark;

pub use audit::{AuditReport, AuditScope, LiveGeneration, audit};
pub use backup::SnapshotInfo;
pub use batch::Batch;
pub use format::FORMAT;
pub use jobs::{JobRecord, JobState, Jobs};
pub use open::{Store, StoreSettings};
pub use record::{Counters, ItemRecord, MediaRecord, RecordHead, VectorSlot};
pub use scan::{EntryScan, IdScan, ItemScan, VectorScan};
pub use snapshot::Snapshot;
pub use unique::unique_id;
