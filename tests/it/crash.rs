//! Kills a process that writes, and looks at what it leaves behind.
//!
//! The child is this binary again: four threads write through the collection, each saying what it will do and, once it is
//! acknowledged, at which version. The parent kills it at a random moment, opens the folder and judges. Ten cycles, or 280
//! with `PICTOR_VERIFY=1` (and 20 through the server, `crash_server`). `PICTOR_SEED` repeats the operations, though not the moments of the kills.
//!
//! With `PICTOR_CRASH_LIE=1` the child acknowledges some writes that it never makes; the test must then fail.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pictor::collection::CollectionBackend;
use pictor::collection::backend::{
    Durability, Indexing, ItemWrite, PayloadChange, PayloadWrite, QueryKind, Selection, StoredItem, VectorQuery,
};
use pictor::types::{Payload, Value};

use crate::crash_judge::{Change, Intent, Standing, judge};
use crate::fixture::{Client, Content, block_on, id, item, new_collection, open, payload};
use crate::random::{Random, is_verify, seed};

const CHILD_FOLDER: &str = "PICTOR_CRASH_CHILD";
const CHILD_SEED: &str = "PICTOR_CRASH_SEED";
/// `sync` or `async`: how every write of the child is acknowledged.
pub(crate) const DURABILITY: &str = "PICTOR_CRASH_DURABILITY";
const LIE: &str = "PICTOR_CRASH_LIE";
const THREADS: usize = 4;
const ITEMS: usize = 120;
/// Acknowledged operations that each cycle waits for before the kill.
const ACKS: usize = 100;

/// Fails when an acknowledged write is lost, a deleted item is back, an item is half written, a version is given twice, or
/// index, ids, vectors and media counts disagree after a kill.
#[test]
fn acknowledged_writes_survive_kill_9() {
    let seed = seed("crash");
    let cycles = if is_verify() { 280 } else { 10 };
    let folder = tempfile::tempdir().expect("a folder");
    open(folder.path()).create(new_collection("c")).expect("a collection");
    let mut random = Random::new(seed);
    let mut standings = BTreeMap::new();
    let (mut acks, mut in_flight, mut kills_in_flight) = (0, 0, 0);
    for cycle in 0..cycles {
        let delay = Duration::from_micros(random.below(20_000) as u64);
        let intents = run_child(folder.path(), random.next(), End::Kill(delay), |_| ());
        let acked = intents.iter().filter(|intent| intent.acked.is_some()).count();
        assert!(acked >= ACKS, "cycle {cycle}: {acked} acknowledgements");
        acks += acked;
        in_flight += intents.len() - acked;
        kills_in_flight += usize::from(acked < intents.len());
        let found = inspect(folder.path());
        let problems = judge(&standings, &intents, &found);
        assert!(problems.is_empty(), "cycle {cycle}, PICTOR_SEED={seed}: {problems:#?}");
        standings = found;
    }
    println!(
        "{cycles} kills: {acks} acknowledged, {in_flight} in doubt, {kills_in_flight} kills with writes in flight"
    );
    assert!(kills_in_flight * 10 >= cycles * 3, "only {kills_in_flight} of {cycles} kills met writes in flight");
}

/// Fails when vectors that a bulk write has left behind are found by an audit, or meet an item that gets their number later.
#[test]
fn acknowledged_writes_survive_a_death_in_a_bulk_write() {
    let seed = seed("bulk");
    let rounds = if is_verify() { 20 } else { 2 };
    let folder = tempfile::tempdir().expect("a folder");
    open(folder.path()).create(new_collection("c")).expect("a collection");
    let mut random = Random::new(seed);
    let mut standings = BTreeMap::new();
    for round in 0..rounds {
        let step = format!("bulk.vectors_written:{}", 1 + random.below(12));
        let intents = run_child(folder.path(), random.next(), End::At(&step), |_| ());
        let found = inspect(folder.path());
        let problems = judge(&standings, &intents, &found);
        assert!(problems.is_empty(), "round {round}, {step}, PICTOR_SEED={seed}: {problems:#?}");
        standings = found;
        assert!(!folder.path().join("bulk").exists(), "{step} left half-written tables");
    }
}

/// Fails when a process that dies while it makes a segment loses or changes anything, or leaves behind what it was writing.
#[test]
fn acknowledged_writes_survive_a_death_at_any_step_of_a_segment() {
    const STEPS: [&str; 4] = ["seal.before_build", "segment.written", "seal.before_publish", "seal.published"];
    let seed = seed("seal");
    let rounds = if is_verify() { 10 } else { 1 };
    let folder = tempfile::tempdir().expect("a folder");
    open(folder.path()).create(new_collection("c")).expect("a collection");
    let mut random = Random::new(seed);
    let mut standings = BTreeMap::new();
    for (round, step) in (0..rounds).flat_map(|round| STEPS.map(|step| (round, step))) {
        // The first segments are of the tail alone, later ones are joined with others.
        let step = format!("{step}:{}", 1 + random.below(8));
        let intents = run_child(folder.path(), random.next(), End::At(&step), |_| ());
        let found = inspect(folder.path());
        let problems = judge(&standings, &intents, &found);
        assert!(problems.is_empty(), "round {round}, {step}, PICTOR_SEED={seed}: {problems:#?}");
        standings = found;
        let segments = std::fs::read_dir(folder.path().join("segments")).expect("segments");
        let names: Vec<_> = segments.map(|file| file.expect("a file").file_name()).collect();
        let is_whole = |name: &std::ffi::OsString| name.to_string_lossy().ends_with(".segment");
        assert!(names.iter().all(is_whole), "{step} left {names:?}");
    }
}

/// How a child ends.
#[derive(Clone, Copy)]
pub(crate) enum End<'a> {
    /// Killed so long after enough acknowledgements.
    Kill(Duration),
    /// At a fail point.
    At(&'a str),
}

/// Starts the child, waits for its end, and returns what it said.
pub(crate) fn run_child(folder: &Path, seed: u64, end: End<'_>, add: impl FnOnce(&mut Command)) -> Vec<Intent> {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "crash::crash_child", "--nocapture"]);
    command.env(CHILD_FOLDER, folder).env(CHILD_SEED, seed.to_string()).stdout(Stdio::piped());
    if let End::At(step) = end {
        command.env("PICTOR_FAIL_POINT", step).stderr(Stdio::null());
    }
    add(&mut command);
    let mut child = command.spawn().expect("a child");
    let output = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut intents = BTreeMap::new();
    let mut acks = 0;
    let mut kill_at: Option<Instant> = None;
    let deadline = Instant::now() + Duration::from_secs(120);
    // A line is written at once, so even the last one is whole.
    for line in output.lines() {
        let line = line.expect("text");
        acks += usize::from(line.starts_with("ACK "));
        note(&line, &mut intents);
        if let End::Kill(delay) = end
            && acks >= ACKS
            && kill_at.is_none()
        {
            kill_at = Some(Instant::now() + delay);
        }
        if kill_at.is_some_and(|moment| Instant::now() >= moment) || Instant::now() > deadline {
            // SIGKILL; what is in the pipe already is still read.
            child.kill().expect("a kill");
        }
    }
    let status = child.wait().expect("the child's end");
    let expected = if matches!(end, End::At(_)) { libc::SIGABRT } else { libc::SIGKILL };
    assert_eq!(status.signal(), Some(expected), "{status}");
    intents.into_values().collect()
}

/// Reads `DO number item U|P|D seed` and `ACK number version`.
fn note(line: &str, intents: &mut BTreeMap<u64, Intent>) {
    // The test harness writes its own text before the first line.
    let Some(start) = line.find("DO ").or_else(|| line.find("ACK ")) else { return };
    let words: Vec<&str> = line[start..].split(' ').collect();
    let number = |text: &str| text.parse::<u64>().expect("a number");
    match words[..] {
        ["DO", operation, item, kind, seed] => {
            let change = match kind {
                "U" => Change::Upsert(number(seed)),
                "P" => Change::SetPayload(number(seed)),
                _ => Change::Delete,
            };
            intents.insert(number(operation), Intent { item: item.to_owned(), change, acked: None });
        }
        ["ACK", operation, version] => {
            intents.get_mut(&number(operation)).expect("an intent").acked = Some(number(version));
        }
        _ => panic!("the child said {line:?}"),
    }
}

/// Opens the folder, checks that every item is whole and found, and says where each stands.
pub(crate) fn inspect(folder: &Path) -> BTreeMap<String, Standing> {
    let catalog = open(folder);
    let local = catalog.resolve_local("c").expect("a collection");
    assert_eq!(local.verify().expect("an audit").problems, Vec::<String>::new());
    let client = Client(local.clone());
    let page = block_on(local.scroll(None, None, 10 * ITEMS, Selection::ALL)).expect("a page");
    assert_eq!(block_on(local.count(None)), Ok(page.items.len() as u64));
    let mut standings = BTreeMap::new();
    for stored in page.items {
        standings.insert(stored.id.to_string(), check_whole(&stored));
        let vector = stored.vectors[0].clone();
        let query = VectorQuery {
            kind: QueryKind::default(),
            vector: vector.vector.values,
            limit: 10 * ITEMS,
            min_score: Some(1.0),
            exclude: vec![],
            only: None,
        };
        let found = client.ids(&vector.field, query, None);
        assert!(found.contains(&stored.id.to_string()), "{} does not find itself", stored.id);
    }
    standings
}

/// Compares an item with the contents that its text names.
fn check_whole(stored: &StoredItem) -> Standing {
    let parts = stored.texts["seed"][0].parse().expect("a seed");
    let Some(Value::Int(seed)) = stored.payload.get("seed") else { panic!("{}: no seed", stored.id) };
    let payload_seed = *seed as u64;
    let expected = item(stored.id.as_str(), &content(parts));
    assert_eq!(stored.payload, payload_of(payload_seed), "{}", stored.id);
    assert_eq!(stored.texts, expected.texts, "{}", stored.id);
    assert_eq!(stored.parts, expected.parts, "{}", stored.id);
    assert_eq!(stored.vectors, expected.vectors, "{}", stored.id);
    let media: Vec<_> = stored.media.iter().map(|media| (media.info.clone(), media.data.clone())).collect();
    let expected: Vec<_> = expected.media.iter().map(|media| (media.info.clone(), media.data.clone())).collect();
    assert_eq!(media, expected, "{}", stored.id);
    Standing { version: stored.version, parts, payload: payload_seed }
}

fn payload_of(seed: u64) -> Payload {
    payload(&[("seed", Value::Int(seed as i64)), ("check", Value::String(format!("{seed:x}").repeat(20)))])
}

/// A text that names the seed, a picture that many items share, and one or two of its own vectors.
fn content(seed: u64) -> Content {
    let mut random = Random::new(seed);
    let shared = random.below(10);
    Content {
        payload: payload_of(seed),
        media: vec![("shared.png".to_owned(), vec![shared as u8; 100 + shared * 2000])],
        texts: [("seed".to_owned(), vec![seed.to_string()])].into(),
        own: (0..=random.below(2)).map(|_| random.next()).collect(),
    }
}

/// The process that is killed; does nothing by itself.
#[test]
fn crash_child() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else { return };
    let seed: u64 = std::env::var(CHILD_SEED).ok().and_then(|seed| seed.parse().ok()).expect("a seed");
    let catalog = open(Path::new(&folder));
    let local = catalog.resolve_local("c").expect("a collection");
    let operations = AtomicU64::new(1);
    let mut seeds = Random::new(seed);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            let (local, operations, random) = (&*local, &operations, Random::new(seeds.next()));
            scope.spawn(move || write_forever(local, operations, random));
        }
    });
}

fn write_forever(local: &dyn CollectionBackend, operations: &AtomicU64, mut random: Random) {
    // Past the standard library's buffer: one line group, one write, which a pipe takes whole or not at all.
    let mut out = File::from(std::io::stdout().as_fd().try_clone_to_owned().expect("a pipe"));
    let mut say = move |text: &str| out.write_all(text.as_bytes()).expect("a reader");
    let lies = std::env::var_os(LIE).is_some();
    let only = std::env::var(DURABILITY).ok();
    loop {
        let count = 1 + random.below(4);
        let first = operations.fetch_add(count as u64, Ordering::SeqCst);
        let kind = *random.pick(&["U", "U", "U", "P", "D"]);
        let durability = match only.as_deref() {
            Some("sync") => Durability::Sync,
            Some("async") => Durability::Async,
            _ if random.chance(70) => Durability::Sync,
            _ => Durability::Async,
        };
        // Distinct items: a batch's changes then have an order that its versions show.
        let start = random.below(ITEMS);
        let names: Vec<String> = (0..count).map(|n| format!("item{}", (start + n * 7) % ITEMS)).collect();
        let seeds: Vec<u64> = (0..count).map(|_| random.next() >> 2).collect();
        let intents =
            names.iter().zip(&seeds).zip(first..).map(|((name, seed), n)| format!("DO {n} {name} {kind} {seed}\n"));
        say(&intents.collect::<String>());
        if lies && random.chance(3) {
            let acks = (0..count as u64).map(|n| format!("ACK {} {}\n", first + n, (1 << 40) + first + n));
            say(&acks.collect::<String>());
            continue;
        }
        let versions = write(local, kind, &names, &seeds, durability);
        let acks = versions.iter().zip(first..).map(|(version, n)| format!("ACK {n} {version}\n"));
        say(&acks.collect::<String>());
    }
}

/// Makes one call; the version of each item's change, 0 where there was nothing to change.
fn write(
    local: &dyn CollectionBackend,
    kind: &str,
    names: &[String],
    seeds: &[u64],
    durability: Durability,
) -> Vec<u64> {
    let pairs = || names.iter().zip(seeds);
    match kind {
        "U" => {
            let indexing = if seeds[0].is_multiple_of(4) { Indexing::Deferred } else { Indexing::AtOnce };
            let writes = pairs().map(|(name, &seed)| ItemWrite { indexing, ..item(name, &content(seed)) }).collect();
            let acks = block_on(local.upsert(writes, durability)).expect("an upsert");
            acks.into_iter().map(|ack| ack.expect("a write").version).collect()
        }
        "P" => {
            let write = |(name, seed): (&String, &u64)| PayloadWrite {
                id: id(name),
                change: PayloadChange::Replace(payload_of(*seed)).into(),
                if_version: None,
            };
            let acks = block_on(local.set_payload(pairs().map(write).collect(), durability)).expect("a call");
            acks.into_iter().map(|ack| ack.map_or(0, |ack| ack.version)).collect()
        }
        _ => {
            let ids = names.iter().map(|name| id(name)).collect();
            let deleted = block_on(local.delete(ids, None, durability)).expect("a delete");
            deleted.into_iter().map(|version| version.unwrap_or(0)).collect()
        }
    }
}
