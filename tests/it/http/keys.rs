//! Who may call what over HTTP.

use pictor::http::{Access, ROUTES};
use pictor::rpc::auth::ApiKeys;
use pictor::rpc::scopes::Scope;

use super::Http;
use super::text_query;
use crate::support::{TestServer, root};

/// Fails when a route is served without a line in the table of routes, or the table's own rules are broken.
#[test]
fn every_route_has_its_access() {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join("src/http")).expect("the sources") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source");
            for adds in [".route(", ".nest(", ".merge(", ".route_service(", ".nest_service("] {
                found.extend(text.matches(adds).map(|_| path.file_name().expect("a name").to_owned()));
            }
        }
    }
    assert_eq!(found, ["routes.rs"], "routes are added in one place, from the table");
    let paths: Vec<_> = ROUTES.iter().map(|route| route.path).collect();
    assert!(paths.is_sorted_by(|a, b| a < b), "{paths:?}");
    for route in ROUTES {
        let is_data = route.path.starts_with("/v1/");
        assert_eq!(matches!(route.access, Access::Scope(_)), is_data, "{} {}", route.path, is_data);
        assert!(!is_data || route.access == Access::Scope(Scope::Read), "nothing is written over HTTP: {}", route.path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_key_is_refused_on_every_route_with_data() {
    let keys = ApiKeys::parse("read reading-key-000000\nadmin admin-key-0000000\n").expect("keys");
    let server = TestServer::start_with(keys, 8192).await;
    let http = Http::new(server.http);
    for route in ROUTES {
        let path = route.path.replace("{name}", "page.js").replace("{collection}", "notes").replace("{id}", "a");
        let send =
            async |http: &Http| http.with("content-type", "application/json").send(route.method, &path, b"{}").await;
        let (bare, reply) = (send(&http).await, send(&http.with("authorization", "Bearer reading-key-000000")).await);
        if matches!(route.access, Access::Scope(_)) {
            bare.check(&path, 401, "API_KEY_MISSING", "authorization: Bearer KEY");
            assert_eq!(bare.header("www-authenticate"), "Bearer");
            let wrong = send(&http.with("authorization", "Bearer reading-key-000001")).await;
            wrong.check(&path, 401, "API_KEY_UNKNOWN", "not one of the server's");
        } else {
            assert_eq!(bare.status, 200, "{path}");
        }
        assert!(!matches!(reply.status, 401 | 403), "{path}: {reply:?}");
    }
    let found = http.with("x-api-key", "admin-key-0000000").search(&text_query("nobody", "x")).await;
    found.check("another header, a larger key", 404, "NOT_FOUND", "nobody");
    // With keys a name says nothing: who has no key gets nothing under any.
    let reply = http
        .with("host", "shop.example")
        .with("authorization", "Bearer reading-key-000000")
        .get("/v1/collections")
        .await;
    assert_eq!(reply.status, 200);
    server.shut_down().await;
}
