//! The one mapping from the library's errors to gRPC codes and google.rpc details.

use std::collections::HashMap;

use pictor_proto::v1;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::types::Error;

/// The domain of every `ErrorInfo`.
pub(super) const DOMAIN: &str = "pictor";

/// The gRPC code of an error.
pub(super) fn code(error: &Error) -> Code {
    match error {
        Error::InvalidArgument { .. } | Error::LimitExceeded { .. } => Code::InvalidArgument,
        Error::NotFound { .. } => Code::NotFound,
        Error::AlreadyExists { .. } => Code::AlreadyExists,
        Error::VersionMismatch { .. } | Error::SchemaChanged { .. } => Code::Aborted,
        Error::FailedPrecondition { .. } => Code::FailedPrecondition,
        Error::Overloaded { .. } | Error::StorageFull(_) => Code::ResourceExhausted,
        Error::Unavailable { .. } => Code::Unavailable,
        Error::DeadlineExceeded { .. } => Code::DeadlineExceeded,
        Error::Cancelled => Code::Cancelled,
        Error::Corruption(_) => Code::DataLoss,
        Error::Unsupported(_) => Code::Unimplemented,
        Error::Storage(_) | Error::Internal(_) => Code::Internal,
    }
}

/// The status of a failed call: code, message, `ErrorInfo` and whatever else helps to act on it.
#[must_use]
pub fn to_status(error: &Error) -> Status {
    let mut details = ErrorDetails::new();
    let mut metadata = HashMap::new();
    match error {
        Error::InvalidArgument { field, message } => {
            details.add_bad_request_violation(field.clone(), message.clone());
        }
        Error::LimitExceeded { what, name, cap, found } => {
            details.add_bad_request_violation(what.clone(), error.to_string());
            metadata.extend([("limit".to_owned(), (*name).to_owned()), ("cap".to_owned(), cap.to_string())]);
            metadata.insert("found".to_owned(), found.to_string());
        }
        Error::NotFound { kind, name } | Error::AlreadyExists { kind, name } => {
            details.set_resource_info(*kind, name.clone(), "", error.to_string());
        }
        Error::VersionMismatch { id, expected, found } => {
            metadata.extend([("id".to_owned(), id.clone()), ("expected".to_owned(), expected.to_string())]);
            metadata.insert("found".to_owned(), found.to_string());
        }
        Error::FailedPrecondition { reason, message } => {
            details.add_precondition_failure_violation(*reason, "", message.clone());
        }
        Error::Overloaded { what, .. } => {
            details.add_quota_failure_violation(*what, error.to_string());
        }
        _ => {}
    }
    if let Some(delay) = error.retry_after() {
        details.set_retry_info(Some(delay));
    }
    details.set_error_info(error.reason(), DOMAIN, metadata);
    Status::with_error_details(code(error), error.to_string(), details)
}

/// The error of one item in a batch.
pub(super) fn to_item_error(error: &Error) -> v1::ItemError {
    v1::ItemError { code: code(error) as i32, message: error.to_string(), reason: error.reason().to_owned() }
}

/// Answers a call with the engine's result.
pub(super) fn answer<T, R>(
    result: crate::Result<T>,
    convert: impl FnOnce(T) -> R,
) -> Result<tonic::Response<R>, Status> {
    result.map(|value| tonic::Response::new(convert(value))).map_err(|error| to_status(&error))
}
