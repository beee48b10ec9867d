//! One connection, every service.

use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::v1::admin_client::AdminClient;
use crate::v1::collections_client::CollectionsClient;
use crate::v1::encoders_client::EncodersClient;
use crate::v1::items_client::ItemsClient;
use crate::v1::jobs_client::JobsClient;
use crate::v1::search_client::SearchClient;
use crate::v1::training_client::TrainingClient;

/// The largest message that a client of ours accepts or sends, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// A channel that adds the API key to every call.
pub type AuthenticatedChannel = InterceptedService<Channel, ApiKey>;

/// Adds `authorization: Bearer KEY` to every call, if there is a key.
#[derive(Clone, Debug, Default)]
pub struct ApiKey(Option<MetadataValue<Ascii>>);

impl ApiKey {
    /// Takes a key as users write it.
    ///
    /// # Errors
    /// INVALID_ARGUMENT if the key cannot stand in a header.
    pub fn new(key: Option<&str>) -> Result<Self, Status> {
        let Some(key) = key else { return Ok(Self(None)) };
        let mut value: MetadataValue<Ascii> =
            format!("Bearer {key}").parse().map_err(|_| Status::invalid_argument("an API key is printable ASCII"))?;
        value.set_sensitive(true);
        Ok(Self(Some(value)))
    }
}

impl Interceptor for ApiKey {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// Every service over one HTTP/2 connection; cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    pub collections: CollectionsClient<AuthenticatedChannel>,
    pub items: ItemsClient<AuthenticatedChannel>,
    pub search: SearchClient<AuthenticatedChannel>,
    pub encoders: EncodersClient<AuthenticatedChannel>,
    pub jobs: JobsClient<AuthenticatedChannel>,
    pub training: TrainingClient<AuthenticatedChannel>,
    pub admin: AdminClient<AuthenticatedChannel>,
}

impl Client {
    /// Connects to `url` (`http://HOST:PORT`; the scheme may be left out).
    ///
    /// # Errors
    /// INVALID_ARGUMENT for a malformed address or key, UNAVAILABLE if nobody listens there.
    pub async fn connect(url: &str, api_key: Option<&str>) -> Result<Self, Status> {
        let channel = endpoint(url)?
            .connect()
            .await
            .map_err(|error| Status::unavailable(format!("no server answers at {url}: {}", root_cause(&error))))?;
        Self::over(&channel, api_key)
    }

    /// Like [`Client::connect`], but connects at the first call and again whenever the connection is lost.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for a malformed address or key.
    pub fn connect_lazy(url: &str, api_key: Option<&str>) -> Result<Self, Status> {
        Self::over(&endpoint(url)?.connect_lazy(), api_key)
    }

    fn over(channel: &Channel, api_key: Option<&str>) -> Result<Self, Status> {
        let key = ApiKey::new(api_key)?;
        let service = || InterceptedService::new(channel.clone(), key.clone());
        Ok(Self {
            collections: CollectionsClient::new(service()),
            items: ItemsClient::new(service())
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(usize::MAX),
            search: SearchClient::new(service()).max_decoding_message_size(MAX_MESSAGE_BYTES),
            encoders: EncodersClient::new(service()).max_decoding_message_size(MAX_MESSAGE_BYTES),
            jobs: JobsClient::new(service()),
            training: TrainingClient::new(service()),
            admin: AdminClient::new(service()),
        })
    }
}

/// The innermost cause, such as "Connection refused"; the outer ones say "transport error".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

fn endpoint(url: &str) -> Result<Endpoint, Status> {
    let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let endpoint = Endpoint::from_shared(url.clone()).map_err(|error| {
        Status::invalid_argument(format!("{url:?} is not an address like http://127.0.0.1:7600: {error}"))
    })?;
    Ok(endpoint
        .connect_timeout(Duration::from_secs(10))
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(30))
        // Large batches should not wait for window updates.
        .http2_adaptive_window(true))
}
