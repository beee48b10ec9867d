//! What every command is given: the connection, the deadline and stdout.

use std::time::Duration;

use anyhow::Result;
use pictor_proto::client::Client;
use tonic::Request;

use crate::output::Output;
use crate::units::parse_duration;

const HEADING: &str = "Server and output";

/// Flags that every command takes.
#[derive(clap::Args, Clone, Debug)]
pub struct Global {
    /// The server's gRPC address
    #[arg(long, global = true, help_heading = HEADING, env = "PICTOR_URL", value_name = "URL", default_value = "http://127.0.0.1:7600")]
    pub url: String,
    /// Key sent with every call
    #[arg(long, global = true, help_heading = HEADING, env = "PICTOR_API_KEY", value_name = "KEY", hide_env_values = true)]
    pub api_key: Option<String>,
    /// Write one JSON object a line on stdout and nothing else there
    #[arg(long, global = true, help_heading = HEADING)]
    pub json: bool,
    /// How long one call may take, like 30s, 500ms or 5m; 0 means for ever
    #[arg(long, global = true, help_heading = HEADING, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    pub timeout: Duration,
}

/// A connected client with its settings.
#[derive(Debug)]
pub struct Context {
    pub client: Client,
    pub output: Output,
    timeout: Duration,
}

impl Context {
    /// Connects to the server.
    ///
    /// # Errors
    /// If the address is malformed or nobody answers there.
    pub async fn connect(global: &Global) -> Result<Self> {
        let client = Client::connect(&global.url, global.api_key.as_deref()).await?;
        Ok(Self { client, output: Output::new(global.json), timeout: global.timeout })
    }

    /// Wraps a message with the deadline of `--timeout`.
    pub fn request<T>(&self, message: T) -> Request<T> {
        with_deadline(message, self.timeout)
    }

    /// The `--timeout`; zero means none.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// Wraps a message with a deadline; zero means none.
pub fn with_deadline<T>(message: T, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    if !timeout.is_zero() {
        request.set_timeout(timeout);
    }
    request
}
