//! Pictor's gRPC protos (`pictor.v1`), the stubs made from them, and a thin client.
//!
//! - [`v1`]: messages, clients and server traits, one proto file for each service.
//! - [`client`]: one connection with every service's client and the API key attached.
//! - [`FILE_DESCRIPTOR_SET`]: the compiled protos, for reflection.

pub mod client;

/// The messages, clients and server traits of `pictor.v1`.
#[expect(unused_qualifications, clippy::allow_attributes, reason = "generated code")]
pub mod v1 {
    tonic::include_proto!("pictor.v1");
}

/// The encoded `FileDescriptorSet` of all protos.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pictor_descriptor.bin"));
