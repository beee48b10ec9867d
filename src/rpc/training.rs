//! The `Training` service.

use pictor_proto::v1;
use pictor_proto::v1::training_server::Training;
use tonic::{Request, Response, Status};

use super::convert::filter::filter_from_proto;
use super::convert::jobs::{job_to_proto, struct_from_proto};
use super::status::{answer, to_status};
use crate::engine::Engine;

pub(super) struct TrainingService(pub Engine);

type Reply<T> = Result<Response<T>, Status>;

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

    async fn reembed(&self, request: Request<v1::ReembedRequest>) -> Reply<v1::ReembedResponse> {
        let v1::ReembedRequest { collection, field, encoder, allow_thumbnails } = request.into_inner();
        answer(self.0.reembed(collection, field, encoder, allow_thumbnails).await, |job| v1::ReembedResponse {
            job: Some(job_to_proto(job)),
        })
    }

    async fn switch_generation(
        &self,
        request: Request<v1::SwitchGenerationRequest>,
    ) -> Reply<v1::SwitchGenerationResponse> {
        let v1::SwitchGenerationRequest { collection, field, generation } = request.into_inner();
        let switched = self.0.switch_generation(collection, field, generation).await;
        answer(switched, |previous| v1::SwitchGenerationResponse { previous })
    }

    async fn drop_generation(&self, request: Request<v1::DropGenerationRequest>) -> Reply<v1::DropGenerationResponse> {
        let v1::DropGenerationRequest { collection, field, generation } = request.into_inner();
        let dropped = self.0.drop_generation(collection, field, generation).await;
        answer(dropped, |dropped| v1::DropGenerationResponse {
            vectors: dropped.vectors,
            bytes_before: dropped.bytes_before,
            bytes_after: dropped.bytes_after,
        })
    }

    async fn set_query_encoder(
        &self,
        request: Request<v1::SetQueryEncoderRequest>,
    ) -> Reply<v1::SetQueryEncoderResponse> {
        let v1::SetQueryEncoderRequest { collection, field, generation, encoder, force } = request.into_inner();
        let set = self.0.set_query_encoder(collection, field, generation, encoder, force).await;
        answer(set, |set| v1::SetQueryEncoderResponse {
            generation: set.generation,
            encoder: set.encoder,
            agreement_pictures: set.agreement.as_ref().and_then(|agreement| Some(agreement.pictures?.overlap_at_10)),
            agreement_texts: set.agreement.as_ref().and_then(|agreement| Some(agreement.texts?.overlap_at_10)),
        })
    }

    async fn set_composer(&self, request: Request<v1::SetComposerRequest>) -> Reply<v1::SetComposerResponse> {
        let v1::SetComposerRequest { collection, field, generation, composer } = request.into_inner();
        let set = self.0.set_composer(collection, field, generation, composer).await;
        answer(set, |(generation, composer)| v1::SetComposerResponse { generation, composer })
    }

    async fn evaluate(&self, request: Request<v1::EvaluateRequest>) -> Reply<v1::EvaluateResponse> {
        let v1::EvaluateRequest { collection, field, evaluator, parameters } = request.into_inner();
        let parameters = struct_from_proto(parameters.unwrap_or_default());
        answer(self.0.evaluate(collection, field, evaluator, parameters).await, |job| v1::EvaluateResponse {
            job: Some(job_to_proto(job)),
        })
    }
}
