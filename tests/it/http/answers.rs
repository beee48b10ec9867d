//! What is answered: the same as over gRPC, in JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pictor_proto::v1;
use pictor_proto::v1::query_part::Content;
use serde_json::{Value, json};

use super::client::form;
use super::{goods, notes_and_points, text_query};
use crate::encoder::pictures::png;
use crate::encoder::tower_models::picture;

fn ids(answer: &Value) -> Vec<String> {
    let hits = answer["hits"].as_array().unwrap_or_else(|| panic!("no hits: {answer}"));
    hits.iter().map(|hit| hit["id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_answers_as_grpc_does() {
    let (server, http) = notes_and_points().await;
    let mut request = text_query("notes", "space travel");
    request["select"] = json!({ "texts": true, "vectors": true });
    let answer = http.search(&request).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"), "{answer:?}");
    let answer = answer.json();
    let grpc = v1::SearchRequest {
        collection: "notes".to_owned(),
        parts: vec![v1::QueryPart { content: Some(Content::Text("space travel".to_owned())), weight: None }],
        limit: 20,
        ..Default::default()
    };
    let grpc = server.client().await.search.clone().search(grpc).await.expect("an answer").into_inner();
    assert_eq!(ids(&answer), grpc.hits.iter().map(|hit| hit.id.clone()).collect::<Vec<_>>());
    for (hit, same) in answer["hits"].as_array().expect("hits").iter().zip(&grpc.hits) {
        assert_eq!(hit["rank"], same.rank);
        assert_eq!(hit["score"].as_f64().map(|score| score as f32), Some(same.score));
    }
    let first = &answer["hits"][0];
    assert_eq!((&first["id"], &first["field"], &first["thumbnail"]), (&"rocket".into(), &"text".into(), &Value::Null));
    assert_eq!(first["part"], json!({ "kind": "text", "name": "body", "index": 0 }));
    assert_eq!(
        (&first["payload"], &first["texts"]),
        (&json!({ "n": 2 }), &json!({ "body": ["a rocket starting to the moon"] }))
    );
    assert_eq!(first["vectors"][0]["values"].as_array().map(Vec::len), Some(384));
    assert_eq!(
        (
            answer["field"].as_str(),
            answer["generation"].as_u64(),
            answer["composer"].as_str(),
            answer["exact"].as_bool()
        ),
        (Some("text"), Some(1), Some(grpc.composer.as_str()), Some(grpc.exact))
    );
    assert_eq!((&answer["space"], &answer["fingerprint"]), (&grpc.space.into(), &grpc.fingerprint.into()));
    assert!(answer["timings"]["total_us"].as_u64().is_some_and(|micros| micros > 0), "{answer}");

    // Every setting does what it does over gRPC.
    let with = async |change: &dyn Fn(&mut Value)| {
        let mut request = text_query("notes", "space travel");
        change(&mut request);
        http.search(&request).await.json()
    };
    assert_eq!(ids(&with(&|request| request["limit"] = 1.into()).await), ["rocket"]);
    let second = with(&|request| {
        request["limit"] = 1.into();
        request["offset"] = 1.into();
    });
    assert_eq!(second.await["hits"][0]["rank"], 2);
    assert_eq!(ids(&with(&|request| request["min_score"] = json!(0.99)).await), [""; 0]);
    assert_eq!(ids(&with(&|request| request["filter"] = "n = 3".into()).await), ["soup"]);
    assert_eq!(ids(&with(&|request| request["filter"] = json!(["n >= 2", "n < 3 or n = 9"])).await), ["rocket"]);
    let warned = with(&|request| request["filter"] = "n = \"three\"".into()).await;
    assert!(warned["warnings"][0].as_str().is_some_and(|said| said.contains("that comparison is false")), "{warned}");
    assert_eq!(with(&|request| request["select"] = json!({ "payload": false })).await["hits"][0].get("payload"), None);
    assert_eq!(with(&|request| request["composer"] = "slerp".into()).await["composer"], "slerp");

    let like = json!({ "collection": "points", "parts": [{ "item": "p/0" }], "limit": 1 });
    assert_eq!(ids(&http.search(&like).await.json()), ["p/1"], "more like this, without itself");
    let mut itself = like.clone();
    itself["exclude_reference"] = false.into();
    assert_eq!(ids(&http.search(&itself).await.json()), ["p/0"]);
    let composed = json!({
        "collection": "points", "field": "vec", "exact": true,
        "parts": [{ "item": "p/0" }, { "vector": [0.0, 1.0, 0.0], "weight": 2.0 }, { "item": "p/4", "weight": -0.1 }],
    });
    let composed = http.search(&composed).await.json();
    assert_eq!((ids(&composed).len(), composed["exact"].as_bool()), (3, Some(true)), "both references are left out");
    server.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_comes_in_json_or_beside_it() {
    let (_tower, server, http) = goods(v1::MediaOriginals::Keep).await;
    let file = png(&picture(4, 60, 45));
    let encoded = STANDARD.encode(&file);
    let query = |image: &str| json!({ "collection": "goods", "parts": [{ "image": image }], "limit": 3 });
    for image in [encoded.clone(), format!("data:image/png;base64,{encoded}")] {
        let answer = http.search(&query(&image)).await.json();
        assert_eq!(ids(&answer)[0], "shelf/4");
        assert_eq!(answer["hits"][0]["part"], json!({ "kind": "media", "name": "", "index": 0 }));
        let thumbnail = answer["hits"][0]["thumbnail"].as_str().expect("a thumbnail");
        assert!(thumbnail.starts_with("/v1/items/goods/shelf%2F4/thumbnail?part=0&v="), "{thumbnail}");
        assert_eq!(answer["hits"][0].get("media"), None, "only what was asked for");
    }
    let (content_type, body) = form(&[("query", query("file:shoe").to_string().as_bytes()), ("shoe", &file)]);
    let answer = http.with("content-type", &content_type).send("POST", "/v1/search", &body).await;
    assert_eq!(ids(&answer.json())[0], "shelf/4");

    let problem = |what: &str, reply: &super::client::Reply, field: &str, detail: &str| {
        assert_eq!(reply.check(what, 400, "INVALID_ARGUMENT", detail)["field"], field, "{what}");
    };
    let bad = http.search(&query(&STANDARD.encode(b"no picture"))).await;
    problem("no picture", &bad, "parts[0].media.data", "expected a PNG, JPEG, GIF, WebP, BMP or TIFF file");
    problem("no base64", &http.search(&query("%%%")).await, "parts[0].image", "expected base64");
    problem("no form", &http.search(&query("file:shoe")).await, "parts[0].image", "no file \"shoe\"");
    let sent = async |parts: &[(&str, &[u8])]| {
        let (content_type, body) = form(parts);
        http.with("content-type", &content_type).send("POST", "/v1/search", &body).await
    };
    let json = query("file:shoe").to_string();
    problem("no query", &sent(&[("shoe", &file)]).await, "body", "needs a part \"query\"");
    problem("unnamed", &sent(&[("query", json.as_bytes()), ("shoe", &file), ("hat", &file)]).await, "body", "\"hat\"");
    problem(
        "twice",
        &sent(&[("query", json.as_bytes()), ("shoe", &file), ("shoe", &file)]).await,
        "body",
        "stands twice",
    );
    let no_boundary = http.with("content-type", "multipart/form-data").send("POST", "/v1/search", b"x").await;
    problem("no boundary", &no_boundary, "body", "the form cannot be read");
    let cut = http.with("content-type", "multipart/form-data; boundary=b").send("POST", "/v1/search", b"--b\r\n").await;
    problem("cut", &cut, "body", "the form cannot be read");
    server.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_say_what_a_page_needs() {
    let (server, http) = notes_and_points().await;
    let listed = http.get("/v1/collections").await.json();
    let names: Vec<_> =
        listed["collections"].as_array().expect("a list").iter().map(|one| (&one["name"], &one["items"])).collect();
    assert_eq!(names, [(&json!("notes"), &json!(3)), (&json!("points"), &json!(5))]);
    let notes = http.get("/v1/collections/notes").await.json();
    assert_eq!(
        (&notes["state"], &notes["default_field"], &notes["media"]),
        (&"ready".into(), &"text".into(), &"keep".into())
    );
    let field = &notes["fields"][0];
    assert_eq!(
        (&field["name"], &field["source"], &field["takes"]),
        (&"text".into(), &"text".into(), &json!(["text", "item", "vector"]))
    );
    let generation = &field["generations"][0];
    assert_eq!(
        (&generation["state"], &generation["vectors"], &generation["dimension"]),
        (&"current".into(), &3.into(), &384.into())
    );
    let points = http.get("/v1/collections/points").await.json();
    assert_eq!(points["fields"][0]["takes"], json!(["item", "vector"]));
    http.get("/v1/collections/nobody").await.check("unknown", 404, "NOT_FOUND", "there is no collection \"nobody\"");
    server.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_is_read_by_its_id() {
    let (_tower, server, http) = goods(v1::MediaOriginals::Keep).await;
    let item = http.get("/v1/items/goods/shelf%2F3").await.json();
    assert_eq!((&item["id"], &item["payload"], &item["texts"]), (&"shelf/3".into(), &json!({}), &json!({})));
    assert_eq!((&item["media"][0]["width"], &item["media"][0]["mime_type"]), (&45.into(), &"image/png".into()));
    let thumbnail = item["thumbnails"][0].as_str().expect("a thumbnail");
    assert_eq!(http.get(thumbnail).await.status, 200);
    let vectors = http.get("/v1/items/goods/shelf%2F3?select=vectors").await.json();
    assert_eq!((vectors.get("payload"), vectors["vectors"].as_array().map(Vec::len)), (None, Some(1)));
    http.get("/v1/items/goods/ghost").await.check("unknown", 404, "NOT_FOUND", "there is no item \"ghost\"");
    http.get("/v1/items/goods/a?select=bytes").await.check(
        "select",
        400,
        "INVALID_ARGUMENT",
        "expected payload, texts",
    );
    http.get("/v1/items/goods/a?secret=1").await.check(
        "query",
        400,
        "INVALID_ARGUMENT",
        "got the parameter \"secret\"",
    );
    server.shut_down().await;
}
