//! The encoders of a models folder, each loaded when it is first asked for.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::handle::{EncoderHandle, PreparationPools};
use super::settings::EncodeSettings;
use super::torch::EncoderPlan;
use crate::model::{ModelFolder, folder};
use crate::{Error, Result};

/// Finds and keeps encoders; cheap to clone.
#[derive(Clone)]
pub struct EncoderRegistry(Arc<Inner>);

struct Inner {
    models_dir: PathBuf,
    settings: EncodeSettings,
    pools: Arc<PreparationPools>,
    /// By full name. A cell that failed to fill stays empty and is tried again.
    cells: Mutex<HashMap<String, Arc<OnceCell<EncoderHandle>>>>,
}

impl EncoderRegistry {
    /// Opens a models folder; nothing is loaded yet, and the folder may be empty or missing.
    ///
    /// # Errors
    /// `Internal` if the system gives no threads; the device's errors.
    pub fn open(models_dir: &Path, settings: EncodeSettings) -> Result<Self> {
        settings.dtype.resolve(settings.device.resolve()?)?;
        let pools = Arc::new(PreparationPools::start(settings.threads)?);
        Ok(Self(Arc::new(Inner { models_dir: models_dir.to_owned(), settings, pools, cells: Mutex::default() })))
    }

    /// Every revision of every model in the folder, loaded or not. Reads the folder.
    ///
    /// # Errors
    /// `Unavailable` if the folder cannot be read.
    pub fn list(&self) -> Result<Vec<ModelFolder>> {
        folder::list(&self.0.models_dir)
    }

    /// The folder of `NAME` or `NAME@REVISION`. Reads the models folder.
    ///
    /// # Errors
    /// `NotFound` with the names that exist, `InvalidArgument` for what is no name.
    pub fn find(&self, encoder: &str) -> Result<ModelFolder> {
        folder::resolve(&self.0.models_dir, encoder)
    }

    /// The encoders that are loaded, sorted by full name.
    #[must_use]
    pub fn loaded(&self) -> Vec<EncoderHandle> {
        let mut loaded: Vec<_> = self.0.cells.lock().values().filter_map(|cell| cell.get().cloned()).collect();
        loaded.sort_by_key(|handle| handle.info().full_name());
        loaded
    }

    /// Gives `NAME` or `NAME@REVISION`, loading it first if need be; callers that come meanwhile share the load.
    ///
    /// # Errors
    /// `NotFound` with the names that exist, `InvalidArgument` for what is no name, the errors of loading.
    pub async fn get(&self, encoder: &str) -> Result<EncoderHandle> {
        let exact = self.0.cells.lock().get(encoder).and_then(|cell| cell.get().cloned());
        if let Some(handle) = exact {
            return Ok(handle);
        }
        let (inner, encoder) = (self.0.clone(), encoder.to_owned());
        let found = blocking(move || folder::resolve(&inner.models_dir, &encoder)).await?;
        let cell = self.0.cells.lock().entry(found.full_name()).or_default().clone();
        let load = || async {
            let inner = self.0.clone();
            blocking(move || load(&found, &inner.settings, inner.pools.clone())).await
        };
        cell.get_or_try_init(load).await.cloned()
    }

    /// Stops every loaded encoder after what it has accepted. Blocking.
    pub fn stop(&self) {
        self.loaded().iter().for_each(EncoderHandle::stop);
    }
}

/// Loads an encoder and starts its worker. Blocking.
///
/// # Errors
/// Those of reading, loading and the first text.
pub fn load(folder: &ModelFolder, settings: &EncodeSettings, pools: Arc<PreparationPools>) -> Result<EncoderHandle> {
    let started = std::time::Instant::now();
    let plan = EncoderPlan::read(folder, settings)?;
    let (preprocessor, batch_tokens) = (plan.preprocessor(), plan.batch_tokens());
    let loader = Box::new(move || Ok(Box::new(plan.load()?) as Box<dyn super::Encoder>));
    let handle = EncoderHandle::start(preprocessor, loader, batch_tokens, settings, pools)?;
    let info = handle.info();
    tracing::info!(
        encoder = info.full_name(),
        space = info.space,
        device = info.device,
        dtype = info.dtype,
        "encoder loaded in {:.1} s",
        started.elapsed().as_secs_f64()
    );
    Ok(handle)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::Internal(format!("loading an encoder failed: {error}"))),
    }
}
