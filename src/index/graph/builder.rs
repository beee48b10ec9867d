//! The seam of what links rows to a graph.

use std::sync::atomic::{AtomicBool, Ordering};

use super::links::GrowingLinks;
use super::rows::RowsView;
use super::{hnsw_rs, insertion};
use crate::{Error, Result};

/// Every builder; the first is what segments are built with unless a configuration says otherwise.
pub const BUILDERS: &[&dyn GraphBuilder] = &[&insertion::Insertion, &hnsw_rs::OVER_CODES, &hnsw_rs::OVER_FLOATS];

/// How a graph is built.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BuildSettings {
    /// Links of a node on each level, and half of those on level 0; 2 to 64.
    pub m: usize,
    /// Candidates that a node's links are chosen from, at least `m`.
    pub ef_construction: usize,
    pub threads: usize,
    pub seed: u64,
}

impl Default for BuildSettings {
    fn default() -> Self {
        Self { m: 16, ef_construction: 200, threads: 1, seed: 0 }
    }
}

/// A graph as builders hand it over.
pub struct BuiltGraph {
    pub links: GrowingLinks,
    /// A node of the highest level; `None` without nodes.
    pub entry: Option<u32>,
}

/// Links rows to a graph. Rows are distinct; a builder need not make every row reachable.
pub trait GraphBuilder: Sync {
    fn name(&self) -> &'static str;

    /// Links every row with near ones.
    ///
    /// # Errors
    /// [`Error::Cancelled`] soon after `stop` has become true; what a library refuses.
    fn build(&self, rows: RowsView<'_>, settings: &BuildSettings, stop: &AtomicBool) -> Result<BuiltGraph>;
}

/// The builder of this name.
///
/// # Errors
/// [`Error::InvalidArgument`] naming those that there are.
pub fn builder(name: &str) -> Result<&'static dyn GraphBuilder> {
    let known = || BUILDERS.iter().map(|builder| builder.name()).collect::<Vec<_>>().join(", ");
    let found = BUILDERS.iter().find(|builder| builder.name() == name).copied();
    found.ok_or_else(|| Error::invalid("builder", format!("expected one of {}, got {name:?}", known())))
}

/// Ends a build that nobody waits for any more.
///
/// # Errors
/// [`Error::Cancelled`] once `stop` is true.
pub(super) fn go_on(stop: &AtomicBool) -> Result<()> {
    match stop.load(Ordering::Relaxed) {
        true => Err(Error::Cancelled),
        false => Ok(()),
    }
}
