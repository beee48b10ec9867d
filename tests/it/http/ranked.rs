//! Hits that are ranked, grouped and counted, and what indexes on payloads have: the same as over gRPC, in JSON.

use pictor_proto::v1;
use pictor_proto::v1::filter::Node;
use pictor_proto::v1::value::Kind;
use serde_json::{Value, json};

use super::Http;
use super::client::form;
use crate::generations::ended;
use crate::support::TestServer;

/// The vectors in `vec` turn away from [1, 0] by the wares' numbers, those in `other` towards it.
fn ware(number: u8, kind: &str) -> v1::Item {
    let turned = |steps: u8| {
        let vector = v1::Vector { values: vec![1.0, 0.1 * f32::from(steps)] };
        v1::VectorParts { vectors: vec![vector] }
    };
    let value = |kind: Kind| v1::Value { kind: Some(kind) };
    let payload = [
        ("kind".to_owned(), value(Kind::StringValue(kind.to_owned()))),
        ("price".to_owned(), value(Kind::IntValue(10 * i64::from(number)))),
    ];
    v1::Item {
        id: format!("w/{number}"),
        payload: payload.into(),
        vectors: [("vec".to_owned(), turned(number)), ("other".to_owned(), turned(5 - number))].into(),
        ..Default::default()
    }
}

fn index(path: &str, kind: v1::PayloadKind) -> v1::CreatePayloadIndexRequest {
    let index = v1::PayloadIndexSpec { path: path.to_owned(), kind: kind as i32 };
    v1::CreatePayloadIndexRequest { collection: "wares".to_owned(), index: Some(index) }
}

/// A server with six wares that are found by two fields, and an index on their kinds.
async fn wares() -> (TestServer, Http) {
    let server = TestServer::start().await;
    let client = server.client().await;
    let field = |name: &str| {
        let source = v1::field_spec::Source::Vector(v1::VectorSource { dimension: 2, space: String::new() });
        v1::FieldSpec { name: name.to_owned(), source: Some(source) }
    };
    let fields = vec![field("vec"), field("other")];
    let spec = v1::CollectionSpec { name: "wares".to_owned(), fields, ..Default::default() };
    let request = v1::CreateCollectionRequest { spec: Some(spec) };
    client.collections.clone().create_collection(request).await.expect("created");
    let request = index("kind", v1::PayloadKind::Keyword);
    client.collections.clone().create_payload_index(request).await.expect("created");
    let kinds = ["shoe", "shoe", "hat", "shoe", "hat", "scarf"];
    let items = (0..).zip(kinds).map(|(number, kind)| ware(number, kind)).collect();
    let request = v1::UpsertRequest { collection: "wares".to_owned(), items, ..Default::default() };
    let results = client.items.clone().upsert(request).await.expect("stored").into_inner().results;
    assert!(results.iter().all(|result| result.error.is_none()), "{results:?}");
    let http = Http::new(server.http);
    (server, http)
}

fn ids(hits: &Value) -> Vec<&str> {
    let hits = hits.as_array().unwrap_or_else(|| panic!("no hits: {hits}"));
    hits.iter().map(|hit| hit["id"].as_str().expect("an id")).collect()
}

/// The answer to a search for [1, 0] with these settings.
async fn asked(http: &Http, settings: &Value) -> Value {
    let mut request = json!({ "collection": "wares", "parts": [{ "vector": [1.0, 0.0] }] });
    for (key, value) in settings.as_object().expect("settings") {
        request[key.as_str()] = value.clone();
    }
    let reply = http.search(&request).await;
    assert_eq!(reply.status, 200, "{request}: {reply:?}");
    reply.json()
}

/// As [`asked`], with the hits that are expected.
async fn check(http: &Http, settings: &Value, expected: &[&str]) -> Value {
    let answer = asked(http, settings).await;
    assert_eq!(ids(&answer["hits"]), expected, "{settings}: {answer}");
    answer
}

// Expected orders are worked out by hand from the angles between [1, 0], [1, 0.1] … [1, 0.5].
#[tokio::test(flavor = "multi_thread")]
async fn hits_are_ranked_as_a_search_says() {
    let (server, http) = wares().await;
    let by_price = json!({ "path": "price", "weight": 1.0, "number": { "from": 0, "to": 50 } });
    let by_time = json!({ "path": "made", "weight": 0.5, "recency": { "half_life_seconds": 3600.0 } });
    let boosts = json!([by_price, by_time]);
    let dear_first = ["w/5", "w/4", "w/3", "w/2", "w/1", "w/0"];
    let answer = check(&http, &json!({ "boosts": boosts, "explain": "plan" }), &dear_first).await;
    let explanation = &answer["hits"][0]["explanation"];
    assert_eq!((&explanation["boosts"], &explanation["fields"]), (&json!([1.0, 0.0]), &json!([])));
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("no number: {value}"));
    assert!((number(&explanation["similarity"]) - 0.894_427).abs() < 1e-5, "{explanation}");
    assert!((number(&answer["hits"][0]["score"]) - 1.894_427).abs() < 1e-5, "{answer}");
    let plain = check(&http, &json!({ "boosts": boosts }), &dear_first).await;
    assert_eq!((plain["hits"][0].get("explanation"), &plain["plan"]), (None, &Value::Null));

    check(&http, &json!({ "distinct": 0.99 }), &["w/0", "w/2", "w/4"]).await;
    check(&http, &json!({ "diversity": 0.0, "limit": 2 }), &["w/0", "w/5"]).await;
    check(&http, &json!({ "prefetch": { "field": "other", "limit": 2 } }), &["w/4", "w/5"]).await;

    let average = json!({ "positive": ["w/0"], "negative": ["w/5"] });
    check(&http, &json!({ "parts": [], "recommend": average }), &["w/1", "w/2", "w/3", "w/4"]).await;
    let best = json!({ "positive": ["w/4"], "negative": ["w/0"], "strategy": "best_score" });
    check(&http, &json!({ "parts": [], "recommend": best }), &["w/5", "w/3", "w/2", "w/1"]).await;
    server.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_are_fused_and_hits_say_which_found_them() {
    let (server, http) = wares().await;
    let fields = json!([{ "field": "vec" }, { "field": "other", "weight": 2.0 }]);
    let settings = json!({ "fields": fields, "explain": "plan" });
    let answer = check(&http, &settings, &["w/5", "w/4", "w/3", "w/2", "w/1", "w/0"]).await;
    let found = &answer["hits"][0]["explanation"]["fields"];
    assert_eq!((&found[0]["field"], &found[0]["rank"]), (&"vec".into(), &6.into()), "{answer}");
    assert_eq!((&found[1]["field"], &found[1]["rank"]), (&"other".into(), &1.into()), "{answer}");
    let weighted = json!({ "fields": fields, "fusion": { "weighted_scores": {} } });
    check(&http, &weighted, &["w/3", "w/4", "w/2", "w/5", "w/1", "w/0"]).await;
    let one = json!({
        "fields": fields, "fusion": { "reciprocal_rank": { "k": 1 } }, "candidates": 1, "limit": 1, "explain": "plan",
    });
    let answer = check(&http, &one, &["w/5"]).await;
    let hit = &answer["hits"][0];
    assert_eq!(hit["field"], "other", "only this field found it: {answer}");
    let missed = json!({ "field": "vec", "rank": null, "score": null });
    assert_eq!((&hit["explanation"]["fields"][0], &hit["score"]), (&missed, &json!(1.0)));
    server.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hits_are_grouped_and_counted() {
    let (server, http) = wares().await;
    let groups = |answer: &Value| -> Vec<(String, Vec<String>, u64)> {
        assert_eq!(answer["hits"], json!([]), "hits stand in their groups");
        let groups = answer["groups"].as_array().expect("groups").iter();
        let group = |group: &Value| {
            let members: Vec<String> = ids(&group["hits"]).into_iter().map(str::to_owned).collect();
            let rank = group["hits"][0]["rank"].as_u64().expect("a rank");
            assert!(group["hits"].as_array().expect("hits").iter().all(|hit| hit["rank"] == rank), "{group}");
            (group["value"].as_str().expect("a kind").to_owned(), members, rank)
        };
        groups.map(group).collect()
    };
    let group = |value: &str, members: &[&str], rank: u64| {
        (value.to_owned(), members.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>(), rank)
    };
    let by_kind = json!({ "path": "kind", "size": 2 });
    let settings = json!({ "group_by": by_kind, "limit": 2, "facets": ["kind", "price"] });
    let answer = asked(&http, &settings).await;
    assert_eq!(groups(&answer), [group("shoe", &["w/0", "w/1"], 1), group("hat", &["w/2", "w/4"], 2)]);
    let counts = |counts: &[(&str, u64)]| -> Vec<Value> {
        counts.iter().map(|(value, count)| json!({ "value": value, "count": count })).collect()
    };
    let kinds = json!({ "path": "kind", "distinct": 3, "values": counts(&[("shoe", 3), ("hat", 2), ("scarf", 1)]) });
    assert_eq!(answer["facets"][0], kinds);
    assert_eq!((&answer["facets"][1]["path"], &answer["facets"][1]["distinct"]), (&"price".into(), &6.into()));
    assert_eq!(answer["facets"][1]["values"][0], json!({ "value": 0, "count": 1 }));

    let next = asked(&http, &json!({ "group_by": by_kind, "limit": 2, "offset": 1 })).await;
    assert_eq!(groups(&next), [group("hat", &["w/2", "w/4"], 2), group("scarf", &["w/5"], 3)]);
    let one_of_each = asked(&http, &json!({ "group_by": { "path": "kind" } })).await;
    let expected = [group("shoe", &["w/0"], 1), group("hat", &["w/2"], 2), group("scarf", &["w/5"], 3)];
    assert_eq!(groups(&one_of_each), expected);
    assert!(groups(&asked(&http, &json!({ "group_by": { "path": "nowhere" } })).await).is_empty());
    let filtered = asked(&http, &json!({ "filter": "price >= 20", "facets": ["kind"] })).await;
    assert_eq!(filtered["facets"][0]["values"], json!(counts(&[("hat", 2), ("scarf", 1), ("shoe", 1)])));
    assert_eq!((ids(&filtered["hits"]).len(), &filtered["groups"]), (4, &json!([])));
    server.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_how_a_filter_was_answered() {
    let (server, http) = wares().await;
    let indexed = asked(&http, &json!({ "filter": "kind = \"hat\"", "explain": "plan" })).await;
    let plan = json!({ "strategy": "listed", "matches": 2, "payloads_read": 0, "missing": [] });
    assert_eq!((&indexed["plan"], &indexed["warnings"]), (&plan, &json!([])));

    let expression = "kind = \"hat\" and price > 20";
    let answer = asked(&http, &json!({ "filter": expression, "explain": "plan" })).await;
    let request = v1::SearchRequest {
        collection: "wares".to_owned(),
        parts: vec![v1::QueryPart {
            content: Some(v1::query_part::Content::Vector(v1::Vector { values: vec![1.0, 0.0] })),
            weight: None,
        }],
        filter: Some(v1::Filter { node: Some(Node::Expression(expression.to_owned())) }),
        limit: 20,
        explain: v1::Explain::Plan as i32,
        ..Default::default()
    };
    let grpc = server.client().await.search.clone().search(request).await.expect("an answer").into_inner();
    let plan = grpc.plan.expect("a plan");
    let same = json!({
        "strategy": plan.strategy, "matches": plan.matches, "payloads_read": plan.payloads_read,
        "missing": [{ "path": "price", "kind": "number" }],
    });
    assert_eq!((&answer["plan"], ids(&answer["hits"])), (&same, vec!["w/4"]));
    assert_eq!(answer["warnings"], json!(grpc.warnings));
    assert_eq!(asked(&http, &json!({ "explain": "plan" })).await["plan"], Value::Null, "nothing was filtered");
    assert_eq!(asked(&http, &json!({ "filter": expression })).await["plan"], Value::Null, "nobody asked");
    server.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_counted_without_a_search() {
    let (server, http) = wares().await;
    let path = "/v1/collections/wares/facets";
    let counted = http.post(path, &json!({ "paths": ["kind", "price"], "limit": 2 })).await;
    assert_eq!((counted.status, counted.header("content-type")), (200, "application/json"), "{counted:?}");
    let counted = counted.json();
    let kinds = json!([{ "value": "shoe", "count": 3 }, { "value": "hat", "count": 2 }]);
    assert_eq!(counted["facets"][0], json!({ "path": "kind", "distinct": 3, "values": kinds }));
    assert_eq!((&counted["facets"][1]["distinct"], &counted["items"]), (&6.into(), &6.into()));
    let paths = vec!["kind".to_owned(), "price".to_owned()];
    let request = v1::CountFacetsRequest { collection: "wares".to_owned(), paths, ..Default::default() };
    let grpc = server.client().await.search.clone().count_facets(request).await.expect("counts").into_inner();
    assert_eq!(counted["warnings"], json!(grpc.warnings));
    let filtered = http.post(path, &json!({ "paths": ["kind"], "filter": ["price >= 20", "price < 50"] })).await.json();
    let kinds = json!([{ "value": "hat", "count": 2 }, { "value": "shoe", "count": 1 }]);
    assert_eq!((&filtered["facets"][0]["values"], &filtered["items"]), (&kinds, &3.into()));

    let (invalid, limit) = ("INVALID_ARGUMENT", "LIMIT_EXCEEDED");
    // What is sent, then the code, the field and a part of the detail.
    let table: Vec<(Value, &str, &str, &str)> = vec![
        (json!({}), invalid, "body", "missing field `paths`"),
        (json!([]), invalid, "body", "expected the JSON of a count"),
        (json!({ "paths": ["kind"], "group": 1 }), invalid, "body", "unknown field `group`"),
        (json!({ "paths": [] }), invalid, "paths", "at least one payload path"),
        (json!({ "paths": ["kind", "a..b"] }), invalid, "paths[1]", "a field's name"),
        (json!({ "paths": ["kind"], "filter": "kind = " }), invalid, "filter", "at byte"),
        (json!({ "paths": ["kind"], "limit": 0 }), invalid, "limit", "at least 1"),
        (json!({ "paths": ["kind"], "limit": 1_000_000 }), limit, "limit", "FACET_VALUES"),
        (json!({ "paths": vec!["kind"; 65] }), limit, "paths", "FACETS"),
    ];
    for (request, code, field, detail) in table {
        let problem = http.post(path, &request).await.check(&request.to_string(), 400, code, detail);
        assert_eq!(problem["field"], field, "{request}: {problem}");
    }
    let (content_type, body) = form(&[("query", br#"{"paths": ["kind"]}"#), ("shoe", b"x")]);
    let with_file = http.with("content-type", &content_type).send("POST", path, &body).await;
    with_file.check("a file", 400, invalid, "names the file \"shoe\"");
    let unknown = http.post("/v1/collections/nobody/facets", &json!({ "paths": ["kind"] })).await;
    unknown.check("unknown", 404, "NOT_FOUND", "there is no collection \"nobody\"");
    http.get(path).await.check("method", 405, "WRONG_METHOD", "does not take GET");
    server.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_lists_indexes_on_payloads() {
    let (server, http) = wares().await;
    let client = server.client().await;
    let described = async || http.get("/v1/collections/wares").await.json()["payload_indexes"].clone();
    let mut indexes = described().await;
    let bytes = indexes[0]["bytes"].take();
    assert!(bytes.as_u64().is_some_and(|bytes| bytes > 0), "{bytes}");
    let kind = json!({ "path": "kind", "kind": "keyword", "ready": true, "values": 3, "bytes": null, "job": "" });
    assert_eq!(indexes, json!([kind]), "nothing had to be filled");

    let request = index("price", v1::PayloadKind::Number);
    let reply = client.collections.clone().create_payload_index(request).await.expect("created").into_inner();
    let job = ended(&client, &reply.job.expect("a job").id).await;
    let indexes = described().await;
    let price = indexes.as_array().expect("a list").iter().find(|index| index["path"] == "price");
    let price = price.unwrap_or_else(|| panic!("no index on the price: {indexes}"));
    assert_eq!(
        (&price["kind"], &price["ready"], &price["values"], &price["job"]),
        (&"number".into(), &true.into(), &6.into(), &job.id.into()),
        "{indexes}"
    );
    server.shut_down().await;
}
