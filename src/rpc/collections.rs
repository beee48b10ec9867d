//! The `Collections` service.

use pictor_proto::v1;
use pictor_proto::v1::collections_server::Collections;
use tonic::{Request, Response, Status};

use super::convert::collections::{collection_to_proto, expiry_from_proto, field_from_proto, originals_from_proto};
use super::convert::jobs::job_to_proto;
use super::convert::payload_indexes::payload_index_from_proto;
use super::status::answer;
use crate::collection::AliasChange;
use crate::engine::{CollectionSpec, Engine};
use crate::types::{Error, Result};

pub(super) struct CollectionsService(pub Engine);

#[tonic::async_trait]
impl Collections for CollectionsService {
    async fn create_collection(
        &self,
        request: Request<v1::CreateCollectionRequest>,
    ) -> Result<Response<v1::CreateCollectionResponse>, Status> {
        let create = async {
            let spec =
                request.into_inner().spec.ok_or_else(|| Error::invalid("spec", "a collection needs a description"))?;
            let media_originals = originals_from_proto(spec.media_originals());
            let fields = spec.fields.into_iter().map(field_from_proto).collect::<Result<_>>()?;
            let expiry = spec.expiry.as_ref().map(expiry_from_proto).transpose()?;
            let (name, default_field) = (spec.name, spec.default_field);
            let spec = CollectionSpec { name, fields, media_originals, default_field, expiry };
            self.0.create_collection(spec).await
        };
        answer(create.await, |info| v1::CreateCollectionResponse { collection: Some(collection_to_proto(info)) })
    }

    async fn get_collection(
        &self,
        request: Request<v1::GetCollectionRequest>,
    ) -> Result<Response<v1::GetCollectionResponse>, Status> {
        let info = self.0.collection_info(&request.into_inner().collection);
        answer(info, |info| v1::GetCollectionResponse { collection: Some(collection_to_proto(info)) })
    }

    async fn list_collections(
        &self,
        _: Request<v1::ListCollectionsRequest>,
    ) -> Result<Response<v1::ListCollectionsResponse>, Status> {
        let collections = self.0.list_collections().into_iter().map(collection_to_proto).collect();
        Ok(Response::new(v1::ListCollectionsResponse { collections }))
    }

    async fn drop_collection(
        &self,
        request: Request<v1::DropCollectionRequest>,
    ) -> Result<Response<v1::DropCollectionResponse>, Status> {
        let items = self.0.drop_collection(request.into_inner().collection).await;
        answer(items, |items| v1::DropCollectionResponse { items })
    }

    async fn add_field(&self, request: Request<v1::AddFieldRequest>) -> Result<Response<v1::AddFieldResponse>, Status> {
        let add = async {
            let request = request.into_inner();
            let field = request.field.ok_or_else(|| Error::invalid("field", "a field needs a description"))?;
            self.0.add_field(request.collection, field_from_proto(field)?).await
        };
        answer(add.await, |(info, job)| v1::AddFieldResponse {
            collection: Some(collection_to_proto(info)),
            job: job.map(job_to_proto),
        })
    }

    async fn drop_field(
        &self,
        request: Request<v1::DropFieldRequest>,
    ) -> Result<Response<v1::DropFieldResponse>, Status> {
        let request = request.into_inner();
        let info = self.0.drop_field(request.collection, request.field).await;
        answer(info, |info| v1::DropFieldResponse { collection: Some(collection_to_proto(info)) })
    }

    async fn create_payload_index(
        &self,
        request: Request<v1::CreatePayloadIndexRequest>,
    ) -> Result<Response<v1::CreatePayloadIndexResponse>, Status> {
        let create = async {
            let request = request.into_inner();
            self.0.create_payload_index(request.collection, payload_index_from_proto(request.index)?).await
        };
        answer(create.await, |(info, job)| v1::CreatePayloadIndexResponse {
            collection: Some(collection_to_proto(info)),
            job: job.map(job_to_proto),
        })
    }

    async fn drop_payload_index(
        &self,
        request: Request<v1::DropPayloadIndexRequest>,
    ) -> Result<Response<v1::DropPayloadIndexResponse>, Status> {
        let drop = async {
            let request = request.into_inner();
            self.0.drop_payload_index(request.collection, payload_index_from_proto(request.index)?).await
        };
        answer(drop.await, |info| v1::DropPayloadIndexResponse { collection: Some(collection_to_proto(info)) })
    }

    async fn set_expiry(
        &self,
        request: Request<v1::SetExpiryRequest>,
    ) -> Result<Response<v1::SetExpiryResponse>, Status> {
        let set = async {
            let request = request.into_inner();
            self.0.set_expiry(request.collection, request.expiry.as_ref().map(expiry_from_proto).transpose()?).await
        };
        answer(set.await, |info| v1::SetExpiryResponse { collection: Some(collection_to_proto(info)) })
    }

    async fn update_aliases(
        &self,
        request: Request<v1::UpdateAliasesRequest>,
    ) -> Result<Response<v1::UpdateAliasesResponse>, Status> {
        let change_from_proto = |change: v1::AliasChange| AliasChange {
            alias: change.alias,
            collection: Some(change.collection).filter(|name| !name.is_empty()),
        };
        let changes = request.into_inner().changes.into_iter().map(change_from_proto).collect();
        answer(self.0.update_aliases(changes).await, |()| v1::UpdateAliasesResponse {})
    }

    async fn list_aliases(
        &self,
        _: Request<v1::ListAliasesRequest>,
    ) -> Result<Response<v1::ListAliasesResponse>, Status> {
        Ok(Response::new(v1::ListAliasesResponse { aliases: self.0.aliases() }))
    }
}
