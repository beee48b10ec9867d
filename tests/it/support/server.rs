//! A server in this process on free ports.

use std::net::SocketAddr;
use std::path::Path;

use pictor::engine::{Engine, EngineSettings};
use pictor::model::{DeviceChoice, Precision, PrecisionChoice};
use pictor::resources::Resources;
use pictor::rpc::auth::ApiKeys;
use pictor_proto::client::Client;
use pictor_proto::v1;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{ENCODER, models_dir};

pub(crate) struct TestServer {
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) engine: Engine,
    stop: oneshot::Sender<()>,
    task: JoinHandle<pictor::Result<pictor::server::End>>,
    folder: TempDir,
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::start_with(ApiKeys::default(), 8192).await
    }

    pub(crate) async fn start_with(keys: ApiKeys, encode_queue: usize) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), keys, encode_queue).await
    }

    /// With a models folder of the test's own.
    pub(crate) async fn start_on(models_dir: &Path) -> Self {
        Self::start_changed(models_dir, |_| ()).await
    }

    /// As [`TestServer::start_on`], with settings changed.
    pub(crate) async fn start_changed(models_dir: &Path, change: impl FnOnce(&mut EngineSettings)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut settings = EngineSettings { models_dir: models_dir.to_owned(), ..settings(folder.path(), 8192) };
        change(&mut settings);
        Self::start_engine(folder, settings, ApiKeys::default()).await
    }

    async fn start_in(folder: TempDir, keys: ApiKeys, encode_queue: usize) -> Self {
        let settings = settings(folder.path(), encode_queue);
        Self::start_engine(folder, settings, keys).await
    }

    async fn start_engine(folder: TempDir, settings: EngineSettings, keys: ApiKeys) -> Self {
        let engine = Engine::open(settings).expect("an engine");
        engine.preload().await;
        let bind = || async { TcpListener::bind("127.0.0.1:0").await.expect("a port") };
        let (grpc_listener, http_listener) = (bind().await, bind().await);
        let (grpc, http) = (grpc_listener.local_addr().expect("bound"), http_listener.local_addr().expect("bound"));
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        let task = tokio::spawn(pictor::server::run(grpc_listener, http_listener, engine.clone(), keys, shutdown));
        Self { grpc, http, engine, stop, task, folder }
    }

    pub(crate) async fn client(&self) -> Client {
        self.client_with_key(None).await
    }

    pub(crate) async fn client_with_key(&self, key: Option<&str>) -> Client {
        Client::connect(&self.grpc.to_string(), key).await.expect("a connection")
    }

    /// Stops and starts again on the same data.
    pub(crate) async fn restart(self) -> Self {
        let folder = self.shut_down().await;
        Self::start_in(folder, ApiKeys::default(), 8192).await
    }

    /// Stops; calls in work finish.
    pub(crate) async fn shut_down(self) -> TempDir {
        self.stop.send(()).expect("a running server");
        self.task.await.expect("no panic").expect("a clean stop");
        drop(self.engine);
        self.folder
    }
}

pub(crate) fn settings(data_dir: &Path, encode_queue: usize) -> EngineSettings {
    EngineSettings {
        data_dir: data_dir.to_owned(),
        models_dir: models_dir(),
        device: DeviceChoice::Cpu,
        dtype: PrecisionChoice::Exactly(Precision::F32),
        encode_queue,
        resources: Resources::divide(Some(2), Some(2 << 30)).expect("resources"),
    }
}

/// A collection whose field `text` is filled by the sentence encoder.
pub(crate) fn collection_of_texts(name: &str) -> v1::CreateCollectionRequest {
    let source = v1::field_spec::Source::Text(v1::TextSource { encoder: ENCODER.to_owned(), names: vec![] });
    collection(name, "text", source)
}

/// A collection whose field `vec` holds the caller's vectors.
pub(crate) fn collection_of_vectors(name: &str, dimension: u32) -> v1::CreateCollectionRequest {
    let source = v1::field_spec::Source::Vector(v1::VectorSource { dimension, space: String::new() });
    collection(name, "vec", source)
}

fn collection(name: &str, field: &str, source: v1::field_spec::Source) -> v1::CreateCollectionRequest {
    let field = v1::FieldSpec { name: field.to_owned(), source: Some(source) };
    let spec = v1::CollectionSpec { name: name.to_owned(), fields: vec![field], ..Default::default() };
    v1::CreateCollectionRequest { spec: Some(spec) }
}

pub(crate) fn text_item(id: &str, text: &str) -> v1::Item {
    let texts = [("body".to_owned(), v1::TextParts { chunks: vec![text.to_owned()] })].into();
    v1::Item { id: id.to_owned(), texts, ..Default::default() }
}

pub(crate) fn vector_item(id: &str, vector: &[f32]) -> v1::Item {
    let vectors = v1::VectorParts { vectors: vec![v1::Vector { values: vector.to_vec() }] };
    v1::Item { id: id.to_owned(), vectors: [("vec".to_owned(), vectors)].into(), ..Default::default() }
}
