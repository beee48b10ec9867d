//! `pictor-server serve` in a child process, which can be killed.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use pictor_proto::client::Client;

use super::models_dir;

pub(crate) struct ChildServer {
    child: Child,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl ChildServer {
    /// Starts on free ports and waits until it answers.
    pub(crate) async fn start(data_dir: &Path) -> Self {
        Self::start_at(data_dir, free_port(), free_port()).await
    }

    /// Starts on these ports: a client that was connected before finds it again.
    pub(crate) async fn start_at(data_dir: &Path, grpc: SocketAddr, http: SocketAddr) -> Self {
        Self::launch(data_dir, &models_dir(), grpc, http, |_| ()).await
    }

    /// Starts on free ports with models of its own.
    pub(crate) async fn start_with_models(data_dir: &Path, models: &Path) -> Self {
        Self::start_with(data_dir, models, |_| ()).await
    }

    /// Starts on free ports with models of its own, and with flags and environment that `add` gives.
    pub(crate) async fn start_with(data_dir: &Path, models: &Path, add: impl FnOnce(&mut Command)) -> Self {
        Self::launch(data_dir, models, free_port(), free_port(), add).await
    }

    async fn launch(
        data_dir: &Path,
        models: &Path,
        grpc: SocketAddr,
        http: SocketAddr,
        add: impl FnOnce(&mut Command),
    ) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pictor-server"));
        command
            .arg("serve")
            .args(["--data-dir".as_ref(), data_dir.as_os_str(), "--models-dir".as_ref(), models.as_os_str()])
            .args(["--grpc", &grpc.to_string(), "--http", &http.to_string(), "--device", "cpu", "--dtype", "f32"])
            .env("PICTOR_LOG", "warn")
            .stdin(Stdio::null());
        add(&mut command);
        let child = command.spawn().expect("pictor-server starts");
        let mut server = Self { child, grpc, http };
        server.wait_until_ready().await;
        server
    }

    async fn wait_until_ready(&mut self) {
        let patience = Instant::now() + Duration::from_secs(60);
        while Client::connect(&self.grpc.to_string(), None).await.is_err() {
            if let Some(status) = self.child.try_wait().expect("a child") {
                panic!("the server ended with {status}");
            }
            assert!(Instant::now() < patience, "the server does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.grpc.to_string(), None).await.expect("a connection")
    }

    /// SIGKILL: no destructor runs, nothing is flushed.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("a running child");
        self.child.wait().expect("a dead child");
    }

    /// SIGTERM, and the exit status.
    pub(crate) fn terminate(mut self) -> std::process::ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
        self.child.wait().expect("a stopped child")
    }
}

impl Drop for ChildServer {
    fn drop(&mut self) {
        // Already dead after `kill` and `terminate`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on, below those that the system gives to connections, and another one at each call: between the choice
/// and the server's start nobody else takes it.
fn free_port() -> SocketAddr {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static CALLS: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id().wrapping_mul(97).wrapping_add(CALLS.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + number % COUNT).expect("a port's number");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
