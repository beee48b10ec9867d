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
use crate::encode::{ImageEmbedding, TextEmbedding};
use crate::engine::Engine;
use crate::types::limits::{EMBED_INPUTS, TEXT_BYTES};
use crate::types::{Error, Result};

pub(super) struct EncodersService(pub Engine);

/// What an input of an embed call is.
enum Kind {
    Text,
    Image,
}

fn text_embedding(embedding: &TextEmbedding) -> v1::Embedding {
    v1::Embedding {
        values: embedding.vector.values.clone(),
        norm: embedding.vector.norm,
        tokens: embedding.tokens as u32,
        truncated: embedding.is_truncated,
    }
}

impl EncodersService {
    async fn run(&self, request: v1::EmbedRequest, deadline: Option<std::time::Instant>) -> Result<v1::EmbedResponse> {
        EMBED_INPUTS.check("inputs", request.inputs.len())?;
        let role = role_from_proto(request.role());
        let handle = self.0.encoders().get(&request.encoder).await?;
        let (mut texts, mut images) = (Vec::new(), Vec::new());
        let mut kinds = Vec::with_capacity(request.inputs.len());
        for input in request.inputs {
            kinds.push(match input.content {
                Some(Content::Text(text)) => TEXT_BYTES.check("text", text.len()).map(|()| {
                    texts.push(text);
                    Kind::Text
                }),
                Some(Content::Image(image)) if handle.info().encodes_image => {
                    images.push(image);
                    Ok(Kind::Image)
                }
                Some(Content::Image(_)) => {
                    let info = handle.info();
                    Err(Error::Unsupported(format!("encoding images with {} ({})", info.name, info.architecture)))
                }
                None => Err(Error::invalid("inputs", "an input is a text or an image")),
            });
        }
        let started = std::time::Instant::now();
        let mut texts = handle.encode_texts(texts, role, deadline).await?.into_iter();
        let mut images = match images.is_empty() {
            true => Vec::new(),
            false => handle.encode_images(images, role, deadline).await?,
        }
        .into_iter();
        let missing = || Error::Internal("an embedding is missing".to_owned());
        let mut embed = |kind: Result<Kind>| match kind? {
            Kind::Text => texts.next().ok_or_else(missing).map(|embedding| text_embedding(&embedding)),
            Kind::Image => images.next().ok_or_else(missing)?.map(|ImageEmbedding { vector, .. }| v1::Embedding {
                values: vector.values.clone(),
                norm: vector.norm,
                tokens: 0,
                truncated: false,
            }),
        };
        let result_of = |kind| {
            let outcome = match embed(kind) {
                Ok(embedding) => Outcome::Embedding(embedding),
                Err(error) => Outcome::Error(to_item_error(&error)),
            };
            v1::EmbedResult { outcome: Some(outcome) }
        };
        let results = kinds.into_iter().map(result_of).collect();
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
