//! What the program's commands do that need more than a line.

pub(crate) mod data;
pub(crate) mod models;
pub(crate) mod train;

use std::io::Write as _;

use anyhow::Context as _;

/// One object a line.
pub(crate) fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(value)?).context("writing to standard output")
}
