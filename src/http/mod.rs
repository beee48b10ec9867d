//! HTTP: the JSON API, the page, and what operators ask. Convert, call the engine, convert; docs/http.md is the manual.

mod answer;
mod assets;
mod body;
mod collections;
mod facets;
mod guard;
mod items;
mod operators;
mod problem;
mod query;
mod ranking;
mod routes;
mod search;
mod url;

pub use routes::{Access, ROUTES, Route, router};

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::engine::Engine;
use crate::rpc::auth::ApiKeys;
use crate::types::limits::HTTP_BODIES_BYTES;

/// What every handler has; cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    engine: Engine,
    keys: ApiKeys,
    /// True if only this machine can connect.
    is_loopback: bool,
    /// Room for bodies, in KiB.
    bodies: Arc<Semaphore>,
}

impl Service {
    /// A service over one engine, for a listener bound to `address`.
    #[must_use]
    pub fn new(engine: Engine, keys: ApiKeys, address: SocketAddr) -> Self {
        let bodies = Arc::new(Semaphore::new(HTTP_BODIES_BYTES.get() >> 10));
        Self(Arc::new(Inner { engine, keys, is_loopback: address.ip().is_loopback(), bodies }))
    }

    fn engine(&self) -> &Engine {
        &self.0.engine
    }
}
