//! `pictor facets`.

use anyhow::Result;
use pictor_proto::v1;

use crate::answer::write_facets;
use crate::context::Context;
use crate::{render, units};

const HELP: &str = "Values are strings, numbers, bools and times; an item counts once for each value that it has. Indexes on the paths \
(pictor index create) count without reading payloads. With --json each path is an object with facet, items (how many were counted), \
distinct and values.

Examples:
  pictor facets goods brand color
  pictor facets goods brand --filter 'price < 20' --limit 5";

/// Which values of which items.
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// The collection's name or an alias
    collection: String,
    /// Payload paths, like brand or size.width
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
    /// Count only items that satisfy this filter
    #[arg(long, value_name = "EXPR")]
    filter: Option<String>,
    /// How many values of each path, the most frequent
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// Writes the counts, path by path.
///
/// # Errors
/// If the server refuses or stdout is closed.
pub async fn run(args: Args, context: &Context) -> Result<()> {
    let request = v1::CountFacetsRequest {
        collection: args.collection,
        paths: args.paths,
        filter: super::filter(args.filter),
        limit: args.limit,
    };
    let reply = context.client.search.clone().count_facets(context.request(request)).await?.into_inner();
    for warning in &reply.warnings {
        eprintln!("warning: {warning}");
    }
    if context.output.is_json() {
        for facet in &reply.facets {
            let mut object = render::facet(facet);
            object["items"] = reply.items.into();
            context.output.object(&object)?;
        }
        return Ok(());
    }
    write_facets(&reply.facets, args.limit as usize, &context.output)?;
    context.output.say(&format!("{} counted", units::counted(reply.items, "item")))?;
    Ok(())
}
