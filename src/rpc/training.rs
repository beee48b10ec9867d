//! The `Training` service. Re-embedding and generations come with their own issue and answer UNIMPLEMENTED until then.

use pictor_proto::v1;
use pictor_proto::v1::training_server::Training;
use tonic::{Request, Response, Status};

use super::convert::filter::filter_from_proto;
use super::convert::jobs::{job_to_proto, struct_from_proto};
use super::status::{answer, to_status};
use crate::engine::Engine;
use crate::types::Error;

pub(super) struct TrainingService(pub Engine);

type Reply<T> = Result<Response<T>, Status>;

fn not_yet<T>(what: &str) -> Reply<T> {
    Err(to_status(&Error::Unsupported(what.to_owned())))
}

#[tonic::async_trait]
impl Training for TrainingService {
    async fn train(&self, request: Request<v1::TrainRequest>) -> Reply<v1::TrainResponse> {
        let v1::TrainRequest { collection, recipe, filter, overrides } = request.into_inner();
        let overrides = struct_from_proto(overrides.unwrap_or_default());
        let filter = filter_from_proto(filter).map_err(|error| to_status(&error))?;
        answer(self.0.train(collection, recipe, filter, overrides).await, |job| v1::TrainResponse {
            job: Some(job_to_proto(job)),
        })
    }

    async fn reembed(&self, _: Request<v1::ReembedRequest>) -> Reply<v1::ReembedResponse> {
        not_yet("re-embedding a field")
    }

    async fn switch_generation(&self, _: Request<v1::SwitchGenerationRequest>) -> Reply<v1::SwitchGenerationResponse> {
        not_yet("switching a generation")
    }

    async fn drop_generation(&self, _: Request<v1::DropGenerationRequest>) -> Reply<v1::DropGenerationResponse> {
        not_yet("dropping a generation")
    }

    async fn evaluate(&self, _: Request<v1::EvaluateRequest>) -> Reply<v1::EvaluateResponse> {
        not_yet("evaluating in the server")
    }
}
