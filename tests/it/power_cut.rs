//! Cuts the power under a process that writes: everything that was not flushed is gone, names of files included.
//!
//! The process of `crash` runs with a library before the C library that notes what is flushed (`tests/preload`); it is killed, and what the disk
//! would have kept is opened and judged. Four cuts, or fifty with `PICTOR_VERIFY=1`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::crash::{DURABILITY, End, inspect, run_child};
use crate::crash_judge::judge;
use crate::fixture::{new_collection, open};
use crate::random::{Random, is_verify, seed};

#[path = "../preload/disk.rs"]
mod disk;

/// Compiles a library of `tests/preload`, in a second.
pub(crate) fn preload(folder: &Path, name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/preload/{name}.rs"));
    let library = folder.join(format!("lib{name}.so"));
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    command
        .args(["--edition", "2024", "--crate-type", "cdylib", "-O", "-A", "dead_code", "-o"])
        .arg(&library)
        .arg(source);
    assert!(command.status().expect("rustc").success(), "the library does not compile");
    library
}

/// What the cuts of one run showed.
#[derive(Default)]
struct Outcome {
    acknowledged: usize,
    /// Cuts after which something acknowledged was not as it should be, with the first such thing.
    lost: Vec<String>,
}

/// Cuts the power so many times under writes of one durability, each time going on with what was left.
fn cut(cuts: u32, durability: &str, seed: u64) -> Outcome {
    let base = tempfile::tempdir().expect("a folder");
    let library = preload(base.path(), "power_cut");
    let mut folder = base.path().join("0");
    open(&folder).create(new_collection("c")).expect("a collection");
    let (mut random, mut standings, mut outcome) = (Random::new(seed), BTreeMap::new(), Outcome::default());
    for cycle in 1..=cuts {
        let shadow = base.path().join(format!("shadow-{cycle}"));
        std::fs::create_dir(&shadow).expect("a folder");
        disk::note_all_flushed(&shadow, &folder).expect("a record");
        let delay = Duration::from_micros(random.below(20_000) as u64);
        let intents = run_child(&folder, random.next(), End::Kill(delay), |child| {
            child.env("LD_PRELOAD", &library).env(DURABILITY, durability);
            child.env("POWER_CUT_FOLDER", &folder).env("POWER_CUT_SHADOW", &shadow);
        });
        outcome.acknowledged += intents.iter().filter(|intent| intent.acked.is_some()).count();
        let left = base.path().join(cycle.to_string());
        disk::cut_power(&shadow, &folder, &left).expect("what is left");
        let found = inspect(&left);
        outcome.lost.extend(judge(&standings, &intents, &found).into_iter().next());
        (standings, folder) = (found, left);
    }
    outcome
}

/// Fails when something acknowledged with `SYNC` is not on the disk, and when the cuts spare what was acknowledged with `ASYNC`: then they
/// would not be cuts.
#[test]
fn acknowledged_writes_survive_power_cuts() {
    let seed = seed("power");
    let cuts = if is_verify() { 50 } else { 4 };
    let sync = cut(cuts, "sync", seed);
    assert!(sync.lost.is_empty(), "PICTOR_SEED={seed}: {:#?}", sync.lost);
    let unsafely = cut(cuts.min(10), "async", seed);
    println!(
        "{cuts} cuts under SYNC: {} acknowledged, none lost; {} under ASYNC: {} acknowledged, lost after {}",
        sync.acknowledged,
        cuts.min(10),
        unsafely.acknowledged,
        unsafely.lost.len()
    );
    assert!(!unsafely.lost.is_empty(), "writes that were not flushed survived every cut");
}
