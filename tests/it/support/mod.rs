//! What several tests need: a server in this process, a server in a child process, test data.

mod child;
mod server;

use std::path::{Path, PathBuf};

pub(crate) use child::ChildServer;
pub(crate) use server::{TestServer, collection_of_texts, collection_of_vectors, text_item, vector_item};

/// The sentence encoder that set-up fetches.
pub(crate) const ENCODER: &str = "all-minilm-l6-v2";

/// True under `make verify`: full counts.
pub(crate) fn is_verify() -> bool {
    std::env::var_os("PICTOR_VERIFY").is_some()
}

/// The folder of models that set-up fetched.
pub(crate) fn models_dir() -> PathBuf {
    std::env::var_os("PICTOR_MODELS").map_or_else(|| root().join(".deps/models"), PathBuf::from)
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file or folder of the test data, or `None` with one line that says what is skipped. Under CI missing data fails.
pub(crate) fn test_data(name: &str, test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("PICTOR_TEST_DATA").map_or_else(|| root().join("../shared/data"), PathBuf::from);
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "{test} needs {}, which is not there", path.display());
    eprintln!("skipped {test}: {} is not there; set PICTOR_TEST_DATA", path.display());
    None
}
