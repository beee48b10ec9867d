//! Measuring a field as a job.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::kind::{JobControl, JobEnd, JobKind, Lane, spec_of};
use super::reembed::{Reembed, block_on};
use crate::Result;
use crate::evaluate::{self, Field};
use crate::store::{JobRecord, JobState};

/// What is measured, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluateSpec {
    pub collection: String,
    /// The collection's uid, so that a new one of the same name is not meant.
    pub uid: String,
    pub field: String,
    pub evaluator: String,
    pub parameters: Map<String, Value>,
}

pub(super) struct Evaluate {
    /// Knows collections and encoders.
    pub(super) reembed: Reembed,
}

impl JobKind for Evaluate {
    fn name(&self) -> &'static str {
        "evaluate"
    }

    fn lane(&self) -> Lane {
        Lane::Serving
    }

    fn run(&self, job: &mut JobRecord, control: &JobControl<'_>) -> Result<JobEnd> {
        let spec: EvaluateSpec = spec_of(job)?;
        let evaluator = evaluate::find(&spec.evaluator)?;
        let backend = self.reembed.collection(&spec.collection, &spec.uid)?;
        let should_stop = || control.should_stop();
        let encoders = &self.reembed.encoders;
        let field = Field { backend: Arc::clone(&backend) as _, encoders, name: spec.field, should_stop: &should_stop };
        let measured = block_on(evaluator.measure(&field, &spec.parameters))??;
        let Some(measured) = measured else { return Ok(JobEnd::Stopped) };
        (job.message, job.result, job.done) = (measured.summary, measured.result, job.total);
        Ok(JobEnd::Succeeded)
    }

    fn can_go_on(&self, _: &JobRecord) -> bool {
        true
    }

    fn clean_up(&self, _: &JobRecord, _: JobState) -> Result<()> {
        Ok(())
    }
}
