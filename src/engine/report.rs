//! What operators ask: what is this server, how is it doing, what is wrong.

use std::sync::Arc;

use super::Engine;
use crate::collection::CollectionInfo;
use crate::collection::backend::{BackendStats, CollectionBackend as _};
use crate::compose;
use crate::encode::{EncoderInfo, EncoderStats};
use crate::evaluate;
use crate::model;
use crate::resources::resident_bytes;
use crate::store::FORMAT;
use crate::types::{Error, Result, Timestamp};

/// One entry of a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    pub family: &'static str,
    pub name: &'static str,
    pub summary: &'static str,
}

/// What this server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineInfo {
    pub version: &'static str,
    pub git_revision: &'static str,
    /// Made once for each data folder.
    pub server_id: String,
    pub format: u32,
    pub device: String,
    pub threads: usize,
    pub memory_bytes: u64,
    pub features: Vec<Feature>,
    pub started: Timestamp,
}

/// How this server is doing.
#[derive(Clone, Debug)]
pub struct EngineStats {
    pub collections: Vec<(String, BackendStats)>,
    pub encoders: Vec<(String, EncoderStats)>,
    /// Bytes of the weights of loaded encoders.
    pub encoder_bytes: u64,
    pub store_bytes: u64,
    /// Bytes that are left on the disk, and of those the ones that writers leave free.
    pub disk_left: Option<(u64, u64)>,
    /// What keeps the server from serving in full, one sentence each.
    pub problems: Vec<String>,
    pub resident_bytes: u64,
    pub uptime_seconds: u64,
}

/// Where an encoder stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EncoderState {
    /// In the models folder, not in memory.
    Available,
    Ready(Arc<EncoderInfo>),
    /// Its folder cannot be read.
    Failed(String),
}

/// One revision of an encoder in the models folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderListing {
    pub name: String,
    pub revision: String,
    pub architecture: String,
    pub state: EncoderState,
}

impl Engine {
    #[must_use]
    pub fn info(&self) -> EngineInfo {
        let shared = &self.shared;
        let architectures = model::ALL.iter().map(|entry| ("architecture", entry.model_type, entry.summary));
        let composers = compose::ALL.iter().map(|entry| ("composer", entry.name, entry.summary));
        let evaluators = evaluate::ALL.iter().map(|entry| ("evaluator", entry.name(), entry.summary()));
        let features = architectures.chain(composers).chain(evaluators).map(|(family, name, summary)| Feature {
            family,
            name,
            summary,
        });
        EngineInfo {
            version: env!("CARGO_PKG_VERSION"),
            git_revision: env!("PICTOR_GIT_REVISION"),
            server_id: shared.store.server_id().to_owned(),
            format: FORMAT,
            device: shared.device.clone(),
            threads: shared.settings.resources.threads,
            memory_bytes: shared.settings.resources.memory_bytes,
            features: features.collect(),
            started: shared.started,
        }
    }

    /// # Errors
    /// [`Error::Internal`] if the reading breaks off.
    pub async fn stats(&self) -> Result<EngineStats> {
        let engine = self.clone();
        let read = move || EngineStats {
            collections: engine
                .list_collections()
                .into_iter()
                .filter_map(|info| Some((info.name, info.backend.ok()?.stats())))
                .collect(),
            encoders: engine
                .encoders()
                .loaded()
                .into_iter()
                .map(|handle| (handle.info().full_name(), handle.stats()))
                .collect(),
            encoder_bytes: engine.encoders().weight_bytes(),
            store_bytes: folder_bytes(engine.shared.store.folder()),
            disk_left: engine.shared.store.room(),
            problems: engine.problems(),
            resident_bytes: resident_bytes(),
            uptime_seconds: engine.shared.clock.elapsed().as_secs(),
        };
        tokio::task::spawn_blocking(read).await.map_err(|error| Error::Internal(error.to_string()))
    }

    /// Lists every revision in the models folder.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the folder cannot be read.
    pub async fn list_encoders(&self) -> Result<Vec<EncoderListing>> {
        let engine = self.clone();
        tokio::task::spawn_blocking(move || engine.read_encoders())
            .await
            .map_err(|error| Error::Internal(error.to_string()))?
    }

    fn read_encoders(&self) -> Result<Vec<EncoderListing>> {
        let loaded = self.encoders().loaded();
        let describe = |folder: model::ModelFolder| {
            let ready = loaded.iter().find(|handle| handle.info().full_name() == folder.full_name());
            let (architecture, state) =
                match (ready, model::Description::read(&folder, crate::image::ImageRule::default())) {
                    (Some(handle), _) => {
                        (handle.info().architecture.clone(), EncoderState::Ready(Arc::clone(handle.info())))
                    }
                    (None, Err(error)) => (String::new(), EncoderState::Failed(error.to_string())),
                    (None, Ok(description)) => {
                        (description.architecture.model_type.to_owned(), EncoderState::Available)
                    }
                };
            EncoderListing { name: folder.name, revision: folder.revision, architecture, state }
        };
        let folders = self.encoders().list()?.into_iter();
        Ok(folders.filter(|folder| !model::combiner::is_combiner(&folder.path)).map(describe).collect())
    }

    /// What keeps texts and pictures from being encoded, one sentence each; empty if all is well.
    #[must_use]
    pub fn encoder_problems(&self) -> Vec<String> {
        let loaded = self.encoders().loaded();
        // One that was let go is loaded again when it is needed.
        let is_fine = |name: &String| {
            self.encoders().is_set_aside(name) || loaded.iter().any(|handle| handle.info().full_name() == *name)
        };
        let missing = self
            .encoders_in_use()
            .into_iter()
            .filter(|name| !is_fine(name))
            .map(|name| format!("encoder {name} is not loaded"));
        let failing = loaded
            .iter()
            .filter(|handle| !handle.is_healthy())
            .map(|handle| format!("encoder {} failed its last batch or self-probe", handle.info().full_name()));
        missing.chain(failing).collect()
    }

    /// Everything that keeps the server from serving in full.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.encoder_problems();
        let broken =
            |info: CollectionInfo| Some(format!("collection {} is broken: {}", info.name, info.backend.err()?));
        problems.extend(self.list_collections().into_iter().filter_map(broken));
        if let Err(error) = self.shared.store.check_writable() {
            problems.push(error.to_string());
        }
        problems
    }
}

/// Bytes of all files below a folder; what vanishes meanwhile counts nothing.
fn folder_bytes(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes_of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(bytes_of).sum()
}
