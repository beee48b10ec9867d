//! Upserts over one long call: batches in, acknowledgements out, a bounded number in work.

use std::time::Instant;

use futures::{Stream, StreamExt as _};
use pictor_proto::v1;
use pictor_proto::v1::upsert_stream_response::Outcome;
use tonic::{Status, Streaming};

use super::framework::explain_decode_failure;
use super::items::upsert;
use super::status::to_item_error;
use crate::engine::Engine;
use crate::types::Error;
use crate::types::limits::STREAM_BATCHES_IN_FLIGHT;

/// Acknowledges batches in the order in which they came. A refused batch does not end the stream; a damaged message does.
pub(super) fn upsert_stream(
    engine: Engine,
    requests: Streaming<v1::UpsertStreamRequest>,
    deadline: Option<Instant>,
) -> impl Stream<Item = Result<v1::UpsertStreamResponse, Status>> {
    requests
        .map(move |request| {
            let engine = engine.clone();
            async move {
                let request = request.map_err(explain_decode_failure)?;
                let outcome = match request.upsert {
                    Some(request) => upsert(&engine, request, deadline).await,
                    None => Err(Error::invalid("upsert", "a batch needs an upsert request")),
                };
                let outcome = outcome.map_or_else(|error| Outcome::Refused(refusal(&error)), Outcome::Upserted);
                Ok(v1::UpsertStreamResponse { batch: request.batch, outcome: Some(outcome) })
            }
        })
        .buffered(STREAM_BATCHES_IN_FLIGHT.get())
}

fn refusal(error: &Error) -> v1::BatchRefusal {
    let retry_after_ms =
        error.retry_after().map_or(0, |delay| u32::try_from(delay.as_millis()).unwrap_or(u32::MAX).max(1));
    v1::BatchRefusal { error: Some(to_item_error(error)), retry_after_ms }
}
