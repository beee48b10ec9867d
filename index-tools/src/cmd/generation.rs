//! `pictor generation switch|drop|query-encoder|composer`.

use anyhow::Result;
use pictor_proto::v1;
use serde_json::json;

use crate::context::Context;

/// The verbs.
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// Let searches use another complete generation
    Switch(Generation),
    /// Remove a generation that searches do not use, and give its room back to the disk
    Drop(Generation),
    /// Let queries go through another encoder that was taught the same space
    QueryEncoder {
        /// The collection's name or an alias
        collection: String,
        /// The field's name
        #[arg(long)]
        field: String,
        /// The generation's number [default: the current one]
        #[arg(long, default_value_t = 0, hide_default_value = true)]
        generation: u32,
        /// NAME or NAME@REVISION [default: the generation's own encoder again]
        #[arg(long, default_value = "", hide_default_value = true)]
        encoder: String,
        /// Take an encoder whose card shows too little agreement with the space, or none
        #[arg(long)]
        force: bool,
    },
    /// Choose what joins the parts of queries that name no composer
    Composer {
        /// The collection's name or an alias
        collection: String,
        /// The field's name
        #[arg(long)]
        field: String,
        /// The generation's number [default: the current one]
        #[arg(long, default_value_t = 0, hide_default_value = true)]
        generation: u32,
        /// A composer's name; `pictor status --json` lists them [default: the server's default again]
        #[arg(long, default_value = "", hide_default_value = true)]
        composer: String,
    },
}

/// Names a generation.
#[derive(clap::Args, Debug)]
pub struct Generation {
    /// The collection's name or an alias
    collection: String,
    /// The field's name
    #[arg(long)]
    field: String,
    /// The generation's number; `pictor collection info` lists them
    #[arg(long)]
    generation: u32,
}

/// Runs the verb.
///
/// # Errors
/// If the server refuses or stdout is closed.
pub async fn run(command: Command, context: &Context) -> Result<()> {
    match command {
        Command::Switch(Generation { collection, field, generation }) => {
            switch(collection, field, generation, context).await
        }
        Command::QueryEncoder { collection, field, generation, encoder, force } => {
            let request = v1::SetQueryEncoderRequest { collection, field: field.clone(), generation, encoder, force };
            let request = context.request(request);
            let set = context.client.training.clone().set_query_encoder(request).await?.into_inner();
            let (pictures, texts) = (set.agreement_pictures, set.agreement_texts);
            let object = json!({
                "field": field, "generation": set.generation, "query_encoder": set.encoder,
                "agreement_pictures": pictures, "agreement_texts": texts,
            });
            let said = [("pictures", pictures), ("texts", texts)];
            let said = said
                .iter()
                .filter_map(|(name, value)| Some(format!(", {name} find {:.3} of its teacher's first ten", (*value)?)));
            let said: String = said.collect();
            let line = format!("{field}: queries of generation {} go through {}{said}", set.generation, set.encoder);
            context.output.either(&object, &line)?;
            Ok(())
        }
        Command::Composer { collection, field, generation, composer } => {
            let request = v1::SetComposerRequest { collection, field: field.clone(), generation, composer };
            let set = context.client.training.clone().set_composer(context.request(request)).await?.into_inner();
            let object = json!({ "field": field, "generation": set.generation, "composer": set.composer });
            let line = format!("{field}: {} joins the parts of generation {}'s queries", set.composer, set.generation);
            context.output.either(&object, &line)?;
            Ok(())
        }
        Command::Drop(Generation { collection, field, generation }) => {
            let request = context.request(v1::DropGenerationRequest { collection, field: field.clone(), generation });
            let dropped = context.client.training.clone().drop_generation(request).await?.into_inner();
            let object = json!({
                "field": field, "dropped": generation, "vectors": dropped.vectors,
                "bytes_before": dropped.bytes_before, "bytes_after": dropped.bytes_after,
            });
            let line = format!(
                "{field}: dropped generation {generation} with {} vectors; vectors on the disk: {} bytes before, {} after",
                dropped.vectors, dropped.bytes_before, dropped.bytes_after
            );
            context.output.either(&object, &line)?;
            Ok(())
        }
    }
}

/// Switches and says so.
///
/// # Errors
/// As [`run`].
pub(super) async fn switch(collection: String, field: String, generation: u32, context: &Context) -> Result<()> {
    let request = context.request(v1::SwitchGenerationRequest { collection, field: field.clone(), generation });
    let previous = context.client.training.clone().switch_generation(request).await?.into_inner().previous;
    let object = json!({ "field": field, "current": generation, "previous": previous });
    context.output.either(&object, &format!("{field}: generation {generation} is current, {previous} was"))?;
    Ok(())
}
