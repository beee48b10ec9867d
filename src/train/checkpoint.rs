//! A run's state on the disk: complete folders, of which the newest counts.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::{Error, Result};

const TENSORS: &str = "tensors.safetensors";
const STATE: &str = "state.json";
const PREFIX: &str = "checkpoint-";

/// Everything of a run's state that is no tensor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// Steps that are done.
    pub step: u64,
    /// Steps of the optimiser.
    pub optimiser_steps: u64,
    /// The best value of the stopping rule's figure, and the step that had it.
    pub best: Option<(f64, u64)>,
    pub evaluations_without_rise: u32,
    /// Sums since the last line of metrics: the number of steps, and each term's values.
    pub logged: (u64, Vec<f64>),
    /// The corpus's digest: a run goes on with what it began with.
    pub digest: String,
    /// Seconds that the run has taken so far.
    pub seconds: f64,
}

/// Writes a checkpoint and removes the older ones.
///
/// # Errors
/// `StorageFull` or `Storage` if the disk refuses; the older checkpoint is then still whole.
pub fn write(run: &Path, state: &RunState, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    let (name, temporary) = (format!("{PREFIX}{:010}", state.step), run.join(".checkpoint"));
    let folder = run.join(&name);
    if temporary.exists() {
        fs::remove_dir_all(&temporary).map_err(|error| failed(&temporary, &error))?;
    }
    fs::create_dir_all(&temporary).map_err(|error| failed(&temporary, &error))?;
    let on_cpu: Vec<(&String, Tensor)> =
        tensors.iter().map(|(name, tensor)| (name, tensor.detach().to_device(Device::Cpu).contiguous())).collect();
    let path = temporary.join(TENSORS);
    Tensor::write_safetensors(&on_cpu, &path)
        .map_err(|error| Error::Storage(format!("{}: {error}", path.display())))?;
    let json = serde_json::to_vec(state).map_err(|error| Error::Internal(error.to_string()))?;
    fs::write(temporary.join(STATE), json).map_err(|error| failed(&temporary, &error))?;
    for file in [TENSORS, STATE, "."] {
        sync(&temporary.join(file))?;
    }
    if folder.exists() {
        // The same step again, after a run that went back; what it holds is the same.
        fs::remove_dir_all(&folder).map_err(|error| failed(&folder, &error))?;
    }
    fs::rename(&temporary, &folder).map_err(|error| failed(&folder, &error))?;
    sync(run)?;
    for older in folders(run)? {
        if older != folder {
            fs::remove_dir_all(&older).map_err(|error| failed(&older, &error))?;
        }
    }
    Ok(())
}

/// Reads the newest checkpoint, if there is one.
///
/// # Errors
/// `Corruption` if it is damaged, `Storage` if it cannot be read.
pub fn read(run: &Path, device: Device) -> Result<Option<(RunState, BTreeMap<String, Tensor>)>> {
    let Some(folder) = folders(run)?.pop() else { return Ok(None) };
    let damaged = |message: String| Error::Corruption(format!("{}: {message}", folder.display()));
    let json = fs::read(folder.join(STATE)).map_err(|error| damaged(error.to_string()))?;
    let state = serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))?;
    let tensors = Tensor::read_safetensors(folder.join(TENSORS)).map_err(|error| damaged(error.to_string()))?;
    let tensors = tensors.into_iter().map(|(name, tensor)| (name, tensor.to_device(device))).collect();
    Ok(Some((state, tensors)))
}

/// The tensors behind a prefix, without it.
#[must_use]
pub fn behind(prefix: &str, tensors: &BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    let named =
        |(name, tensor): (&String, &Tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor.shallow_clone()));
    tensors.iter().filter_map(named).collect()
}

/// Complete checkpoints, oldest first.
fn folders(run: &Path) -> Result<Vec<PathBuf>> {
    if !run.exists() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(run).map_err(|error| failed(run, &error))? {
        let path = entry.map_err(|error| failed(run, &error))?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

pub(super) fn sync(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| failed(path, &error))
}

pub(super) fn failed(path: &Path, error: &std::io::Error) -> Error {
    let message = format!("{}: {error}", path.display());
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Error::StorageFull(message),
        _ => Error::Storage(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_checkpoint_is_read() {
        let run = tempfile::tempdir().expect("a folder");
        assert_eq!(read(run.path(), Device::Cpu).expect("nothing").map(|(state, _)| state), None);
        for step in [5, 10] {
            let state = RunState { step, seconds: 0.5, ..RunState::default() };
            let tensors = [("p/a".to_owned(), Tensor::from_slice(&[step as f32, 0.1]))].into();
            write(run.path(), &state, &tensors).expect("written");
        }
        // What a kill in the middle of writing leaves.
        fs::create_dir(run.path().join(".checkpoint")).expect("a folder");
        let (state, tensors) = read(run.path(), Device::Cpu).expect("readable").expect("there");
        assert_eq!(state.step, 10);
        assert_eq!(behind("p/", &tensors)["a"], Tensor::from_slice(&[10.0_f32, 0.1]));
        assert_eq!(folders(run.path()).expect("readable").len(), 1);
        fs::write(run.path().join("checkpoint-0000000010").join(STATE), "{").expect("damage");
        assert!(matches!(read(run.path(), Device::Cpu), Err(Error::Corruption(_))));
    }
}
