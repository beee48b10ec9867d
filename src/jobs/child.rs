//! A training run's process: how it is started, what it says, how it ends.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use serde::Deserialize;

use crate::train::progress::{PROGRESS, Progress};
use crate::{Error, Result};

/// What the child writes its output to, in the run's folder.
const LOG: &str = "log.txt";
/// The end of the log that a failure shows.
const LOG_TAIL: usize = 600;
/// The child's exit code after it was asked to stop and wrote a checkpoint.
const STOPPED: i32 = 75;

/// How a child is started.
#[derive(Clone, Debug)]
pub(super) struct ChildPlan {
    pub program: PathBuf,
    pub run: PathBuf,
    pub models_dir: PathBuf,
    pub device: String,
    pub threads: usize,
    /// Bytes that it plans with and cannot exceed.
    pub memory_bytes: u64,
}

/// How a child ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum End {
    Finished(serde_json::Value),
    Failed(String),
    /// It can go on from its checkpoint.
    Stopped,
    /// Killed, or ended without a word; the text says how.
    Died(String),
}

#[derive(Deserialize)]
struct Failure {
    reason: String,
    message: String,
}

impl ChildPlan {
    pub(super) fn corpus(&self) -> PathBuf {
        self.run.join("corpus")
    }

    pub(super) fn recipe(&self) -> PathBuf {
        self.run.join("job.toml")
    }

    /// Starts the process. It is nicer than the server, dies with it, and cannot take more memory than planned.
    pub(super) fn start(&self) -> Result<Child> {
        let failed = |error: io::Error| Error::Internal(format!("a training process cannot be started: {error}"));
        for stale in ["error.json", "result.json"] {
            match fs::remove_file(self.run.join(stale)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        let log = File::options().create(true).append(true).open(self.run.join(LOG)).map_err(failed)?;
        let mut command = Command::new(&self.program);
        command
            .args(["train", "--device", &self.device])
            .args(["--threads", &self.threads.to_string(), "--memory", &self.memory_bytes.to_string()])
            .arg("--recipe")
            .arg(self.recipe())
            .arg("--corpus")
            .arg(self.corpus())
            .arg("--models-dir")
            .arg(&self.models_dir)
            .arg("--run")
            .arg(&self.run)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log);
        let memory_bytes = self.memory_bytes;
        // SAFETY: between fork and exec only system calls without memory or locks are made.
        unsafe {
            command.pre_exec(move || {
                let limit = libc::rlimit { rlim_cur: memory_bytes, rlim_max: memory_bytes };
                let is_set = libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0
                    && libc::setrlimit(libc::RLIMIT_DATA, &raw const limit) == 0;
                // A machine that does not allow it runs the child as it is.
                libc::setpriority(libc::PRIO_PROCESS, 0, 10);
                if is_set { Ok(()) } else { Err(io::Error::last_os_error()) }
            });
        }
        command.spawn().map_err(failed)
    }

    /// What the child last said; nothing before it said anything.
    pub(super) fn progress(&self) -> Progress {
        let text = fs::read_to_string(self.run.join(PROGRESS)).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Reads how a child that ended with `status` did.
    pub(super) fn end(&self, status: ExitStatus) -> End {
        if status.success() {
            let result = fs::read_to_string(self.run.join("result.json")).ok();
            return match result.and_then(|text| serde_json::from_str(&text).ok()) {
                Some(result) => End::Finished(result),
                None => End::Died("it ended without a result".to_owned()),
            };
        }
        let failure = fs::read_to_string(self.run.join("error.json")).ok();
        let failure = failure.and_then(|text| serde_json::from_str::<Failure>(&text).ok());
        match (status.code(), failure) {
            (Some(STOPPED), _) => End::Stopped,
            (Some(_), Some(failure)) => End::Failed(format!("{}: {}", failure.reason, failure.message)),
            (code, _) => {
                let how = match (status.signal(), code) {
                    (Some(signal), _) => format!("killed by signal {signal}"),
                    (None, Some(code)) => format!("exit code {code}"),
                    (None, None) => "no exit code".to_owned(),
                };
                End::Died(format!(
                    "{how}; it may take {} bytes, three eighths of --memory; its log ends with: {}",
                    self.memory_bytes,
                    tail(&self.run.join(LOG))
                ))
            }
        }
    }
}

fn tail(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let from = bytes.len().saturating_sub(LOG_TAIL);
    String::from_utf8_lossy(&bytes[from..]).trim().to_owned()
}

/// Asks a child to write its checkpoint and stop.
pub(super) fn ask_to_stop(child: &Child) {
    // SAFETY: `kill` takes numbers only; the child has not been waited for, so the number is still its own.
    unsafe { libc::kill(child.id().cast_signed(), libc::SIGTERM) };
}
