//! `pictor-server data`: what is said of a stopped server's folder, whole and damaged, and what is mended.

use std::path::Path;
use std::process::{Command, Output};

use pictor::collection::backend::Durability;
use pictor::collection::{CatalogSettings, stopped};
use pictor::store::{Store, StoreSettings};
use serde_json::Value;

use crate::fixture::{block_on, id};
use crate::segments::{collection, files, is_sealed, open, scribble, settings, upsert, wait_for};

const ITEMS: u64 = 300;
const MEMORY: usize = 16 << 20;

fn data(command: &str, folder: &Path) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_pictor-server"));
    program.args(["data", command, "--store-memory", "16", "--data-dir"]).arg(folder).output().expect("it runs")
}

/// What a command printed; it must have gone well, or not.
fn printed(command: &str, folder: &Path, is_well: bool) -> Value {
    let output = data(command, folder);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.success(), is_well, "{command}: {said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{command}: {error}; {said}"))
}

/// A folder with one collection and one segment.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = open(folder.path());
    let client = collection(&catalog);
    upsert(&client, (0..ITEMS).map(|number| (number, number)));
    wait_for(&client, "a segment", is_sealed);
    folder
}

#[test]
fn a_whole_folder_is_described_and_found_whole() {
    let folder = folder();
    for command in ["inspect", "verify"] {
        let report = printed(command, folder.path(), true);
        let collection = &report["collections"][0];
        assert_eq!((&collection["name"], &collection["items"]), (&"c".into(), &ITEMS.into()), "{command}: {report}");
        assert_eq!(collection["vectors"], ITEMS, "{command}");
        assert_eq!(collection["fields"], serde_json::json!([{"name": "own", "generations": [1]}]), "{command}");
        assert_eq!(collection["problem_count"], 0, "{command}: {report}");
        assert_eq!(report["segments"][0]["problem"], Value::Null, "{command}: {report}");
        assert!(report["segments"][0]["vectors"].as_u64().is_some_and(|vectors| vectors >= 200), "{command}: {report}");
    }
}

#[test]
fn damaged_segments_are_named_and_made_again() {
    let folder = folder();
    let [file] = &files(folder.path(), "segment")[..] else { panic!("one segment") };
    // Amid the rows.
    scribble(file, 12_000, 100);
    let named = |report: &Value| report["segments"][0].to_string();
    let report = printed("verify", folder.path(), false);
    assert!(named(&report).contains("checksum") && named(&report).contains("-1.segment"), "{report}");
    // What was opened meanwhile has put it aside, and nothing stored is lost.
    let report = printed("verify", folder.path(), false);
    assert!(named(&report).contains("data rebuild"), "{report}");
    assert_eq!(
        (&report["collections"][0]["problem_count"], &report["collections"][0]["items"]),
        (&0.into(), &ITEMS.into())
    );
    let settings = CatalogSettings { segments: settings(), ..CatalogSettings::default() };
    // A server makes none of so few vectors; with other settings it does.
    assert_eq!(printed("rebuild", folder.path(), true)["segments"], serde_json::json!([]));
    printed("verify", folder.path(), true);
    let segments = stopped::rebuild(folder.path(), MEMORY, settings).expect("segments");
    assert_eq!(segments.iter().map(|segment| segment.vectors).collect::<Vec<_>>(), [Some(ITEMS as usize)]);
    printed("verify", folder.path(), true);
}

#[test]
fn records_that_contradict_each_other_are_named() {
    let folder = folder();
    {
        let store = Store::open(folder.path(), &StoreSettings { memory_bytes: MEMORY, ..StoreSettings::default() })
            .expect("a store");
        let mut batch = store.batch();
        batch.delete_id(1, &id("item-00007"));
        store.commit(batch).expect("a batch");
    }
    let report = printed("verify", folder.path(), false);
    let problems = report["collections"][0]["problems"].to_string();
    assert!(problems.contains("299 ids but 300 items") && problems.contains("cannot be opened"), "{problems}");
}

#[test]
fn compacting_gives_room_back() {
    let folder = folder();
    let bytes = || printed("compact", folder.path(), true)["table_bytes"].as_u64().expect("bytes");
    let before = bytes();
    {
        let catalog = open(folder.path());
        let gone = (10..ITEMS).map(|number| id(&format!("item-{number:05}"))).collect();
        let collection = catalog.resolve("c").expect("a collection");
        block_on(collection.delete(gone, None, Durability::Async)).expect("deletes");
    }
    let after = bytes();
    assert!(after * 3 < before, "{before} bytes, then {after}");
    assert_eq!(printed("verify", folder.path(), true)["collections"][0]["items"], 10);
}

#[test]
fn folders_of_others_are_refused() {
    let empty = tempfile::tempdir().expect("a folder");
    let folder = folder();
    let _open = open(folder.path());
    for command in ["inspect", "verify", "rebuild", "compact"] {
        for (folder, expected) in
            [(empty.path(), "expected a folder that a server has written to"), (folder.path(), "another")]
        {
            let output = data(command, folder);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && said.contains(expected), "{command}: {said}");
        }
    }
    assert_eq!(std::fs::read_dir(empty.path()).expect("a folder").count(), 0, "nothing is created");
}

/// A log that lost writes which were on the disk is no shorter log of another day: it is said, and opened only if somebody agrees.
#[test]
fn a_log_that_got_shorter_is_refused_until_the_loss_is_accepted() {
    let folder = folder();
    let logs = || {
        let entries =
            std::fs::read_dir(folder.path().join("store")).expect("a store").map(|entry| entry.expect("one").path());
        entries.filter(|path| path.extension().is_some_and(|ending| ending == "log")).max().expect("a log")
    };
    let log = std::fs::OpenOptions::new().write(true).open(logs()).expect("a log");
    let length = log.metadata().expect("a length").len();
    log.set_len(length - 200).expect("a shorter log");
    for command in ["verify", "compact"] {
        let output = data(command, folder.path());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("data accept-loss"), "{command}: {said}");
    }
    assert_eq!(printed("accept-loss", folder.path(), true), serde_json::json!({"accepted": true}));
    let report = printed("verify", folder.path(), true);
    let items = report["collections"][0]["items"].as_u64().expect("a number");
    assert!(items > 0 && items < ITEMS, "{report}");
    assert!(!data("accept-loss", &folder.path().join("nowhere")).status.success());
}
