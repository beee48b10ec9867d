//! The `Search` service.

use std::time::Instant;

use futures::StreamExt as _;
use pictor_proto::v1;
use pictor_proto::v1::search_outcome::Outcome;
use pictor_proto::v1::search_server::Search;
use tonic::{Request, Response, Status};

use super::convert::filter::{filter_from_proto, path_from_proto};
use super::convert::ranking::facet_to_proto;
use super::convert::search::{AnswerForm, answer_to_proto, query_from_proto};
use super::framework::deadline_of;
use super::status::{answer, to_item_error};
use crate::engine::Engine;
use crate::search::{EncodedPictures, facet_warnings};
use crate::types::Result;
use crate::types::limits::SEARCH_BATCH;

pub(super) struct SearchService(pub Engine);

/// Values that a count of facets lists where the request says nothing.
const FACET_VALUES_LISTED: usize = 20;
/// Queries of one batch that are in work together; enough to fill an encoder batch.
const QUERIES_IN_FLIGHT: usize = 64;

impl SearchService {
    async fn run(
        &self,
        request: v1::SearchRequest,
        pictures: &EncodedPictures,
        deadline: Option<Instant>,
    ) -> Result<v1::SearchResponse> {
        let collection = request.collection.clone();
        let form = AnswerForm::of(&request);
        let found = self.0.search_with(pictures, &collection, query_from_proto(request)?, deadline).await?;
        Ok(answer_to_proto(found, &form))
    }
}

#[tonic::async_trait]
impl Search for SearchService {
    async fn search(&self, request: Request<v1::SearchRequest>) -> Result<Response<v1::SearchResponse>, Status> {
        let deadline = deadline_of(&request);
        answer(self.run(request.into_inner(), &EncodedPictures::default(), deadline).await, |response| response)
    }

    async fn count_facets(
        &self,
        request: Request<v1::CountFacetsRequest>,
    ) -> Result<Response<v1::CountFacetsResponse>, Status> {
        let count = async {
            let request = request.into_inner();
            let paths = request.paths.iter().map(|path| path_from_proto(path)).collect::<Result<_>>()?;
            let limit = if request.limit == 0 { FACET_VALUES_LISTED } else { request.limit as usize };
            self.0.facets(&request.collection, paths, filter_from_proto(request.filter)?, limit).await
        };
        answer(count.await, |reply| v1::CountFacetsResponse {
            warnings: facet_warnings(&reply),
            facets: reply.facets.into_iter().map(facet_to_proto).collect(),
            items: reply.items,
        })
    }

    async fn search_batch(
        &self,
        request: Request<v1::SearchBatchRequest>,
    ) -> Result<Response<v1::SearchBatchResponse>, Status> {
        let deadline = deadline_of(&request);
        let requests = request.into_inner().requests;
        let run = async {
            SEARCH_BATCH.check("requests", requests.len())?;
            let pictures = EncodedPictures::default();
            let outcome = async |request| {
                let outcome = match self.run(request, &pictures, deadline).await {
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
