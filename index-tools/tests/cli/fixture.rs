//! A server that keeps items in a map and can be told to fail, and the binary run against it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::Stream;
use pictor_proto::v1;
use pictor_proto::v1::admin_server::{Admin, AdminServer};
use pictor_proto::v1::collections_server::{Collections, CollectionsServer};
use pictor_proto::v1::items_server::{Items, ItemsServer};
use pictor_proto::v1::jobs_server::JobsServer;
use pictor_proto::v1::search_server::{Search, SearchServer};
use pictor_proto::v1::upsert_stream_response::Outcome;
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::payloads;

/// What goes wrong.
#[derive(Clone, Default)]
pub(crate) struct Faults {
    /// Of every so many batches one is refused for now.
    pub(crate) refuse_every: u64,
    /// Of every so many items one is put off with RESOURCE_EXHAUSTED.
    pub(crate) put_off_every: u64,
    /// The stream ends with UNAVAILABLE after so many batches.
    pub(crate) end_stream_after: u64,
    /// An item with such an id fails for good.
    pub(crate) bad_item: Option<fn(&str) -> bool>,
    /// A batch with such an item is refused as a whole for good.
    pub(crate) poison: Option<fn(&str) -> bool>,
    /// How long a batch takes.
    pub(crate) delay: Duration,
    /// Batches are stored but acknowledged only in pairs, the later one first.
    pub(crate) swap_acknowledgements: bool,
}

/// What the server holds and has seen.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) items: BTreeMap<String, (u64, v1::Item)>,
    pub(crate) version: u64,
    pub(crate) server_id: String,
    pub(crate) uid: String,
    pub(crate) streams: u64,
    pub(crate) batches: u64,
    /// Items seen, put off or not.
    pub(crate) seen: u64,
    pub(crate) searches: Vec<v1::SearchRequest>,
    pub(crate) indexes: Vec<v1::PayloadIndexInfo>,
    pub(crate) largest_batch: usize,
    pub(crate) faults: Faults,
    pub(crate) expiry: Option<v1::Expiry>,
    /// Of the newest batch.
    pub(crate) indexing: v1::Indexing,
}

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) address: SocketAddr,
}

/// A serving task; dropping it kills the server with its connections.
pub(crate) struct Running(tokio::runtime::Runtime);

impl Server {
    pub(crate) fn new() -> (Self, Running) {
        let state = State { server_id: "server-1".into(), uid: "uid-1".into(), ..State::default() };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = Self { state: Arc::new(Mutex::new(state)), address };
        let running = server.serve(listener);
        (server, running)
    }

    /// Serves the same state at the same address again.
    pub(crate) fn again(&self) -> Running {
        let listener = loop {
            match std::net::TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        self.serve(listener)
    }

    fn serve(&self, listener: std::net::TcpListener) -> Running {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
        listener.set_nonblocking(true).expect("a listener");
        let server = self.clone();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a listener");
            tonic::transport::Server::builder()
                .add_service(ItemsServer::new(server.clone()).max_decoding_message_size(64 << 20))
                .add_service(CollectionsServer::new(server.clone()))
                .add_service(SearchServer::new(server.clone()))
                .add_service(JobsServer::new(server.clone()))
                .add_service(AdminServer::new(server))
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
        });
        Running(runtime)
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().expect("no panic"))
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        self.with(|state| state.faults = faults);
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.with(|state| state.items.keys().cloned().collect())
    }
}

impl Running {
    /// Ends every connection at once.
    pub(crate) fn kill(self) {
        self.0.shutdown_background();
    }
}

/// The binary, with its state in a folder of the test.
pub(crate) fn pictor(address: SocketAddr, home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pictor"));
    command
        .env("XDG_STATE_HOME", home.join("state"))
        .env("PICTOR_URL", format!("http://{address}"))
        .env_remove("PICTOR_API_KEY")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs it and gives the exit code, the JSON lines on stdout, and stderr.
pub(crate) fn run(command: &mut Command) -> (i32, Vec<serde_json::Value>, String) {
    let Output { status, stdout, stderr } = command.output().expect("the binary runs");
    let stdout = String::from_utf8(stdout).expect("UTF-8");
    let stderr = String::from_utf8(stderr).expect("UTF-8");
    let lines = stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")));
    (status.code().expect("an exit code"), lines.collect(), stderr)
}

/// Writes `count` records with ids `0000`… into a JSONL file.
pub(crate) fn jsonl(folder: &Path, count: usize) -> std::path::PathBuf {
    let path = folder.join("items.jsonl");
    let line = |number: usize| {
        format!("{{\"id\": \"{number:05}\", \"texts\": {{\"t\": \"text {number}\"}}, \"n\": {number}}}\n")
    };
    std::fs::write(&path, (0..count).map(line).collect::<String>()).expect("a file");
    path
}

impl State {
    fn upsert(&mut self, request: &v1::UpsertRequest) -> v1::UpsertResponse {
        let results = request.items.iter().map(|item| self.upsert_one(item)).collect();
        self.indexing = request.indexing();
        v1::UpsertResponse { results, timings: None, indexing_deferred: self.indexing == v1::Indexing::Deferred }
    }

    fn upsert_one(&mut self, item: &v1::Item) -> v1::UpsertResult {
        let error = |code: Code, reason: &str| v1::UpsertResult {
            id: item.id.clone(),
            error: Some(v1::ItemError {
                code: code.into(),
                message: format!("{reason} on purpose"),
                reason: reason.into(),
            }),
            ..Default::default()
        };
        self.seen += 1;
        if self.faults.put_off_every > 0 && self.seen.is_multiple_of(self.faults.put_off_every) {
            return error(Code::ResourceExhausted, "OVERLOADED");
        }
        if self.faults.bad_item.is_some_and(|is_bad| is_bad(&item.id)) {
            return error(Code::InvalidArgument, "INVALID_ARGUMENT");
        }
        let outcome = match self.items.get(&item.id) {
            Some((_, stored)) if stored == item => v1::WriteOutcome::Unchanged,
            Some(_) => v1::WriteOutcome::Updated,
            None => v1::WriteOutcome::Created,
        };
        if outcome != v1::WriteOutcome::Unchanged {
            self.version += 1;
            self.items.insert(item.id.clone(), (self.version, item.clone()));
        }
        let version = self.items[&item.id].0;
        v1::UpsertResult { id: item.id.clone(), version, outcome: outcome.into(), error: None }
    }

    fn answer(&mut self, request: &v1::UpsertStreamRequest) -> v1::UpsertStreamResponse {
        let upsert = request.upsert.clone().unwrap_or_default();
        self.batches += 1;
        self.largest_batch = self.largest_batch.max(upsert.items.len());
        let refusal = |code: Code, retry_after_ms| {
            let error =
                v1::ItemError { code: code.into(), message: "refused on purpose".into(), reason: String::new() };
            Outcome::Refused(v1::BatchRefusal { error: Some(error), retry_after_ms })
        };
        let poison = self.faults.poison;
        let outcome = if self.faults.refuse_every > 0 && self.batches.is_multiple_of(self.faults.refuse_every) {
            refusal(Code::ResourceExhausted, 5)
        } else if poison.is_some_and(|poison| upsert.items.iter().any(|item| poison(&item.id))) {
            refusal(Code::InvalidArgument, 0)
        } else {
            Outcome::Upserted(self.upsert(&upsert))
        };
        v1::UpsertStreamResponse { batch: request.batch, outcome: Some(outcome) }
    }

    pub(crate) fn collection(&self) -> v1::Collection {
        v1::Collection {
            name: "c".into(),
            uid: self.uid.clone(),
            items: self.items.len() as u64,
            version: self.version,
            state: v1::CollectionState::Ready.into(),
            default_field: "text".into(),
            fields: vec![v1::FieldInfo { spec: Some(text_field()), generations: vec![v1::Generation::default()] }],
            payload_indexes: payloads::described(self),
            expiry: self.expiry.clone(),
            ..Default::default()
        }
    }
}

fn text_field() -> v1::FieldSpec {
    let source = v1::field_spec::Source::Text(v1::TextSource { encoder: "mini".into(), names: Vec::new() });
    v1::FieldSpec { name: "text".into(), source: Some(source) }
}

pub(crate) fn stored(item: &v1::Item, version: u64) -> v1::StoredItem {
    let media = item.media.iter().map(|media| v1::StoredMedia {
        name: media.name.clone(),
        data: media.data.clone(),
        mime_type: "image/png".into(),
        bytes: media.data.len() as u64,
        ..Default::default()
    });
    v1::StoredItem {
        id: item.id.clone(),
        version,
        payload: item.payload.clone(),
        media: media.collect(),
        texts: item.texts.clone(),
        vectors: Vec::new(),
    }
}

type Replies = Pin<Box<dyn Stream<Item = Result<v1::UpsertStreamResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Items for Server {
    type UpsertStreamStream = Replies;

    async fn upsert(&self, request: Request<v1::UpsertRequest>) -> Result<Response<v1::UpsertResponse>, Status> {
        Ok(Response::new(self.with(|state| state.upsert(request.get_ref()))))
    }

    async fn upsert_stream(
        &self,
        request: Request<Streaming<v1::UpsertStreamRequest>>,
    ) -> Result<Response<Replies>, Status> {
        let server = self.clone();
        let mut requests = request.into_inner();
        let (sender, receiver) = tokio::sync::mpsc::channel(4);
        self.with(|state| state.streams += 1);
        tokio::spawn(async move {
            let mut batches = 0;
            let mut held = None;
            loop {
                let next = tokio::time::timeout(Duration::from_millis(50), requests.next()).await;
                let request = match next {
                    Ok(Some(Ok(request))) => request,
                    Ok(_) => break,
                    Err(_) => {
                        if let Some(reply) = held.take()
                            && sender.send(Ok(reply)).await.is_err()
                        {
                            break;
                        }
                        continue;
                    }
                };
                let faults = server.with(|state| state.faults.clone());
                tokio::time::sleep(faults.delay).await;
                batches += 1;
                if faults.end_stream_after > 0 && batches > faults.end_stream_after {
                    let _ = sender.send(Err(Status::unavailable("going down on purpose"))).await;
                    break;
                }
                let reply = server.with(|state| state.answer(&request));
                let replies = if faults.swap_acknowledgements && held.is_none() {
                    held = Some(reply);
                    continue;
                } else {
                    [Some(reply), held.take()]
                };
                for reply in replies.into_iter().flatten() {
                    if sender.send(Ok(reply)).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        let mut reply = v1::GetResponse::default();
        for id in request.into_inner().ids {
            match self.with(|state| state.items.get(&id).cloned()) {
                Some((version, item)) => reply.items.push(stored(&item, version)),
                None => reply.missing.push(id),
            }
        }
        Ok(Response::new(reply))
    }

    async fn delete(&self, request: Request<v1::DeleteRequest>) -> Result<Response<v1::DeleteResponse>, Status> {
        let Some(v1::delete_request::Target::Ids(ids)) = request.into_inner().target else {
            let mut details = ErrorDetails::new();
            details.add_bad_request_violation("filter", "expected a value, got the end");
            return Err(Status::with_error_details(Code::InvalidArgument, "bad filter", details));
        };
        let deleted = self.with(|state| ids.ids.iter().filter(|id| state.items.remove(*id).is_some()).count());
        Ok(Response::new(v1::DeleteResponse { deleted: deleted as u64, version: 0 }))
    }

    async fn set_payload(&self, _: Request<v1::SetPayloadRequest>) -> Result<Response<v1::SetPayloadResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn count(&self, _: Request<v1::CountRequest>) -> Result<Response<v1::CountResponse>, Status> {
        Ok(Response::new(v1::CountResponse { count: self.with(|state| state.items.len() as u64) }))
    }

    async fn scroll(&self, request: Request<v1::ScrollRequest>) -> Result<Response<v1::ScrollResponse>, Status> {
        let v1::ScrollRequest { cursor, order_by, .. } = request.into_inner();
        if let Some(order) = order_by {
            return Ok(Response::new(self.with(|state| payloads::ordered_page(state, &order, &cursor))));
        }
        let items: Vec<_> = self.with(|state| {
            let after = state.items.iter().filter(|(id, _)| **id > cursor || cursor.is_empty());
            after.take(3).map(|(_, (version, item))| stored(item, *version)).collect()
        });
        let next_cursor = if items.len() == 3 { items[2].id.clone() } else { String::new() };
        Ok(Response::new(v1::ScrollResponse { items, next_cursor }))
    }
}

#[tonic::async_trait]
impl Admin for Server {
    async fn get_info(&self, _: Request<v1::GetInfoRequest>) -> Result<Response<v1::GetInfoResponse>, Status> {
        let server_id = self.with(|state| state.server_id.clone());
        Ok(Response::new(v1::GetInfoResponse { server_id, ..Default::default() }))
    }

    async fn get_stats(&self, _: Request<v1::GetStatsRequest>) -> Result<Response<v1::GetStatsResponse>, Status> {
        Ok(Response::new(v1::GetStatsResponse::default()))
    }

    async fn create_snapshot(
        &self,
        _: Request<v1::CreateSnapshotRequest>,
    ) -> Result<Response<v1::CreateSnapshotResponse>, Status> {
        Ok(Response::new(v1::CreateSnapshotResponse { snapshot: Some(snapshot()) }))
    }

    async fn list_snapshots(
        &self,
        _: Request<v1::ListSnapshotsRequest>,
    ) -> Result<Response<v1::ListSnapshotsResponse>, Status> {
        Ok(Response::new(v1::ListSnapshotsResponse { snapshots: vec![snapshot()] }))
    }

    async fn restore_snapshot(
        &self,
        request: Request<v1::RestoreSnapshotRequest>,
    ) -> Result<Response<v1::RestoreSnapshotResponse>, Status> {
        match request.into_inner().name == snapshot().name {
            true => Ok(Response::new(v1::RestoreSnapshotResponse {})),
            false => Err(Status::not_found("no such snapshot")),
        }
    }

    async fn delete_snapshot(
        &self,
        _: Request<v1::DeleteSnapshotRequest>,
    ) -> Result<Response<v1::DeleteSnapshotResponse>, Status> {
        Ok(Response::new(v1::DeleteSnapshotResponse {}))
    }
}

#[tonic::async_trait]
impl Collections for Server {
    async fn create_collection(
        &self,
        request: Request<v1::CreateCollectionRequest>,
    ) -> Result<Response<v1::CreateCollectionResponse>, Status> {
        let spec = request.into_inner().spec.unwrap_or_default();
        let info = |spec| v1::FieldInfo { spec: Some(spec), generations: vec![v1::Generation::default()] };
        let collection = v1::Collection {
            name: spec.name,
            fields: spec.fields.into_iter().map(info).collect(),
            default_field: spec.default_field,
            media_originals: spec.media_originals,
            ..self.with(|state| state.collection())
        };
        Ok(Response::new(v1::CreateCollectionResponse { collection: Some(collection) }))
    }

    async fn get_collection(
        &self,
        request: Request<v1::GetCollectionRequest>,
    ) -> Result<Response<v1::GetCollectionResponse>, Status> {
        let name = request.into_inner().collection;
        if name != "c" {
            return Err(Status::not_found(format!("there is no collection {name:?}")));
        }
        Ok(Response::new(v1::GetCollectionResponse { collection: Some(self.with(|state| state.collection())) }))
    }

    async fn list_collections(
        &self,
        _: Request<v1::ListCollectionsRequest>,
    ) -> Result<Response<v1::ListCollectionsResponse>, Status> {
        let collections = vec![self.with(|state| state.collection())];
        Ok(Response::new(v1::ListCollectionsResponse { collections }))
    }

    async fn drop_collection(
        &self,
        _: Request<v1::DropCollectionRequest>,
    ) -> Result<Response<v1::DropCollectionResponse>, Status> {
        Ok(Response::new(v1::DropCollectionResponse { items: 5 }))
    }

    async fn add_field(&self, _: Request<v1::AddFieldRequest>) -> Result<Response<v1::AddFieldResponse>, Status> {
        Ok(Response::new(v1::AddFieldResponse { collection: Some(self.with(|state| state.collection())), job: None }))
    }

    async fn drop_field(&self, _: Request<v1::DropFieldRequest>) -> Result<Response<v1::DropFieldResponse>, Status> {
        Ok(Response::new(v1::DropFieldResponse { collection: Some(self.with(|state| state.collection())) }))
    }

    async fn create_payload_index(
        &self,
        request: Request<v1::CreatePayloadIndexRequest>,
    ) -> Result<Response<v1::CreatePayloadIndexResponse>, Status> {
        self.with(|state| payloads::create_index(state, request.into_inner())).map(Response::new)
    }

    async fn drop_payload_index(
        &self,
        request: Request<v1::DropPayloadIndexRequest>,
    ) -> Result<Response<v1::DropPayloadIndexResponse>, Status> {
        self.with(|state| payloads::drop_index(state, request.get_ref())).map(Response::new)
    }

    async fn set_expiry(
        &self,
        request: Request<v1::SetExpiryRequest>,
    ) -> Result<Response<v1::SetExpiryResponse>, Status> {
        let collection = self.with(|state| {
            state.expiry = request.into_inner().expiry;
            state.collection()
        });
        Ok(Response::new(v1::SetExpiryResponse { collection: Some(collection) }))
    }

    async fn update_aliases(
        &self,
        _: Request<v1::UpdateAliasesRequest>,
    ) -> Result<Response<v1::UpdateAliasesResponse>, Status> {
        Ok(Response::new(v1::UpdateAliasesResponse {}))
    }

    async fn list_aliases(
        &self,
        _: Request<v1::ListAliasesRequest>,
    ) -> Result<Response<v1::ListAliasesResponse>, Status> {
        let aliases = BTreeMap::from([("a".to_owned(), "c".to_owned())]);
        Ok(Response::new(v1::ListAliasesResponse { aliases }))
    }
}

#[tonic::async_trait]
impl Search for Server {
    async fn search(&self, request: Request<v1::SearchRequest>) -> Result<Response<v1::SearchResponse>, Status> {
        let request = request.into_inner();
        let items: Vec<_> = self.with(|state| {
            state.searches.push(request.clone());
            state.items.values().cloned().collect()
        });
        Ok(Response::new(payloads::answer(&request, &items)))
    }

    async fn count_facets(
        &self,
        request: Request<v1::CountFacetsRequest>,
    ) -> Result<Response<v1::CountFacetsResponse>, Status> {
        Ok(Response::new(self.with(|state| payloads::count_facets(state, request.get_ref()))))
    }

    async fn search_batch(
        &self,
        request: Request<v1::SearchBatchRequest>,
    ) -> Result<Response<v1::SearchBatchResponse>, Status> {
        let mut outcomes = Vec::new();
        for request in request.into_inner().requests {
            let outcome = if request.field == "broken" {
                let message = "there is no field \"broken\"".to_owned();
                v1::search_outcome::Outcome::Error(v1::ItemError {
                    code: Code::NotFound.into(),
                    message,
                    ..Default::default()
                })
            } else {
                v1::search_outcome::Outcome::Response(self.search(Request::new(request)).await?.into_inner())
            };
            outcomes.push(v1::SearchOutcome { outcome: Some(outcome) });
        }
        Ok(Response::new(v1::SearchBatchResponse { outcomes }))
    }
}

fn snapshot() -> v1::Snapshot {
    let created = prost_types::Timestamp { seconds: 1_764_255_845, nanos: 0 };
    v1::Snapshot { name: "2025-11-27T15-04-05Z".to_owned(), created: Some(created), bytes: 1_024 }
}
