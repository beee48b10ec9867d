//! The one error type of the library. `rpc/status.rs` is the only place that turns it into gRPC codes.

use std::time::Duration;

/// What went wrong, in terms that a caller can act on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A request's field holds something that can never work.
    #[error("{field}: {message}")]
    InvalidArgument { field: String, message: String },
    /// A size, count or depth is over its published cap.
    #[error("{what}: {found} is over the cap {name} = {cap}; see Admin.GetInfo for all caps")]
    LimitExceeded { what: String, name: &'static str, cap: u64, found: u64 },
    #[error("there is no {kind} {name:?}")]
    NotFound { kind: &'static str, name: String },
    #[error("there is already a {kind} {name:?}")]
    AlreadyExists { kind: &'static str, name: String },
    #[error("item {id:?} is at version {found}, not at the expected {expected}; read it again and retry")]
    VersionMismatch { id: String, expected: u64, found: u64 },
    /// Fields or generations changed between the preparation of a write and the write.
    #[error("the fields of collection {collection:?} changed while the write was prepared; retry")]
    SchemaChanged { collection: String },
    /// The request is well formed but the state forbids it. `reason` is a stable word for programs.
    #[error("{message}")]
    FailedPrecondition { reason: &'static str, message: String },
    /// A bounded queue or budget is full; trying again later works.
    #[error("{what} is full ({depth} waiting, room for {capacity}); retry after {retry_after:?}")]
    Overloaded { what: &'static str, depth: u64, capacity: u64, retry_after: Duration },
    /// Not ready yet, or broken for now.
    #[error("{what} is not available: {message}")]
    Unavailable { what: String, message: String, retry_after: Duration },
    #[error("the deadline passed before {what} was done")]
    DeadlineExceeded { what: &'static str },
    #[error("the caller gave up")]
    Cancelled,
    /// Stored bytes are not what was written.
    #[error("stored data is damaged: {0}")]
    Corruption(String),
    /// The disk refused a write.
    #[error("the store cannot write: {0}")]
    StorageFull(String),
    #[error("the store failed: {0}")]
    Storage(String),
    #[error("{0} is not supported")]
    Unsupported(String),
    #[error("internal error: {0}")]
    Internal(String),
}

/// The library's result; write `crate::Result<T>`.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A request's `field` is wrong; `message` says what was expected and what came.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::InvalidArgument { field: field.into(), message: message.into() }
    }

    /// What the system says of a file or folder; `action` is a verb.
    #[must_use]
    pub fn of_file(action: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        let message = format!("cannot {action} {}: {error}", path.display());
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::StorageFull(message),
            _ => Self::Storage(message),
        }
    }

    /// The stable word for programs that goes into `ErrorInfo.reason`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidArgument { .. } => "INVALID_ARGUMENT",
            Self::LimitExceeded { .. } => "LIMIT_EXCEEDED",
            Self::NotFound { .. } => "NOT_FOUND",
            Self::AlreadyExists { .. } => "ALREADY_EXISTS",
            Self::VersionMismatch { .. } => "VERSION_MISMATCH",
            Self::SchemaChanged { .. } => "SCHEMA_CHANGED",
            Self::FailedPrecondition { reason, .. } => reason,
            Self::Overloaded { .. } => "OVERLOADED",
            Self::Unavailable { .. } => "UNAVAILABLE",
            Self::DeadlineExceeded { .. } => "DEADLINE_EXCEEDED",
            Self::Cancelled => "CANCELLED",
            Self::Corruption(_) => "DATA_CORRUPTION",
            Self::StorageFull(_) => "STORAGE_FULL",
            Self::Storage(_) => "STORAGE_FAILURE",
            Self::Unsupported(_) => "UNSUPPORTED",
            Self::Internal(_) => "INTERNAL",
        }
    }

    /// When the same request may work, if waiting alone helps.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Overloaded { retry_after, .. } | Self::Unavailable { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }

    /// Prefixes the field name of an argument error, to place it inside a larger request.
    #[must_use]
    pub fn within(self, outer: &str) -> Self {
        match self {
            Self::InvalidArgument { field, message } => {
                let field = if field.is_empty() { outer.to_owned() } else { format!("{outer}.{field}") };
                Self::InvalidArgument { field, message }
            }
            other => other,
        }
    }
}
