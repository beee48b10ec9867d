//! `pictor reembed`.

use anyhow::{Context as _, Result};
use pictor_proto::v1;

use crate::context::Context;
use crate::render;
use crate::watch::watch;

const HELP: &str =
    "The server fills the field's next generation while it goes on serving; every write goes to both. Searches change \
when the generation is switched to, and the old one stays complete until it is dropped.

Examples:
  pictor reembed goods --field image --encoder goods-encoder --watch
  pictor reembed goods --field image --encoder goods-encoder --switch
  pictor generation switch goods --field image --generation 1
  pictor generation drop goods --field image --generation 2";

/// Another encoder for a field, without downtime.
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// The collection's name or an alias
    collection: String,
    /// The field to fill anew
    #[arg(long)]
    field: String,
    /// NAME or NAME@REVISION
    #[arg(long)]
    encoder: String,
    /// Encode thumbnails where pictures' original bytes are not kept
    #[arg(long)]
    allow_thumbnails: bool,
    /// Follow the job until it ends; fails if the job does
    #[arg(long)]
    watch: bool,
    /// Follow the job, then let searches use the new generation
    #[arg(long)]
    switch: bool,
}

/// Starts the job, follows it and switches if asked to.
///
/// # Errors
/// If the server refuses, the watched job failed, or stdout is closed.
pub async fn run(args: Args, context: &Context) -> Result<()> {
    let Args { collection, field, encoder, allow_thumbnails, .. } = args;
    let request =
        v1::ReembedRequest { collection: collection.clone(), field: field.clone(), encoder, allow_thumbnails };
    let reply = context.client.training.clone().reembed(context.request(request)).await?.into_inner();
    let job = reply.job.context("the server sent no job")?;
    if !args.watch && !args.switch {
        let line = format!("{}  (pictor job watch {} follows it)", job.id, job.id);
        context.output.either(&render::job(&job), &line)?;
        return Ok(());
    }
    watch(job.id.clone(), context).await?;
    if args.switch {
        let request = context.request(v1::GetJobRequest { id: job.id });
        let job = context.client.jobs.clone().get_job(request).await?.into_inner().job;
        let number = job.and_then(|job| match job.result?.fields.get("generation")?.kind {
            Some(prost_types::value::Kind::NumberValue(number)) => Some(number as u32),
            _ => None,
        });
        super::generation::switch(collection, field, number.context("the job names no generation")?, context).await?;
    }
    Ok(())
}
