//! Every way to ask for the wrong thing, with the code, the reason and the details that come back.

use pictor_proto::client::Client;
use pictor_proto::v1;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::support::{TestServer, collection_of_texts, collection_of_vectors, text_item, vector_item};

fn search(parts: Vec<v1::QueryPart>) -> v1::SearchRequest {
    v1::SearchRequest { collection: "vectors".to_owned(), parts, limit: 3, ..Default::default() }
}

fn vector_part(values: &[f32]) -> v1::QueryPart {
    part(v1::query_part::Content::Vector(v1::Vector { values: values.to_vec() }))
}

fn part(content: v1::query_part::Content) -> v1::QueryPart {
    v1::QueryPart { content: Some(content), weight: None }
}

fn expression(text: &str) -> Option<v1::Filter> {
    Some(v1::Filter { node: Some(v1::filter::Node::Expression(text.to_owned())) })
}

async fn searched(client: &Client, request: v1::SearchRequest) -> Status {
    client.search.clone().search(request).await.expect_err("a refusal")
}

#[track_caller]
fn check(what: &str, status: &Status, code: Code, reason: &str, message: &str) {
    assert_eq!(status.code(), code, "{what}: {status:?}");
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("{what}: no ErrorInfo in {status:?}"));
    assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "pictor"), "{what}: {status:?}");
    assert!(status.message().contains(message), "{what}: {:?} does not say {message:?}", status.message());
    if code == Code::InvalidArgument {
        let bad_request = status.get_details_bad_request().unwrap_or_else(|| panic!("{what}: no BadRequest"));
        assert!(!bad_request.field_violations.is_empty(), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_search_is_refused_by_name() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client.collections.clone().create_collection(collection_of_vectors("vectors", 3)).await.expect("created");
    client.collections.clone().create_collection(collection_of_texts("texts")).await.expect("created");
    let invalid = Code::InvalidArgument;
    let good = || vec![vector_part(&[1.0, 0.0, 0.0])];
    let with = |change: fn(&mut v1::SearchRequest)| {
        let mut request = search(good());
        change(&mut request);
        request
    };
    let table: Vec<(&str, v1::SearchRequest, Code, &str, &str)> = vec![
        ("NaN", search(vec![vector_part(&[f32::NAN, 0.0, 0.0])]), invalid, "INVALID_ARGUMENT", "must be finite"),
        (
            "infinite",
            search(vec![vector_part(&[f32::INFINITY, 0.0, 0.0])]),
            invalid,
            "INVALID_ARGUMENT",
            "must be finite",
        ),
        ("dimension", search(vec![vector_part(&[1.0, 0.0])]), invalid, "INVALID_ARGUMENT", "expected 3 numbers, got 2"),
        ("zero", search(vec![vector_part(&[0.0, 0.0, 0.0])]), invalid, "INVALID_ARGUMENT", "zero vector"),
        ("k = 0", with(|r| r.limit = 0), invalid, "INVALID_ARGUMENT", "expected at least 1, got 0"),
        (
            "k = 10^9",
            with(|r| r.limit = 1_000_000_000),
            invalid,
            "LIMIT_EXCEEDED",
            "1000000000 is over the cap SEARCH_WINDOW = 10000",
        ),
        ("offset", with(|r| r.offset = u32::MAX), invalid, "LIMIT_EXCEEDED", "SEARCH_WINDOW"),
        ("no parts", search(vec![]), invalid, "INVALID_ARGUMENT", "at least one part"),
        ("empty part", search(vec![v1::QueryPart::default()]), invalid, "INVALID_ARGUMENT", "a part is a text"),
        ("many parts", search(vec![vector_part(&[1.0, 0.0, 0.0]); 65]), invalid, "LIMIT_EXCEEDED", "QUERY_PARTS"),
        ("weight", with(|r| r.parts[0].weight = Some(f32::NAN)), invalid, "INVALID_ARGUMENT", "a weight is finite"),
        (
            "cancelling",
            search(vec![
                vector_part(&[1.0, 0.0, 0.0]),
                v1::QueryPart { weight: Some(-1.0), ..vector_part(&[1.0, 0.0, 0.0]) },
            ]),
            invalid,
            "INVALID_ARGUMENT",
            "cancel each other out",
        ),
        (
            "composer",
            with(|r| r.composer = "magic".to_owned()),
            invalid,
            "INVALID_ARGUMENT",
            "there are combiner, slerp, sum",
        ),
        ("min_score", with(|r| r.min_score = Some(f32::NAN)), invalid, "INVALID_ARGUMENT", "finite"),
        ("bad filter", with(|r| r.filter = expression("a = ")), invalid, "INVALID_ARGUMENT", "at byte 4"),
        (
            "empty filter",
            with(|r| r.filter = Some(v1::Filter::default())),
            invalid,
            "INVALID_ARGUMENT",
            "without a condition",
        ),
        (
            "media bytes",
            with(|r| r.select = Some(v1::ItemSelection { media_data: true, ..Default::default() })),
            invalid,
            "INVALID_ARGUMENT",
            "Items.Get",
        ),
        (
            "collection",
            with(|r| r.collection = "nobody".to_owned()),
            Code::NotFound,
            "NOT_FOUND",
            "there is no collection \"nobody\"",
        ),
        ("field", with(|r| r.field = "nothing".to_owned()), Code::NotFound, "NOT_FOUND", "nothing"),
        (
            "item",
            search(vec![part(v1::query_part::Content::ItemId("ghost".to_owned()))]),
            Code::NotFound,
            "NOT_FOUND",
            "ghost",
        ),
        (
            "text on vectors",
            search(vec![part(v1::query_part::Content::Text("words".to_owned()))]),
            Code::FailedPrecondition,
            "FIELD_CANNOT_ANSWER",
            "cannot be searched with a text",
        ),
    ];
    for (what, request, code, reason, message) in table {
        check(what, &searched(&client, request).await, code, reason, message);
    }
    // In text form, and as a tree that only the wire format's own depth limit stops.
    let deep_text = format!("{}a = 1{}", "(".repeat(1000), ")".repeat(1000));
    let mut request = search(good());
    request.filter = expression(&deep_text);
    check("deep text filter", &searched(&client, request.clone()).await, invalid, "LIMIT_EXCEEDED", "FILTER_DEPTH");
    for (depth, reason) in [(40, "LIMIT_EXCEEDED"), (1000, "INVALID_ARGUMENT")] {
        let leaf = v1::Filter { node: Some(v1::filter::Node::Exists("a".to_owned())) };
        let deep = (0..depth).fold(leaf, |inner, _| v1::Filter { node: Some(v1::filter::Node::Not(Box::new(inner))) });
        request.filter = Some(deep);
        check("deep filter", &searched(&client, request.clone()).await, invalid, reason, "");
    }
    server.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_write_is_refused_item_by_item() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client.collections.clone().create_collection(collection_of_vectors("vectors", 3)).await.expect("created");
    let good = vector_item("good", &[1.0, 2.0, 2.0]);
    let bad: Vec<(v1::Item, Code, &str)> = vec![
        (vector_item("nan", &[f32::NAN, 0.0, 0.0]), Code::InvalidArgument, "must be finite"),
        (vector_item("short", &[1.0]), Code::InvalidArgument, "expected 3 numbers, got 1"),
        (vector_item("zero", &[0.0; 3]), Code::InvalidArgument, "zero vector"),
        (vector_item("", &[1.0, 0.0, 0.0]), Code::InvalidArgument, "an id must not be empty"),
        (vector_item("a\0b", &[1.0, 0.0, 0.0]), Code::InvalidArgument, "NUL"),
        (vector_item(&"x".repeat(513), &[1.0, 0.0, 0.0]), Code::InvalidArgument, "ID_BYTES"),
        (
            v1::Item { if_version: Some(7), ..vector_item("ghost", &[1.0, 0.0, 0.0]) },
            Code::Aborted,
            "not at the expected 7",
        ),
        (
            v1::Item {
                media: vec![v1::Media { data: "no picture".into(), name: String::new() }],
                ..vector_item("media", &[1.0, 0.0, 0.0])
            },
            Code::InvalidArgument,
            "expected a PNG, JPEG, GIF, WebP, BMP or TIFF file",
        ),
        (
            v1::Item {
                payload: [("p".to_owned(), v1::Value::default())].into(),
                ..vector_item("payload", &[1.0, 0.0, 0.0])
            },
            Code::InvalidArgument,
            "payload.p",
        ),
    ];
    let items: Vec<_> = [good.clone()]
        .into_iter()
        .chain(bad.iter().map(|(item, ..)| item.clone()))
        .chain([vector_item("also", &[0.0, 1.0, 0.0])])
        .collect();
    let n_items = items.len();
    let request = v1::UpsertRequest { collection: "vectors".to_owned(), items, ..Default::default() };
    let results = client.items.clone().upsert(request).await.expect("per-item answers").into_inner().results;
    assert_eq!(results.len(), n_items);
    assert!(results[0].error.is_none() && results[n_items - 1].error.is_none(), "neighbours of bad items are stored");
    for ((item, code, message), result) in bad.iter().zip(&results[1..]) {
        let error = result.error.as_ref().unwrap_or_else(|| panic!("{} was accepted", item.id));
        assert_eq!(error.code, *code as i32, "{}: {error:?}", item.id);
        assert!(error.message.contains(message), "{}: {:?} does not say {message:?}", item.id, error.message);
    }
    let count = client.items.clone().count(v1::CountRequest { collection: "vectors".to_owned(), filter: None }).await;
    assert_eq!(count.expect("a count").into_inner().count, 2);

    let insert = v1::UpsertRequest {
        collection: "vectors".to_owned(),
        items: vec![good],
        mode: v1::UpsertMode::Insert as i32,
        ..Default::default()
    };
    let result = client.items.clone().upsert(insert).await.expect("an answer").into_inner().results.remove(0);
    assert_eq!(result.error.expect("an error").code, Code::AlreadyExists as i32);
    server.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_the_cap_is_refused_with_the_cap() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let huge = text_item("huge", &"x".repeat(65 << 20));
    let request = v1::UpsertRequest { collection: "any".to_owned(), items: vec![huge], ..Default::default() };
    let status = client.items.clone().upsert(request).await.expect_err("a refusal");
    check("oversized message", &status, Code::InvalidArgument, "LIMIT_EXCEEDED", "MESSAGE_BYTES = 67108864");
    server.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_of_one_millisecond_is_honoured() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client.collections.clone().create_collection(collection_of_texts("texts")).await.expect("created");
    // Enough texts that no machine encodes them in a millisecond. Sent raw, so that the answer is the server's own and
    // not the client's clock.
    let items = (0..512).map(|n| text_item(&n.to_string(), &format!("sentence number {n} about something"))).collect();
    let request = v1::UpsertRequest { collection: "texts".to_owned(), items, ..Default::default() };
    let (code, reason) = raw_call(&server, "/pictor.v1.Items/Upsert", &request, "1m").await;
    assert_eq!((code, reason.as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
    let count = client.items.clone().count(v1::CountRequest { collection: "texts".to_owned(), filter: None }).await;
    assert_eq!(count.expect("a count").into_inner().count, 0, "nothing is stored after the caller left");
    server.shut_down().await;
}

/// A unary call over plain HTTP/2 with this `grpc-timeout`; gives the server's code and reason.
async fn raw_call(server: &TestServer, path: &str, message: &impl prost::Message, timeout: &str) -> (Code, String) {
    use bytes::{BufMut as _, Bytes, BytesMut};
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.encoded_len()).expect("a small message"));
    message.encode(&mut frame).expect("room");
    let stream = tokio::net::TcpStream::connect(server.grpc).await.expect("a connection");
    let (mut sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://{}{path}", server.grpc))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", timeout)
        .body(())
        .expect("a request");
    let (response, mut body) = sender.send_request(request, false).expect("sent");
    // A refusal may come, and close the stream, before the body is sent.
    let _ = body.send_data(Bytes::from(frame), true);
    let response = response.await.expect("an answer");
    let status = Status::from_header_map(response.headers()).expect("a status in the header");
    (status.code(), status.get_details_error_info().map(|info| info.reason).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_what_its_scope_covers() {
    let keys = "read reading-key-000000\nwrite writing-key-00000\nadmin admin-key-0000000\n";
    let keys = pictor::rpc::auth::ApiKeys::parse(keys).expect("keys");
    let server = TestServer::start_with(keys, 8192).await;
    let create = || collection_of_vectors("vectors", 3);
    let admin = server.client_with_key(Some("admin-key-0000000")).await;
    admin.collections.clone().create_collection(create()).await.expect("an admin creates");
    let upsert = || v1::UpsertRequest {
        collection: "vectors".to_owned(),
        items: vec![vector_item("a", &[1.0, 0.0, 0.0])],
        ..Default::default()
    };
    for (what, key, code, reason) in [
        ("missing", None, Code::Unauthenticated, "API_KEY_MISSING"),
        ("wrong", Some("writing-key-00001"), Code::Unauthenticated, "API_KEY_UNKNOWN"),
        ("read-only", Some("reading-key-000000"), Code::PermissionDenied, "SCOPE_TOO_SMALL"),
    ] {
        let client = server.client_with_key(key).await;
        check(what, &client.items.clone().upsert(upsert()).await.expect_err(what), code, reason, "");
    }
    let writer = server.client_with_key(Some("writing-key-00000")).await;
    writer.items.clone().upsert(upsert()).await.expect("a writer writes");
    let drop = v1::DropCollectionRequest { collection: "vectors".to_owned() };
    let status = writer.collections.clone().drop_collection(drop).await.expect_err("a refusal");
    check("writer drops", &status, Code::PermissionDenied, "SCOPE_TOO_SMALL", "admin");
    let reader = server.client_with_key(Some("reading-key-000000")).await;
    let found =
        reader.search.clone().search(search(vec![vector_part(&[1.0, 0.0, 0.0])])).await.expect("a reader reads");
    assert_eq!(found.into_inner().hits.len(), 1);
    server.shut_down().await;
}

/// Fails when an RPC is served without a line in the table of scopes, or a line outlives its RPC.
#[test]
fn every_served_rpc_has_a_scope() {
    use prost::Message as _;
    let files = [pictor_proto::FILE_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET]
        .into_iter()
        .flat_map(|bytes| prost_types::FileDescriptorSet::decode(bytes).expect("descriptors").file);
    let mut served = Vec::new();
    for file in files {
        for service in &file.service {
            let name = format!("{}.{}", file.package(), service.name());
            if pictor::rpc::SERVICES.contains(&name.as_str()) || name == "grpc.health.v1.Health" {
                served.extend(service.method.iter().map(|method| format!("/{name}/{}", method.name())));
            }
        }
    }
    served.push("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo".to_owned());
    served.push("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo".to_owned());
    served.sort();
    let listed: Vec<_> = pictor::rpc::scopes::TABLE.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(listed, served);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_key_is_refused_on_every_rpc() {
    let keys = pictor::rpc::auth::ApiKeys::parse("admin admin-key-0000000\n").expect("keys");
    let server = TestServer::start_with(keys, 8192).await;
    for (path, _) in pictor::rpc::scopes::TABLE {
        let (code, reason) = raw_call(&server, path, &(), "5S").await;
        assert_eq!((code, reason.as_str()), (Code::Unauthenticated, "API_KEY_MISSING"), "{path}");
    }
    server.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_too_many_carries_when_to_retry() {
    // Room for 4 texts: 64 callers at once are too many, and each refusal must say when to come back.
    let server = TestServer::start_with(pictor::rpc::auth::ApiKeys::default(), 4).await;
    let client = server.client().await;
    client.collections.clone().create_collection(collection_of_texts("texts")).await.expect("created");
    let embed = |caller: usize| {
        let mut encoders = client.encoders.clone();
        async move {
            let input = v1::EmbedInput {
                content: Some(v1::embed_input::Content::Text(format!("{caller} {}", "long text ".repeat(200)))),
            };
            let request =
                v1::EmbedRequest { encoder: crate::support::ENCODER.to_owned(), inputs: vec![input; 2], role: 0 };
            encoders.embed(Request::new(request)).await
        }
    };
    let answers = futures::future::join_all((0..64).map(embed)).await;
    let (answered, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert!(!answered.is_empty() && !refused.is_empty(), "{} answered, {} refused", answered.len(), refused.len());
    for status in refused.into_iter().filter_map(Result::err) {
        check("overload", &status, Code::ResourceExhausted, "OVERLOADED", "retry after");
        let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
        assert!(delay.is_some_and(|delay| !delay.is_zero()), "{status:?}");
    }
    server.shut_down().await;
}
