//! Collections, fields and aliases through the door.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Engine;
use super::generations::check_originals;
use crate::collection::backend::CollectionBackend as _;
use crate::collection::schema::{FieldSource, FieldSpec, GenerationState, MediaOriginals, check_fields};
use crate::collection::{AliasChange, Catalog, CollectionInfo, Expiry, GenerationSpec, NewCollection, NewField};
use crate::jobs::{PayloadIndexJob, ReembedSpec};
use crate::store::JobRecord;
use crate::types::payload_index::PayloadIndexSpec;
use crate::types::{Error, Result, Timestamp};

/// A collection as a caller describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionSpec {
    pub name: String,
    pub fields: Vec<FieldSpec>,
    pub media_originals: MediaOriginals,
    /// Empty: the first field.
    pub default_field: String,
    pub expiry: Option<Expiry>,
}

/// Items that one step of the removal of ended items takes.
const EXPIRE_STEP: usize = 1_000;

impl Engine {
    /// Makes a collection. Encoders are resolved to their present revision and stay bound to it.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`], [`Error::AlreadyExists`], [`Error::NotFound`] for an encoder, [`Error::FailedPrecondition`] if
    /// an encoder cannot fill its field, [`Error::LimitExceeded`].
    pub async fn create_collection(&self, spec: CollectionSpec) -> Result<CollectionInfo> {
        check_fields(&spec.fields, &spec.default_field)?;
        let mut fields = Vec::with_capacity(spec.fields.len());
        for field in spec.fields {
            fields.push(self.resolve_field(field).await?);
        }
        let new = NewCollection {
            name: spec.name,
            fields,
            media_originals: spec.media_originals,
            default_field: spec.default_field,
            expiry: spec.expiry,
        };
        self.with_catalog(move |catalog| catalog.create(new)).await
    }

    /// Describes a collection, by its name or an alias.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn collection_info(&self, name: &str) -> Result<CollectionInfo> {
        self.shared.catalog.get(name)
    }

    /// Describes every collection, by name.
    #[must_use]
    pub fn list_collections(&self) -> Vec<CollectionInfo> {
        self.shared.catalog.list()
    }

    /// Removes a collection with everything in it; gives the number of its items.
    ///
    /// # Errors
    /// [`Error::NotFound`]; an alias is not enough.
    pub async fn drop_collection(&self, name: String) -> Result<u64> {
        self.with_catalog(move |catalog| catalog.drop_collection(&name)).await
    }

    /// Adds a field. If the collection has items that an encoder has to make vectors of, a job fills the field and searches of
    /// it are refused until the job's end; writes go to it at once.
    ///
    /// # Errors
    /// As [`Engine::create_collection`]; `FailedPrecondition` with `WITHOUT_ORIGINALS` if pictures are not kept as they came.
    pub async fn add_field(&self, collection: String, field: FieldSpec) -> Result<(CollectionInfo, Option<JobRecord>)> {
        field.check()?;
        let field = self.resolve_field(field).await?;
        let (name, new) = (collection.clone(), field.clone());
        match self.with_catalog(move |catalog| catalog.add_field(&name, new, "")).await {
            Ok(info) => Ok((info, None)),
            Err(Error::FailedPrecondition { reason: "COLLECTION_NOT_EMPTY", .. }) => {
                let job = self.add_field_with_job(&collection, field).await?;
                Ok((self.collection_info(&collection)?, Some(job)))
            }
            Err(error) => Err(error),
        }
    }

    /// Queues the job first: whoever dies in between leaves a job that adds the field itself.
    async fn add_field_with_job(&self, collection: &str, field: NewField) -> Result<JobRecord> {
        let backend = self.backend(collection)?;
        let schema = backend.schema();
        if matches!(field.spec.source, FieldSource::Media { .. }) {
            check_originals(&*backend, &schema, false).await?;
        }
        let items = backend.stats().items;
        let encoder = field.encoder.clone();
        let encoder = encoder.ok_or_else(|| Error::Internal("an encoder was not resolved".to_owned()))?;
        let new_source = Some(field.spec.source.clone());
        let spec = ReembedSpec { new_source, ..ReembedSpec::new(&schema, &field.spec.name, encoder) };
        let job = self.jobs(move |jobs| jobs.reembed(&spec, items)).await?;
        let (name, id) = (schema.name.clone(), job.id.clone());
        match self.with_catalog(move |catalog| catalog.add_field(&name, field, &id)).await {
            Ok(_) => Ok(job),
            Err(error) => {
                let id = job.id.clone();
                // The job cannot add the field either, and may have found that out already.
                let _ = self.jobs(move |jobs| jobs.cancel(&id)).await;
                Err(error)
            }
        }
    }

    /// Removes a field and its vectors; if it was the default, the first that is left becomes it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::FailedPrecondition`].
    pub async fn drop_field(&self, collection: String, field: String) -> Result<CollectionInfo> {
        self.with_catalog(move |catalog| catalog.drop_field(&collection, &field)).await
    }

    /// Adds an index on payloads. If the collection has items, a job fills the index and nothing uses it until the job's end; writes go to
    /// it at once.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::NotFound`], [`Error::LimitExceeded`], [`Error::FailedPrecondition`].
    pub async fn create_payload_index(
        &self,
        collection: String,
        index: PayloadIndexSpec,
    ) -> Result<(CollectionInfo, Option<JobRecord>)> {
        let (name, spec) = (collection.clone(), index.clone());
        match self.with_catalog(move |catalog| catalog.create_payload_index(&name, &spec, "")).await {
            Ok(_) => Ok((self.collection_info(&collection)?, None)),
            Err(Error::FailedPrecondition { reason: "COLLECTION_NOT_EMPTY", .. }) => {
                let backend = self.backend(&collection)?;
                let schema = backend.schema();
                let spec = PayloadIndexJob { collection: schema.name.clone(), uid: schema.uid.clone(), index };
                let items = backend.stats().items;
                let job = self.jobs(move |jobs| jobs.payload_index(&spec, items)).await?;
                Ok((self.collection_info(&collection)?, Some(job)))
            }
            Err(error) => Err(error),
        }
    }

    /// Says when items of a collection end by themselves; `None`: never.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::FailedPrecondition`] with `NO_PAYLOAD_INDEX` if there is no complete time index of the path.
    pub async fn set_expiry(&self, collection: String, expiry: Option<Expiry>) -> Result<CollectionInfo> {
        self.with_catalog(move |catalog| catalog.set_expiry(&collection, expiry)).await
    }

    /// Removes what has ended in every collection; gives how many items.
    ///
    /// # Errors
    /// The first collection's that cannot; it does not stop the others.
    pub async fn expire(&self) -> Result<u64> {
        let (mut all, mut failure) = (0, None);
        for info in self.list_collections() {
            let ends = info.schema.is_some_and(|schema| schema.expiry.is_some());
            let Some(backend) = info.backend.ok().filter(|_| ends) else { continue };
            loop {
                match backend.expire(Timestamp::now(), EXPIRE_STEP).await {
                    Ok(0) => break,
                    Ok(items) => all += items,
                    Err(error) => {
                        failure = failure.or(Some(error));
                        break;
                    }
                }
            }
        }
        failure.map_or(Ok(all), Err)
    }

    /// Removes an index on payloads.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn drop_payload_index(&self, collection: String, index: PayloadIndexSpec) -> Result<CollectionInfo> {
        let name = collection.clone();
        self.with_catalog(move |catalog| catalog.drop_payload_index(&name, &index)).await?;
        self.collection_info(&collection)
    }

    /// Changes aliases, all in one step.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a target, [`Error::AlreadyExists`] if a collection has the alias's name.
    pub async fn update_aliases(&self, changes: Vec<AliasChange>) -> Result<()> {
        self.with_catalog(move |catalog| catalog.update_aliases(&changes)).await
    }

    /// Collections by alias.
    #[must_use]
    pub fn aliases(&self) -> BTreeMap<String, String> {
        self.shared.catalog.aliases()
    }

    /// The encoders that generations are made with; those of generations that are not current encode writes only, and stand before
    /// the others.
    pub(super) fn encoders_in_use(&self) -> Vec<String> {
        let mut is_searched: BTreeMap<String, bool> = BTreeMap::new();
        for schema in self.list_collections().into_iter().filter_map(|info| info.schema) {
            for generation in schema.fields.iter().flat_map(|field| &field.generations) {
                for encoder in generation.encoders() {
                    *is_searched.entry(encoder.to_owned()).or_default() |= generation.state == GenerationState::Current;
                }
            }
        }
        let (searched, others): (Vec<_>, Vec<_>) = is_searched.into_iter().partition(|(_, is_searched)| *is_searched);
        others.into_iter().chain(searched).map(|(encoder, _)| encoder).collect()
    }

    /// Runs a change of the catalog off the asynchronous threads.
    pub(super) async fn with_catalog<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Catalog) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || work(&shared.catalog)).await;
        done.map_err(|error| Error::Internal(format!("the change broke off: {error}")))?
    }

    /// Binds a field to the present revision of its encoder.
    pub(super) async fn resolve_field(&self, spec: FieldSpec) -> Result<NewField> {
        let (encoder, is_image) = match &spec.source {
            FieldSource::Vector { .. } => return Ok(NewField { spec, encoder: None }),
            FieldSource::Text { encoder, .. } => (encoder, false),
            FieldSource::Media { encoder } => (encoder, true),
        };
        let handle = self.encoders().get(encoder).await?;
        let info = handle.info();
        let (takes, needed) = if is_image { (info.encodes_image, "images") } else { (info.encodes_text, "texts") };
        if !takes {
            return Err(Error::FailedPrecondition {
                reason: "ENCODER_CANNOT_FILL",
                message: format!(
                    "encoder {} ({}) does not encode {needed}; field {:?} needs one that does",
                    info.name, info.architecture, spec.name
                ),
            });
        }
        let encoder = GenerationSpec {
            encoder: info.full_name(),
            space: info.space.clone(),
            dimension: info.dimension as u32,
            fingerprint: info.fingerprint.clone(),
        };
        Ok(NewField { spec, encoder: Some(encoder) })
    }
}
