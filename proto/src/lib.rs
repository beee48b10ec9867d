//! Pictor's gRPC protos (`pictor.v1`), the stubs made from them, and a thin client.
//!
//! - [`v1`]: messages, clients and server traits, one proto file for each service.
//! - [`client`]: one connection with every service's client and the API key attached.
//! - [`code_name`]: gRPC codes in words.
//! - [`FILE_DESCRIPTOR_SET`]: the compiled protos, for reflection.

pub mod client;

use tonic::Code;

/// The messages, clients and server traits of `pictor.v1`.
#[expect(unused_qualifications, clippy::allow_attributes, clippy::large_enum_variant, reason = "generated code")]
pub mod v1 {
    tonic::include_proto!("pictor.v1");
}

/// The encoded `FileDescriptorSet` of all protos.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pictor_descriptor.bin"));

/// The name of a code as the gRPC specification writes it.
#[must_use]
pub const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
