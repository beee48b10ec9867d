//! Damages files of a data folder, of every kind, and looks at what a start makes of it: an error that says so, or the whole truth.
//!
//! 40 damages, or 1,000 with `PICTOR_VERIFY=1`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pictor::collection::Catalog;
use pictor::collection::backend::{CollectionBackend as _, Selection, StoredItem};
use pictor::store::{Store, StoreSettings};
use pictor::types::Value;
use pictor::{Error, Result};

use crate::fixture::{Client, Content, block_on, item, new_collection, open, payload, query, settings};
use crate::random::{Random, is_verify, seed};

const ITEMS: u64 = 150;

/// A folder with every kind of file: tables, blobs, logs, descriptions, segments.
fn prepare(folder: &Path) {
    let catalog = open(folder);
    catalog.create(new_collection("c")).expect("a collection");
    let client = Client(catalog.resolve("c").expect("a collection"));
    let write = |number: u64| {
        let media = vec![("p".to_owned(), vec![number as u8; 6_000])];
        let payload = payload(&[("n", Value::Int(number as i64))]);
        item(&format!("i{number:03}"), &Content { payload, media, own: vec![number], ..Content::default() })
    };
    let upsert = |numbers: std::ops::Range<u64>| {
        client.upsert(numbers.map(write).collect()).into_iter().for_each(|ack| assert!(ack.is_ok(), "{ack:?}"));
    };
    upsert(0..100);
    catalog.store().compact().expect("tables");
    // What follows stands in the log alone.
    upsert(100..ITEMS);
}

/// Items by id, and the ids that queries find.
type Answers = (BTreeMap<String, StoredItem>, Vec<Vec<String>>);

/// Everything that a folder answers.
fn answers(folder: &Path) -> Result<Answers> {
    let store = Store::open(folder, &StoreSettings { memory_bytes: 32 << 20, ..StoreSettings::default() })?;
    let catalog = Catalog::open(store, settings())?;
    let local = catalog.resolve_local("c")?;
    let page = block_on(local.scroll(None, None, 1_000, Selection::ALL))?;
    let items: BTreeMap<String, StoredItem> = page.items.into_iter().map(|item| (item.id.to_string(), item)).collect();
    let queries = (0..20).map(|seed| query(seed, 10)).collect();
    let params = pictor::collection::backend::SearchParams { exact: true, ..Default::default() };
    let reply = block_on(local.search_batch("own", 1, queries, None, params))?;
    let ids = |hits: Vec<pictor::collection::backend::BackendHit>| hits.into_iter().map(|hit| hit.item.id.to_string());
    Ok((items, reply.hits.into_iter().map(|hits| ids(hits).collect()).collect()))
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        match path.is_dir() {
            true => copy(&path, &target),
            false => assert!(std::fs::copy(&path, target).is_ok(), "a copy"),
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// The file's kind, as damages are counted.
fn kind(path: &Path) -> String {
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    let word: String = name.chars().take_while(|letter| letter.is_ascii_uppercase()).collect();
    match path.extension() {
        Some(ending) => ending.to_string_lossy().into_owned(),
        None => word,
    }
}

/// Fails when a damaged file makes an answer wrong, or ends the process in any way.
#[test]
fn damaged_files_are_noticed_or_do_not_matter() {
    let seed = seed("corruption");
    let rounds = if is_verify() { 1_000 } else { 40 };
    let base = tempfile::tempdir().expect("a folder");
    let whole = base.path().join("whole");
    prepare(&whole);
    let expected = {
        let untouched = base.path().join("untouched");
        copy(&whole, &untouched);
        answers(&untouched).expect("a whole folder")
    };
    assert_eq!(expected.0.len() as u64, ITEMS);
    let mut by_kind: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in files(&whole) {
        by_kind.entry(kind(&path)).or_default().push(path.strip_prefix(&whole).expect("a path below").to_owned());
    }
    for known in ["sst", "blob", "log", "segment", "MANIFEST", "CURRENT", "DURABLE"] {
        assert!(by_kind.contains_key(known), "no {known} among {:?}", by_kind.keys());
    }
    let kinds: Vec<&Vec<PathBuf>> = by_kind.values().collect();
    let mut random = Random::new(seed);
    let mut outcomes: BTreeMap<(String, &str), usize> = BTreeMap::new();
    for round in 0..rounds {
        let folder = base.path().join(format!("round{round}"));
        copy(&whole, &folder);
        let relative = random.pick(kinds[round % kinds.len()]).clone();
        let path = folder.join(&relative);
        let mut bytes = std::fs::read(&path).expect("a file");
        let damage = match random.below(if bytes.is_empty() { 1 } else { 5 }) {
            0 => {
                std::fs::remove_file(&path).expect("a file");
                "removed"
            }
            1 => {
                bytes.truncate(random.below(bytes.len()));
                "cut"
            }
            2 => {
                let at = random.below(bytes.len());
                let end = bytes.len().min(at + 512);
                bytes[at..end].fill(0);
                "zeroed"
            }
            _ => {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
                "flipped"
            }
        };
        if damage != "removed" {
            std::fs::write(&path, &bytes).expect("a file");
        }
        let told = format!("{} {damage}, round {round}, PICTOR_SEED={seed}", relative.display());
        let outcome = match answers(&folder) {
            Ok(found) => {
                assert!(found == expected, "{told}: another answer, {} items", found.0.len());
                "right"
            }
            Err(Error::Internal(message)) => panic!("{told}: {message}"),
            Err(error) => {
                assert!(!error.to_string().is_empty());
                "refused"
            }
        };
        *outcomes.entry((kind(&relative), outcome)).or_default() += 1;
        std::fs::remove_dir_all(&folder).expect("a folder");
    }
    println!("{rounds} damages: {outcomes:?}");
    assert!(
        outcomes.keys().any(|(_, outcome)| *outcome == "right")
            && outcomes.keys().any(|(_, outcome)| *outcome == "refused")
    );
}
