//! What nobody sends by accident: bodies without end, names that mean paths, payloads that mean scripts, foreign pages.

use pictor_proto::v1;
use serde_json::json;

use super::{notes_and_points, text_query};
use crate::support::vector_item;

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_refused_before_it_comes() {
    let (server, http) = notes_and_points().await;
    let json = http.with("content-type", "application/json");
    let refused = json.with("content-length", "104857600").send("POST", "/v1/search", b"").await;
    let problem = refused.check("declared", 413, "LIMIT_EXCEEDED", "over the cap HTTP_BODY_BYTES = 50331648");
    assert_eq!(problem["field"], "body");
    // Undeclared: counted while it comes.
    let mut body = Vec::new();
    for _ in 0..48 {
        body.extend(b"100000\r\n");
        body.extend(vec![b' '; 1 << 20]);
        body.extend(b"\r\n");
    }
    // One byte too many, and no end: what is never read cannot reset the connection before the answer.
    body.extend(b"1\r\n \r\n");
    let chunked = json.with("transfer-encoding", "chunked").send("POST", "/v1/search", &body).await;
    chunked.check("chunked", 413, "LIMIT_EXCEEDED", "HTTP_BODY_BYTES");
    let deep = "[".repeat(100_000);
    let deep = json.send("POST", "/v1/search", format!("{{\"collection\": {deep}").as_bytes()).await;
    deep.check("deep", 400, "INVALID_ARGUMENT", "expected the JSON of a search");
    assert_eq!(http.search(&text_query("notes", "soup")).await.status, 200, "and the next is answered");
    server.shut_down().await;
}

/// Six bodies that are announced and never sent hold all the room that there is.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_have_room_together_and_the_next_is_told_to_wait() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (server, http) = notes_and_points().await;
    let head = format!(
        "POST /v1/search HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        server.http,
        40 << 20
    );
    let mut held = Vec::new();
    for _ in 0..6 {
        let mut stream = tokio::net::TcpStream::connect(server.http).await.expect("a connection");
        stream.write_all(head.as_bytes()).await.expect("sent");
        // The server asks for the body once it has taken its room.
        let mut asked = [0; 12];
        stream.read_exact(&mut asked).await.expect("an interim answer");
        assert_eq!(&asked, b"HTTP/1.1 100");
        held.push(stream);
    }
    let json = http.with("content-type", "application/json");
    let large = json.with("content-length", &(40 << 20).to_string()).with("x-timeout-ms", "200");
    let refused = large.send("POST", "/v1/search", b"").await;
    let problem = refused.check("full", 503, "OVERLOADED", "the memory for request bodies is full");
    assert_eq!((&problem["retry_after"], refused.header("retry-after")), (&json!(1.0), "1"), "{problem}");
    assert_eq!(http.search(&text_query("notes", "soup")).await.status, 200, "a small one still has room");
    drop(held);
    let mut again = large.send("POST", "/v1/search", b"").await;
    for _ in 0..50 {
        if again.status != 503 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        again = large.send("POST", "/v1/search", b"").await;
    }
    // It was let in, and its body never came.
    again.check("free again", 504, "DEADLINE_EXCEEDED", "the deadline passed");
    server.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_mean_paths_are_names() {
    let (server, http) = notes_and_points().await;
    for path in [
        "/assets/..%2f..%2f..%2fetc%2fpasswd",
        "/assets/%2e%2e%2findex.html",
        "/assets/%00",
        "/assets//style.css",
        "/../../etc/passwd",
        "/assets/../Cargo.toml",
        "//etc/passwd",
        "/v1/../v1/search/..",
    ] {
        let reply = http.get(path).await;
        assert_eq!(reply.status, 404, "{path}: {reply:?}");
        assert_eq!(reply.header("content-type"), "application/problem+json", "{path}");
    }
    for (path, status) in [
        ("/v1/items/notes/..%2f..%2fetc%2fpasswd", 404),
        ("/v1/items/..%2fnotes/cat", 404),
        ("/v1/items/notes/%ff%fe", 400),
        ("/v1/items/notes/a%00b", 400),
        ("/v1/items/notes/cat?select=%ff", 400),
        ("/v1/collections/%ff", 400),
        ("/assets/%ff", 400),
    ] {
        let reply = http.get(path).await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (status, "application/problem+json"),
            "{path}: {reply:?}"
        );
    }
    let long = format!("/v1/items/notes/{}", "x".repeat(600));
    http.get(&long).await.check("a long id", 400, "LIMIT_EXCEEDED", "ID_BYTES");
    for nonsense in [&b"nonsense\r\n\r\n"[..], b"GET / HTTP/9.9\r\n\r\n", b"GET \xff HTTP/1.1\r\nhost: x\r\n\r\n"] {
        assert!(matches!(http.raw(nonsense).await.status, 400 | 505), "{nonsense:?}");
    }
    assert_eq!(http.get("/livez").await.status, 200);
    server.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_looks_like_a_script_comes_back_as_text() {
    let (server, http) = notes_and_points().await;
    let script = "<img src=x onerror=alert(1)></script><script>alert('ü\u{2028}')</script>\"'&";
    let mut item = vector_item(script, &[0.0, 0.0, 1.0]);
    item.payload.insert(script.to_owned(), v1::Value { kind: Some(v1::value::Kind::StringValue(script.to_owned())) });
    let request = v1::UpsertRequest { collection: "points".to_owned(), items: vec![item], ..Default::default() };
    server.client().await.items.clone().upsert(request).await.expect("stored");
    let answer =
        http.search(&json!({ "collection": "points", "parts": [{ "vector": [0.0, 0.0, 1.0] }], "limit": 1 })).await;
    assert_eq!(
        (answer.header("content-type"), answer.header("x-content-type-options")),
        ("application/json", "nosniff")
    );
    let hit = &answer.json()["hits"][0];
    assert_eq!((&hit["id"], &hit["payload"][script]), (&script.into(), &script.into()));
    // What a caller sends is said back as text, never as a page.
    let echoed = http.get("/v1/collections/%3Cscript%3Ealert(1)%3C%2Fscript%3E").await;
    echoed.check("echoed", 404, "NOT_FOUND", "<script>");
    assert_eq!(echoed.header("x-content-type-options"), "nosniff");
    server.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_page_gets_nothing() {
    let (server, http) = notes_and_points().await;
    let port = server.http.port();
    // A name of somebody's that was made to point here.
    for host in ["evil.example", "evil.example:7601", "localhost.evil.example", ""] {
        for path in ["/", "/v1/collections", "/metrics", "/assets/page.js"] {
            let refused = http.with("host", host).get(path).await;
            refused.check(&format!("{host} {path}"), 403, "FOREIGN_HOST", "answers to localhost");
        }
        assert_eq!(
            http.with("host", host).get("/livez").await.status,
            200,
            "what runs the server may ask under any name"
        );
    }
    for host in [format!("localhost:{port}"), format!("127.0.0.1:{port}"), "[::1]".to_owned()] {
        assert_eq!(http.with("host", &host).get("/v1/collections").await.status, 200, "{host}");
    }
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1"] {
        let refused = http.with("origin", origin).search(&text_query("notes", "soup")).await;
        refused.check(origin, 403, "FOREIGN_ORIGIN", "may not call this server");
        assert_eq!(refused.header("access-control-allow-origin"), "");
    }
    let own = http.with("origin", &format!("http://{}", server.http)).search(&text_query("notes", "soup")).await;
    assert_eq!(own.status, 200);
    let preflight = http.with("origin", "https://evil.example").send("OPTIONS", "/v1/search", b"").await;
    assert_ne!(preflight.status, 200);
    assert_eq!(preflight.header("access-control-allow-origin"), "");
    server.shut_down().await;
}
