//! The `Items` service.

use std::pin::Pin;

use futures::Stream;
use pictor_proto::v1;
use pictor_proto::v1::delete_request::Target;
use pictor_proto::v1::items_server::Items;
use tonic::{Request, Response, Status, Streaming};

use super::convert::filter::{filter_from_proto, path_from_proto};
use super::convert::items::{
    durability_from_proto, indexing_from_proto, item_from_proto, mode_from_proto, result_to_proto,
    selection_from_proto, stored_to_proto, upserted_to_proto,
};
use super::convert::values::payload_from_proto;
use super::framework::deadline_of;
use super::status::answer;
use super::upsert_stream::upsert_stream;
use crate::collection::backend::{OrderBy, PayloadChange};
use crate::engine::Engine;
use crate::ingest::UpsertSettings;
use crate::types::limits::UPSERT_ITEMS;
use crate::types::{Error, Result};

pub(super) struct ItemsService(pub Engine);

/// One upsert, unary or out of a stream.
pub(super) async fn upsert(
    engine: &Engine,
    request: v1::UpsertRequest,
    deadline: Option<std::time::Instant>,
) -> Result<v1::UpsertResponse> {
    UPSERT_ITEMS.check("items", request.items.len())?;
    let settings = UpsertSettings {
        mode: mode_from_proto(request.mode()),
        durability: durability_from_proto(request.durability()),
        indexing: indexing_from_proto(request.indexing()),
    };
    let ids: Vec<String> = request.items.iter().map(|item| item.id.clone()).collect();
    let items = request.items.into_iter().map(item_from_proto).collect();
    let upserted = engine.upsert(&request.collection, items, settings, deadline).await?;
    Ok(upserted_to_proto(ids, upserted, settings.indexing))
}

#[tonic::async_trait]
impl Items for ItemsService {
    type UpsertStreamStream = Pin<Box<dyn Stream<Item = Result<v1::UpsertStreamResponse, Status>> + Send>>;

    async fn upsert(&self, request: Request<v1::UpsertRequest>) -> Result<Response<v1::UpsertResponse>, Status> {
        let deadline = deadline_of(&request);
        answer(upsert(&self.0, request.into_inner(), deadline).await, |response| response)
    }

    async fn upsert_stream(
        &self,
        request: Request<Streaming<v1::UpsertStreamRequest>>,
    ) -> Result<Response<Self::UpsertStreamStream>, Status> {
        let deadline = deadline_of(&request);
        Ok(Response::new(Box::pin(upsert_stream(self.0.clone(), request.into_inner(), deadline))))
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        let request = request.into_inner();
        let select = selection_from_proto(request.select);
        let found = self.0.get(&request.collection, &request.ids, select).await;
        answer(found, |found| {
            let mut response = v1::GetResponse::default();
            for (id, item) in request.ids.into_iter().zip(found) {
                match item {
                    Some(item) => response.items.push(stored_to_proto(item)),
                    None => response.missing.push(id),
                }
            }
            response
        })
    }

    async fn delete(&self, request: Request<v1::DeleteRequest>) -> Result<Response<v1::DeleteResponse>, Status> {
        let deadline = deadline_of(&request);
        let delete = async {
            let request = request.into_inner();
            let durability = durability_from_proto(request.durability());
            match request.target {
                Some(Target::Ids(list)) => self.0.delete(&request.collection, &list.ids, durability).await,
                Some(Target::Filter(filter)) => {
                    let filter = filter_from_proto(Some(filter))?
                        .ok_or_else(|| Error::invalid("filter", "expected a condition"))?;
                    self.0.delete_by_filter(&request.collection, filter, durability, deadline).await
                }
                None => Err(Error::invalid("target", "name the items to delete by ids or by filter")),
            }
        };
        answer(delete.await, |deleted| v1::DeleteResponse { deleted: deleted.items, version: deleted.version })
    }

    async fn set_payload(
        &self,
        request: Request<v1::SetPayloadRequest>,
    ) -> Result<Response<v1::SetPayloadResponse>, Status> {
        let request = request.into_inner();
        let ids = request.ids.clone();
        let set = async {
            let durability = durability_from_proto(request.durability());
            let mode = request.mode();
            let payload = payload_from_proto(request.payload)?;
            let change = match mode {
                v1::PayloadMode::Unspecified | v1::PayloadMode::Merge => {
                    PayloadChange::Merge { set: payload, remove: request.remove }
                }
                v1::PayloadMode::Replace if request.remove.is_empty() => PayloadChange::Replace(payload),
                v1::PayloadMode::Replace => {
                    return Err(Error::invalid("remove", "keys are removed only in mode MERGE"));
                }
            };
            self.0.set_payload(&request.collection, &request.ids, change, request.if_version, durability).await
        };
        answer(set.await, |results| v1::SetPayloadResponse {
            results: ids.into_iter().zip(results).map(|(id, result)| result_to_proto(id, result)).collect(),
        })
    }

    async fn count(&self, request: Request<v1::CountRequest>) -> Result<Response<v1::CountResponse>, Status> {
        let count = async {
            let request = request.into_inner();
            self.0.count(&request.collection, filter_from_proto(request.filter)?).await
        };
        answer(count.await, |count| v1::CountResponse { count })
    }

    async fn scroll(&self, request: Request<v1::ScrollRequest>) -> Result<Response<v1::ScrollResponse>, Status> {
        let scroll = async {
            let request = request.into_inner();
            let filter = filter_from_proto(request.filter)?;
            let select = selection_from_proto(request.select);
            let limit = request.limit as usize;
            match request.order_by {
                None => self.0.scroll(&request.collection, &request.cursor, filter, limit, select).await,
                Some(order) => {
                    let path = path_from_proto(&order.path).map_err(|error| error.within("order_by"))?;
                    let order = OrderBy { path, is_descending: order.descending };
                    self.0.scroll_by(&request.collection, order, &request.cursor, filter, (limit, select)).await
                }
            }
        };
        answer(scroll.await, |page| v1::ScrollResponse {
            items: page.items.into_iter().map(stored_to_proto).collect(),
            next_cursor: page.next_cursor,
        })
    }
}
