//! `models convert`: from a `.pt` file of OpenAI or CLIP4Cir to a folder below the models folder. No code of the file is run.
//!
//! - [`run`](mod@run): what to convert, and all of it.
//! - `clip`: a CLIP in OpenAI's names, as open_clip lays models out.
//! - `shapes`: its sizes, read from its tensors.
//! - `combiner`: CLIP4Cir's combiner.

mod clip;
mod combiner;
pub mod run;
mod shapes;

pub use run::{ConvertReport, ConvertRequest, ConvertedKind, convert};
