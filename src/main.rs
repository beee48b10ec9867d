//! `pictor-server`: parses the command line, sets up logging, runs one command.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use pictor::config::{ServeArgs, ServeSettings};
use pictor::engine::{Engine, EngineSettings};
use pictor::resources::Resources;
use pictor::rpc::auth::ApiKeys;
use pictor::{encode, model, server};
use tokio::net::TcpListener;

/// Vector retrieval with the encoders inside.
#[derive(Parser)]
#[command(name = "pictor-server", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves collections over gRPC.
    Serve(ServeArgs),
    /// Encodes texts or pictures into a safetensors file, without a server.
    Embed(encode::offline::EmbedArgs),
    /// Looks after the models folder.
    #[command(subcommand)]
    Models(ModelsCommand),
}

#[derive(Subcommand)]
enum ModelsCommand {
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

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    match cli.command {
        Command::Serve(args) => serve(&args.resolve()?),
        Command::Embed(args) => Ok(encode::offline::run(&args)?),
        Command::Models(command) => models(&command),
    }
}

fn serve(settings: &ServeSettings) -> anyhow::Result<()> {
    // Before any call into torch: CUDA's libraries register themselves when they are opened.
    model::device::preload_for(&settings.device)?;
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_env("PICTOR_LOG").unwrap_or_else(|_| "info".into()))
        .with_writer(std::io::stderr)
        .init();
    let keys = settings.api_key_file.as_deref().map(ApiKeys::read).transpose()?.unwrap_or_default();
    let resources = Resources::divide(settings.threads, settings.memory)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(async {
        // Bound first, so that a taken port is reported before the data is opened.
        let grpc = TcpListener::bind(settings.grpc).await.with_context(|| format!("listening on {}", settings.grpc))?;
        let http = TcpListener::bind(settings.http).await.with_context(|| format!("listening on {}", settings.http))?;
        if !settings.grpc.ip().is_loopback() && !keys.is_required() {
            tracing::warn!("serving {} to the network without API keys; set --api-key-file", settings.grpc);
        }
        let engine_settings = EngineSettings {
            data_dir: settings.data_dir.clone(),
            models_dir: settings.models_dir.clone(),
            device: settings.device.clone(),
            dtype: settings.dtype.clone(),
            encode_queue: settings.encode_queue,
            resources,
        };
        let engine = tokio::task::spawn_blocking(move || Engine::open(engine_settings)).await??;
        tracing::info!(grpc = %grpc.local_addr()?, http = %http.local_addr()?, "serving");
        let preloading = engine.clone();
        tokio::spawn(async move { preloading.preload().await });
        server::run(grpc, http, engine, keys, stop_signal()?).await?;
        tracing::info!("stopped");
        Ok(())
    })
}

/// Completes at SIGTERM or SIGINT.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn models(command: &ModelsCommand) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    match command {
        ModelsCommand::List { models_dir } => {
            for listed in model::folder::list(models_dir)? {
                let state = listed.problem.map_or_else(String::new, |problem| format!("\tbroken: {problem}"));
                let current = if listed.is_current { "current" } else { "-" };
                writeln!(out, "{}@{}\t{}\t{current}{state}", listed.name, listed.revision, listed.architecture)?;
            }
        }
        ModelsCommand::Inspect { model, models_dir } => {
            writeln!(out, "{}", serde_json::to_string_pretty(&model::folder::inspect(models_dir, model)?)?)?;
        }
        ModelsCommand::Verify { model, models_dir } => {
            let verified = model::folder::verify(models_dir, model)?;
            writeln!(out, "{verified}")?;
        }
    }
    Ok(())
}
