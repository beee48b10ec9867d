//! What the layout promises, checked on the sources themselves.

use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folder` with this ending.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Code without comments and without the tests at its end.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Which folders and files of `src/` may name a foreign crate.
const ALLOWED: [(&str, &[&str]); 16] = [
    ("tch::", &["src/model/", "src/encode/torch.rs", "src/index/device.rs", "src/train/"]),
    ("hnsw_rs::", &["src/index/graph/"]),
    ("rocksdb::", &["src/store/"]),
    ("tonic::", &["src/rpc/", "src/server.rs", "src/metrics.rs"]),
    ("prost", &["src/rpc/"]),
    ("axum::", &["src/http/", "src/server.rs"]),
    ("tokenizers::", &["src/text/"]),
    ("image::codecs", &["src/image/formats/"]),
    ("flate2::", &["src/model/pickle/"]),
    ("gif::", &["src/image/formats/"]),
    ("image_webp::", &["src/image/formats/"]),
    ("png::", &["src/image/formats/"]),
    ("pulp::", &["src/image/"]),
    ("tiff::", &["src/image/formats/"]),
    ("turbojpeg::", &["src/image/formats/"]),
    ("ureq::", &["src/model/pull/"]),
];

/// True if the line names the crate itself, not something whose name ends alike.
fn names(line: &str, crate_path: &str) -> bool {
    line.match_indices(crate_path).any(|(position, _)| {
        let before = line[..position].chars().next_back();
        before.is_none_or(|c| !(c.is_alphanumeric() || matches!(c, '_' | ':')))
    })
}

#[test]
fn foreign_crates_stay_where_they_belong() {
    for path in files("src", "rs") {
        let (name, code) = (relative(&path), code(&read(&path)));
        for (crate_path, allowed) in ALLOWED {
            let is_allowed = allowed.iter().any(|prefix| name.starts_with(prefix));
            let is_named = code.lines().any(|line| names(line, crate_path));
            assert!(is_allowed || !is_named, "{name} names {crate_path}, which belongs in {allowed:?}");
        }
    }
}

/// A folder may use only what stands before it.
const ORDER: [&str; 19] = [
    "types",
    "image",
    "text",
    "distance",
    "index",
    "store",
    "collection",
    "model",
    "encode",
    "compose",
    "search",
    "ingest",
    "evaluate",
    "train",
    "jobs",
    "metrics",
    "engine",
    "rpc",
    "http",
];

#[test]
fn dependencies_point_downwards() {
    for path in files("src", "rs") {
        let name = relative(&path);
        let folder = name.trim_start_matches("src/").split(['/', '.']).next().unwrap_or_default().to_owned();
        let Some(rank) = ORDER.iter().position(|known| *known == folder) else { continue };
        for (later_rank, later) in ORDER.iter().enumerate().filter(|(later_rank, _)| *later_rank > rank) {
            // The metrics show the engine's statistics, and the engine carries the metrics; seams are shared downwards.
            let is_known = matches!((folder.as_str(), *later), ("metrics", "engine") | ("store", "collection"));
            let is_used = code(&read(&path)).contains(&format!("crate::{later}::"));
            assert!(is_known || !is_used, "{name} (rank {rank}) uses crate::{later} (rank {later_rank})");
        }
    }
}

#[test]
fn every_source_file_says_what_it_is() {
    for folder in ["src", "proto/src", "index-tools/src", "tests/it"] {
        for path in files(folder, "rs") {
            let (name, text) = (relative(&path), read(&path));
            assert!(text.starts_with("//!") || name.ends_with("tests.rs"), "{name} has no opening doc comment");
            assert!(
                text.lines().count() <= 600,
                "{name} has more than 600 lines; two names would serve a reader better"
            );
        }
    }
}

#[test]
fn integration_tests_are_not_forgotten() {
    let main = read(&root().join("tests/it/main.rs"));
    for path in files("tests/it", "rs") {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
        let is_top = path.parent().is_some_and(|parent| parent.ends_with("it"));
        assert!(
            !is_top || stem == "main" || main.contains(&format!("mod {stem};")),
            "tests/it/main.rs does not name {stem}"
        );
    }
}

#[test]
fn no_file_names_a_registry_or_leaves_work_undone() {
    // Assembled here so that this file does not find itself.
    let hosts = [
        "pypi.".to_owned() + "org",
        "pythonhosted.".to_owned() + "org",
        "registry.".to_owned() + "npmjs",
        "crates.".to_owned() + "io/",
    ];
    let marks =
        ["TO".to_owned() + "DO", "FIX".to_owned() + "ME", "to".to_owned() + "do!(", "unimpl".to_owned() + "emented!("];
    let mut paths = Vec::new();
    for (folder, ending) in [
        ("src", "rs"),
        ("proto", "rs"),
        ("index-tools", "rs"),
        ("tests", "rs"),
        ("tests", "py"),
        ("scripts", "sh"),
        ("scripts", "py"),
        ("docs", "md"),
    ] {
        paths.extend(files(folder, ending));
    }
    for path in paths {
        let text = read(&path);
        for word in hosts.iter().chain(&marks) {
            assert!(!text.contains(word.as_str()), "{} contains {word}", relative(&path));
        }
    }
}

/// Anyone who must reach another hub has one line to change.
#[test]
fn the_public_hub_is_named_once() {
    use pictor::model::pull::endpoint::PUBLIC_HUB;
    let host = PUBLIC_HUB.url.trim_start_matches("https://");
    let hosts: Vec<&str> = PUBLIC_HUB.download_domains.iter().copied().chain([host]).collect();
    let mut naming = Vec::new();
    for (folder, ending) in
        [("src", "rs"), ("proto", "rs"), ("index-tools", "rs"), ("tests", "rs"), ("tests", "py"), ("scripts", "sh")]
    {
        for path in files(folder, ending) {
            let text = read(&path);
            naming.extend(
                text.lines().filter(|line| hosts.iter().any(|host| line.contains(host))).map(|_| relative(&path)),
            );
        }
    }
    assert_eq!(naming, ["src/model/pull/endpoint.rs"]);
}

#[test]
fn the_changelog_has_a_place_for_the_next_release() {
    assert!(read(&root().join("CHANGELOG.md")).contains("TBD"));
}
