//! A disk that is full, at every path that writes, and then has room again.
//!
//! The test runs itself with a library before the C library that refuses to write below the data folder while a file exists
//! (`tests/preload/disk_full.rs`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use pictor::collection::backend::{Durability, Indexing, ItemWrite, PayloadChange, PayloadWrite, Selection};
use pictor::collection::{AliasChange, Catalog};
use pictor::types::Value;
use pictor::{Error, Result};

use crate::fixture::{Client, Content, block_on, id, item, new_collection, open, payload, query};
use crate::model::copy_at_rest;
use crate::power_cut::preload;

const FOLDER: &str = "DISK_FULL_FOLDER";
const SIGNAL: &str = "DISK_FULL_WHILE";
/// A test process that waits this long hangs.
const PATIENCE: Duration = Duration::from_secs(240);

/// Fails when a write that was acknowledged is lost or changed, when reads stop, when a write is refused with anything but what it means, or when
/// writes do not work again once there is room, at the latest after a restart.
#[test]
fn a_full_disk_loses_nothing() {
    let base = tempfile::tempdir().expect("a folder");
    let library = preload(base.path(), "disk_full");
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "disk_full::disk_full_child", "--nocapture"]).env("LD_PRELOAD", library);
    command.env(FOLDER, base.path().join("data")).env(SIGNAL, base.path().join("full"));
    let mut child = command.spawn().expect("a child");
    let start = Instant::now();
    let status = loop {
        match child.try_wait().expect("a child") {
            Some(status) => break status,
            None if start.elapsed() > PATIENCE => {
                child.kill().expect("a kill");
                panic!("it hangs");
            }
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    assert!(status.success(), "{status}");
}

/// A path that writes, on the full disk.
type Write = fn(&mut Run) -> Result<()>;

const PATHS: [(&str, Write); 10] = [
    ("upsert, durable", |run| run.upsert(Durability::Sync, 100)),
    ("upsert, in the page cache", |run| run.upsert(Durability::Async, 100)),
    // More than a write buffer takes.
    ("upsert with pictures", |run| (0..40).try_for_each(|_| run.upsert(Durability::Async, 400_000))),
    ("upsert in bulk", Run::upsert_in_bulk),
    ("payload", Run::set_payload),
    ("delete", Run::delete),
    ("collection", |run| {
        let name = format!("more{}", run.round);
        run.catalog().create(new_collection(&name)).map(drop)
    }),
    ("alias", |run| {
        let change = AliasChange { alias: format!("alias{}", run.round), collection: Some("c".to_owned()) };
        run.catalog().update_aliases(&[change])
    }),
    ("snapshot", |run| run.catalog().store().create_snapshot().map(drop)),
    ("compaction", |run| run.catalog().store().compact().map(drop)),
];

struct Run {
    folder: PathBuf,
    signal: PathBuf,
    catalog: Option<Catalog>,
    round: usize,
    /// What items may hold: one number, or several while a write is in doubt; `None` means that the item may be absent.
    may_be: BTreeMap<String, Vec<Option<i64>>>,
}

/// The process that runs with the library; does nothing by itself.
#[test]
fn disk_full_child() {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let Some((folder, signal)) = variable(FOLDER).zip(variable(SIGNAL)) else { return };
    let mut run = Run { folder, signal, catalog: None, round: 0, may_be: BTreeMap::new() };
    run.reopen();
    run.catalog().create(new_collection("c")).expect("a collection");
    for number in 0..30 {
        run.round = number;
        run.upsert(Durability::Sync, 1_000).expect("room");
    }
    let mut restarts = Vec::new();
    for (name, write) in PATHS {
        run.round += 1_000;
        std::fs::write(&run.signal, "").expect("a signal");
        let outcome = write(&mut run);
        if let Err(error) = &outcome {
            let is_said = matches!(error, Error::StorageFull(_)) || error.reason() == "WRITES_STOPPED";
            assert!(is_said, "{name}: {error:?}");
        }
        println!("{name}: {}", outcome.map_or_else(|error| error.reason(), |()| "written"));
        run.check(name);
        std::fs::remove_file(&run.signal).expect("a signal");
        let start = Instant::now();
        while run.upsert(Durability::Sync, 100).is_err() {
            if start.elapsed() > Duration::from_secs(5) {
                restarts.push(name);
                run.reopen();
                run.check(name);
                run.upsert(Durability::Sync, 100).expect("room");
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        run.check(name);
        // And as a kill would leave it.
        let copy = run.folder.with_file_name(format!("copy{}", run.round));
        copy_at_rest(&run.folder, &copy);
        run.catalog = None;
        std::fs::remove_dir_all(&run.folder).expect("a folder");
        std::fs::rename(&copy, &run.folder).expect("a folder");
        run.reopen();
        run.check(name);
    }
    println!("a restart was needed after: {restarts:?}");
    // A start on a full disk fails with what it means, or works; with room it works.
    run.catalog = None;
    std::fs::write(&run.signal, "").expect("a signal");
    match pictor::store::Store::open(&run.folder, &pictor::store::StoreSettings::default()) {
        Ok(store) => drop(store),
        Err(error) => assert!(matches!(error, Error::StorageFull(_)), "{error:?}"),
    }
    std::fs::remove_file(&run.signal).expect("a signal");
    run.reopen();
    run.check("start");
}

impl Run {
    fn catalog(&self) -> &Catalog {
        self.catalog.as_ref().expect("an open catalog")
    }

    fn client(&self) -> Client {
        Client(self.catalog().resolve("c").expect("a collection"))
    }

    fn reopen(&mut self) {
        self.catalog = None;
        self.catalog = Some(open(&self.folder));
    }

    fn upsert(&mut self, durability: Durability, picture: usize) -> Result<()> {
        self.upsert_as(Indexing::AtOnce, durability, picture)
    }

    /// Its vectors go into a table of their own.
    fn upsert_in_bulk(&mut self) -> Result<()> {
        self.upsert_as(Indexing::Deferred, Durability::Sync, 100)
    }

    fn upsert_as(&mut self, indexing: Indexing, durability: Durability, picture: usize) -> Result<()> {
        let number = self.round as i64;
        self.round += 1;
        let name = format!("item{}", number % 50);
        let media = vec![("p".to_owned(), vec![number as u8; picture])];
        let content = Content {
            payload: payload(&[("n", Value::Int(number))]),
            media,
            own: vec![number as u64],
            ..Content::default()
        };
        let outcome =
            block_on(self.client().0.upsert(vec![ItemWrite { indexing, ..item(&name, &content) }], durability));
        let outcome = outcome.and_then(|acks| acks.into_iter().collect::<Result<Vec<_>>>());
        self.note(&name, Some(number), outcome.map(drop))
    }

    fn set_payload(&mut self) -> Result<()> {
        let number = self.round as i64;
        let name = "item3".to_owned();
        let change = PayloadChange::Replace(payload(&[("n", Value::Int(number))])).into();
        let write = PayloadWrite { id: id(&name), change, if_version: None };
        let outcome = block_on(self.client().0.set_payload(vec![write], Durability::Sync));
        let outcome = outcome.and_then(|acks| acks.into_iter().collect::<Result<Vec<_>>>());
        self.note(&name, Some(number), outcome.map(drop))
    }

    fn delete(&mut self) -> Result<()> {
        let outcome = block_on(self.client().0.delete(vec![id("item5")], None, Durability::Sync));
        self.note("item5", None, outcome.map(drop))
    }

    /// What was acknowledged counts; what was not may be there or not.
    fn note(&mut self, name: &str, number: Option<i64>, outcome: Result<()>) -> Result<()> {
        let may_be = self.may_be.entry(name.to_owned()).or_insert_with(|| vec![None]);
        if outcome.is_ok() {
            may_be.clear();
        }
        may_be.push(number);
        outcome
    }

    /// Every item is what it may be, and finds itself; nothing else is there.
    fn check(&mut self, what: &str) {
        let client = self.client();
        let page = block_on(client.0.scroll(None, None, 1_000, Selection::ALL)).expect("reads go on");
        let mut found: BTreeMap<String, i64> = BTreeMap::new();
        for item in page.items {
            let Some(Value::Int(number)) = item.payload.get("n") else { panic!("{what}: {item:?}") };
            assert!(item.media[0].data.is_some(), "{what}: {}", item.id);
            found.insert(item.id.to_string(), *number);
        }
        for (name, may_be) in &self.may_be {
            let number = found.get(name).copied();
            assert!(may_be.contains(&number), "{what}: {name} is {number:?} and may be {may_be:?}");
        }
        assert!(found.keys().all(|name| self.may_be.contains_key(name)), "{what}: something was invented");
        let hits = client.ids("own", query(1, 1_000), None);
        assert_eq!(hits.len(), found.len(), "{what}: every item has a vector");
        let audit = self.catalog().verify("c").expect("an audit");
        assert_eq!(audit.problems, Vec::<String>::new(), "{what}");
    }
}
