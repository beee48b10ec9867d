//! Fills a field's next generation while the collection is written and searched.
//!
//! From the moment the generation exists every write goes to it too, so one pass over the ids, in their order, meets every item
//! that still lacks vectors. A filling says which parts it was made of; if a newer write has changed them, the store refuses it
//! and the item is read again. Nothing is lost if the process dies: what is filled is in the store, and filling twice is refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::kind::{JobControl, JobEnd, JobKind, spec_of};
use super::ranking;
use crate::collection::backend::{CollectionBackend, FillOutcome, Filling, ScrollPage, Selection, StoredItem};
use crate::collection::schema::{FieldSource, GenerationState};
use crate::collection::{Catalog, GenerationChange, GenerationSpec, LocalCollection};
use crate::encode::{EncoderHandle, EncoderRegistry, Role};
use crate::fail_point::fail_point;
use crate::store::{JobRecord, JobState};
use crate::types::vector::UnitVector;
use crate::types::{ItemId, PartKind, PartRef};
use crate::{Error, Result};

/// Items read and encoded at once: enough for a network's batch, few enough to stop soon.
const PAGE: usize = 64;
/// Passes over the items before a job gives up; one is enough unless something else is wrong.
const PASSES: usize = 3;

/// What a re-embedding job is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReembedSpec {
    pub collection: String,
    /// The collection's uid, so that a new one of the same name is not meant.
    pub uid: String,
    pub field: String,
    /// NAME@REVISION.
    pub encoder: String,
    pub space: String,
    pub dimension: u32,
    pub fingerprint: String,
}

pub(super) struct Reembed {
    pub(super) catalog: Arc<Catalog>,
    pub(super) encoders: EncoderRegistry,
}

impl JobKind for Reembed {
    fn name(&self) -> &'static str {
        "reembed"
    }

    fn run(&self, job: &mut JobRecord, control: &JobControl<'_>) -> Result<JobEnd> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(|error| Error::Internal(format!("a job's runtime: {error}")))?;
        runtime.block_on(self.fill(job, control))
    }

    fn can_go_on(&self, job: &JobRecord) -> bool {
        spec_of(job).is_ok_and(|spec| self.collection(&spec).is_ok())
    }

    /// A cancelled job's generation goes; a complete one stays.
    fn clean_up(&self, job: &JobRecord, state: JobState) -> Result<()> {
        let spec: ReembedSpec = spec_of(job)?;
        let schema = self.collection(&spec)?.schema();
        let mut generations = schema.field(&spec.field)?.generations.iter();
        let own = generations.find(|own| own.job == job.id && own.state == GenerationState::Building);
        if let (Some(own), JobState::Cancelled) = (own, state) {
            self.catalog.change_generation(&schema.name, &spec.field, &GenerationChange::Drop(own.number))?;
        }
        Ok(())
    }
}

/// What a running job holds.
struct Run<'a> {
    backend: Arc<LocalCollection>,
    encoder: EncoderHandle,
    spec: ReembedSpec,
    source: FieldSource,
    /// The generation that is filled.
    number: u32,
    control: &'a JobControl<'a>,
    started: Instant,
    filled_before: u64,
}

impl Reembed {
    /// The collection that is meant.
    fn collection(&self, spec: &ReembedSpec) -> Result<Arc<LocalCollection>> {
        let backend = self.catalog.resolve_local(&spec.collection)?;
        if backend.schema().uid == spec.uid {
            return Ok(backend);
        }
        Err(Error::NotFound { kind: "collection", name: format!("{} that the job was started on", spec.collection) })
    }

    async fn fill(&self, job: &mut JobRecord, control: &JobControl<'_>) -> Result<JobEnd> {
        let spec: ReembedSpec = spec_of(job)?;
        let backend = self.collection(&spec)?;
        let encoder = self.encoders.get(&spec.encoder).await?;
        check_fingerprint(&encoder, &spec)?;
        fail_point("reembed.before");
        let generation = GenerationSpec {
            encoder: spec.encoder.clone(),
            space: spec.space.clone(),
            dimension: spec.dimension,
            fingerprint: spec.fingerprint.clone(),
        };
        let add = GenerationChange::Add { spec: generation, job: job.id.clone() };
        let added = self.catalog.change_generation(&spec.collection, &spec.field, &add)?;
        fail_point("reembed.begun");
        let schema = backend.schema();
        let field = schema.field(&spec.field)?;
        let run = Run {
            encoder,
            source: field.source.clone(),
            number: added.number,
            control,
            started: Instant::now(),
            filled_before: job.done,
            backend: Arc::clone(&backend),
            spec,
        };
        if field.generation(run.number)?.state == GenerationState::Building {
            for pass in 1..=PASSES {
                if !run.pass(job).await? {
                    return Ok(JobEnd::Stopped);
                }
                let (has, needs) = run.counts()?;
                if has == needs {
                    break;
                }
                if pass == PASSES {
                    return Ok(JobEnd::Failed(format!(
                        "generation {} has {has} vectors where the current one has {needs}, after {PASSES} passes",
                        run.number
                    )));
                }
                (job.done, job.checkpoint) = (0, Vec::new());
            }
            fail_point("reembed.filled");
            check_fingerprint(&run.encoder, &run.spec)?;
            // Vectors are written without waiting for the disk; before they count they must be on it.
            backend.flush().await?;
        }
        let previous = run.current()?;
        let agreement = ranking::compare(&*backend, &run.spec.field, previous, run.number).await?;
        fail_point("reembed.checked");
        let complete = GenerationChange::Complete(run.number);
        self.catalog.change_generation(&run.spec.collection, &run.spec.field, &complete)?;
        fail_point("reembed.complete");
        job.message = format!("generation {} is complete; {agreement}", run.number);
        job.done = job.total;
        job.result = json!({
            "field": run.spec.field, "generation": run.number, "previous": previous, "encoder": run.spec.encoder,
            "vectors": run.counts()?.0, "rankings": agreement,
        });
        Ok(JobEnd::Succeeded)
    }
}

fn check_fingerprint(encoder: &EncoderHandle, spec: &ReembedSpec) -> Result<()> {
    let found = &encoder.info().fingerprint;
    if *found == spec.fingerprint {
        return Ok(());
    }
    Err(Error::FailedPrecondition {
        reason: "ENCODER_CHANGED",
        message: format!("encoder {} has fingerprint {found}, the job began with {}", spec.encoder, spec.fingerprint),
    })
}

impl Run<'_> {
    /// The generation that searches use now.
    fn current(&self) -> Result<u32> {
        Ok(self.backend.schema().field(&self.spec.field)?.current()?.number)
    }

    /// Vectors of the generation that is filled, and of the one that searches use, at one moment.
    fn counts(&self) -> Result<(u64, u64)> {
        let current = self.current()?;
        let vectors = self.backend.stats().vectors;
        let count = |number| vectors.get(&(self.spec.field.clone(), number)).copied().unwrap_or(0);
        Ok((count(self.number), count(current)))
    }

    /// Goes over the items from the job's checkpoint on; false if asked to stop.
    async fn pass(&self, job: &mut JobRecord) -> Result<bool> {
        let mut after = match std::str::from_utf8(&job.checkpoint) {
            Ok("") => None,
            Ok(id) => Some(ItemId::new(id)?),
            Err(_) => return Err(Error::Corruption(format!("the checkpoint of job {} is no item id", job.id))),
        };
        loop {
            if self.control.should_stop() {
                return Ok(false);
            }
            let page = self.read(after.clone()).await?;
            let last = page.items.last().map(|item| item.id.clone());
            let count = page.items.len() as u64;
            self.fill_items(page.items).await?;
            if let Some(last) = last {
                job.checkpoint = last.as_str().as_bytes().to_vec();
            }
            job.done += count;
            job.total = self.backend.stats().items.max(job.done);
            job.message = self.message(job);
            self.control.keep(job)?;
            fail_point("reembed.page");
            if page.next.is_none() {
                return Ok(true);
            }
            after = page.next;
        }
    }

    fn message(&self, job: &JobRecord) -> String {
        let (done, seconds) = (job.done.saturating_sub(self.filled_before), self.started.elapsed().as_secs_f64());
        let rate = done as f64 / seconds.max(1e-3);
        let left = (job.total - job.done) as f64 / rate.max(1e-3);
        format!("filling generation {}: {rate:.0} items/s, {left:.0} s left", self.number)
    }

    /// What the encoder needs of an item.
    fn selection(&self) -> Selection {
        let is_text = matches!(self.source, FieldSource::Text { .. });
        Selection { texts: is_text, media_data: !is_text, ..Selection::default() }
    }

    /// Reads the next items with what the encoder needs; fewer of them where their pictures are large.
    async fn read(&self, after: Option<ItemId>) -> Result<ScrollPage> {
        let mut limit = PAGE;
        loop {
            match self.backend.scroll(after.clone(), None, limit, self.selection()).await {
                Err(Error::LimitExceeded { .. }) if limit > 1 => limit /= 4,
                page => return page,
            }
        }
    }

    /// Fills items; those whose parts change meanwhile are read again.
    async fn fill_items(&self, mut items: Vec<StoredItem>) -> Result<()> {
        loop {
            let mut fillings = Vec::with_capacity(items.len());
            for item in self.lacking(items).await? {
                let vectors = self.encode(&item).await.map_err(|error| of_item(&item.id, &error))?;
                fillings.push(Filling { id: item.id, parts: item.parts, vectors });
            }
            if fillings.is_empty() {
                return Ok(());
            }
            let ids: Vec<ItemId> = fillings.iter().map(|filling| filling.id.clone()).collect();
            let outcomes = self.backend.fill(&self.spec.field, self.number, fillings).await?;
            let changed = ids.into_iter().zip(outcomes).filter(|(_, outcome)| *outcome == FillOutcome::Changed);
            let changed: Vec<ItemId> = changed.map(|(id, _)| id).collect();
            if changed.is_empty() {
                return Ok(());
            }
            items = self.backend.get(changed, self.selection()).await?.into_iter().flatten().collect();
        }
    }

    /// The items that have parts for the field and not all their vectors yet: writes since the start brought theirs along.
    async fn lacking(&self, items: Vec<StoredItem>) -> Result<Vec<StoredItem>> {
        let ids = items.iter().map(|item| item.id.clone()).collect();
        let slots = self.backend.filled(&self.spec.field, self.number, ids).await?;
        let lacks = |(item, filled): &(StoredItem, usize)| {
            item.parts.iter().filter(|(part, _)| self.source.takes(&self.spec.field, part)).count() > *filled
        };
        Ok(items.into_iter().zip(slots).filter(lacks).map(|(item, _)| item).collect())
    }

    /// The vectors of an item's parts in the new generation.
    async fn encode(&self, item: &StoredItem) -> Result<Vec<(PartRef, UnitVector)>> {
        let parts = item.parts.iter().map(|(part, _)| part).filter(|part| self.source.takes(&self.spec.field, part));
        let (texts, media): (Vec<&PartRef>, Vec<&PartRef>) = parts.partition(|part| part.kind == PartKind::Text);
        let mut vectors = Vec::with_capacity(texts.len() + media.len());
        if !texts.is_empty() {
            let content = |part: &&PartRef| {
                let text = item.texts.get(&part.name).and_then(|chunks| chunks.get(part.index as usize));
                text.cloned().ok_or_else(|| Error::Corruption(format!("{part:?} has no text")))
            };
            let contents: Vec<String> = texts.iter().map(content).collect::<Result<_>>()?;
            let made = patiently(|| self.encoder.encode_texts(contents.clone(), Role::Document, None)).await?;
            vectors.extend(texts.into_iter().cloned().zip(made.into_iter().map(|made| made.vector.as_ref().clone())));
        }
        if !media.is_empty() {
            let content = |part: &&PartRef| {
                let data = item.media.get(part.index as usize).and_then(|media| media.data.clone());
                data.ok_or_else(|| Error::FailedPrecondition {
                    reason: "WITHOUT_ORIGINALS",
                    message: format!("the bytes of {part:?} are not kept"),
                })
            };
            let contents: Vec<_> = media.iter().map(content).collect::<Result<_>>()?;
            let made = patiently(|| self.encoder.encode_images(contents.clone(), Role::Document, None)).await?;
            for (part, made) in media.into_iter().zip(made) {
                vectors.push((part.clone(), made?.as_ref().clone()));
            }
        }
        Ok(vectors)
    }
}

/// Tries again while the encoder has no room: writers go first.
async fn patiently<T, F: Future<Output = Result<T>>>(encode: impl Fn() -> F) -> Result<T> {
    loop {
        match encode().await {
            Err(error @ Error::Overloaded { .. }) => {
                tokio::time::sleep(error.retry_after().unwrap_or(Duration::from_millis(100))).await;
            }
            outcome => return outcome,
        }
    }
}

fn of_item(id: &ItemId, error: &Error) -> Error {
    Error::FailedPrecondition { reason: "ITEM_CANNOT_BE_ENCODED", message: format!("item {id}: {error}") }
}
