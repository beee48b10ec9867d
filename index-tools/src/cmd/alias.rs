//! `pictor alias set|list|drop`.

use anyhow::Result;
use pictor_proto::v1;
use serde_json::json;

use crate::context::Context;
use crate::output::left;

/// The verbs.
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// Make an alias name a collection from now on, in one step
    Set {
        /// The second name
        alias: String,
        /// The collection that it names
        collection: String,
    },
    /// List all aliases
    List,
    /// Remove an alias; the collection stays
    Drop {
        /// The second name
        alias: String,
    },
}

/// Runs the verb.
///
/// # Errors
/// If the server refuses or stdout is closed.
pub async fn run(command: Command, context: &Context) -> Result<()> {
    match command {
        Command::Set { alias, collection } => {
            update(context, &alias, &collection).await?;
            let line = format!("{alias} names {collection}");
            context.output.either(&json!({ "alias": alias, "collection": collection }), &line)?;
        }
        Command::List => {
            let request = context.request(v1::ListAliasesRequest {});
            let reply = context.client.collections.clone().list_aliases(request).await?.into_inner();
            if context.output.is_json() {
                for (alias, collection) in &reply.aliases {
                    context.output.object(&json!({ "alias": alias, "collection": collection }))?;
                }
            } else {
                let rows: Vec<_> = reply.aliases.into_iter().map(|(alias, name)| vec![alias, name]).collect();
                context.output.table(&[left("ALIAS"), left("COLLECTION")], &rows)?;
            }
        }
        Command::Drop { alias } => {
            update(context, &alias, "").await?;
            context.output.either(&json!({ "dropped": alias }), &format!("dropped the alias {alias}"))?;
        }
    }
    Ok(())
}

async fn update(context: &Context, alias: &str, collection: &str) -> Result<()> {
    let change = v1::AliasChange { alias: alias.to_owned(), collection: collection.to_owned() };
    let request = context.request(v1::UpdateAliasesRequest { changes: vec![change] });
    context.client.collections.clone().update_aliases(request).await?;
    Ok(())
}
