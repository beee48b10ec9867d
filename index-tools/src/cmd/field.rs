//! `pictor field add|drop`.

use anyhow::{Context as _, Result};
use pictor_proto::v1;

use super::collection::show;
use crate::context::Context;
use crate::failure::usage;
use crate::field_flags::FieldFlags;

/// The verbs.
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// Add one field to a collection
    Add {
        /// The collection's name or an alias
        collection: String,
        #[command(flatten)]
        fields: FieldFlags,
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
        Command::Add { collection, fields } => {
            let mut specs = fields.specs();
            let (Some(field), true) = (specs.pop(), specs.is_empty()) else {
                return Err(usage("give exactly one of --text-field, --image-field and --vector-field"));
            };
            let request = context.request(v1::AddFieldRequest { collection, field: Some(field) });
            collections.add_field(request).await?.into_inner().collection
        }
        Command::Drop { collection, field } => {
            let request = context.request(v1::DropFieldRequest { collection, field });
            collections.drop_field(request).await?.into_inner().collection
        }
    };
    show(&collection.context("the server sent no collection")?, context)
}
