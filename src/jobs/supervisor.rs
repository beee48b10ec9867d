//! Runs queued jobs one after the other, and takes up those that a restart cut off.

use std::fs;
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json};

use super::child::{ChildPlan, End, ask_to_stop};
use crate::store::{JobRecord, JobState, Store};
use crate::train::recipe::Recipe;
use crate::types::Timestamp;
use crate::{Error, Result};

/// How often a child is looked at.
const PERIOD: Duration = Duration::from_millis(200);
/// How long a child may take to write its checkpoint.
const GRACE: Duration = Duration::from_secs(20);
/// Deaths in a row without a step in between after which a job fails.
const MAX_DEATHS: u32 = 3;

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

struct Shared {
    store: Store,
    settings: JobSettings,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_stopping: bool,
    /// The job that is running.
    running: Option<String>,
    /// Jobs that are to be cancelled while they run.
    cancelled: Vec<String>,
    worker: Option<JoinHandle<()>>,
}

impl Jobs {
    /// Starts the thread that runs jobs.
    ///
    /// # Errors
    /// `Internal` if the thread cannot be started.
    pub fn start(store: Store, settings: JobSettings) -> Result<Self> {
        let shared = Arc::new(Shared { store, settings, state: Mutex::new(State::default()), changed: Condvar::new() });
        let of_worker = Arc::clone(&shared);
        let worker = std::thread::Builder::new()
            .name("jobs".to_owned())
            .spawn(move || of_worker.work())
            .map_err(|error| Error::Internal(format!("the thread of jobs cannot be started: {error}")))?;
        shared.state.lock().worker = Some(worker);
        Ok(Self { shared })
    }

    /// Freezes the corpus and queues a run of the recipe.
    ///
    /// # Errors
    /// `InvalidArgument` for the recipe; errors of the store.
    pub fn train(&self, recipe: &str) -> Result<JobRecord> {
        let parsed = Recipe::parse(recipe)?;
        let Shared { store, settings, .. } = &*self.shared;
        let id = store.jobs().new_id()?;
        let plan = self.shared.plan(&id);
        let failed = |error: std::io::Error| Error::Storage(format!("{}: {error}", plan.run.display()));
        fs::create_dir_all(&plan.run).map_err(failed)?;
        fs::write(plan.recipe(), recipe).map_err(failed)?;
        let newest_write = store.checkpoint(&plan.corpus())?;
        let now = Timestamp::now();
        let job = JobRecord {
            id,
            kind: "train".to_owned(),
            spec: json!({
                "collection": parsed.corpus.collection, "recipe": recipe, "name": parsed.name,
                "newest_write": newest_write, "threads": settings.threads, "run": plan.run,
            }),
            state: JobState::Queued,
            done: 0,
            total: parsed.run.steps,
            message: "queued".to_owned(),
            error: String::new(),
            created: now,
            heartbeat: now,
            checkpoint: Vec::new(),
            result: Value::Null,
        };
        store.jobs().put(&job)?;
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
        if state.running.as_deref() == Some(id) {
            state.cancelled.push(id.to_owned());
            self.shared.changed.notify_all();
            return Ok(job);
        }
        let job = JobRecord { state: JobState::Cancelled, message: "cancelled".to_owned(), ..job };
        self.shared.store.jobs().put(&job)?;
        self.shared.forget_corpus(id);
        Ok(job)
    }

    /// Queues a job again that failed, and goes on from its checkpoint.
    ///
    /// # Errors
    /// `NotFound`; `FailedPrecondition` if it cannot go on.
    pub fn resume(&self, id: &str) -> Result<JobRecord> {
        let job = self.get(id)?;
        let can_go_on = matches!(job.state, JobState::Failed | JobState::Interrupted);
        if !can_go_on || !self.shared.plan(id).corpus().exists() {
            return Err(Error::FailedPrecondition {
                reason: "JOB_CANNOT_GO_ON",
                message: format!("job {id} is {:?}; only failed and interrupted jobs go on", job.state),
            });
        }
        let job = JobRecord { state: JobState::Queued, error: String::new(), message: "queued".to_owned(), ..job };
        self.shared.store.jobs().put(&job)?;
        self.shared.changed.notify_all();
        Ok(job)
    }

    /// Stops the running child, which can go on later, and ends the thread. Blocks.
    pub fn stop(&self) {
        let worker = {
            let mut state = self.shared.state.lock();
            state.is_stopping = true;
            state.worker.take()
        };
        self.shared.changed.notify_all();
        if let Some(worker) = worker
            && worker.join().is_err()
        {
            tracing::error!("the thread of jobs panicked");
        }
    }
}

fn has_ended(state: JobState) -> bool {
    matches!(state, JobState::Succeeded | JobState::Failed | JobState::Cancelled)
}

impl Shared {
    fn plan(&self, id: &str) -> ChildPlan {
        let JobSettings { program, runs_dir, models_dir, device, threads, memory_bytes } = self.settings.clone();
        ChildPlan { program, run: runs_dir.join(id), models_dir, device, threads, memory_bytes }
    }

    fn work(&self) {
        loop {
            let next = {
                let mut state = self.state.lock();
                if state.is_stopping {
                    return;
                }
                let next = self.next_job();
                state.running = next.as_ref().map(|job| job.id.clone());
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
            state.running = None;
            state.cancelled.retain(|cancelled| *cancelled != id);
        }
    }

    /// The oldest job that waits, or that a restart cut off.
    fn next_job(&self) -> Option<JobRecord> {
        let is_waiting =
            |job: &JobRecord| job.kind == "train" && matches!(job.state, JobState::Queued | JobState::Interrupted);
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
        let plan = self.plan(&job.id);
        let mut deaths = 0;
        job.state = JobState::Running;
        loop {
            let before = plan.progress().step;
            let end = match plan.start() {
                Ok(child) => self.follow(&mut job, &plan, child)?,
                Err(error) => Some(End::Died(error.to_string())),
            };
            let (is_stopping, is_cancelled) = {
                let state = self.state.lock();
                (state.is_stopping, state.cancelled.contains(&job.id))
            };
            match end {
                Some(End::Finished(result)) => {
                    (job.state, job.message, job.done) = (JobState::Succeeded, "finished".to_owned(), job.total);
                    job.result = result;
                }
                _ if is_cancelled => (job.state, job.message) = (JobState::Cancelled, "cancelled".to_owned()),
                // The next start of the server goes on.
                _ if is_stopping => (job.state, job.message) = (JobState::Interrupted, "the server stopped".to_owned()),
                Some(End::Failed(why)) => (job.state, job.error) = (JobState::Failed, why),
                Some(End::Stopped) | None => continue,
                Some(End::Died(how)) => {
                    deaths = if plan.progress().step > before { 1 } else { deaths + 1 };
                    tracing::warn!(job = job.id, deaths, how, "a training process died");
                    if deaths < MAX_DEATHS {
                        job.message = format!("started again: {how}");
                        self.keep(&mut job)?;
                        continue;
                    }
                    let why = format!("the process died {deaths} times without a step in between: {how}");
                    (job.state, job.error) = (JobState::Failed, why);
                }
            }
            self.keep(&mut job)?;
            // A failed job keeps its corpus, so that it can be resumed.
            if matches!(job.state, JobState::Succeeded | JobState::Cancelled) {
                self.forget_corpus(&job.id);
            }
            return Ok(());
        }
    }

    /// Waits for a child's end, telling the table what it says; `None` if it had to be killed.
    fn follow(&self, job: &mut JobRecord, plan: &ChildPlan, mut child: Child) -> Result<Option<End>> {
        let mut asked: Option<Instant> = None;
        loop {
            let status = child.try_wait().map_err(|error| Error::Internal(format!("waiting for a child: {error}")))?;
            let progress = plan.progress();
            let has_news = progress.step != job.done || progress.message != job.message;
            if has_news && progress.total > 0 {
                (job.done, job.total, job.message) = (progress.step, progress.total, progress.message);
                job.result = json!({ "metrics": progress.metrics, "held_out": progress.held_out });
            }
            if let Some(status) = status {
                return Ok(Some(plan.end(status)));
            }
            if has_news || job.heartbeat.seconds() + 5 < Timestamp::now().seconds() {
                self.keep(job)?;
            }
            let is_unwanted = {
                let state = self.state.lock();
                state.is_stopping || state.cancelled.contains(&job.id)
            };
            match asked {
                None if is_unwanted => {
                    ask_to_stop(&child);
                    asked = Some(Instant::now());
                }
                Some(asked) if asked.elapsed() > GRACE => {
                    tracing::warn!(job = job.id, "a training process did not stop in {GRACE:?} and is killed");
                    // An error means that it has ended in the meantime.
                    let _ = child.kill();
                    let _ = child.wait();
                    return Ok(None);
                }
                _ => {}
            }
            std::thread::sleep(PERIOD);
        }
    }

    fn keep(&self, job: &mut JobRecord) -> Result<()> {
        job.heartbeat = Timestamp::now();
        self.store.jobs().put(job)
    }

    fn forget_corpus(&self, id: &str) {
        let corpus = self.plan(id).corpus();
        if corpus.exists()
            && let Err(error) = fs::remove_dir_all(&corpus)
        {
            tracing::warn!(%error, "{} cannot be removed", corpus.display());
        }
    }
}
