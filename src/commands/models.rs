//! `pictor-server models`: looks after the models folder.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use pictor::image::PadRule;
use pictor::model::convert::{ConvertRequest, ConvertedKind, convert};
use pictor::model::pull::{Endpoint, PullRequest, Reference, pull};
use pictor::model::{folder, inspect};

use super::print_json;

#[derive(Subcommand)]
pub(crate) enum ModelsCommand {
    /// Fetches a published model from a hub, or the rest of it if a pull was cut.
    Pull(PullArgs),
    /// Makes a model's folder of a .pt file: a CLIP of OpenAI's or CLIP4Cir's, or CLIP4Cir's combiner. No code in it is run.
    Convert(ConvertArgs),
    /// Lists every revision.
    List {
        #[arg(long, value_name = "DIR", env = "PICTOR_MODELS_DIR")]
        models_dir: PathBuf,
    },
    /// Prints what a model is, as JSON.
    Inspect {
        /// NAME or NAME@REVISION.
        model: String,
        #[arg(long, value_name = "DIR", env = "PICTOR_MODELS_DIR")]
        models_dir: PathBuf,
    },
    /// Checks that a model loads and is what its card says.
    Verify {
        /// NAME or NAME@REVISION.
        model: String,
        #[arg(long, value_name = "DIR", env = "PICTOR_MODELS_DIR")]
        models_dir: PathBuf,
    },
}

#[derive(Args)]
pub(crate) struct PullArgs {
    /// hf:OWNER/NAME or hf:OWNER/NAME@REVISION, the revision being a branch, a tag or a commit.
    model: Reference,
    #[arg(long, value_name = "DIR", env = "PICTOR_MODELS_DIR")]
    models_dir: PathBuf,
    /// What the model is called here [default: NAME in lower case].
    #[arg(long)]
    name: Option<String>,
    /// The hub or a mirror of it [default: HF_ENDPOINT, else the public hub].
    #[arg(long, value_name = "URL", env = "PICTOR_HUB_ENDPOINT")]
    endpoint: Option<String>,
    /// A file with the hub's token [default: the token in PICTOR_HUB_TOKEN or HF_TOKEN].
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A host, or HOST:PORT, that the hub may send us to for its files; the token never goes there.
    #[arg(long, value_name = "HOST")]
    allow_redirect: Vec<String>,
    /// Failures in a row that are tried again.
    #[arg(long, value_name = "N", default_value_t = 5)]
    retries: u32,
}

#[derive(Args)]
pub(crate) struct ConvertArgs {
    /// A file of torch.save or a TorchScript archive.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    #[arg(long, value_name = "DIR", env = "PICTOR_MODELS_DIR")]
    models_dir: PathBuf,
    /// What the model is called here.
    #[arg(long)]
    name: String,
    /// clip or combiner [default: what the file holds].
    #[arg(long)]
    kind: Option<ConvertedKind>,
    /// A CLIP's tokenizer.json, which .pt files do not hold.
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// How a CLIP's pictures are padded before they are resized: target, target:RATIO, square or none
    /// [default: target for CLIP4Cir's files, none for others].
    #[arg(long, value_name = "RULE", value_parser = parse_pad)]
    pad: Option<PadChoice>,
    /// The CLIP was trained with GELU, as most of open_clip's were, and not with OpenAI's approximation; .pt files do not say.
    #[arg(long)]
    gelu: bool,
    /// The encoder, NAME or NAME@REVISION, whose vectors a combiner takes.
    #[arg(long, value_name = "MODEL")]
    combiner_space: Option<String>,
}

/// A padding, or that there is none.
#[derive(Clone, Copy)]
struct PadChoice(Option<PadRule>);

fn parse_pad(text: &str) -> pictor::Result<PadChoice> {
    if text == "none" { Ok(PadChoice(None)) } else { text.parse().map(|rule| PadChoice(Some(rule))) }
}

impl ConvertArgs {
    fn resolve(self) -> ConvertRequest {
        ConvertRequest {
            from: self.from,
            models_dir: self.models_dir,
            name: self.name,
            kind: self.kind,
            tokenizer: self.tokenizer,
            pad: self.pad.map(|choice| choice.0),
            has_gelu: self.gelu,
            combiner_space: self.combiner_space,
        }
    }
}

pub(crate) fn run(command: ModelsCommand) -> anyhow::Result<()> {
    match command {
        ModelsCommand::Pull(args) => print_json(&pull(&args.resolve()?)?),
        ModelsCommand::Convert(args) => print_json(&convert(&args.resolve())?),
        ModelsCommand::List { models_dir } => inspect::list(&models_dir)?.iter().try_for_each(print_json),
        ModelsCommand::Inspect { model, models_dir } => {
            print_json(&inspect::inspect(&folder::resolve(&models_dir, &model)?)?)
        }
        ModelsCommand::Verify { model, models_dir } => {
            let report = inspect::verify(&folder::resolve(&models_dir, &model)?)?;
            print_json(&report)?;
            anyhow::ensure!(report.problems.is_empty(), "{model} is not sound: {}", report.problems.join("; "));
            Ok(())
        }
    }
}

impl PullArgs {
    fn resolve(self) -> anyhow::Result<PullRequest> {
        let endpoint = self.endpoint.filter(|url| !url.is_empty()).or_else(|| setting("HF_ENDPOINT"));
        let token = match &self.token_file {
            Some(path) => Some(read_token(path)?),
            None => setting("PICTOR_HUB_TOKEN").or_else(|| setting("HF_TOKEN")),
        };
        Ok(PullRequest {
            reference: self.model,
            models_dir: self.models_dir,
            name: self.name,
            endpoint: Endpoint::new(endpoint.as_deref(), &self.allow_redirect)?,
            token,
            retries: self.retries,
        })
    }
}

fn read_token(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading the token file {}", path.display()))?;
    Ok(text.trim().to_owned())
}

/// A variable of the environment; empty is unset.
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}
