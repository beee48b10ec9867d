//! `pictor get`.

use anyhow::{Result, bail};
use pictor_proto::v1;

use crate::context::Context;
use crate::render;

/// Which items.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The collection's name or an alias
    collection: String,
    /// Ids of items
    #[arg(required = true)]
    ids: Vec<String>,
    /// Show the stored vectors too
    #[arg(long)]
    vectors: bool,
}

/// Writes the items in the order asked for.
///
/// # Errors
/// If an item is missing, the server refuses, or stdout is closed.
pub async fn run(args: Args, context: &Context) -> Result<()> {
    let select =
        v1::ItemSelection { payload: Some(true), texts: true, media: true, media_data: false, vectors: args.vectors };
    let request = context.request(v1::GetRequest { collection: args.collection, ids: args.ids, select: Some(select) });
    let reply = context.client.items.clone().get(request).await?.into_inner();
    for item in &reply.items {
        let object = render::item(item);
        if context.output.is_json() {
            context.output.object(&object)?;
        } else {
            context.output.say(&serde_json::to_string_pretty(&object)?)?;
        }
    }
    if !reply.missing.is_empty() {
        bail!("not found: {}", reply.missing.join(", "));
    }
    Ok(())
}
