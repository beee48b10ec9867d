//! The `Encoders` service.

use pictor_proto::v1;
use pictor_proto::v1::embed_input::Content;
use pictor_proto::v1::embed_result::Outcome;
use pictor_proto::v1::encoders_server::Encoders;
use tonic::{Request, Response, Status};

use super::convert::encoders::{encoder_to_proto, info_to_proto, role_from_proto};
use super::convert::values::micros;
use super::framework::deadline_of;
use super::status::{answer, to_item_error};
use crate::engine::Engine;
use crate::types::limits::{EMBED_INPUTS, TEXT_BYTES};
use crate::types::{Error, Result};

pub(super) struct EncodersService(pub Engine);

impl EncodersService {
    async fn run(&self, request: v1::EmbedRequest, deadline: Option<std::time::Instant>) -> Result<v1::EmbedResponse> {
        EMBED_INPUTS.check("inputs", request.inputs.len())?;
        let role = role_from_proto(request.role());
        let handle = self.0.encoders().get(&request.encoder).await?;
        let mut texts = Vec::new();
        let mut outcomes = Vec::with_capacity(request.inputs.len());
        for input in request.inputs {
            outcomes.push(match input.content {
                Some(Content::Text(text)) => TEXT_BYTES.check("text", text.len()).map(|()| texts.push(text)),
                Some(Content::Image(_)) => Err(Error::Unsupported(format!(
                    "encoding images with {} ({})",
                    handle.info().name,
                    handle.info().architecture
                ))),
                None => Err(Error::invalid("inputs", "an input is a text or an image")),
            });
        }
        let started = std::time::Instant::now();
        let mut embeddings = handle.encode_texts(texts, role, deadline).await?.into_iter();
        let result_of = |outcome: Result<()>| {
            let embedding = outcome
                .and_then(|()| embeddings.next().ok_or_else(|| Error::Internal("an embedding is missing".to_owned())));
            let outcome = match embedding {
                Ok(embedding) => Outcome::Embedding(v1::Embedding {
                    values: embedding.vector.values.clone(),
                    norm: embedding.vector.norm,
                    tokens: embedding.tokens as u32,
                    truncated: embedding.is_truncated,
                }),
                Err(error) => Outcome::Error(to_item_error(&error)),
            };
            v1::EmbedResult { outcome: Some(outcome) }
        };
        let results = outcomes.into_iter().map(result_of).collect();
        Ok(v1::EmbedResponse {
            results,
            encoder: Some(info_to_proto(handle.info())),
            encode_us: micros(started.elapsed()),
        })
    }
}

#[tonic::async_trait]
impl Encoders for EncodersService {
    async fn list_encoders(
        &self,
        _: Request<v1::ListEncodersRequest>,
    ) -> Result<Response<v1::ListEncodersResponse>, Status> {
        answer(self.0.list_encoders().await, |encoders| v1::ListEncodersResponse {
            encoders: encoders.into_iter().map(encoder_to_proto).collect(),
        })
    }

    async fn get_encoder(
        &self,
        request: Request<v1::GetEncoderRequest>,
    ) -> Result<Response<v1::GetEncoderResponse>, Status> {
        let handle = self.0.encoders().get(&request.into_inner().encoder).await;
        answer(handle, |handle| v1::GetEncoderResponse { encoder: Some(info_to_proto(handle.info())) })
    }

    async fn embed(&self, request: Request<v1::EmbedRequest>) -> Result<Response<v1::EmbedResponse>, Status> {
        let deadline = deadline_of(&request);
        answer(self.run(request.into_inner(), deadline).await, |response| response)
    }
}
