//! `pictor job list|watch|cancel|resume`.

use anyhow::Result;
use pictor_proto::v1;

use crate::context::Context;
use crate::output::{left, right};
use crate::render;
use crate::watch::watch;

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
