//! The door: wires catalog, encoders and search together. Cheap to clone; everything above it only converts.

mod abilities;
mod catalogue;
mod generations;
mod items;
mod jobs;
mod pictures;
mod report;
mod snapshots;
mod spaces;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

pub use abilities::Takes;
pub use catalogue::CollectionSpec;
pub use generations::DroppedGeneration;
pub use items::{Deleted, ItemPage};
pub use report::{EncoderListing, EncoderState, EngineInfo, EngineStats, Feature};
pub use spaces::QueryEncoder;

use crate::collection::backend::CollectionBackend;
use crate::collection::{Catalog, CatalogSettings};
use crate::compose::Composers;
use crate::encode::{EncodeSettings, EncoderRegistry};
use crate::image::DecodeBudget;
use crate::jobs::{JobSettings, Jobs};
use crate::metrics::Metrics;
use crate::model::device::device_name;
use crate::model::{DeviceChoice, PrecisionChoice};
use crate::resources::Resources;
use crate::search::{EncodedPictures, Query, SearchAnswer, search};
use crate::store::{Store, StoreSettings};
use crate::types::{Error, Result, Timestamp};

/// How an engine is set up.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    pub data_dir: PathBuf,
    pub models_dir: PathBuf,
    pub device: DeviceChoice,
    pub dtype: PrecisionChoice,
    pub encode_queue: usize,
    pub resources: Resources,
}

/// A running engine.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    catalog: Arc<Catalog>,
    store: Store,
    encoders: EncoderRegistry,
    composers: Composers,
    jobs: Jobs,
    metrics: Arc<Metrics>,
    thumbnails: pictures::Thumbnails,
    settings: EngineSettings,
    device: String,
    started: Timestamp,
    clock: Instant,
    /// True once a snapshot waits to take the place of the data.
    restart: watch::Sender<bool>,
}

impl Engine {
    /// Opens the data folder and the models folder; blocking. Encoders that collections use are loaded afterwards, by
    /// [`Engine::preload`].
    ///
    /// # Errors
    /// [`Error::FailedPrecondition`] if another process has the data folder, [`Error::Corruption`], [`Error::Storage`],
    /// [`Error::InvalidArgument`] for bad settings.
    pub fn open(settings: EngineSettings) -> Result<Self> {
        let resources = settings.resources;
        let device = device_name(settings.device.resolve()?);
        let decode_budget = Arc::new(DecodeBudget::new(resources.decode_bytes));
        let encoders = EncoderRegistry::open(
            &settings.models_dir,
            EncodeSettings {
                device: settings.device,
                dtype: settings.dtype,
                threads: resources.encode_threads,
                queue_capacity: settings.encode_queue,
                weight_bytes: resources.encoder_bytes,
                cache_bytes: resources.query_cache_bytes,
                decode_budget: Arc::clone(&decode_budget),
                ..EncodeSettings::default()
            },
        )?;
        let store = Store::open(
            &settings.data_dir,
            &StoreSettings { memory_bytes: resources.store_bytes as usize, ..StoreSettings::default() },
        )?;
        let mut settings_of_catalog = CatalogSettings::with_threads(resources.search_threads)?;
        settings_of_catalog.segments.tail_bytes = resources.tail_bytes as usize;
        settings_of_catalog.record_bytes = resources.record_bytes;
        let catalog = Arc::new(Catalog::open(store.clone(), settings_of_catalog)?);
        let jobs = Jobs::start(
            Arc::clone(&catalog),
            encoders.clone(),
            JobSettings {
                program: std::env::current_exe()
                    .map_err(|error| Error::Internal(format!("this program's own path: {error}")))?,
                runs_dir: settings.data_dir.join("runs"),
                models_dir: settings.models_dir.clone(),
                device: device.clone(),
                threads: resources.background_threads,
                memory_bytes: resources.job_bytes,
            },
        )?;
        let shared = Shared {
            catalog,
            jobs,
            store,
            encoders,
            composers: Composers::open(&settings.models_dir, resources.composer_bytes),
            metrics: Arc::default(),
            thumbnails: pictures::Thumbnails::new(resources.threads, decode_budget),
            settings,
            device,
            started: Timestamp::now(),
            clock: Instant::now(),
            restart: watch::Sender::new(false),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Loads every encoder that a collection uses, those of searches last, so that they stay if there is no room for all.
    pub async fn preload(&self) {
        for encoder in self.encoders_in_use() {
            if let Err(error) = self.shared.encoders.get(&encoder).await {
                tracing::error!(encoder, %error, "an encoder that collections use cannot be loaded");
            }
        }
    }

    #[must_use]
    pub fn encoders(&self) -> &EncoderRegistry {
        &self.shared.encoders
    }

    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.shared.metrics)
    }

    /// Answers a query on a collection or alias.
    ///
    /// # Errors
    /// As [`search`], and [`Error::NotFound`] for an unknown collection.
    pub async fn search(&self, collection: &str, query: Query, deadline: Option<Instant>) -> Result<SearchAnswer> {
        self.search_with(&EncodedPictures::default(), collection, query, deadline).await
    }

    /// As [`Engine::search`], for one of several queries that may name the same pictures.
    ///
    /// # Errors
    /// As [`Engine::search`].
    pub async fn search_with(
        &self,
        pictures: &EncodedPictures,
        collection: &str,
        query: Query,
        deadline: Option<Instant>,
    ) -> Result<SearchAnswer> {
        let shared = &self.shared;
        let backend = self.backend(collection)?;
        search(&backend, &shared.encoders, &shared.composers, query, (pictures, deadline)).await
    }

    /// Makes everything acknowledged survive power loss and ends the encoders' threads: no network may run while the process
    /// takes libtorch down.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::StorageFull`].
    pub async fn close(&self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let close = move || {
            shared.jobs.stop();
            shared.encoders.stop();
            shared.store.sync()
        };
        tokio::task::spawn_blocking(close).await.map_err(|error| Error::Internal(error.to_string()))?
    }

    fn backend(&self, collection: &str) -> Result<Arc<dyn CollectionBackend>> {
        self.shared.catalog.resolve(collection)
    }
}
