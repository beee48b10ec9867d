//! From the model that a field is served with to a better one: train, compare on what is held out, embed again, switch.
//!
//! Every step is taken once and can be taken up again: the training run by its checkpoint, its result by the job's row, the
//! generation by the job's id, the switch by the model that is current.

use serde::Deserialize;
use serde_json::json;

use super::kind::{JobControl, JobEnd, JobKind, Lane, spec_of};
use super::reembed::{Reembed, ReembedSpec, block_on};
use super::train::Train;
use crate::collection::schema::GenerationState;
use crate::collection::{CollectionBackend as _, GenerationChange, GenerationSpec};
use crate::encode::patiently;
use crate::fail_point::fail_point;
use crate::search::warm_up;
use crate::store::{JobRecord, JobState, Store};
use crate::train::trainer::Finished;
use crate::{Error, Result};

/// The field that a run's result is for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct FinetuneTarget {
    pub collection: String,
    /// The collection's uid, so that a new one of the same name is not meant.
    pub uid: String,
    pub field: String,
    /// NAME@REVISION of the model that the field is served with and that the run starts from.
    pub start: String,
}

pub(super) struct Finetune {
    pub(super) train: Train,
    pub(super) reembed: Reembed,
}

impl Finetune {
    /// Freezes the corpus of a run that will be queued.
    pub(super) fn prepare(&self, store: &Store, recipe: &str, target: &FinetuneTarget) -> Result<JobRecord> {
        let mut job = self.train.prepare(store, recipe)?;
        self.name().clone_into(&mut job.kind);
        job.spec["collection"] = json!(target.collection);
        job.spec["uid"] = json!(target.uid);
        job.spec["field"] = json!(target.field);
        job.spec["start"] = json!(target.start);
        Ok(job)
    }

    /// Embeds the field with the better model and switches to it; `None` if asked to stop.
    async fn put_to_use(
        &self,
        target: &FinetuneTarget,
        model: &str,
        job: &mut JobRecord,
        control: &JobControl<'_>,
    ) -> Result<Option<serde_json::Value>> {
        let backend = self.reembed.collection(&target.collection, &target.uid)?;
        let schema = backend.schema();
        let field = schema.field(&target.field)?;
        let current = field.current()?;
        if current.encoder == model {
            return Ok(Some(json!({ "field": field.name, "generation": current.number })));
        }
        if current.encoder != target.start {
            return Err(Error::FailedPrecondition {
                reason: "ENCODER_CHANGED",
                message: format!(
                    "field {:?} is served with {} by now, the run was compared with {}; {model} is kept and not used",
                    field.name, current.encoder, target.start
                ),
            });
        }
        let encoders = &self.reembed.encoders;
        let info = patiently(|| encoders.get(model)).await?.info().clone();
        let is_there = |state: GenerationState| matches!(state, GenerationState::Ready | GenerationState::Retired);
        let mut generations = field.generations.iter();
        // The same recipe on the same corpus gives the same model, which may have been embedded before.
        let known = generations.find(|known| known.fingerprint == info.fingerprint && is_there(known.state));
        let (number, filled) = match known {
            Some(known) => (known.number, json!({ "field": field.name, "generation": known.number })),
            None => {
                let generation = GenerationSpec {
                    encoder: info.full_name(),
                    space: info.space.clone(),
                    dimension: info.dimension as u32,
                    fingerprint: info.fingerprint.clone(),
                };
                let spec = ReembedSpec::new(&schema, &field.name, generation);
                let Some(filled) = self.reembed.fill(&spec, job, control).await? else { return Ok(None) };
                (filled.generation, json!(filled))
            }
        };
        fail_point("finetune.filled");
        let schema = backend.schema();
        let generation = schema.field(&target.field)?.generation(number)?;
        patiently(|| warm_up(encoders, generation)).await?;
        let switch = GenerationChange::Switch(number);
        self.reembed.catalog.change_generation(&target.collection, &target.field, &switch)?;
        fail_point("finetune.switched");
        Ok(Some(filled))
    }
}

impl JobKind for Finetune {
    fn name(&self) -> &'static str {
        "finetune"
    }

    fn lane(&self) -> Lane {
        Lane::Training
    }

    fn run(&self, job: &mut JobRecord, control: &JobControl<'_>) -> Result<JobEnd> {
        let target: FinetuneTarget = spec_of(job)?;
        // While a run is under way the result holds its figures only.
        if job.result.get("model").is_none() {
            match self.train.run(job, control)? {
                JobEnd::Succeeded => control.keep(job)?,
                other => return Ok(other),
            }
            fail_point("finetune.trained");
        }
        let finished: Finished = serde_json::from_value(job.result.clone())
            .map_err(|error| Error::Corruption(format!("the result of job {}: {error}", job.id)))?;
        let comparison = finished
            .comparison
            .ok_or_else(|| Error::Corruption(format!("the run of job {} compared nothing", job.id)))?;
        if !comparison.is_better {
            job.message = format!("nothing is switched: {comparison}");
            job.result["switched"] = json!(false);
            return Ok(JobEnd::Succeeded);
        }
        let Some(filled) = block_on(self.put_to_use(&target, &finished.model, job, control))?? else {
            return Ok(JobEnd::Stopped);
        };
        job.message = format!("{} is in use: {comparison}", finished.model);
        job.result["switched"] = json!(true);
        job.result["filled"] = filled;
        Ok(JobEnd::Succeeded)
    }

    fn can_go_on(&self, job: &JobRecord) -> bool {
        let has_collection = |target: FinetuneTarget| self.reembed.collection(&target.collection, &target.uid).is_ok();
        (job.result.get("model").is_some() || self.train.can_go_on(job)) && spec_of(job).is_ok_and(has_collection)
    }

    fn clean_up(&self, job: &JobRecord, state: JobState) -> Result<()> {
        self.train.clean_up(job, state)?;
        let FinetuneTarget { collection, uid, field, .. } = spec_of(job)?;
        if state == JobState::Cancelled {
            self.reembed.drop_unfinished(&collection, &uid, &field, &job.id)?;
        }
        Ok(())
    }
}
