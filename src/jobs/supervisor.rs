//! Runs queued jobs, those of a lane one after the other, and takes up those that a restart cut off.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::evaluate::{Evaluate, EvaluateSpec};
use super::finetune::{Finetune, FinetuneTarget};
use super::kind::{JobControl, JobEnd, JobKind, Lane, queued};
use super::payload_index::{FillPayloadIndex, PayloadIndexJob};
use super::reembed::{Reembed, ReembedSpec};
use super::train::Train;
use crate::collection::Catalog;
use crate::encode::EncoderRegistry;
use crate::store::{JobRecord, JobState, Store};
use crate::{Error, Result};

/// What jobs need of the server.
#[derive(Clone, Debug)]
pub struct JobSettings {
    /// The program that is started with `train`; the server's own.
    pub program: PathBuf,
    /// Where runs have their folders; on the store's disk.
    pub runs_dir: PathBuf,
    pub models_dir: PathBuf,
    pub device: String,
    /// Threads of a child.
    pub threads: usize,
    /// Bytes that a child may take.
    pub memory_bytes: u64,
}

/// The jobs of a store. Cheap to clone.
#[derive(Clone)]
pub struct Jobs {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) store: Store,
    train: Train,
    reembed: Reembed,
    finetune: Finetune,
    evaluate: Evaluate,
    payload_index: FillPayloadIndex,
    pub(super) state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) is_stopping: bool,
    /// The jobs that are running.
    running: Vec<String>,
    /// Jobs that are to be cancelled while they run.
    pub(super) cancelled: Vec<String>,
    workers: Vec<JoinHandle<()>>,
}

impl Jobs {
    /// Starts the threads that run jobs, one for each lane.
    ///
    /// # Errors
    /// `Internal` if a thread cannot be started.
    pub fn start(catalog: Arc<Catalog>, encoders: EncoderRegistry, settings: JobSettings) -> Result<Self> {
        let store = catalog.store().clone();
        let payload_index = FillPayloadIndex { catalog: Arc::clone(&catalog) };
        let (train, reembed) = (Train { settings }, Reembed { catalog, encoders });
        let shared = Arc::new(Shared {
            store,
            finetune: Finetune { train: train.clone(), reembed: reembed.clone() },
            evaluate: Evaluate { reembed: reembed.clone() },
            payload_index,
            train,
            reembed,
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        });
        for lane in Lane::ALL {
            let of_worker = Arc::clone(&shared);
            let worker = std::thread::Builder::new().name(lane.name().to_owned()).spawn(move || of_worker.work(lane));
            let worker =
                worker.map_err(|error| Error::Internal(format!("a thread of jobs cannot be started: {error}")))?;
            shared.state.lock().workers.push(worker);
        }
        Ok(Self { shared })
    }

    /// Freezes the corpus and queues a run of the recipe.
    ///
    /// # Errors
    /// `InvalidArgument` for the recipe; errors of the store.
    pub fn train(&self, recipe: &str) -> Result<JobRecord> {
        let Shared { store, train, .. } = &*self.shared;
        self.queue(train.prepare(store, recipe)?)
    }

    /// Freezes the corpus and queues a run of the recipe whose result is put to use if it is better.
    ///
    /// # Errors
    /// As [`Jobs::train`].
    pub fn finetune(&self, recipe: &str, target: &FinetuneTarget) -> Result<JobRecord> {
        let Shared { store, finetune, .. } = &*self.shared;
        self.queue(finetune.prepare(store, recipe, target)?)
    }

    /// Queues the making of a field's next generation, or of a new field. `items` are expected.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn reembed(&self, spec: &ReembedSpec, items: u64) -> Result<JobRecord> {
        self.queue_spec(self.shared.reembed.name(), spec, items)
    }

    /// Queues the measuring of a field.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn evaluate(&self, spec: &EvaluateSpec) -> Result<JobRecord> {
        self.queue_spec(self.shared.evaluate.name(), spec, 1)
    }

    /// Queues the filling of a payload index. `items` are expected.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn payload_index(&self, spec: &PayloadIndexJob, items: u64) -> Result<JobRecord> {
        self.queue_spec(self.shared.payload_index.name(), spec, items)
    }

    fn queue_spec(&self, kind: &str, spec: &impl serde::Serialize, total: u64) -> Result<JobRecord> {
        let spec = serde_json::to_value(spec)
            .map_err(|error| Error::Internal(format!("a job's specification cannot be written: {error}")))?;
        self.queue(queued(self.shared.store.jobs().new_id()?, kind, spec, total))
    }

    fn queue(&self, job: JobRecord) -> Result<JobRecord> {
        self.shared.store.jobs().put(&job)?;
        self.shared.changed.notify_all();
        Ok(job)
    }

    /// A job by its id.
    ///
    /// # Errors
    /// `NotFound`; errors of the store.
    pub fn get(&self, id: &str) -> Result<JobRecord> {
        self.shared.store.jobs().get(id)?.ok_or_else(|| Error::NotFound { kind: "job", name: id.to_owned() })
    }

    /// True if the job exists and has not ended.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn is_at_work(&self, id: &str) -> Result<bool> {
        Ok(self.shared.store.jobs().get(id)?.is_some_and(|job| !has_ended(job.state)))
    }

    /// Every job, oldest first.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn list(&self) -> Result<Vec<JobRecord>> {
        self.shared.store.jobs().list()
    }

    /// Stops a job for good; one that is running is asked first.
    ///
    /// # Errors
    /// `NotFound`; `FailedPrecondition` if it has ended already.
    pub fn cancel(&self, id: &str) -> Result<JobRecord> {
        let mut state = self.shared.state.lock();
        let job = self.get(id)?;
        if has_ended(job.state) {
            return Err(Error::FailedPrecondition {
                reason: "JOB_HAS_ENDED",
                message: format!("job {id} has ended: {:?}", job.state),
            });
        }
        if state.running.iter().any(|running| running == id) {
            state.cancelled.push(id.to_owned());
            self.shared.changed.notify_all();
            return Ok(job);
        }
        let job = JobRecord { state: JobState::Cancelled, message: "cancelled".to_owned(), ..job };
        self.shared.store.jobs().put(&job)?;
        // It will not run any more, and what it leaves behind may take a while to remove.
        drop(state);
        self.shared.clean_up(&job);
        Ok(job)
    }

    /// Queues a job again that failed, and goes on from its checkpoint.
    ///
    /// # Errors
    /// `NotFound`; `FailedPrecondition` if it cannot go on.
    pub fn resume(&self, id: &str) -> Result<JobRecord> {
        let job = self.get(id)?;
        let has_broken_off = matches!(job.state, JobState::Failed | JobState::Interrupted);
        let can_go_on = || self.shared.kind(&job).is_some_and(|kind| kind.can_go_on(&job));
        if !has_broken_off || !can_go_on() {
            return Err(Error::FailedPrecondition {
                reason: "JOB_CANNOT_GO_ON",
                message: format!("job {id} is {:?}; only failed and interrupted jobs go on", job.state),
            });
        }
        self.queue(JobRecord { state: JobState::Queued, error: String::new(), message: "queued".to_owned(), ..job })
    }

    /// Stops the running jobs, which can go on later, and ends the threads. Blocks.
    pub fn stop(&self) {
        let workers = {
            let mut state = self.shared.state.lock();
            state.is_stopping = true;
            std::mem::take(&mut state.workers)
        };
        self.shared.changed.notify_all();
        for worker in workers {
            if worker.join().is_err() {
                tracing::error!("a thread of jobs panicked");
            }
        }
    }
}

pub(super) fn has_ended(state: JobState) -> bool {
    matches!(state, JobState::Succeeded | JobState::Failed | JobState::Cancelled)
}

impl Shared {
    /// Every kind of job.
    fn kinds(&self) -> [&dyn JobKind; 5] {
        [&self.evaluate, &self.finetune, &self.payload_index, &self.reembed, &self.train]
    }

    fn kind(&self, job: &JobRecord) -> Option<&dyn JobKind> {
        self.kinds().into_iter().find(|kind| kind.name() == job.kind)
    }

    fn work(&self, lane: Lane) {
        loop {
            let next = {
                let mut state = self.state.lock();
                if state.is_stopping {
                    return;
                }
                let next = self.next_job(lane);
                state.running.extend(next.as_ref().map(|job| job.id.clone()));
                if next.is_none() {
                    self.changed.wait_for(&mut state, Duration::from_secs(5));
                }
                next
            };
            let Some(job) = next else { continue };
            let id = job.id.clone();
            if let Err(error) = self.run(job) {
                tracing::error!(job = id, %error, "a job's state cannot be kept");
                self.wait(Duration::from_secs(5));
            }
            let mut state = self.state.lock();
            state.running.retain(|running| *running != id);
            state.cancelled.retain(|cancelled| *cancelled != id);
        }
    }

    /// The lane's oldest job that waits, or that a restart cut off.
    fn next_job(&self, lane: Lane) -> Option<JobRecord> {
        let is_waiting = |job: &JobRecord| {
            matches!(job.state, JobState::Queued | JobState::Interrupted)
                && self.kind(job).is_some_and(|kind| kind.lane() == lane)
        };
        match self.store.jobs().list() {
            Ok(jobs) => jobs.into_iter().find(is_waiting),
            Err(error) => {
                tracing::error!(%error, "the jobs cannot be listed");
                None
            }
        }
    }

    fn wait(&self, time: Duration) {
        let mut state = self.state.lock();
        if !state.is_stopping {
            self.changed.wait_for(&mut state, time);
        }
    }

    fn run(&self, mut job: JobRecord) -> Result<()> {
        let Some(kind) = self.kind(&job) else { return Ok(()) };
        let control = JobControl { shared: self, id: job.id.clone() };
        job.state = JobState::Running;
        control.keep(&mut job)?;
        let end = kind.run(&mut job, &control);
        let is_cancelled = self.state.lock().cancelled.contains(&job.id);
        match end {
            Ok(JobEnd::Succeeded) => job.state = JobState::Succeeded,
            _ if is_cancelled => (job.state, job.message) = (JobState::Cancelled, "cancelled".to_owned()),
            // The next start of the server goes on.
            Ok(JobEnd::Stopped) => (job.state, job.message) = (JobState::Interrupted, "the server stopped".to_owned()),
            Ok(JobEnd::Failed(why)) => (job.state, job.error) = (JobState::Failed, why),
            Err(error) => (job.state, job.error) = (JobState::Failed, error.to_string()),
        }
        control.keep(&mut job)?;
        // A failed job keeps what it needs to go on.
        if matches!(job.state, JobState::Succeeded | JobState::Cancelled) {
            self.clean_up(&job);
        }
        Ok(())
    }

    fn clean_up(&self, job: &JobRecord) {
        let Some(kind) = self.kind(job) else { return };
        if let Err(error) = kind.clean_up(job, job.state) {
            tracing::warn!(job = job.id, %error, "a job leaves something behind");
        }
    }
}
