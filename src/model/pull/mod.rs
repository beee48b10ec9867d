//! Fetches a published model from a hub into the models folder, once, whole and checked.
//!
//! - [`reference`](mod@reference): `hf:OWNER/NAME[@REVISION]`.
//! - [`endpoint`]: which hosts may be asked, which may see the token.
//! - `hub`: the hub's protocol: what a repository holds, and its files.
//! - `select`: which of its files a model needs.
//! - `fetch`: one file, resumed where it was cut, checked against its hash.
//! - [`run`]: all of it; the folder appears whole or not at all.

pub mod endpoint;
mod fetch;
mod hub;
mod progress;
pub(super) mod publish;
pub mod reference;
pub mod run;
mod select;

pub use endpoint::Endpoint;
pub use reference::Reference;
pub use run::{PullReport, PullRequest, pull};
