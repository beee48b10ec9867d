//! The `Jobs` service.

use std::pin::Pin;
use std::time::Duration;

use futures::Stream;
use pictor_proto::v1;
use pictor_proto::v1::jobs_server::Jobs;
use tonic::{Request, Response, Status};

use super::convert::jobs::job_to_proto;
use super::status::{answer, to_status};
use crate::engine::Engine;

/// How often a watched job is looked at.
const PERIOD: Duration = Duration::from_millis(250);

pub(super) struct JobsService(pub Engine);

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Jobs for JobsService {
    async fn list_jobs(&self, _: Request<v1::ListJobsRequest>) -> Reply<v1::ListJobsResponse> {
        let jobs = self.0.jobs(|jobs| jobs.list()).await;
        answer(jobs, |jobs| v1::ListJobsResponse { jobs: jobs.into_iter().map(job_to_proto).collect() })
    }

    async fn get_job(&self, request: Request<v1::GetJobRequest>) -> Reply<v1::GetJobResponse> {
        let id = request.into_inner().id;
        let job = self.0.jobs(move |jobs| jobs.get(&id)).await;
        answer(job, |job| v1::GetJobResponse { job: Some(job_to_proto(job)) })
    }

    type WatchJobStream = Pin<Box<dyn Stream<Item = Result<v1::WatchJobResponse, Status>> + Send>>;

    async fn watch_job(&self, request: Request<v1::WatchJobRequest>) -> Reply<Self::WatchJobStream> {
        let id = request.into_inner().id;
        let first = id.clone();
        self.0.jobs(move |jobs| jobs.get(&first)).await.map_err(|error| to_status(&error))?;
        let engine = self.0.clone();
        let stream = futures::stream::unfold((None, false), move |(last, is_over): (Option<v1::Job>, bool)| {
            let (engine, id) = (engine.clone(), id.clone());
            async move {
                if is_over {
                    return None;
                }
                loop {
                    let asked = id.clone();
                    let job = match engine.jobs(move |jobs| jobs.get(&asked)).await {
                        Ok(job) => job_to_proto(job),
                        Err(error) => return Some((Err(to_status(&error)), (None, true))),
                    };
                    let is_over =
                        matches!(job.state(), v1::JobState::Succeeded | v1::JobState::Failed | v1::JobState::Cancelled);
                    let is_same = last.as_ref().is_some_and(|last| {
                        (last.state, last.done, &last.message) == (job.state, job.done, &job.message)
                    });
                    if !is_same || is_over {
                        return Some((Ok(v1::WatchJobResponse { job: Some(job.clone()) }), (Some(job), is_over)));
                    }
                    tokio::time::sleep(PERIOD).await;
                }
            }
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn cancel_job(&self, request: Request<v1::CancelJobRequest>) -> Reply<v1::CancelJobResponse> {
        let id = request.into_inner().id;
        let job = self.0.jobs(move |jobs| jobs.cancel(&id)).await;
        answer(job, |job| v1::CancelJobResponse { job: Some(job_to_proto(job)) })
    }

    async fn resume_job(&self, request: Request<v1::ResumeJobRequest>) -> Reply<v1::ResumeJobResponse> {
        let id = request.into_inner().id;
        let job = self.0.jobs(move |jobs| jobs.resume(&id)).await;
        answer(job, |job| v1::ResumeJobResponse { job: Some(job_to_proto(job)) })
    }
}
