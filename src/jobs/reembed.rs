//! Fills a field's next generation while the collection is written and searched.
//!
//! From the moment the generation exists every write goes to it too, so one pass over the ids, in their order, meets every item
//! that still lacks vectors. A filling says which parts it was made of; if a newer write has changed them, the store refuses it
//! and the item is read again. Nothing is lost if the process dies: what is filled is in the store, and filling twice is refused.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::contents::encode_items;
use super::kind::{JobControl, JobEnd, JobKind, Lane, spec_of};
use crate::collection::backend::{CollectionBackend, FillOutcome, Filling, ScrollPage, Selection, StoredItem};
use crate::collection::schema::{CollectionSchema, FieldSource, FieldSpec, Generation, GenerationState};
use crate::collection::{Catalog, GenerationChange, GenerationSpec, LocalCollection, NewField};
use crate::encode::{EncoderInfo, EncoderRegistry, patiently};
use crate::evaluate::drift::sample_of;
use crate::evaluate::{Drift, Field, compare};
use crate::fail_point::fail_point;
use crate::store::{JobRecord, JobState};
use crate::types::ItemId;
use crate::{Error, Result};

/// Items read and encoded at once: enough for a network's batch, few enough to stop soon.
const PAGE: usize = 64;
/// Items that stand for queries before a generation is complete, and the hits that are compared.
const SAMPLE: usize = 64;
const DEPTH: usize = 10;
/// Items looked at at once without their contents.
const IDS: usize = 4096;
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
    /// What the field holds, if the job adds it to the collection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_source: Option<FieldSource>,
}

impl ReembedSpec {
    /// A job that makes the next generation of a stored field.
    #[must_use]
    pub fn new(schema: &CollectionSchema, field: &str, encoder: GenerationSpec) -> Self {
        let GenerationSpec { encoder, space, dimension, fingerprint } = encoder;
        let (collection, uid) = (schema.name.clone(), schema.uid.clone());
        Self { collection, uid, field: field.to_owned(), encoder, space, dimension, fingerprint, new_source: None }
    }

    fn generation(&self) -> GenerationSpec {
        GenerationSpec {
            encoder: self.encoder.clone(),
            space: self.space.clone(),
            dimension: self.dimension,
            fingerprint: self.fingerprint.clone(),
        }
    }

    /// The field that the job adds, if it adds one.
    #[must_use]
    pub fn new_field(&self) -> Option<NewField> {
        let source = self.new_source.clone()?;
        Some(NewField { spec: FieldSpec { name: self.field.clone(), source }, encoder: Some(self.generation()) })
    }
}

#[derive(Clone)]
pub(super) struct Reembed {
    pub(super) catalog: Arc<Catalog>,
    pub(super) encoders: EncoderRegistry,
}

impl JobKind for Reembed {
    fn name(&self) -> &'static str {
        "reembed"
    }

    fn lane(&self) -> Lane {
        Lane::Serving
    }

    fn run(&self, job: &mut JobRecord, control: &JobControl<'_>) -> Result<JobEnd> {
        let spec: ReembedSpec = spec_of(job)?;
        let Some(filled) = block_on(self.fill(&spec, job, control))?? else { return Ok(JobEnd::Stopped) };
        job.message = filled.to_string();
        job.result = serde_json::to_value(&filled).unwrap_or_default();
        Ok(JobEnd::Succeeded)
    }

    fn can_go_on(&self, job: &JobRecord) -> bool {
        spec_of(job).is_ok_and(|spec: ReembedSpec| self.collection(&spec.collection, &spec.uid).is_ok())
    }

    /// A cancelled job's generation goes; a complete one stays.
    fn clean_up(&self, job: &JobRecord, state: JobState) -> Result<()> {
        let ReembedSpec { collection, uid, field, .. } = spec_of(job)?;
        if state == JobState::Cancelled { self.drop_unfinished(&collection, &uid, &field, &job.id) } else { Ok(()) }
    }
}

/// Runs asynchronous work on the thread of jobs.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(|error| Error::Internal(format!("a job's runtime: {error}")))?;
    Ok(runtime.block_on(work))
}

/// What a job made.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Filled {
    pub field: String,
    pub generation: u32,
    /// The generation that searches used meanwhile; 0 if there was none.
    pub previous: u32,
    pub encoder: String,
    pub vectors: u64,
    pub rankings: Drift,
}

impl fmt::Display for Filled {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, generation, previous, rankings, .. } = self;
        match previous {
            0 => write!(formatter, "generation {generation} of field {field} is complete"),
            _ => write!(formatter, "generation {generation} is complete; {rankings}"),
        }
    }
}

/// What a running job holds.
struct Run<'a> {
    backend: Arc<LocalCollection>,
    /// Where the encoder is asked for, for a page at a time: searches may need its room.
    encoders: EncoderRegistry,
    spec: ReembedSpec,
    source: FieldSource,
    /// The generation that is filled.
    number: u32,
    control: &'a JobControl<'a>,
    started: Instant,
    filled_before: u64,
}

impl Reembed {
    /// The collection that is meant, and not a later one of its name.
    pub(super) fn collection(&self, name: &str, uid: &str) -> Result<Arc<LocalCollection>> {
        let backend = self.catalog.resolve_local(name)?;
        if backend.schema().uid == uid {
            return Ok(backend);
        }
        Err(Error::NotFound { kind: "collection", name: format!("{name} that the job was started on") })
    }

    /// Removes what a job has begun and will not finish: its generation, or the field that it added.
    pub(super) fn drop_unfinished(&self, collection: &str, uid: &str, field: &str, job: &str) -> Result<()> {
        let schema = self.collection(collection, uid)?.schema();
        let Ok(stored) = schema.field(field) else { return Ok(()) };
        let is_own = |own: &&Generation| own.job == job && own.state == GenerationState::Building;
        let Some(own) = stored.generations.iter().find(is_own) else { return Ok(()) };
        if stored.generations.len() == 1 {
            return self.catalog.drop_field(&schema.name, field).map(|_| ());
        }
        self.catalog.change_generation(&schema.name, field, &GenerationChange::Drop(own.number)).map(|_| ())
    }

    /// Makes and fills a generation, or goes on with it; `None` if asked to stop.
    pub(super) async fn fill(
        &self,
        spec: &ReembedSpec,
        job: &mut JobRecord,
        control: &JobControl<'_>,
    ) -> Result<Option<Filled>> {
        let backend = self.collection(&spec.collection, &spec.uid)?;
        check_fingerprint(patiently(|| self.encoders.get(&spec.encoder)).await?.info(), spec)?;
        fail_point("reembed.before");
        let number = match spec.new_field() {
            Some(field) => {
                self.catalog.add_field(&spec.collection, field, &job.id)?;
                1
            }
            None => {
                let add = GenerationChange::Add { spec: spec.generation(), job: job.id.clone() };
                self.catalog.change_generation(&spec.collection, &spec.field, &add)?.number
            }
        };
        fail_point("reembed.begun");
        if job.checkpoint.is_empty() {
            // The work before, such as training, counted in other units.
            job.done = 0;
        }
        let schema = backend.schema();
        let field = schema.field(&spec.field)?;
        let run = Run {
            encoders: self.encoders.clone(),
            source: field.source.clone(),
            number,
            control,
            started: Instant::now(),
            filled_before: job.done,
            backend: Arc::clone(&backend),
            spec: spec.clone(),
        };
        if field.generation(run.number)?.state == GenerationState::Building {
            for pass in 1..=PASSES {
                if !run.pass(job).await? {
                    return Ok(None);
                }
                let lacking = run.vectors_lacking().await?;
                if lacking == 0 {
                    break;
                }
                if pass == PASSES {
                    let message = format!("generation {} lacks {lacking} vectors after {PASSES} passes", run.number);
                    return Err(Error::FailedPrecondition { reason: "GENERATION_IS_BUILDING", message });
                }
                (job.done, job.checkpoint) = (0, Vec::new());
            }
            fail_point("reembed.filled");
            check_fingerprint(patiently(|| self.encoders.get(&spec.encoder)).await?.info(), spec)?;
            // Vectors are written without waiting for the disk; before they count they must be on it.
            backend.flush().await?;
        }
        // A job that goes on after its end may find its own generation in use.
        let previous = run.current().filter(|current| current.number != run.number);
        let previous = previous.map_or(0, |current| current.number);
        let Some(rankings) = run.rankings(previous).await? else { return Ok(None) };
        fail_point("reembed.checked");
        let complete = GenerationChange::Complete(run.number);
        self.catalog.change_generation(&run.spec.collection, &run.spec.field, &complete)?;
        fail_point("reembed.complete");
        job.done = job.total;
        let vectors = run.vectors(run.number);
        let (field, encoder) = (run.spec.field, run.spec.encoder);
        Ok(Some(Filled { field, generation: run.number, previous, encoder, vectors, rankings }))
    }
}

fn check_fingerprint(info: &EncoderInfo, spec: &ReembedSpec) -> Result<()> {
    let found = &info.fingerprint;
    if *found == spec.fingerprint {
        return Ok(());
    }
    Err(Error::FailedPrecondition {
        reason: "ENCODER_CHANGED",
        message: format!("encoder {} has fingerprint {found}, the job began with {}", spec.encoder, spec.fingerprint),
    })
}

impl Run<'_> {
    /// The generation that searches use now; a new field has none.
    fn current(&self) -> Option<Generation> {
        self.backend.schema().field(&self.spec.field).ok()?.current().ok().cloned()
    }

    /// What the old and the new generation answer to a sample of queries; `None` if asked to stop.
    async fn rankings(&self, previous: u32) -> Result<Option<Drift>> {
        if previous == 0 {
            return Ok(Some(Drift::default()));
        }
        let should_stop = || self.control.should_stop();
        let (backend, name) = (Arc::clone(&self.backend) as _, self.spec.field.clone());
        let field = Field { backend, encoders: &self.encoders, name, should_stop: &should_stop };
        let schema = self.backend.schema();
        let queries = sample_of(&field, schema.field(&field.name)?, previous, self.number, SAMPLE).await?;
        compare(&field, previous, self.number, &queries, DEPTH).await
    }

    fn vectors(&self, generation: u32) -> u64 {
        self.backend.stats().vectors.get(&(self.spec.field.clone(), generation)).copied().unwrap_or(0)
    }

    /// Vectors by which the generation differs from the one that searches use, at one moment; for a new field, items that lack
    /// some.
    async fn vectors_lacking(&self) -> Result<u64> {
        if let Some(current) = self.current() {
            let vectors = self.backend.stats().vectors;
            let count = |number| vectors.get(&(self.spec.field.clone(), number)).copied().unwrap_or(0);
            return Ok(count(self.number).abs_diff(count(current.number)));
        }
        let (mut lacking, mut after) = (0, None);
        loop {
            let page = self.backend.scroll(after, None, IDS, Selection::default()).await?;
            lacking += self.lacking(page.items).await?.len() as u64;
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(lacking),
            }
        }
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
            let lacking = self.lacking(items).await?;
            if lacking.is_empty() {
                return Ok(());
            }
            let vectors = {
                let encoder = patiently(|| self.encoders.get(&self.spec.encoder)).await?;
                encode_items(&encoder, &self.spec.field, &self.source, &lacking).await?
            };
            let filling = |(item, vectors): (StoredItem, _)| Filling { id: item.id, parts: item.parts, vectors };
            let fillings: Vec<Filling> = lacking.into_iter().zip(vectors).map(filling).collect();
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
}
