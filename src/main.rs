//! `pictor-server`: parses the command line, sets up logging, runs one command.

mod commands;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use commands::{data, models, print_json, train};
use pictor::config::{ServeArgs, ServeSettings};
use pictor::encode::EncodeSettings;
use pictor::encode::offline::{self, EmbedRequest};
use pictor::engine::{Engine, EngineSettings};
use pictor::image::ImageRule;
use pictor::model::device::preload_cuda;
use pictor::model::{DeviceChoice, PrecisionChoice};
use pictor::resources::Resources;
use pictor::rpc::auth::ApiKeys;
use pictor::server::{self, End};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Tenths of a second that a data folder is waited for.
const LETTING_GO: u32 = 50;

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
    Embed(EmbedArgs),
    /// Looks after the data folder of a server that does not run.
    #[command(subcommand)]
    Data(data::DataCommand),
    /// Looks after the models folder.
    #[command(subcommand)]
    Models(models::ModelsCommand),
    /// Trains a model by a recipe, on a checkpoint of a store or a stopped server's data.
    Train(train::TrainArgs),
}

#[derive(Args)]
struct EmbedArgs {
    /// A model's folder: a revision, or the folder above it with its file `current`.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// A file with one picture's path a line.
    #[arg(long, value_name = "LIST")]
    images_from: Option<PathBuf>,
    /// A file with one text a line; an empty line is an empty text.
    #[arg(long, value_name = "FILE", conflicts_with = "texts_jsonl")]
    texts_from: Option<PathBuf>,
    /// A file with one JSON string or {"text": …} a line.
    #[arg(long, value_name = "FILE")]
    texts_jsonl: Option<PathBuf>,
    /// Where the safetensors file goes; it appears whole or not at all.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// auto, cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// auto, f32, bf16 or f16.
    #[arg(long, default_value = "auto")]
    dtype: PrecisionChoice,
    /// Threads to compute with [default: one for each core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// pictor or reference; they differ for pictures only.
    #[arg(long, default_value = "pictor")]
    preprocess: ImageRule,
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    match cli.command {
        Command::Serve(args) => serve(&args.resolve()?)?,
        Command::Embed(args) => embed(args)?,
        Command::Data(command) => return data::run(command),
        Command::Models(command) => models::run(command)?,
        Command::Train(args) => return train::run(args),
    }
    Ok(ExitCode::SUCCESS)
}

fn serve(settings: &ServeSettings) -> anyhow::Result<()> {
    // Before any call into torch: CUDA's libraries register themselves when they are opened.
    let device: DeviceChoice = settings.device.parse()?;
    preload_cuda(device)?;
    let dtype = settings.dtype.parse()?;
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_env("PICTOR_LOG").unwrap_or_else(|_| "info".into()))
        .with_writer(std::io::stderr)
        .init();
    let keys = settings.api_key_file.as_deref().map(ApiKeys::read).transpose()?.unwrap_or_default();
    let mut resources = Resources::divide(settings.threads, settings.memory)?;
    resources.encoder_bytes = settings.encoder_memory.unwrap_or(resources.encoder_bytes);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(async {
        // Bound first, so that a taken port is reported before the data is opened.
        let grpc = listen(settings.grpc)?;
        let http = listen(settings.http)?;
        for address in [settings.grpc, settings.http] {
            if !address.ip().is_loopback() && !keys.is_required() {
                tracing::warn!("serving {address} to the network without API keys; set --api-key-file");
            }
        }
        let engine_settings = EngineSettings {
            data_dir: settings.data_dir.clone(),
            models_dir: settings.models_dir.clone(),
            device,
            dtype,
            encode_queue: settings.encode_queue,
            resources,
        };
        let stop = stop_signal()?;
        let mut waits = 0;
        loop {
            let engine = open(&engine_settings, waits).await?;
            tracing::info!(grpc = %grpc.local_addr()?, http = %http.local_addr()?, "serving");
            let preloading = engine.clone();
            let preload = tokio::spawn(async move { preloading.preload().await });
            // Copies, so that clients wait rather than being refused while a snapshot takes the place of the data.
            let listeners = [&grpc, &http].map(|listener| listener.try_clone().and_then(TcpListener::from_std));
            let [own_grpc, own_http] = listeners;
            let mut stopping = stop.clone();
            // An error means that nobody is left to say it.
            let shutdown = async move { drop(stopping.wait_for(|is_asked| *is_asked).await) };
            let end = server::run(own_grpc?, own_http?, engine, keys.clone(), shutdown).await?;
            if end == End::Shutdown {
                tracing::info!("stopped");
                return Ok(());
            }
            preload.abort();
            waits = LETTING_GO;
        }
    })
}

/// Opens the data folder; an engine that served it a moment ago may still be letting go of it, which is waited for so often.
async fn open(settings: &EngineSettings, waits: u32) -> anyhow::Result<Engine> {
    let mut tries = 0..waits;
    loop {
        let settings = settings.clone();
        match tokio::task::spawn_blocking(move || Engine::open(settings)).await? {
            Err(error) if error.reason() == "DATA_DIR_IN_USE" && tries.next().is_some() => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            outcome => return Ok(outcome?),
        }
    }
}

/// A socket that outlives one engine.
fn listen(address: SocketAddr) -> anyhow::Result<std::net::TcpListener> {
    let bound = std::net::TcpListener::bind(address).with_context(|| format!("listening on {address}"))?;
    bound.set_nonblocking(true)?;
    Ok(bound)
}

/// Becomes true at SIGTERM or SIGINT.
fn stop_signal() -> anyhow::Result<watch::Receiver<bool>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let (asked, stop) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        asked.send_replace(true);
    });
    Ok(stop)
}

fn embed(args: EmbedArgs) -> anyhow::Result<()> {
    preload_cuda(args.device)?;
    let mut settings = EncodeSettings {
        device: args.device,
        dtype: args.dtype,
        image_rule: args.preprocess,
        ..EncodeSettings::default()
    };
    if let Some(threads) = args.threads {
        settings.threads = usize::from(threads);
    }
    let request = EmbedRequest {
        model: args.model,
        texts_from: args.texts_from,
        texts_jsonl: args.texts_jsonl,
        images_from: args.images_from,
        out: args.out,
        settings,
    };
    print_json(&offline::embed(&request)?)
}
