//! The graph index: HNSW built here or by a library, served from compact segments.

mod among;
mod builder;
mod calibrate;
mod collect;
mod dense;
mod format;
mod hnsw_rs;
mod insertion;
mod items;
mod links;
mod listed;
mod node_sets;
mod order;
mod pages;
mod query;
mod repair;
mod rows;
mod search;
mod segment;
mod sketch;
mod walk;
mod write;

pub use builder::{BUILDERS, BuildSettings, BuiltGraph, GraphBuilder, builder};
pub use calibrate::Calibration;
pub use node_sets::{NodeRoom, NodeSets};
pub use repair::Repaired;
pub use rows::{RowTerm, Rows, RowsView, row_width};
pub use search::{IsHidden, SegmentSearch};
pub use segment::Segment;
pub use walk::Scratch;
pub use write::{SegmentWriter, Written};
