//! The job table.

use serde::{Deserialize, Serialize};

use super::Store;
use super::families::Family;
use super::keys;
use super::rocks::{Database, Entry};
use crate::types::Timestamp;
use crate::{Error, Result};

/// The layout written by this program.
const JOB_VERSION: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobState {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
    /// The server stopped while it ran.
    Interrupted,
}

/// One long-running piece of work, as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRecord {
    pub id: String,
    /// train, reembed, import, …
    pub kind: String,
    pub spec: serde_json::Value,
    pub state: JobState,
    /// Units done and expected; the unit is the kind's.
    pub done: u64,
    pub total: u64,
    pub message: String,
    pub error: String,
    pub created: Timestamp,
    pub heartbeat: Timestamp,
    /// Where the kind resumes; its own format.
    pub checkpoint: Vec<u8>,
    pub result: serde_json::Value,
}

/// JSON values as text, because postcard does not describe itself.
#[derive(Serialize, Deserialize)]
struct StoredJob {
    kind: String,
    spec: String,
    state: JobState,
    done: u64,
    total: u64,
    message: String,
    error: String,
    created: Timestamp,
    heartbeat: Timestamp,
    checkpoint: Vec<u8>,
    result: String,
}

/// The job table of a store. Every call blocks.
#[derive(Clone, Copy)]
pub struct Jobs<'a> {
    store: &'a Store,
    database: &'a Database,
}

impl<'a> Jobs<'a> {
    pub(super) fn new(store: &'a Store, database: &'a Database) -> Self {
        Self { store, database }
    }

    /// Draws a new job's id; ids sort in the order of creation.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn new_id(&self) -> Result<String> {
        Ok(format!("job-{:08}", self.store.next(keys::NEXT_JOB_ID)?))
    }

    /// Stores a job, replacing the one with its id.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for an empty id; as [`Store::commit`].
    pub fn put(&self, job: &JobRecord) -> Result<()> {
        if job.id.is_empty() {
            return Err(Error::invalid("job.id", "a job's id must not be empty"));
        }
        self.store.check_writable()?;
        self.database.put(Family::Jobs, job.id.as_bytes(), &encode(job)?)
    }

    /// # Errors
    /// [`Error::Storage`], [`Error::Corruption`].
    pub fn get(&self, id: &str) -> Result<Option<JobRecord>> {
        self.database.get(Family::Jobs, id.as_bytes())?.map(|bytes| decode(id, &bytes)).transpose()
    }

    /// Every job, in the order of their ids.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Corruption`].
    pub fn list(&self) -> Result<Vec<JobRecord>> {
        let read = |entry: Result<Entry>| {
            let (key, value) = entry?;
            decode(&String::from_utf8_lossy(&key), &value)
        };
        self.database.view().scan(Family::Jobs, &[], &[], false).map(read).collect()
    }

    /// Removes a job, if it is there.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn delete(&self, id: &str) -> Result<()> {
        self.store.check_writable()?;
        self.database.delete(Family::Jobs, id.as_bytes())
    }

    /// At start nothing runs yet, so a job that is stored as running was cut off. A job that cannot be read is left alone.
    pub(super) fn mark_interrupted(&self) -> Result<()> {
        let view = self.database.view();
        for entry in view.scan(Family::Jobs, &[], &[], false) {
            let (key, value) = entry?;
            match decode(&String::from_utf8_lossy(&key), &value) {
                Ok(job) if job.state == JobState::Running => {
                    self.put(&JobRecord { state: JobState::Interrupted, ..job })?;
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "a job cannot be read"),
            }
        }
        Ok(())
    }
}

fn encode(job: &JobRecord) -> Result<Vec<u8>> {
    let stored = StoredJob {
        kind: job.kind.clone(),
        spec: job.spec.to_string(),
        state: job.state,
        done: job.done,
        total: job.total,
        message: job.message.clone(),
        error: job.error.clone(),
        created: job.created,
        heartbeat: job.heartbeat,
        checkpoint: job.checkpoint.clone(),
        result: job.result.to_string(),
    };
    postcard::to_extend(&stored, vec![JOB_VERSION])
        .map_err(|error| Error::Internal(format!("cannot encode job {}: {error}", job.id)))
}

fn decode(id: &str, bytes: &[u8]) -> Result<JobRecord> {
    let damaged = |why: String| Error::Corruption(format!("job {id:?} cannot be read: {why}"));
    let rest = match bytes.split_first() {
        Some((&JOB_VERSION, rest)) => rest,
        version => return Err(damaged(format!("its layout is {:?}", version.map(|(version, _)| version)))),
    };
    let stored: StoredJob = postcard::from_bytes(rest).map_err(|error| damaged(error.to_string()))?;
    let json = |text: &str| serde_json::from_str(text).map_err(|error| damaged(error.to_string()));
    Ok(JobRecord {
        id: id.to_owned(),
        spec: json(&stored.spec)?,
        result: json(&stored.result)?,
        kind: stored.kind,
        state: stored.state,
        done: stored.done,
        total: stored.total,
        message: stored.message,
        error: stored.error,
        created: stored.created,
        heartbeat: stored.heartbeat,
        checkpoint: stored.checkpoint,
    })
}
