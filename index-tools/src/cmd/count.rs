//! `pictor count`.

use anyhow::Result;
use pictor_proto::v1;
use serde_json::json;

use crate::context::Context;

/// Which items.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The collection's name or an alias
    collection: String,
    /// Count only items that satisfy this filter
    #[arg(long, value_name = "EXPR")]
    filter: Option<String>,
}

/// Writes the number.
///
/// # Errors
/// If the server refuses or stdout is closed.
pub async fn run(args: Args, context: &Context) -> Result<()> {
    let request = context.request(v1::CountRequest { collection: args.collection, filter: super::filter(args.filter) });
    let count = context.client.items.clone().count(request).await?.into_inner().count;
    context.output.either(&json!({ "count": count }), &count.to_string())?;
    Ok(())
}
