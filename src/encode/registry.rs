//! The encoders of a models folder, each loaded when it is first asked for, and let go when others need its room.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::handle::{EncoderHandle, PreparationPools};
use super::settings::EncodeSettings;
use super::torch::EncoderPlan;
use crate::model::{ModelFolder, folder};
use crate::{Error, Result};

/// How often a load that waits for room looks for it.
const PERIOD: Duration = Duration::from_millis(5);

/// Finds and keeps encoders; cheap to clone. A handle that is held keeps its encoder, so hold it for one piece of work only.
#[derive(Clone)]
pub struct EncoderRegistry(Arc<Inner>);

struct Inner {
    models_dir: PathBuf,
    settings: EncodeSettings,
    pools: Arc<PreparationPools>,
    kept: Mutex<Kept>,
    /// Bytes of the [`Room`]s.
    taken: Arc<AtomicU64>,
    /// Held by the one who loads, so that two loads do not count on the same room.
    loading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Kept {
    /// By full name. A cell that failed to fill stays empty and is tried again.
    slots: HashMap<String, Slot>,
    /// Rises with each use.
    uses: u64,
    /// Encoders that were let go for others and are loaded again when they are needed.
    set_aside: BTreeSet<String>,
}

#[derive(Default)]
struct Slot {
    cell: Arc<OnceCell<Loaded>>,
    last_use: u64,
}

struct Loaded {
    handle: EncoderHandle,
    _room: Room,
}

/// Bytes that are taken as long as this lives, from before the load until the network is gone.
struct Room {
    bytes: u64,
    taken: Arc<AtomicU64>,
}

impl Room {
    fn take(bytes: u64, taken: &Arc<AtomicU64>) -> Self {
        taken.fetch_add(bytes, Ordering::AcqRel);
        Self { bytes, taken: Arc::clone(taken) }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl Kept {
    /// Notes a use and gives the cell.
    fn touch(&mut self, name: &str) -> Option<&Arc<OnceCell<Loaded>>> {
        self.uses += 1;
        let slot = self.slots.get_mut(name)?;
        slot.last_use = self.uses;
        Some(&slot.cell)
    }

    /// Takes out the encoder that nobody holds and that was not used for longest.
    fn take_idle(&mut self) -> Option<Loaded> {
        // Handles are cloned under the lock that the caller holds, so one that is idle stays so until it is out.
        let is_idle = |slot: &Slot| {
            Arc::strong_count(&slot.cell) == 1 && slot.cell.get().is_some_and(|loaded| loaded.handle.is_idle())
        };
        let idle = self.slots.iter().filter(|(_, slot)| is_idle(slot)).min_by_key(|(_, slot)| slot.last_use);
        let name = idle?.0.clone();
        let slot = self.slots.remove(&name)?;
        self.set_aside.insert(name);
        Arc::into_inner(slot.cell)?.into_inner()
    }
}

impl EncoderRegistry {
    /// Opens a models folder; nothing is loaded yet, and the folder may be empty or missing.
    ///
    /// # Errors
    /// `Internal` if the system gives no threads; the device's errors.
    pub fn open(models_dir: &Path, settings: EncodeSettings) -> Result<Self> {
        settings.dtype.resolve(settings.device.resolve()?)?;
        let pools = Arc::new(PreparationPools::start(settings.threads)?);
        Ok(Self(Arc::new(Inner {
            models_dir: models_dir.to_owned(),
            settings,
            pools,
            kept: Mutex::default(),
            taken: Arc::default(),
            loading: tokio::sync::Mutex::default(),
        })))
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
        let kept = self.0.kept.lock();
        let mut loaded: Vec<_> = kept.slots.values().filter_map(|slot| Some(slot.cell.get()?.handle.clone())).collect();
        drop(kept);
        loaded.sort_by_key(|handle| handle.info().full_name());
        loaded
    }

    /// Bytes that the weights of encoders take, those that are being loaded included.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.0.taken.load(Ordering::Acquire)
    }

    /// True if the encoder was let go for another and will be loaded again when it is needed.
    #[must_use]
    pub fn is_set_aside(&self, full_name: &str) -> bool {
        self.0.kept.lock().set_aside.contains(full_name)
    }

    /// Gives `NAME` or `NAME@REVISION`, loading it first if need be; callers that come meanwhile share the load.
    ///
    /// # Errors
    /// `NotFound` with the names that exist, `InvalidArgument` for what is no name, the errors of loading; `FailedPrecondition`
    /// with `ENCODER_TOO_LARGE`, and `Overloaded` if the encoders in use leave no room for it.
    pub async fn get(&self, encoder: &str) -> Result<EncoderHandle> {
        let is_loaded = |cell: &Arc<OnceCell<Loaded>>| cell.get().map(|loaded| loaded.handle.clone());
        if let Some(handle) = self.0.kept.lock().touch(encoder).and_then(is_loaded) {
            return Ok(handle);
        }
        let (registry, encoder) = (self.clone(), encoder.to_owned());
        let found = blocking(move || registry.find(&encoder)).await?;
        let full_name = found.full_name();
        let cell = {
            let mut kept = self.0.kept.lock();
            kept.slots.entry(full_name.clone()).or_default();
            kept.touch(&full_name).cloned().unwrap_or_default()
        };
        let loaded = cell.get_or_try_init(|| self.load(found)).await?;
        Ok(loaded.handle.clone())
    }

    async fn load(&self, found: ModelFolder) -> Result<Loaded> {
        let _one_load = self.0.loading.lock().await;
        let inner = self.0.clone();
        let (folder, plan) = blocking(move || {
            let plan = EncoderPlan::read(&found, &inner.settings)?;
            Ok((found, plan))
        })
        .await?;
        let room = self.make_room(&folder.full_name(), plan.weight_bytes()?).await?;
        let inner = self.0.clone();
        // A caller that gives up meanwhile takes handle and room with it.
        let loaded = blocking(move || {
            let handle = start(plan, &inner.settings, inner.pools.clone())?;
            Ok(Loaded { handle, _room: room })
        })
        .await?;
        self.0.kept.lock().set_aside.remove(&folder.full_name());
        Ok(loaded)
    }

    /// Takes room, letting idle encoders go until there is enough.
    async fn make_room(&self, name: &str, needed: u64) -> Result<Room> {
        let EncodeSettings { weight_bytes: room, patience, .. } = self.0.settings;
        if needed > room {
            return Err(Error::FailedPrecondition {
                reason: "ENCODER_TOO_LARGE",
                message: format!(
                    "encoder {name} takes {needed} bytes, all encoders may take {room}; see --encoder-memory"
                ),
            });
        }
        let started = Instant::now();
        loop {
            let taken = self.weight_bytes();
            if taken.saturating_add(needed) <= room {
                return Ok(Room::take(needed, &self.0.taken));
            }
            let idle = self.0.kept.lock().take_idle();
            match idle {
                Some(idle) => {
                    tracing::info!(encoder = idle.handle.info().full_name(), "let go to make room for {name}");
                    let stop = move || {
                        idle.handle.stop();
                        drop(idle);
                        Ok(())
                    };
                    blocking(stop).await?;
                }
                None if started.elapsed() < patience => tokio::time::sleep(PERIOD).await,
                None => {
                    return Err(Error::Overloaded {
                        what: "the encoders' memory",
                        depth: taken,
                        capacity: room,
                        retry_after: Duration::from_secs(1),
                    });
                }
            }
        }
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
    start(EncoderPlan::read(folder, settings)?, settings, pools)
}

fn start(plan: EncoderPlan, settings: &EncodeSettings, pools: Arc<PreparationPools>) -> Result<EncoderHandle> {
    let started = Instant::now();
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
