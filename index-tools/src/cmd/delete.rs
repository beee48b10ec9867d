//! `pictor delete`.

use anyhow::Result;
use pictor_proto::v1;
use pictor_proto::v1::delete_request::Target;
use serde_json::json;

use crate::context::Context;
use crate::units;

/// Which items.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The collection's name or an alias
    collection: String,
    /// Ids of items; one that is not stored is no error
    #[arg(required_unless_present = "filter", conflicts_with = "filter")]
    ids: Vec<String>,
    /// Delete every item that satisfies this filter
    #[arg(long, value_name = "EXPR")]
    filter: Option<String>,
}

/// Deletes and says how many items were there.
///
/// # Errors
/// If the server refuses or stdout is closed.
pub async fn run(args: Args, context: &Context) -> Result<()> {
    let target = match super::filter(args.filter) {
        Some(filter) => Target::Filter(filter),
        None => Target::Ids(v1::IdList { ids: args.ids }),
    };
    let request =
        context.request(v1::DeleteRequest { collection: args.collection, target: Some(target), durability: 0 });
    let reply = context.client.items.clone().delete(request).await?.into_inner();
    let line = format!("deleted {}", units::counted(reply.deleted, "item"));
    context.output.either(&json!({ "deleted": reply.deleted, "version": reply.version }), &line)?;
    Ok(())
}
