//! The job table's runner: long work, one job of a lane after the other. A new kind of job is a file here and a line in
//! [`supervisor::Shared`]'s list.

mod child;
mod contents;
mod evaluate;
mod finetune;
mod kind;
mod payload_index;
mod reembed;
mod supervisor;
mod train;

pub use evaluate::EvaluateSpec;
pub use finetune::FinetuneTarget;
pub use kind::{JobControl, JobEnd, JobKind, Lane};
pub use payload_index::PayloadIndexJob;
pub use reembed::ReembedSpec;
pub use supervisor::{JobSettings, Jobs};
