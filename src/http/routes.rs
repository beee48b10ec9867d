//! Every route with its access: the router is made of this table, so nothing is served that is not listed here.

use axum::Router;
use axum::extract::Request;
use axum::middleware;
use axum::routing::{MethodRouter, get, post};

use super::problem::Problem;
use super::{Service, assets, collections, facets, guard, items, operators, search};
use crate::rpc::scopes::Scope;

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody, under any name of the server: what runs the server asks whether it lives.
    Probe,
    /// Everybody; without keys only under a name that is the server's.
    Open,
    /// Needs a key of this scope if keys are set.
    Scope(Scope),
}

/// One line of the table.
pub struct Route {
    pub method: &'static str,
    pub path: &'static str,
    pub access: Access,
    handler: fn() -> MethodRouter<Service>,
}

const fn open(path: &'static str, handler: fn() -> MethodRouter<Service>) -> Route {
    Route { method: "GET", path, access: Access::Open, handler }
}

const fn read(method: &'static str, path: &'static str, handler: fn() -> MethodRouter<Service>) -> Route {
    Route { method, path, access: Access::Scope(Scope::Read), handler }
}

const fn probe(path: &'static str, handler: fn() -> MethodRouter<Service>) -> Route {
    Route { method: "GET", path, access: Access::Probe, handler }
}

/// Every route by its path.
pub const ROUTES: &[Route] = &[
    open("/", || get(assets::page)),
    open("/assets/{name}", || get(assets::asset)),
    probe("/livez", || get(operators::livez)),
    open("/metrics", || get(operators::metrics)),
    probe("/readyz", || get(operators::readyz)),
    read("GET", "/v1/collections", || get(collections::list)),
    read("GET", "/v1/collections/{collection}", || get(collections::describe)),
    read("POST", "/v1/collections/{collection}/facets", || post(facets::count)),
    read("GET", "/v1/items/{collection}/{id}", || get(items::describe)),
    read("GET", "/v1/items/{collection}/{id}/thumbnail", || get(items::thumbnail)),
    read("POST", "/v1/search", || post(search::search)),
];

/// The line of a route's pattern.
pub(super) fn route_of(pattern: &str) -> Option<&'static Route> {
    ROUTES.iter().find(|route| route.path == pattern)
}

/// The routes over one engine.
pub fn router(service: Service) -> Router {
    let add = |router: Router<Service>, route: &Route| router.route(route.path, (route.handler)());
    ROUTES
        .iter()
        .fold(Router::new(), add)
        .fallback(async |request: Request| Problem::no_route(request.uri().path()))
        .method_not_allowed_fallback(async |request: Request| {
            Problem::wrong_method(request.method(), request.uri().path())
        })
        .layer(middleware::from_fn_with_state(service.clone(), guard::guard))
        .with_state(service)
}
