//! gRPC: convert, call the engine, convert. The only place, with `server.rs`, that knows tonic and prost.

mod admin;
pub mod auth;
mod collections;
mod convert;
mod encoders;
mod framework;
mod items;
mod jobs;
pub mod scopes;
mod search;
mod status;
mod training;
mod upsert_stream;

pub use framework::{CallLayer, Deadline};
pub use status::to_status;

use tonic::service::Routes;

use crate::engine::Engine;
use crate::types::limits::MESSAGE_BYTES;

/// The names of the services that are served, for health and for the table of scopes.
pub const SERVICES: [&str; 7] = [
    "pictor.v1.Collections",
    "pictor.v1.Items",
    "pictor.v1.Search",
    "pictor.v1.Encoders",
    "pictor.v1.Training",
    "pictor.v1.Jobs",
    "pictor.v1.Admin",
];

/// Every service of ours over one engine.
pub fn routes(engine: &Engine) -> Routes {
    use pictor_proto::v1::admin_server::AdminServer;
    use pictor_proto::v1::collections_server::CollectionsServer;
    use pictor_proto::v1::encoders_server::EncodersServer;
    use pictor_proto::v1::items_server::ItemsServer;
    use pictor_proto::v1::jobs_server::JobsServer;
    use pictor_proto::v1::search_server::SearchServer;
    use pictor_proto::v1::training_server::TrainingServer;

    let cap = MESSAGE_BYTES.get();
    Routes::new(CollectionsServer::new(collections::CollectionsService(engine.clone())).max_decoding_message_size(cap))
        .add_service(ItemsServer::new(items::ItemsService(engine.clone())).max_decoding_message_size(cap))
        .add_service(SearchServer::new(search::SearchService(engine.clone())).max_decoding_message_size(cap))
        .add_service(EncodersServer::new(encoders::EncodersService(engine.clone())).max_decoding_message_size(cap))
        .add_service(TrainingServer::new(training::TrainingService(engine.clone())).max_decoding_message_size(cap))
        .add_service(JobsServer::new(jobs::JobsService(engine.clone())).max_decoding_message_size(cap))
        .add_service(AdminServer::new(admin::AdminService(engine.clone())).max_decoding_message_size(cap))
}
