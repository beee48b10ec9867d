//! From one encoder to another: a field's next generation, the switch to it, the end of the old one.

use super::Engine;
use crate::collection::backend::{Selection, StoredItem};
use crate::collection::schema::{CollectionSchema, FieldSource, FieldSpec, GenerationState, MediaOriginals};
use crate::collection::{CollectionBackend, GenerationChange};
use crate::jobs::ReembedSpec;
use crate::search::warm_up;
use crate::store::JobRecord;
use crate::types::PartKind;
use crate::{Error, Result};

/// Items counted at once.
const PAGE: usize = 4096;

/// What the end of a generation freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DroppedGeneration {
    pub vectors: u64,
    /// Bytes of all vectors on the disk, before and after.
    pub bytes_before: u64,
    pub bytes_after: u64,
}

impl Engine {
    /// Queues a job that makes the field's next generation with another encoder. `allow_thumbnails` takes what is kept of
    /// pictures whose original bytes are not.
    ///
    /// # Errors
    /// `NotFound`; `FailedPrecondition` if the encoder cannot fill the field, if it would change nothing, if another generation
    /// is being built, or if pictures' original bytes are missing; the encoder's errors.
    pub async fn reembed(
        &self,
        collection: String,
        field: String,
        encoder: String,
        allow_thumbnails: bool,
    ) -> Result<JobRecord> {
        let backend = self.shared.catalog.resolve_local(&collection)?;
        let schema = backend.schema();
        let stored = schema.field(&field)?;
        let source = match &stored.source {
            FieldSource::Media { .. } => FieldSource::Media { encoder },
            FieldSource::Text { names, .. } => FieldSource::Text { encoder, names: names.clone() },
            FieldSource::Vector { .. } => {
                return Err(Error::FailedPrecondition {
                    reason: "FIELD_WITHOUT_ENCODER",
                    message: format!("field {:?} holds the caller's vectors; write them to a new field", stored.name),
                });
            }
        };
        let spec = FieldSpec { name: stored.name.clone(), source };
        spec.check()?;
        let resolved = self.resolve_field(spec).await?.encoder;
        let resolved = resolved.ok_or_else(|| Error::Internal("an encoder was not resolved".to_owned()))?;
        let same = stored.generations.iter().find(|generation| generation.fingerprint == resolved.fingerprint);
        if let Some(same) = same {
            let hint = match same.state {
                GenerationState::Current => "it is current: nothing would change".to_owned(),
                GenerationState::Building => format!("job {} is building it", same.job),
                GenerationState::Ready | GenerationState::Retired => "it is complete: switch to it".to_owned(),
            };
            return Err(Error::FailedPrecondition {
                reason: "GENERATION_EXISTS",
                message: format!(
                    "generation {} of field {:?} is made by {} already; {hint}",
                    same.number, stored.name, same.encoder
                ),
            });
        }
        if matches!(stored.source, FieldSource::Media { .. }) {
            check_originals(&*backend, &schema, allow_thumbnails).await?;
        }
        let spec = ReembedSpec::new(&schema, &stored.name, resolved);
        let items = backend.stats().items;
        self.jobs(move |jobs| jobs.reembed(&spec, items)).await
    }

    /// Makes a complete generation the one that searches use, after its encoder has answered; gives the one before. Searches
    /// under way end with the generation that they began with.
    ///
    /// # Errors
    /// `NotFound`; `FailedPrecondition` if the generation is not complete or its encoder has changed; the encoder's errors.
    pub async fn switch_generation(&self, collection: String, field: String, number: u32) -> Result<u32> {
        let schema = self.backend(&collection)?.schema();
        let stored = schema.field(&field)?;
        let generation = stored.generation(number)?;
        warm_up(self.encoders(), generation).await?;
        let (name, change) = (stored.name.clone(), GenerationChange::Switch(number));
        self.with_catalog(move |catalog| Ok(catalog.change_generation(&collection, &name, &change)?.previous)).await
    }

    /// Removes a generation that is not current, and gives its room back to the disk.
    ///
    /// # Errors
    /// `NotFound`; `FailedPrecondition` if it is current or its job has not ended.
    pub async fn drop_generation(&self, collection: String, field: String, number: u32) -> Result<DroppedGeneration> {
        let schema = self.backend(&collection)?.schema();
        let stored = schema.field(&field)?;
        let generation = stored.generation(number)?;
        if generation.state == GenerationState::Building {
            let id = generation.job.clone();
            let is_at_work = self.jobs(move |jobs| jobs.is_at_work(&id)).await?;
            if is_at_work {
                return Err(Error::FailedPrecondition {
                    reason: "GENERATION_IS_BUILDING",
                    message: format!("job {} is building generation {number}; cancel the job", generation.job),
                });
            }
        }
        let (name, change) = (stored.name.clone(), GenerationChange::Drop(number));
        let store = self.shared.store.clone();
        self.with_catalog(move |catalog| {
            let bytes_before = store.vector_bytes()?;
            let vectors = catalog.change_generation(&collection, &name, &change)?.dropped;
            Ok(DroppedGeneration { vectors, bytes_before, bytes_after: store.vector_bytes()? })
        })
        .await
    }
}

/// Refuses to encode pictures again that are not kept as they came.
pub(super) async fn check_originals(
    backend: &dyn CollectionBackend,
    schema: &CollectionSchema,
    allow_thumbnails: bool,
) -> Result<()> {
    let (kept, advice) = match (schema.media_originals, allow_thumbnails) {
        (MediaOriginals::Keep, _) | (MediaOriginals::Thumbnail, true) => return Ok(()),
        (MediaOriginals::Thumbnail, false) => ("a thumbnail", "allow thumbnails, or ingest the pictures again"),
        (MediaOriginals::None, _) => ("nothing", "ingest the pictures again into a new collection"),
    };
    let (mut items, mut after) = (0, None);
    loop {
        let page = backend.scroll(after, None, PAGE, Selection::default()).await?;
        let has_media = |item: &&StoredItem| item.parts.iter().any(|(part, _)| part.kind == PartKind::Media);
        items += page.items.iter().filter(has_media).count();
        match page.next {
            Some(next) => after = Some(next),
            None if items == 0 => return Ok(()),
            None => break,
        }
    }
    Err(Error::FailedPrecondition {
        reason: "WITHOUT_ORIGINALS",
        message: format!("{items} items keep {kept} of their pictures; {advice}"),
    })
}
