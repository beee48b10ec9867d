//! The seam of long work: what a kind of job does, and what it may ask of the one who runs it.

use super::supervisor::Shared;
use crate::store::{JobRecord, JobState};
use crate::types::Timestamp;
use crate::{Error, Result};

/// How a job's work ended.
#[derive(Clone, Debug, PartialEq)]
pub enum JobEnd {
    /// The job's result says what came out.
    Succeeded,
    Failed(String),
    /// It was asked to stop, and can go on from where it is.
    Stopped,
}

/// Jobs of one lane run one after the other, beside those of other lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// What takes a process of its own, and the memory that is set aside for it.
    Training,
    /// What encodes and searches in the server.
    Serving,
    /// What reads and writes the store alone.
    Storing,
}

impl Lane {
    pub(super) const ALL: [Self; 3] = [Self::Training, Self::Serving, Self::Storing];

    /// The name of the thread that runs it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Training => "jobs-training",
            Self::Serving => "jobs-serving",
            Self::Storing => "jobs-storing",
        }
    }
}

/// A kind of long work. A job may be run many times, each time going on from what the last run left behind.
pub trait JobKind: Send + Sync {
    /// The word in [`JobRecord::kind`].
    fn name(&self) -> &'static str;

    /// Which jobs this one has to wait for.
    fn lane(&self) -> Lane;

    /// Works until the end or until asked to stop, keeping the job's progress and checkpoint. Blocks.
    ///
    /// # Errors
    /// Those that end this job; the message becomes the job's.
    fn run(&self, job: &mut JobRecord, control: &JobControl<'_>) -> Result<JobEnd>;

    /// True if a job that failed or was interrupted has what it needs to go on.
    fn can_go_on(&self, job: &JobRecord) -> bool;

    /// Removes what a job that succeeded or was cancelled leaves behind.
    ///
    /// # Errors
    /// Those of the store.
    fn clean_up(&self, job: &JobRecord, state: JobState) -> Result<()>;
}

/// What a running job asks of its runner.
pub struct JobControl<'a> {
    pub(super) shared: &'a Shared,
    pub(super) id: String,
}

impl JobControl<'_> {
    /// True once the job was cancelled or the server stops.
    #[must_use]
    pub fn should_stop(&self) -> bool {
        let state = self.shared.state.lock();
        state.is_stopping || state.cancelled.contains(&self.id)
    }

    /// Writes the job's row.
    ///
    /// # Errors
    /// Those of the store.
    pub fn keep(&self, job: &mut JobRecord) -> Result<()> {
        job.heartbeat = Timestamp::now();
        self.shared.store.jobs().put(job)
    }
}

/// A new job that waits for its turn.
pub(super) fn queued(id: String, kind: &str, spec: serde_json::Value, total: u64) -> JobRecord {
    let now = Timestamp::now();
    JobRecord {
        id,
        kind: kind.to_owned(),
        spec,
        state: JobState::Queued,
        done: 0,
        total,
        message: "queued".to_owned(),
        error: String::new(),
        created: now,
        heartbeat: now,
        checkpoint: Vec::new(),
        result: serde_json::Value::Null,
    }
}

/// A job's specification as its kind wrote it.
pub(super) fn spec_of<T: serde::de::DeserializeOwned>(job: &JobRecord) -> Result<T> {
    serde_json::from_value(job.spec.clone())
        .map_err(|error| Error::Corruption(format!("the specification of job {}: {error}", job.id)))
}
