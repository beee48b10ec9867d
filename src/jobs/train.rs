//! Training runs: a recipe and a frozen corpus in a child process that may die.

use std::fs;
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::json;

use super::child::{ChildPlan, End, ask_to_stop};
use super::kind::{JobControl, JobEnd, JobKind, Lane, queued};
use super::supervisor::JobSettings;
use crate::store::{JobRecord, JobState, Store};
use crate::train::data::triplets;
use crate::train::piece;
use crate::train::recipe::{Recipe, table};
use crate::types::Timestamp;
use crate::{Error, Result};

/// How often a child is looked at.
const PERIOD: Duration = Duration::from_millis(200);
/// How long a child may take to write its checkpoint.
const GRACE: Duration = Duration::from_secs(20);
/// Deaths in a row without a step in between after which a job fails.
const MAX_DEATHS: u32 = 3;

#[derive(Clone)]
pub(super) struct Train {
    pub(super) settings: JobSettings,
}

impl Train {
    /// Freezes the corpus of a run that will be queued.
    pub(super) fn prepare(&self, store: &Store, recipe: &str) -> Result<JobRecord> {
        let parsed = Recipe::parse(recipe)?;
        refuse_files(&parsed)?;
        let id = store.jobs().new_id()?;
        let plan = self.plan(&id);
        let failed = |error: std::io::Error| Error::Storage(format!("{}: {error}", plan.run.display()));
        fs::create_dir_all(&plan.run).map_err(failed)?;
        fs::write(plan.recipe(), recipe).map_err(failed)?;
        let newest_write = store.checkpoint(&plan.corpus())?;
        let spec = json!({
            "collection": parsed.corpus.collection, "recipe": recipe, "name": parsed.name,
            "newest_write": newest_write, "threads": self.settings.threads, "run": plan.run,
        });
        Ok(queued(id, self.name(), spec, parsed.run.steps))
    }

    fn plan(&self, id: &str) -> ChildPlan {
        let JobSettings { program, runs_dir, models_dir, device, threads, memory_bytes } = self.settings.clone();
        ChildPlan { program, run: runs_dir.join(id), models_dir, device, threads, memory_bytes }
    }

    /// Waits for a child's end, telling the table what it says; `None` if it had to be killed.
    fn follow(&self, job: &mut JobRecord, control: &JobControl<'_>, mut child: Child) -> Result<Option<End>> {
        let plan = self.plan(&job.id);
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
                control.keep(job)?;
            }
            match asked {
                None if control.should_stop() => {
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
}

/// Recipes come from clients, which have no business with this machine's files.
fn refuse_files(recipe: &Recipe) -> Result<()> {
    let Some(settings) = &recipe.triplets else { return Ok(()) };
    let source = piece::build(triplets::ALL, "kind", table("triplets", settings))?;
    if source.reads_files() {
        let message =
            "a job reads no files; mine the queries (kind = \"mined\"), or run pictor-server train on the machine";
        return Err(Error::invalid("recipe.triplets.kind", message));
    }
    Ok(())
}

impl JobKind for Train {
    fn name(&self) -> &'static str {
        "train"
    }

    fn lane(&self) -> Lane {
        Lane::Training
    }

    fn run(&self, job: &mut JobRecord, control: &JobControl<'_>) -> Result<JobEnd> {
        let plan = self.plan(&job.id);
        let mut deaths = 0;
        loop {
            let before = plan.progress().step;
            let end = match plan.start() {
                Ok(child) => self.follow(job, control, child)?,
                Err(error) => Some(End::Died(error.to_string())),
            };
            match end {
                Some(End::Finished(result)) => {
                    (job.message, job.done, job.result) = ("finished".to_owned(), job.total, result);
                    return Ok(JobEnd::Succeeded);
                }
                _ if control.should_stop() => return Ok(JobEnd::Stopped),
                Some(End::Failed(why)) => return Ok(JobEnd::Failed(why)),
                Some(End::Stopped) | None => {}
                Some(End::Died(how)) => {
                    deaths = if plan.progress().step > before { 1 } else { deaths + 1 };
                    tracing::warn!(job = job.id, deaths, how, "a training process died");
                    if deaths >= MAX_DEATHS {
                        let why = format!("the process died {deaths} times without a step in between: {how}");
                        return Ok(JobEnd::Failed(why));
                    }
                    job.message = format!("started again: {how}");
                    control.keep(job)?;
                }
            }
        }
    }

    fn can_go_on(&self, job: &JobRecord) -> bool {
        self.plan(&job.id).corpus().exists()
    }

    fn clean_up(&self, job: &JobRecord, _: JobState) -> Result<()> {
        let corpus = self.plan(&job.id).corpus();
        match fs::remove_dir_all(&corpus) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::Storage(format!("{} cannot be removed: {error}", corpus.display())))
            }
            _ => Ok(()),
        }
    }
}
