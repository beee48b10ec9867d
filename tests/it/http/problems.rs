//! Every way to ask for the wrong thing over HTTP, with the status, the code and the words that come back.

use serde_json::{Value, json};

use super::notes_and_points;

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_search_is_refused_by_name() {
    let (server, http) = notes_and_points().await;
    let vector = || json!({ "vector": [1.0, 0.0, 0.0] });
    let points = |part: Value| json!({ "collection": "points", "parts": [part] });
    let with = |key: &str, value: Value| {
        let mut request = points(vector());
        request[key] = value;
        request
    };
    let (invalid, limit) = ("INVALID_ARGUMENT", "LIMIT_EXCEEDED");
    // What is sent, then the status, the code, the field and a part of the detail.
    let table: Vec<(Value, u16, &str, &str, &str)> = vec![
        (json!({}), 400, invalid, "body", "missing field `collection`"),
        (json!([]), 400, invalid, "body", "expected the JSON of a search"),
        (json!({ "collection": "points" }), 400, invalid, "parts", "at least one part"),
        (with("vectors", "vec".into()), 400, invalid, "body", "unknown field `vectors`, expected one of `collection`"),
        (with("limit", (-1).into()), 400, invalid, "body", "expected u32"),
        (with("limit", 0.into()), 400, invalid, "limit", "expected at least 1, got 0"),
        (with("limit", 1_000_000.into()), 400, limit, "limit + offset", "over the cap SEARCH_WINDOW = 10000"),
        (with("min_score", json!(1e39)), 400, invalid, "body", "number out of range"),
        (with("composer", "magic".into()), 400, invalid, "composer", "magic"),
        (with("field", "nothing".into()), 404, "NOT_FOUND", "", "nothing"),
        (with("collection", "nobody".into()), 404, "NOT_FOUND", "", "there is no collection \"nobody\""),
        (with("filter", "a = ".into()), 400, invalid, "filter", "at byte 4"),
        (with("filter", "".into()), 400, invalid, "filter", "at byte 0"),
        (with("filter", json!(["n = 1", "n == 1"])), 400, invalid, "filter[1]", "at byte 3"),
        (with("filter", json!([])), 400, invalid, "filter", "at least one condition"),
        (with("filter", 7.into()), 400, invalid, "body", "a filter's text, or a list of texts"),
        (
            with("filter", format!("{}a = 1{}", "(".repeat(1000), ")".repeat(1000)).into()),
            400,
            limit,
            "filter",
            "FILTER_DEPTH",
        ),
        (with("select", json!({ "media_data": true })), 400, invalid, "body", "unknown field `media_data`"),
        (with("parts", vec![vector(); 65].into()), 400, limit, "parts", "QUERY_PARTS"),
        (points(json!({})), 400, invalid, "parts[0]", "one of text, item, vector and image"),
        (points(json!({ "text": "a", "item": "b" })), 400, invalid, "parts[0]", "one of text, item, vector and image"),
        (points(json!({ "vector": [1.0] })), 400, invalid, "parts[0].vector", "expected 3 numbers, got 1"),
        (points(json!({ "vector": [0.0, 0.0, 0.0] })), 400, invalid, "parts[0].vector", "zero vector"),
        (points(json!({ "vector": [1e39, 0.0, 0.0] })), 400, invalid, "body", "number out of range"),
        (points(json!({ "item": "p/0", "weight": 0.0 })), 400, invalid, "parts[0].weight", "finite and not 0"),
        (points(json!({ "item": "ghost" })), 404, "NOT_FOUND", "", "ghost"),
        (points(json!({ "item": "" })), 400, invalid, "parts[0].id", "must not be empty"),
        (points(json!({ "text": "words" })), 409, "FIELD_CANNOT_ANSWER", "", "cannot be searched with a text"),
        (points(json!({ "image": "AAAA" })), 409, "FIELD_CANNOT_ANSWER", "", "cannot be searched with an image"),
    ];
    for (request, status, code, field, detail) in table {
        let what = request.to_string();
        let what = what.get(..200).unwrap_or(&what);
        let problem = http.search(&request).await.check(what, status, code, detail);
        assert_eq!(problem["field"].as_str().unwrap_or_default(), field, "{what}: {problem}");
    }
    server.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_ranking_is_refused_by_name() {
    let (server, http) = notes_and_points().await;
    let boost = |change: Value| {
        let mut boost = json!({ "path": "n", "weight": 1.0 });
        for (key, value) in change.as_object().expect("settings") {
            boost[key.as_str()] = value.clone();
        }
        json!([boost])
    };
    let number = || json!({ "from": 0, "to": 10 });
    let (invalid, limit) = ("INVALID_ARGUMENT", "LIMIT_EXCEEDED");
    // A setting, then the status, the code, the field and a part of the detail.
    let table: Vec<(&str, Value, u16, &str, &str, &str)> = vec![
        ("candidates", 1_000_000.into(), 400, limit, "candidates", "SEARCH_WINDOW"),
        ("candidates", (-1).into(), 400, invalid, "body", "expected u32"),
        ("boosts", boost(json!({})), 400, invalid, "boosts[0]", "one of number and recency"),
        ("boosts", json!([{ "path": "n" }]), 400, invalid, "body", "missing field `weight`"),
        ("boosts", boost(json!({ "number": number(), "weight": 0.0 })), 400, invalid, "boosts[0].weight", "not 0"),
        ("boosts", boost(json!({ "number": { "from": 1, "to": 1 } })), 400, invalid, "boosts[0].to", "another number"),
        ("boosts", boost(json!({ "number": number(), "path": "a..b" })), 400, invalid, "boosts[0].path", "at byte 2"),
        ("boosts", boost(json!({ "number": { "from": 1 } })), 400, invalid, "body", "missing field `to`"),
        (
            "boosts",
            boost(json!({ "recency": { "half_life_seconds": 0.0 } })),
            400,
            invalid,
            "boosts[0].recency.half_life_seconds",
            "expected seconds above 0, got 0",
        ),
        (
            "boosts",
            boost(json!({ "recency": { "half_life": 1.0 } })),
            400,
            invalid,
            "body",
            "unknown field `half_life`",
        ),
        ("distinct", json!(1.5), 400, invalid, "distinct", "from -1 to 1"),
        ("diversity", json!(-0.5), 400, invalid, "diversity", "from 0 to 1"),
        ("group_by", json!({ "path": "n", "size": 0 }), 400, invalid, "group_by.size", "at least 1"),
        ("group_by", json!({ "path": "" }), 400, invalid, "group_by.path", "a field's name"),
        ("group_by", json!({ "path": "n", "limit": 1 }), 400, invalid, "body", "unknown field `limit`"),
        ("fields", "vec".into(), 400, invalid, "body", "expected a sequence"),
        ("fields", json!([{ "field": "vec", "weight": -1.0 }]), 400, invalid, "fields[0].weight", "above 0"),
        ("fields", json!([{ "field": "vec" }, { "field": "vec" }]), 400, invalid, "fields", "stands twice"),
        ("fields", json!([{ "field": "nothing" }]), 404, "NOT_FOUND", "", "nothing"),
        ("fusion", json!({ "reciprocal_rank": {} }), 400, invalid, "fusion", "name the fields"),
        ("fusion", json!({ "average": {} }), 400, invalid, "body", "unknown variant `average`"),
        ("fusion", json!({ "weighted_scores": { "k": 1 } }), 400, invalid, "body", "unknown field `k`"),
        ("prefetch", json!({ "field": "vec", "limit": 0 }), 400, invalid, "prefetch.limit", "at least 1"),
        ("prefetch", json!({ "field": "vec" }), 400, invalid, "body", "missing field `limit`"),
        ("recommend", json!({}), 400, invalid, "recommend", "at least one item"),
        ("recommend", json!({ "positive": ["ghost"] }), 404, "NOT_FOUND", "", "ghost"),
        ("recommend", json!({ "strategy": "median" }), 400, invalid, "body", "unknown variant `median`"),
        ("facets", json!(["n", "a b"]), 400, invalid, "facets[1]", "the end of the path"),
        ("facets", vec!["n"; 65].into(), 400, limit, "facets", "FACETS"),
        ("explain", "all".into(), 400, invalid, "body", "unknown variant `all`"),
    ];
    for (key, value, status, code, field, detail) in table {
        let mut request = json!({ "collection": "points", "parts": [{ "vector": [1.0, 0.0, 0.0] }] });
        request[key] = value;
        let what = request.to_string();
        let what = what.get(..200).unwrap_or(&what);
        let problem = http.search(&request).await.check(what, status, code, detail);
        assert_eq!(problem["field"].as_str().unwrap_or_default(), field, "{what}: {problem}");
    }
    server.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_request_is_refused_before_anything_reads_it() {
    let (server, http) = notes_and_points().await;
    http.get("/v1/nothing").await.check("route", 404, "UNKNOWN_ROUTE", "/v1/nothing is not served");
    http.get("/v1/items/notes").await.check("half a route", 404, "UNKNOWN_ROUTE", "is not served");
    let wrong = http.get("/v1/search").await;
    wrong.check("method", 405, "WRONG_METHOD", "/v1/search does not take GET");
    assert_eq!(wrong.header("allow"), "POST");
    http.send("DELETE", "/v1/items/notes/cat", b"").await.check("method", 405, "WRONG_METHOD", "does not take DELETE");
    for (content_type, found) in
        [("", "none"), ("text/plain", "text/plain"), ("application/x-www-form-urlencoded", "form-urlencoded")]
    {
        let reply = http.with("content-type", content_type).send("POST", "/v1/search", b"{}").await;
        reply.check(content_type, 415, "WRONG_CONTENT_TYPE", found);
    }
    let json = http.with("content-type", "application/json; charset=utf-8");
    for body in [&b""[..], b"{", b"nonsense", b"{\"collection\": \"\xff\xfe\"}", b"\0", b"{\"collection\": 1}"] {
        let reply = json.send("POST", "/v1/search", body).await;
        reply.check(&String::from_utf8_lossy(body), 400, "INVALID_ARGUMENT", "expected the JSON of a search");
    }
    for value in ["soon", "0", "-5"] {
        let reply = http.with("x-timeout-ms", value).get("/v1/collections").await;
        assert_eq!(reply.check(value, 400, "INVALID_ARGUMENT", "expected milliseconds")["field"], "x-timeout-ms");
    }
    // Counted by routes of the table, so that nobody's paths make the metrics grow.
    let metrics = String::from_utf8(http.get("/metrics").await.body).expect("text");
    for counted in ["route=\"unknown\",status=\"404\"} 2", "route=\"/v1/search\",status=\"415\"} 3"] {
        assert!(metrics.contains(&format!("pictor_http_requests_total{{{counted}")), "{metrics}");
    }
    assert!(!metrics.contains("/v1/nothing"), "{metrics}");
    server.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_is_kept() {
    let (server, http) = notes_and_points().await;
    // Words that no cache knows, and so many that no machine encodes them in a millisecond.
    let long = "several words about something else ".repeat(500);
    let parts: Vec<_> = (0..64).map(|number| json!({ "text": format!("{number} {long}") })).collect();
    let reply = http.with("x-timeout-ms", "1").search(&json!({ "collection": "notes", "parts": parts })).await;
    reply.check("deadline", 504, "DEADLINE_EXCEEDED", "the deadline passed");
    server.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_searches_at_once_are_all_answered() {
    let (server, http) = notes_and_points().await;
    let call = |number: usize| {
        let http = http.clone();
        async move {
            let text = format!("words number {}", number % 50);
            http.search(&json!({ "collection": "notes", "parts": [{ "text": text }] })).await
        }
    };
    for reply in futures::future::join_all((0..400).map(call)).await {
        assert_eq!((reply.status, reply.json()["hits"].as_array().map(Vec::len)), (200, Some(3)), "{reply:?}");
    }
    server.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_in_work_are_answered_when_the_server_stops() {
    let (server, http) = notes_and_points().await;
    let long = "several words about something else ".repeat(4);
    let search = |number: usize| {
        // Encoded one after the other: longer than the pause below, much shorter than what a stop waits for.
        let parts: Vec<_> = (0..16).map(|part| json!({ "text": format!("{number} {part} {long}") })).collect();
        let http = http.clone();
        tokio::spawn(async move { http.search(&json!({ "collection": "notes", "parts": parts })).await })
    };
    let searches: Vec<_> = (0..4).map(search).collect();
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    assert!(searches.iter().all(|search| !search.is_finished()), "none is done before the stop");
    server.shut_down().await;
    for search in searches {
        let reply = search.await.expect("no panic");
        assert_eq!(reply.status, 200, "{reply:?}");
    }
}
