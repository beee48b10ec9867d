//! What a run says of itself while it runs: `metrics.jsonl` for good, `progress.json` for whoever watches.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::checkpoint::failed;
use crate::{Error, Result};

pub const METRICS: &str = "metrics.jsonl";
pub const PROGRESS: &str = "progress.json";

/// One line of the metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Steps that were done.
    pub step: u64,
    /// `train`, `eval` or `result`.
    pub kind: String,
    pub values: BTreeMap<String, f64>,
    /// Seconds of the run, waiting not counted.
    pub seconds: f64,
}

/// What a watcher sees; replaced as a whole, about once a second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub step: u64,
    pub total: u64,
    pub message: String,
    /// The newest figures of training.
    pub metrics: BTreeMap<String, f64>,
    /// The newest figures of evaluation.
    #[serde(default)]
    pub held_out: BTreeMap<String, f64>,
}

/// The run's folder as a place for both files.
pub struct Reporter {
    run: PathBuf,
    written: Option<Instant>,
    pub progress: Progress,
}

impl Reporter {
    /// Goes on in a run's folder after `step` steps: lines of later steps, which will come again, are taken back.
    ///
    /// # Errors
    /// `Storage` or `StorageFull`.
    pub fn open(run: &Path, step: u64, total: u64) -> Result<Self> {
        let path = run.join(METRICS);
        if path.exists() {
            let kept: String =
                lines(run)?.iter().filter(|line| line.step <= step).map(|line| to_json(line) + "\n").collect();
            replace(&path, kept.as_bytes())?;
        }
        Ok(Self { run: run.to_owned(), written: None, progress: Progress { step, total, ..Progress::default() } })
    }

    /// Appends a line.
    ///
    /// # Errors
    /// `Storage` or `StorageFull`.
    pub fn record(&mut self, line: &Line) -> Result<()> {
        let path = self.run.join(METRICS);
        let mut file =
            OpenOptions::new().create(true).append(true).open(&path).map_err(|error| failed(&path, &error))?;
        writeln!(file, "{}", to_json(line)).map_err(|error| failed(&path, &error))?;
        match line.kind.as_str() {
            "train" => self.progress.metrics.extend(line.values.clone()),
            _ => self.progress.held_out.extend(line.values.clone()),
        }
        Ok(())
    }

    /// Tells watchers, unless they were told within the last second.
    ///
    /// # Errors
    /// `Storage` or `StorageFull`.
    pub fn tell(&mut self, message: &str) -> Result<()> {
        if self.written.is_some_and(|written| written.elapsed() < Duration::from_secs(1))
            && self.progress.message == message
        {
            return Ok(());
        }
        message.clone_into(&mut self.progress.message);
        replace(&self.run.join(PROGRESS), to_json(&self.progress).as_bytes())?;
        self.written = Some(Instant::now());
        Ok(())
    }
}

/// The whole lines of a run's metrics; one that a kill cut off is left out.
///
/// # Errors
/// `Storage`.
pub fn lines(run: &Path) -> Result<Vec<Line>> {
    let path = run.join(METRICS);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed(&path, &error)),
    }
}

/// Puts a file in another's place at once.
///
/// # Errors
/// `Storage` or `StorageFull`.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}"));
    fs::write(&temporary, bytes).map_err(|error| failed(&temporary, &error))?;
    fs::rename(&temporary, path).map_err(|error| failed(path, &error))
}

pub(super) fn to_json(value: &impl Serialize) -> String {
    // Numbers, words and maps of them always have a form in JSON.
    serde_json::to_string(value).unwrap_or_else(|error| Error::Internal(error.to_string()).to_string())
}
