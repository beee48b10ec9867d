//! One upload stream to a server whose identity was checked.

use std::time::Duration;

use pictor_proto::client::Client;
use pictor_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::context::with_deadline;

/// What is uploaded to; a server that answers at the same address after a break must still be this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub server_id: String,
    pub collection: String,
    pub collection_uid: String,
}

/// An open stream.
#[derive(Debug)]
pub struct Session {
    /// Unbounded, but only as full as the batches that are in flight.
    requests: mpsc::UnboundedSender<v1::UpsertStreamRequest>,
    replies: Streaming<v1::UpsertStreamResponse>,
}

impl Session {
    /// Checks the server and opens a stream that begins with the given batches.
    ///
    /// # Errors
    /// What the server or the connection says; FAILED_PRECONDITION if it is not the target.
    pub async fn open(
        client: &Client,
        target: &Target,
        first: Vec<v1::UpsertStreamRequest>,
        timeout: Duration,
    ) -> Result<Self, Status> {
        let mut admin = client.admin.clone();
        let info = admin.get_info(with_deadline(v1::GetInfoRequest {}, timeout)).await?.into_inner();
        if info.server_id != target.server_id {
            return Err(Status::failed_precondition("another server answers at this address now"));
        }
        let request = v1::GetCollectionRequest { collection: target.collection.clone() };
        let reply = client.collections.clone().get_collection(with_deadline(request, timeout)).await?.into_inner();
        if reply.collection.is_none_or(|collection| collection.uid != target.collection_uid) {
            let message = format!("{:?} is another collection now", target.collection);
            return Err(Status::failed_precondition(message));
        }
        let (requests, receiver) = mpsc::unbounded_channel();
        // The first batches go before the call: a server may wait for one before it answers.
        for request in first {
            send(&requests, request)?;
        }
        let replies = client.items.clone().upsert_stream(UnboundedReceiverStream::new(receiver)).await?.into_inner();
        Ok(Self { requests, replies })
    }

    /// Sends one more batch.
    ///
    /// # Errors
    /// UNAVAILABLE if the stream has ended.
    pub fn send(&self, request: v1::UpsertStreamRequest) -> Result<(), Status> {
        send(&self.requests, request)
    }

    /// The next acknowledgement. May be dropped and called again.
    ///
    /// # Errors
    /// Why the stream ended; its end without a reason is UNAVAILABLE.
    pub async fn next(&mut self) -> Result<v1::UpsertStreamResponse, Status> {
        self.replies.message().await?.ok_or_else(|| Status::unavailable("the server ended the stream"))
    }
}

fn send(
    requests: &mpsc::UnboundedSender<v1::UpsertStreamRequest>,
    request: v1::UpsertStreamRequest,
) -> Result<(), Status> {
    requests.send(request).map_err(|_| Status::unavailable("the stream has ended"))
}

/// True if the same call may work later. A lost connection shows as any of several codes.
#[must_use]
pub const fn is_passing(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Unknown
            | Code::Internal
    )
}

/// When the server says that trying again makes sense.
#[must_use]
pub fn retry_hint(status: &Status) -> Option<Duration> {
    status.get_error_details().retry_info().and_then(|info| info.retry_delay)
}
