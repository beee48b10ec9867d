//! `pictor job list|watch|cancel|resume`.

use anyhow::{Context as _, Result, bail};
use pictor_proto::v1;

use crate::context::Context;
use crate::output::{left, right};
use crate::render;

/// The verbs.
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// List all jobs
    List,
    /// Follow a job until it ends; fails if the job does
    Watch {
        /// The job's id
        id: String,
    },
    /// Stop a job
    Cancel {
        /// The job's id
        id: String,
    },
    /// Continue a job that was interrupted
    Resume {
        /// The job's id
        id: String,
    },
}

/// Runs the verb.
///
/// # Errors
/// If the server refuses, the watched job failed, or stdout is closed.
pub async fn run(command: Command, context: &Context) -> Result<()> {
    let mut jobs = context.client.jobs.clone();
    match command {
        Command::List => {
            let reply = jobs.list_jobs(context.request(v1::ListJobsRequest {})).await?.into_inner();
            show(&reply.jobs, context)
        }
        Command::Watch { id } => watch(id, context).await,
        Command::Cancel { id } => {
            let reply = jobs.cancel_job(context.request(v1::CancelJobRequest { id })).await?.into_inner();
            show(reply.job.as_slice(), context)
        }
        Command::Resume { id } => {
            let reply = jobs.resume_job(context.request(v1::ResumeJobRequest { id })).await?.into_inner();
            show(reply.job.as_slice(), context)
        }
    }
}

/// A watch lasts as long as the job: `--timeout` does not apply.
async fn watch(id: String, context: &Context) -> Result<()> {
    let mut stream = context.client.jobs.clone().watch_job(v1::WatchJobRequest { id }).await?.into_inner();
    let mut last = None;
    while let Some(reply) = stream.message().await? {
        let job = reply.job.context("the server sent no job")?;
        let line = format!("{} {} {}/{} {}", job.id, render::job_state(job.state()), job.done, job.total, job.message);
        context.output.either(&render::job(&job), &line)?;
        last = Some(job);
    }
    let job = last.context("the server sent no job")?;
    match job.state() {
        v1::JobState::Succeeded => Ok(()),
        state => bail!("job {} is {}: {}", job.id, render::job_state(state), job.error),
    }
}

fn show(jobs: &[v1::Job], context: &Context) -> Result<()> {
    if context.output.is_json() {
        for job in jobs {
            context.output.object(&render::job(job))?;
        }
        return Ok(());
    }
    let row = |job: &v1::Job| {
        let progress = if job.total == 0 { job.done.to_string() } else { format!("{}/{}", job.done, job.total) };
        let message = if job.error.is_empty() { &job.message } else { &job.error };
        let state = render::job_state(job.state()).to_owned();
        vec![job.id.clone(), job.kind.clone(), state, progress, message.clone()]
    };
    let rows: Vec<_> = jobs.iter().map(row).collect();
    context.output.table(&[left("ID"), left("KIND"), left("STATE"), right("DONE"), left("MESSAGE")], &rows)?;
    Ok(())
}
