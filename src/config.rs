//! Settings of `pictor-server serve`: a flag beats the environment, which beats the file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;

use crate::types::{Error, Result};

/// What can be set, by flag (`--data-dir`), environment (`PICTOR_DATA_DIR`) or file (`data-dir`).
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ServeArgs {
    /// A TOML file with any of these settings.
    #[arg(long, value_name = "FILE", env = "PICTOR_CONFIG")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Where items and vectors are kept; made if missing.
    #[arg(long, value_name = "DIR", env = "PICTOR_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where models are kept, as NAME/REVISION/.
    #[arg(long, value_name = "DIR", env = "PICTOR_MODELS_DIR")]
    pub models_dir: Option<PathBuf>,
    /// Where gRPC is served [default: 127.0.0.1:7600].
    #[arg(long, value_name = "ADDRESS", env = "PICTOR_GRPC")]
    pub grpc: Option<SocketAddr>,
    /// Where the page, the JSON API, /livez, /readyz and /metrics are served [default: 127.0.0.1:7601].
    #[arg(long, value_name = "ADDRESS", env = "PICTOR_HTTP")]
    pub http: Option<SocketAddr>,
    /// auto, cpu or cuda:N [default: auto].
    #[arg(long, env = "PICTOR_DEVICE")]
    pub device: Option<String>,
    /// auto, f32, bf16 or f16 [default: auto].
    #[arg(long, env = "PICTOR_DTYPE")]
    pub dtype: Option<String>,
    /// Threads to use [default: one for each core].
    #[arg(long, value_name = "N", env = "PICTOR_THREADS")]
    pub threads: Option<usize>,
    /// Bytes of memory to use [default: three quarters of the machine's].
    #[arg(long, value_name = "BYTES", env = "PICTOR_MEMORY")]
    pub memory: Option<u64>,
    /// Bytes that the weights of loaded encoders may take [default: three sixteenths of --memory].
    #[arg(long, value_name = "BYTES", env = "PICTOR_ENCODER_MEMORY")]
    pub encoder_memory: Option<u64>,
    /// A file of `SCOPE KEY` lines; every call then needs a key of the right scope.
    #[arg(long, value_name = "FILE", env = "PICTOR_API_KEY_FILE")]
    pub api_key_file: Option<PathBuf>,
    /// Inputs that may wait for an encoder before calls are refused [default: 8192].
    #[arg(long, value_name = "N", env = "PICTOR_ENCODE_QUEUE")]
    pub encode_queue: Option<usize>,
}

/// Settings with every default filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeSettings {
    pub data_dir: PathBuf,
    pub models_dir: PathBuf,
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    pub device: String,
    pub dtype: String,
    pub threads: Option<usize>,
    pub memory: Option<u64>,
    pub encoder_memory: Option<u64>,
    pub api_key_file: Option<PathBuf>,
    pub encode_queue: usize,
}

impl ServeArgs {
    /// Reads the file, if one is named, and fills in defaults.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for an unreadable file, an unknown key, or a missing folder setting.
    pub fn resolve(self) -> Result<ServeSettings> {
        let file = self.config.as_deref().map(read_file).transpose()?.unwrap_or_default();
        let required = |value: Option<PathBuf>, flag: &str| {
            value.ok_or_else(|| {
                Error::invalid(flag, format!("give --{flag} DIR, or set it in the environment or the config file"))
            })
        };
        Ok(ServeSettings {
            data_dir: required(self.data_dir.or(file.data_dir), "data-dir")?,
            models_dir: required(self.models_dir.or(file.models_dir), "models-dir")?,
            grpc: self.grpc.or(file.grpc).unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 7600))),
            http: self.http.or(file.http).unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 7601))),
            device: self.device.or(file.device).unwrap_or_else(|| "auto".to_owned()),
            dtype: self.dtype.or(file.dtype).unwrap_or_else(|| "auto".to_owned()),
            threads: self.threads.or(file.threads),
            memory: self.memory.or(file.memory),
            encoder_memory: self.encoder_memory.or(file.encoder_memory),
            api_key_file: self.api_key_file.or(file.api_key_file),
            encode_queue: self.encode_queue.or(file.encode_queue).unwrap_or(8192),
        })
    }
}

fn read_file(path: &Path) -> Result<ServeArgs> {
    let problem = |message: String| Error::invalid("config", format!("{}: {message}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| problem(error.to_string()))?;
    toml::from_str(&text).map_err(|error| problem(error.message().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_beats_the_file_and_unknown_keys_are_errors() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pictor.toml");
        std::fs::write(&path, "data-dir = '/a'\nmodels-dir = '/m'\ngrpc = '127.0.0.1:1'\n").expect("a file");
        let args = ServeArgs { config: Some(path.clone()), data_dir: Some("/b".into()), ..Default::default() };
        let settings = args.clone().resolve().expect("settings");
        assert_eq!((settings.data_dir, settings.models_dir), ("/b".into(), "/m".into()));
        assert_eq!((settings.grpc.port(), settings.http.port()), (1, 7601));
        std::fs::write(&path, "data_dirr = '/a'\n").expect("a file");
        assert!(args.resolve().expect_err("an unknown key").to_string().contains("data_dirr"));
        assert!(ServeArgs::default().resolve().expect_err("no folder").to_string().contains("--data-dir"));
    }
}
