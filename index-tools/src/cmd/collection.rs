//! `pictor collection create|list|info|expire|drop`.

use std::time::Duration;

use anyhow::{Context as _, Result};
use pictor_proto::v1;
use serde_json::json;

use crate::context::Context;
use crate::field_flags::FieldFlags;
use crate::output::{left, right};
use crate::units::parse_duration;
use crate::{render, units};

/// The verbs.
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// Create a collection
    #[command(
        after_help = "Example:\n  pictor collection create emoji --text-field text=all-minilm-l6-v2:name,keywords"
    )]
    Create(CreateArgs),
    /// List all collections
    List,
    /// Describe one collection
    Info {
        /// Its name or an alias
        name: String,
    },
    /// Say when items end by themselves
    #[command(after_help = "Examples:
  pictor index create news published --kind time
  pictor collection expire news --path published --after 30d
  pictor collection expire news --never")]
    Expire {
        /// The collection's name or an alias
        name: String,
        /// The payload path of the time; it needs an index of kind time
        #[arg(long, value_name = "PATH", required_unless_present = "never")]
        path: Option<String>,
        /// How long after that time
        #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration)]
        after: Duration,
        /// Items stay
        #[arg(long, conflicts_with_all = ["path", "after"])]
        never: bool,
    },
    /// Drop a collection with everything in it
    Drop {
        /// Its name; an alias is refused
        name: String,
    },
}

/// A new collection.
#[derive(clap::Args, Debug)]
pub struct CreateArgs {
    /// Letters, digits, '_', '-' and '.'
    name: String,
    #[command(flatten)]
    fields: FieldFlags,
    /// What is kept of the pictures' bytes
    #[arg(long, value_enum, default_value = "keep")]
    media: Kept,
    /// Items end by the time at this payload path; an index of it is made, too
    #[arg(long, value_name = "PATH")]
    expire_path: Option<String>,
    /// How long after that time
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration, requires = "expire_path")]
    expire_after: Duration,
    /// The field that a search uses when it names none [default: the first one]
    #[arg(long, value_name = "FIELD")]
    default_field: Option<String>,
}

/// Values of `--media`.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Kept {
    Keep,
    Thumbnail,
    None,
}

/// Runs the verb.
///
/// # Errors
/// If the server refuses or stdout is closed.
pub async fn run(command: Command, context: &Context) -> Result<()> {
    match command {
        Command::Create(args) => create(args, context).await,
        Command::List => list(context).await,
        Command::Info { name } => info(name, context).await,
        Command::Expire { name, path, after, .. } => expire(name, path.map(|path| expiry(path, after)), context).await,
        Command::Drop { name } => drop(name, context).await,
    }
}

fn expiry(path: String, after: Duration) -> v1::Expiry {
    v1::Expiry { path, after_seconds: after.as_secs() }
}

async fn expire(collection: String, expiry: Option<v1::Expiry>, context: &Context) -> Result<()> {
    let request = context.request(v1::SetExpiryRequest { collection, expiry });
    let reply = context.client.collections.clone().set_expiry(request).await?.into_inner();
    show(&reply.collection.context("the server sent no collection")?, context)
}

async fn create(args: CreateArgs, context: &Context) -> Result<()> {
    let mut fields = args.fields.specs();
    // The first field is the default one for a server that is not told.
    if let Some(position) = fields.iter().position(|field| Some(&field.name) == args.default_field.as_ref()) {
        let default = fields.remove(position);
        fields.insert(0, default);
    }
    let media = match args.media {
        Kept::Keep => v1::MediaOriginals::Keep,
        Kept::Thumbnail => v1::MediaOriginals::Thumbnail,
        Kept::None => v1::MediaOriginals::None,
    };
    let spec = v1::CollectionSpec {
        name: args.name,
        fields,
        media_originals: media.into(),
        default_field: args.default_field.unwrap_or_default(),
        expiry: args.expire_path.map(|path| expiry(path, args.expire_after)),
    };
    let request = context.request(v1::CreateCollectionRequest { spec: Some(spec) });
    let reply = context.client.collections.clone().create_collection(request).await?.into_inner();
    show(&reply.collection.context("the server sent no collection")?, context)
}

async fn info(name: String, context: &Context) -> Result<()> {
    let request = context.request(v1::GetCollectionRequest { collection: name });
    let reply = context.client.collections.clone().get_collection(request).await?.into_inner();
    show(&reply.collection.context("the server sent no collection")?, context)
}

async fn list(context: &Context) -> Result<()> {
    let request = context.request(v1::ListCollectionsRequest {});
    let reply = context.client.collections.clone().list_collections(request).await?.into_inner();
    if context.output.is_json() {
        for collection in &reply.collections {
            context.output.object(&render::collection(collection))?;
        }
        return Ok(());
    }
    let rows: Vec<_> = reply
        .collections
        .iter()
        .map(|collection| {
            let fields = collection.fields.iter().filter_map(|field| field.spec.as_ref()).map(|spec| spec.name.clone());
            vec![
                collection.name.clone(),
                units::count(collection.items),
                fields.collect::<Vec<_>>().join(", "),
                collection.aliases.join(", "),
                render::collection_state(collection).to_owned(),
            ]
        })
        .collect();
    context.output.table(&[left("NAME"), right("ITEMS"), left("FIELDS"), left("ALIASES"), left("STATE")], &rows)?;
    Ok(())
}

async fn drop(name: String, context: &Context) -> Result<()> {
    let request = context.request(v1::DropCollectionRequest { collection: name.clone() });
    let reply = context.client.collections.clone().drop_collection(request).await?.into_inner();
    let line = format!("dropped {name} with {}", units::counted(reply.items, "item"));
    context.output.either(&json!({ "dropped": name, "items": reply.items }), &line)?;
    Ok(())
}

/// Writes one collection in full.
///
/// # Errors
/// If stdout is closed.
pub fn show(collection: &v1::Collection, context: &Context) -> Result<()> {
    let output = &context.output;
    if output.is_json() {
        output.object(&render::collection(collection))?;
        return Ok(());
    }
    let mut rows = vec![
        vec!["name".to_owned(), collection.name.clone()],
        vec!["state".to_owned(), render::collection_state(collection).to_owned()],
        vec!["items".to_owned(), units::count(collection.items)],
        vec!["media".to_owned(), render::media_originals(collection.media_originals()).to_owned()],
        vec!["default field".to_owned(), collection.default_field.clone()],
        vec!["aliases".to_owned(), collection.aliases.join(", ")],
        vec!["items end".to_owned(), collection.expiry.as_ref().map(render::expiry).unwrap_or_default()],
        vec!["version".to_owned(), collection.version.to_string()],
        vec!["uid".to_owned(), collection.uid.clone()],
    ];
    rows.retain(|row| row.last().is_some_and(|value| !value.is_empty()));
    if !collection.problem.is_empty() {
        rows.push(vec!["problem".to_owned(), collection.problem.clone()]);
    }
    output.table(&[left("COLLECTION"), left("")], &rows)?;
    output.say("")?;
    let mut rows = Vec::new();
    for info in &collection.fields {
        let field = render::field(info);
        let text = |key: &str| field[key].as_str().unwrap_or_default().to_owned();
        for generation in &info.generations {
            let encoder = if generation.encoder.is_empty() { "your own vectors" } else { &generation.encoder };
            rows.push(vec![
                text("name"),
                text("source"),
                generation.number.to_string(),
                render::generation_state(generation.state()).to_owned(),
                match generation.query_encoder.as_str() {
                    "" => encoder.to_owned(),
                    queries => format!("{encoder}, queries by {queries}"),
                },
                generation.dimension.to_string(),
                units::count(generation.vectors),
            ]);
        }
    }
    let columns = [
        left("FIELD"),
        left("OF"),
        right("GENERATION"),
        left("STATE"),
        left("ENCODER"),
        right("DIMENSION"),
        right("VECTORS"),
    ];
    output.table(&columns, &rows)?;
    if !collection.payload_indexes.is_empty() {
        output.say("")?;
        super::index::show(&collection.payload_indexes, context)?;
    }
    Ok(())
}
