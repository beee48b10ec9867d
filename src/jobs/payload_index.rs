//! Filling an index on payloads as a job, beside the writers, who put what they write into it themselves.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::kind::{JobControl, JobEnd, JobKind, Lane, spec_of};
use crate::collection::Catalog;
use crate::fail_point::fail_point;
use crate::store::{JobRecord, JobState};
use crate::types::payload_index::PayloadIndexSpec;
use crate::{Error, Result};

/// Pages between two notes of progress.
const PAGES_PER_NOTE: usize = 16;

/// Which index of which collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayloadIndexJob {
    pub collection: String,
    /// The collection's uid, so that a new one of the same name is not meant.
    pub uid: String,
    #[serde(flatten)]
    pub index: PayloadIndexSpec,
}

pub(super) struct FillPayloadIndex {
    pub(super) catalog: Arc<Catalog>,
}

impl FillPayloadIndex {
    fn check_collection(&self, spec: &PayloadIndexJob) -> Result<()> {
        if self.catalog.resolve(&spec.collection)?.schema().uid == spec.uid {
            return Ok(());
        }
        let name = format!("{} that the job was started on", spec.collection);
        Err(Error::NotFound { kind: "collection", name })
    }
}

impl JobKind for FillPayloadIndex {
    fn name(&self) -> &'static str {
        "payload_index"
    }

    fn lane(&self) -> Lane {
        Lane::Storing
    }

    fn run(&self, job: &mut JobRecord, control: &JobControl<'_>) -> Result<JobEnd> {
        let spec: PayloadIndexJob = spec_of(job)?;
        self.check_collection(&spec)?;
        let index = self.catalog.create_payload_index(&spec.collection, &spec.index, &job.id)?;
        fail_point("payload_index.begun");
        let mut from = match <[u8; 8]>::try_from(job.checkpoint.as_slice()) {
            Ok(bytes) => u64::from_le_bytes(bytes),
            Err(_) => 0,
        };
        let (mut n_pages, mut n_items) = (0, job.done);
        loop {
            let page = self.catalog.fill_payload_index(&spec.collection, index.id, from)?;
            n_items += page.items;
            let Some(next) = page.next else { break };
            if control.should_stop() {
                return Ok(JobEnd::Stopped);
            }
            from = next;
            n_pages += 1;
            fail_point("payload_index.page");
            if n_pages % PAGES_PER_NOTE == 0 {
                // Entries are written without waiting for the disk; what a checkpoint passes by must be on it.
                self.catalog.store().sync()?;
                job.checkpoint = from.to_le_bytes().to_vec();
                (job.done, job.total) = (n_items, job.total.max(n_items));
                control.keep(job)?;
            }
        }
        self.catalog.complete_payload_index(&spec.collection, index.id)?;
        fail_point("payload_index.complete");
        let PayloadIndexSpec { path, kind } = &spec.index;
        job.message = format!("the {} index of {path} is complete", kind.name());
        (job.done, job.total) = (n_items, n_items);
        Ok(JobEnd::Succeeded)
    }

    fn can_go_on(&self, job: &JobRecord) -> bool {
        spec_of(job).is_ok_and(|spec: PayloadIndexJob| self.check_collection(&spec).is_ok())
    }

    /// A cancelled job's index goes; a complete one stays.
    fn clean_up(&self, job: &JobRecord, state: JobState) -> Result<()> {
        let spec: PayloadIndexJob = spec_of(job)?;
        if state != JobState::Cancelled || self.check_collection(&spec).is_err() {
            return Ok(());
        }
        self.catalog.drop_unfinished_payload_index(&spec.collection, &spec.index, &job.id)
    }
}
