//! `pictor field add|drop`.

use anyhow::{Context as _, Result};
use pictor_proto::v1;

use super::collection::show;
use crate::context::Context;
use crate::failure::usage;
use crate::field_flags::FieldFlags;
use crate::render;
use crate::watch::watch;

/// The verbs.
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// Add one field to a collection
    Add {
        /// The collection's name or an alias
        collection: String,
        #[command(flatten)]
        fields: FieldFlags,
        /// If the collection has items, follow the job that fills the field; fails if the job does
        #[arg(long)]
        watch: bool,
    },
    /// Drop a field with its vectors; the items stay
    Drop {
        /// The collection's name or an alias
        collection: String,
        /// The field's name
        field: String,
    },
}

/// Runs the verb.
///
/// # Errors
/// If not exactly one field is given, the server refuses, or stdout is closed.
pub async fn run(command: Command, context: &Context) -> Result<()> {
    let mut collections = context.client.collections.clone();
    let collection = match command {
        Command::Add { collection, fields, watch: is_watched } => {
            let mut specs = fields.specs();
            let (Some(field), true) = (specs.pop(), specs.is_empty()) else {
                return Err(usage("give exactly one of --text-field, --image-field and --vector-field"));
            };
            let request = context.request(v1::AddFieldRequest { collection, field: Some(field) });
            let reply = collections.add_field(request).await?.into_inner();
            if let Some(job) = reply.job {
                if is_watched {
                    return watch(job.id, context).await;
                }
                let line = format!("{}  (fills the field; pictor job watch {} follows it)", job.id, job.id);
                context.output.either(&render::job(&job), &line)?;
                return Ok(());
            }
            reply.collection
        }
        Command::Drop { collection, field } => {
            let request = context.request(v1::DropFieldRequest { collection, field });
            collections.drop_field(request).await?.into_inner().collection
        }
    };
    show(&collection.context("the server sent no collection")?, context)
}
