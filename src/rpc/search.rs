//! The `Search` service.

use std::time::Instant;

use futures::StreamExt as _;
use pictor_proto::v1;
use pictor_proto::v1::search_outcome::Outcome;
use pictor_proto::v1::search_server::Search;
use tonic::{Request, Response, Status};

use super::convert::search::{answer_to_proto, query_from_proto};
use super::framework::deadline_of;
use super::status::{answer, to_item_error};
use crate::engine::Engine;
use crate::types::Result;
use crate::types::limits::SEARCH_BATCH;

pub(super) struct SearchService(pub Engine);

/// Queries of one batch that are in work together; enough to fill an encoder batch.
const QUERIES_IN_FLIGHT: usize = 64;

impl SearchService {
    async fn run(&self, request: v1::SearchRequest, deadline: Option<Instant>) -> Result<v1::SearchResponse> {
        let collection = request.collection.clone();
        let offset = request.offset;
        let found = self.0.search(&collection, query_from_proto(request)?, deadline).await?;
        Ok(answer_to_proto(found, offset))
    }
}

#[tonic::async_trait]
impl Search for SearchService {
    async fn search(&self, request: Request<v1::SearchRequest>) -> Result<Response<v1::SearchResponse>, Status> {
        let deadline = deadline_of(&request);
        answer(self.run(request.into_inner(), deadline).await, |response| response)
    }

    async fn search_batch(
        &self,
        request: Request<v1::SearchBatchRequest>,
    ) -> Result<Response<v1::SearchBatchResponse>, Status> {
        let deadline = deadline_of(&request);
        let requests = request.into_inner().requests;
        let run = async {
            SEARCH_BATCH.check("requests", requests.len())?;
            let outcome = async |request| {
                let outcome = match self.run(request, deadline).await {
                    Ok(response) => Outcome::Response(response),
                    Err(error) => Outcome::Error(to_item_error(&error)),
                };
                v1::SearchOutcome { outcome: Some(outcome) }
            };
            Ok(futures::stream::iter(requests).map(outcome).buffered(QUERIES_IN_FLIGHT).collect::<Vec<_>>().await)
        };
        answer(run.await, |outcomes| v1::SearchBatchResponse { outcomes })
    }
}
