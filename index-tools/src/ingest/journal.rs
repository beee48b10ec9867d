//! How far a run has come, in a file, so that a killed run goes on where it was.
//!
//! The file holds one JSON line and one line with its BLAKE3; it is written under a temporary name and renamed, so that it is
//! always whole, and one that is not is ignored. It may be older than what the server stored (then records are sent once
//! more, which changes nothing), never newer.

use std::fs::{self, File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::ledger::Counts;

const FORMAT: u32 = 1;

/// What a run is about: a journal is good for one server, one collection and one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub server_id: String,
    /// For messages; the uid is what counts.
    pub collection: String,
    pub collection_uid: String,
    /// The canonical path.
    pub source: String,
    /// Of the source's state and of the options that say how to read it.
    pub fingerprint: String,
}

/// How far the run has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Every record before this one (from 0) is settled.
    pub position: u64,
    pub counts: Counts,
    /// The newest version that the server acknowledged.
    pub version: u64,
    /// Length of the file of rejects at this position, and which file that was.
    pub rejects_bytes: u64,
    pub rejects_file: Option<String>,
    /// The source was read to its end.
    pub complete: bool,
}

#[derive(Serialize, Deserialize)]
struct Line {
    format: u32,
    #[serde(flatten)]
    identity: Identity,
    #[serde(flatten)]
    state: State,
}

/// An open journal; no other process can open it meanwhile.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    identity: Identity,
    _lock: Option<File>,
}

/// What an opened journal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Go on from here.
    Unfinished(State),
    /// Start at the first record; the text says why, if there is something to say.
    Fresh(Option<String>),
}

impl Journal {
    /// Opens a journal for a run. `version` is the collection's present one: if it is below the journal's, the collection has
    /// lost writes that the journal counts as stored.
    ///
    /// # Errors
    /// If it cannot be written, is in use, or is about another server, collection or source.
    pub fn open(path: &Path, identity: Identity, version: u64) -> Result<(Self, Found)> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let lock = lock(path)?;
        let found = match fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Found::Fresh(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
            Ok(bytes) => judge(path, &bytes, &identity, version)?,
        };
        Ok((Self { path: path.to_owned(), identity, _lock: lock }, found))
    }

    /// Replaces what the journal says.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn write(&self, state: &State) -> Result<()> {
        let bytes = encode(&self.identity, state)?;
        let temporary = beside(&self.path, ".new");
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&temporary)?;
            file.write_all(&bytes)?;
            file.sync_data()?;
            fs::rename(&temporary, &self.path)
        };
        write().with_context(|| format!("cannot write the journal {}", self.path.display()))
    }
}

fn encode(identity: &Identity, state: &State) -> Result<Vec<u8>> {
    let line = Line { format: FORMAT, identity: identity.clone(), state: state.clone() };
    let json = serde_json::to_string(&line)?;
    let checksum = blake3::hash(json.as_bytes());
    Ok(format!("{json}\n{checksum}\n").into_bytes())
}

/// `None` if the bytes are not a whole journal of this format.
fn decode(bytes: &[u8]) -> Option<(Identity, State)> {
    let text = str::from_utf8(bytes).ok()?;
    let (json, checksum) = text.strip_suffix('\n')?.split_once('\n')?;
    if blake3::hash(json.as_bytes()).to_string() != checksum {
        return None;
    }
    let line: Line = serde_json::from_str(json).ok()?;
    (line.format == FORMAT).then_some((line.identity, line.state))
}

fn judge(path: &Path, bytes: &[u8], identity: &Identity, version: u64) -> Result<Found> {
    let fresh = |why: &str| Ok(Found::Fresh(Some(format!("{why}; starting at the first record"))));
    let Some((found, state)) = decode(bytes) else { return fresh("the journal is damaged or of another format") };
    let journal = path.display();
    if found.server_id != identity.server_id {
        bail!("the journal {journal} belongs to another server ({}); name another one with --journal", found.server_id);
    }
    if found.source != identity.source {
        bail!("the journal {journal} belongs to another source ({}); name another one with --journal", found.source);
    }
    if found.collection_uid != identity.collection_uid {
        if found.collection == identity.collection {
            return fresh("the collection was dropped and created again since the journal was written");
        }
        bail!(
            "the journal {journal} belongs to another collection ({}); name another one with --journal",
            found.collection
        );
    }
    if state.complete {
        return Ok(Found::Fresh(None));
    }
    if found.fingerprint != identity.fingerprint {
        return fresh("the source or the options have changed since the journal was written");
    }
    if version < state.version {
        return fresh("the collection is older than the journal (was it restored?)");
    }
    Ok(Found::Unfinished(state))
}

/// The default place: one file for each server, collection and source, under `$XDG_STATE_HOME` or `~/.local/state`.
///
/// # Errors
/// If there is no home folder.
pub fn default_path(identity: &Identity) -> Result<PathBuf> {
    let state = match std::env::var_os("XDG_STATE_HOME").filter(|folder| Path::new(folder).is_absolute()) {
        Some(folder) => PathBuf::from(folder),
        None => {
            let home = std::env::home_dir().filter(|home| home.is_absolute());
            home.context("there is no home folder for the journal; use --journal FILE or --no-journal")?
                .join(".local/state")
        }
    };
    let key = format!("{}\0{}\0{}", identity.server_id, identity.collection_uid, identity.source);
    let name = &blake3::hash(key.as_bytes()).to_hex()[..32];
    Ok(state.join("pictor").join(format!("ingest-{name}.journal")))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Locks a file beside the journal, as the journal itself is replaced. Some file systems have no locks; there it is left out.
fn lock(path: &Path) -> Result<Option<File>> {
    let lock_path = beside(path, ".lock");
    let file = File::create(&lock_path).with_context(|| format!("cannot write {}", lock_path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => bail!("another ingest is using the journal {}", path.display()),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            server_id: "server".into(),
            collection: "goods".into(),
            collection_uid: "uid".into(),
            source: "/data/goods.jsonl".into(),
            fingerprint: "print".into(),
        }
    }

    fn state() -> State {
        State { position: 17, version: 9, counts: Counts { created: 17, ..Counts::default() }, ..State::default() }
    }

    #[test]
    fn a_journal_is_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/journal");
        let (journal, found) = Journal::open(&path, identity(), 0).expect("a journal");
        assert_eq!(found, Found::Fresh(None));
        journal.write(&state()).expect("written");
        let error = Journal::open(&path, identity(), 9).expect_err("in use");
        assert!(error.to_string().contains("another ingest"), "{error}");
        drop(journal);
        let (journal, found) = Journal::open(&path, identity(), 9).expect("a journal");
        assert_eq!(found, Found::Unfinished(state()));
        journal.write(&State { complete: true, ..state() }).expect("written");
        drop(journal);
        assert_eq!(Journal::open(&path, identity(), 9).expect("a journal").1, Found::Fresh(None));
    }

    #[test]
    fn damage_at_any_byte_is_noticed() {
        let bytes = encode(&identity(), &state()).expect("encoded");
        assert_eq!(decode(&bytes), Some((identity(), state())));
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), None, "cut after {length} bytes");
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(decode(&damaged), None, "a bit flipped in byte {at}");
        }
        assert!(matches!(judge(Path::new("j"), b"", &identity(), 9), Ok(Found::Fresh(Some(_)))));
    }

    #[test]
    fn a_journal_of_something_else_is_never_followed() {
        let bytes = encode(&identity(), &state()).expect("encoded");
        let outcome = |change: fn(&mut Identity), version| {
            let mut identity = identity();
            change(&mut identity);
            judge(Path::new("j"), &bytes, &identity, version).map_err(|error| error.to_string())
        };
        assert_eq!(outcome(|_| {}, 9), Ok(Found::Unfinished(state())));
        assert!(outcome(|i| i.server_id = "other".into(), 9).is_err_and(|error| error.contains("another server")));
        assert!(outcome(|i| i.source = "/other".into(), 9).is_err_and(|error| error.contains("another source")));
        let other = |i: &mut Identity| (i.collection_uid, i.collection) = ("other".into(), "other".into());
        assert!(outcome(other, 9).is_err_and(|error| error.contains("another collection")));
        let fresh = |outcome: Result<Found, String>| matches!(outcome, Ok(Found::Fresh(Some(_))));
        assert!(fresh(outcome(|i| i.collection_uid = "other".into(), 9)));
        assert!(fresh(outcome(|i| i.fingerprint = "other".into(), 9)));
        assert!(fresh(outcome(|_| {}, 8)));
    }
}
