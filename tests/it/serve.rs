//! One server, as its clients see it: what is written is found, read back, changed, and there after a restart.

use pictor_proto::client::Client;
use pictor_proto::v1;
use pictor_proto::v1::query_part::Content;
use pictor_proto::v1::upsert_stream_response::Outcome;
use tonic::Code;

use crate::support::{
    ChildServer, ENCODER, TestServer, collection_of_texts, collection_of_vectors, text_item, vector_item,
};

async fn upsert(client: &Client, collection: &str, items: Vec<v1::Item>) -> Vec<v1::UpsertResult> {
    let request = v1::UpsertRequest { collection: collection.to_owned(), items, ..Default::default() };
    let results = client.items.clone().upsert(request).await.expect("an upsert").into_inner().results;
    for result in &results {
        assert!(result.error.is_none(), "{result:?}");
    }
    results
}

async fn found(client: &Client, request: v1::SearchRequest) -> Vec<String> {
    let response = client.search.clone().search(request).await.expect("an answer").into_inner();
    response.hits.into_iter().map(|hit| hit.id).collect()
}

fn query(content: Content, limit: u32) -> v1::SearchRequest {
    let parts = vec![v1::QueryPart { content: Some(content), weight: None }];
    v1::SearchRequest { collection: "notes".to_owned(), parts, limit, ..Default::default() }
}

fn with_payload(mut item: v1::Item, key: &str, value: i64) -> v1::Item {
    let value = v1::Value { kind: Some(v1::value::Kind::IntValue(value)) };
    item.payload.insert(key.to_owned(), value);
    item
}

async fn fill(client: &Client) -> Vec<v1::UpsertResult> {
    client.collections.clone().create_collection(collection_of_texts("notes")).await.expect("created");
    let items = vec![
        with_payload(text_item("cat", "a kitten sleeping on a sofa"), "n", 1),
        with_payload(text_item("rocket", "a rocket starting to the moon"), "n", 2),
        with_payload(text_item("soup", "how to cook tomato soup"), "n", 3),
        with_payload(text_item("dog", "a puppy playing in the garden"), "n", 4),
    ];
    upsert(client, "notes", items).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_found_by_meaning() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let results = fill(&client).await;
    assert!(results.iter().all(|result| result.outcome() == v1::WriteOutcome::Created && result.version > 0));

    assert_eq!(found(&client, query(Content::Text("space travel".to_owned()), 1)).await, ["rocket"]);
    assert_eq!(found(&client, query(Content::Text("dinner recipe".to_owned()), 1)).await, ["soup"]);
    assert_eq!(
        found(&client, query(Content::ItemId("cat".to_owned()), 1)).await,
        ["dog"],
        "more like this, without itself"
    );
    let mut filtered = query(Content::Text("space travel".to_owned()), 4);
    filtered.filter = Some(v1::Filter { node: Some(v1::filter::Node::Expression("n >= 3".to_owned())) });
    let mut ids = found(&client, filtered).await;
    ids.sort();
    assert_eq!(ids, ["dog", "soup"]);

    let mut composed = query(Content::ItemId("cat".to_owned()), 1);
    composed.parts.push(v1::QueryPart { content: Some(Content::Text("cooking a meal".to_owned())), weight: Some(2.0) });
    assert_eq!(found(&client, composed).await, ["soup"], "a reference and a change in words");

    let mut offset = query(Content::Text("space travel".to_owned()), 3);
    offset.offset = 1;
    let answer = client.search.clone().search(offset).await.expect("an answer").into_inner();
    assert_eq!((answer.hits.len(), answer.hits[0].rank), (3, 2));
    assert!(answer.hits.is_sorted_by(|a, b| a.score >= b.score));
    assert_eq!((answer.field.as_str(), answer.generation, answer.composer.as_str()), ("text", 1, "sum"));
    assert!(!answer.fingerprint.is_empty() && answer.space.ends_with(":384"), "{answer:?}");
    let part = answer.hits[0].part.clone().expect("a part");
    assert_eq!((part.kind(), part.name.as_str(), part.index), (v1::PartKind::Text, "body", 0));

    let batch = v1::SearchBatchRequest {
        requests: vec![query(Content::Text("space travel".to_owned()), 1), query(Content::Text("x".to_owned()), 0)],
    };
    let outcomes = client.search.clone().search_batch(batch).await.expect("answers").into_inner().outcomes;
    assert!(
        matches!(&outcomes[0].outcome, Some(v1::search_outcome::Outcome::Response(response)) if response.hits[0].id == "rocket")
    );
    assert!(
        matches!(&outcomes[1].outcome, Some(v1::search_outcome::Outcome::Error(error)) if error.code == Code::InvalidArgument as i32)
    );
    server.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_change_items_and_survive_a_restart() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let first = fill(&client).await;

    // The same content again writes nothing and encodes nothing.
    let again = v1::UpsertRequest {
        collection: "notes".to_owned(),
        items: vec![with_payload(text_item("cat", "a kitten sleeping on a sofa"), "n", 1)],
        ..Default::default()
    };
    let response = client.items.clone().upsert(again).await.expect("an upsert").into_inner();
    assert_eq!(response.results[0].outcome(), v1::WriteOutcome::Unchanged);
    assert_eq!(response.results[0].version, first[0].version);
    assert_eq!(response.timings.expect("timings").encoded_parts, 0);
    // A new payload with the same text encodes nothing either.
    let changed = v1::UpsertRequest {
        collection: "notes".to_owned(),
        items: vec![with_payload(text_item("cat", "a kitten sleeping on a sofa"), "n", 9)],
        ..Default::default()
    };
    let response = client.items.clone().upsert(changed).await.expect("an upsert").into_inner();
    assert_eq!(response.results[0].outcome(), v1::WriteOutcome::Updated);
    assert_eq!(response.timings.expect("timings").encoded_parts, 0);

    let set = v1::SetPayloadRequest {
        collection: "notes".to_owned(),
        ids: vec!["dog".to_owned(), "ghost".to_owned()],
        payload: [("n".to_owned(), v1::Value { kind: Some(v1::value::Kind::IntValue(40)) })].into(),
        ..Default::default()
    };
    let results = client.items.clone().set_payload(set).await.expect("answers").into_inner().results;
    assert!(results[0].error.is_none());
    assert_eq!(results[1].error.as_ref().map(|error| error.code), Some(Code::NotFound as i32));

    let delete = v1::delete_request::Target::Filter(v1::Filter {
        node: Some(v1::filter::Node::Expression("n in [2, 3]".to_owned())),
    });
    let delete = v1::DeleteRequest { collection: "notes".to_owned(), target: Some(delete), durability: 0 };
    assert_eq!(client.items.clone().delete(delete).await.expect("deleted").into_inner().deleted, 2);
    assert_eq!(found(&client, query(Content::Text("space travel".to_owned()), 4)).await.len(), 2);

    let server = server.restart().await;
    let client = server.client().await;
    let mut ids = found(&client, query(Content::Text("pets".to_owned()), 4)).await;
    ids.sort();
    assert_eq!(ids, ["cat", "dog"]);
    let get = v1::GetRequest {
        collection: "notes".to_owned(),
        ids: vec!["dog".to_owned(), "rocket".to_owned()],
        select: Some(v1::ItemSelection { texts: true, vectors: true, ..Default::default() }),
    };
    let got = client.items.clone().get(get).await.expect("items").into_inner();
    assert_eq!(got.missing, ["rocket"]);
    assert_eq!(got.items[0].payload["n"].kind, Some(v1::value::Kind::IntValue(40)));
    assert_eq!(got.items[0].texts["body"].chunks, ["a puppy playing in the garden"]);
    let vector = &got.items[0].vectors[0];
    assert_eq!((vector.field.as_str(), vector.values.len()), ("text", 384));
    assert!((vector.values.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-5);
    server.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_acknowledges_every_batch() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client.collections.clone().create_collection(collection_of_vectors("vectors", 2)).await.expect("created");
    let batch = |batch: u64, collection: &str| v1::UpsertStreamRequest {
        batch,
        upsert: Some(v1::UpsertRequest {
            collection: collection.to_owned(),
            items: (0..10).map(|n| vector_item(&format!("{batch}-{n}"), &[1.0, n as f32])).collect(),
            ..Default::default()
        }),
    };
    let batches = vec![batch(7, "vectors"), batch(8, "nobody"), batch(9, "vectors")];
    let mut answers =
        client.items.clone().upsert_stream(futures::stream::iter(batches)).await.expect("a stream").into_inner();
    let mut seen = Vec::new();
    while let Some(answer) = answers.message().await.expect("an answer") {
        seen.push((answer.batch, matches!(answer.outcome, Some(Outcome::Upserted(_)))));
        if let Some(Outcome::Refused(refusal)) = answer.outcome {
            assert_eq!(refusal.error.expect("an error").code, Code::NotFound as i32);
        }
    }
    assert_eq!(seen, [(7, true), (8, false), (9, true)], "a refused batch does not end the stream");
    let mut scroll = v1::ScrollRequest { collection: "vectors".to_owned(), limit: 7, ..Default::default() };
    let mut ids = Vec::new();
    loop {
        let page = client.items.clone().scroll(scroll.clone()).await.expect("a page").into_inner();
        ids.extend(page.items.into_iter().map(|item| item.id));
        if page.next_cursor.is_empty() {
            break;
        }
        scroll.cursor = page.next_cursor;
    }
    assert_eq!(ids.len(), 20);
    assert!(ids.is_sorted());
    server.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_kept_with_its_bytes() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client.collections.clone().create_collection(collection_of_texts("notes")).await.expect("created");
    let bytes = std::fs::read(crate::support::root().join("tests/data/noto-1f600.png")).expect("a picture");
    let mut item = text_item("smile", "a smiling face");
    item.media.push(v1::Media { data: bytes.clone().into(), name: "1f600.png".to_owned() });
    upsert(&client, "notes", vec![item]).await;
    let get = v1::GetRequest {
        collection: "notes".to_owned(),
        ids: vec!["smile".to_owned()],
        select: Some(v1::ItemSelection { media_data: true, ..Default::default() }),
    };
    let media = client.items.clone().get(get).await.expect("items").into_inner().items.remove(0).media.remove(0);
    assert_eq!(media.data, bytes);
    assert_eq!((media.mime_type.as_str(), media.width, media.height), ("image/png", 64, 64));
    assert_eq!(media.hash, blake3::hash(&bytes).to_hex().as_str());
    server.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_and_fields_can_be_changed() {
    let server = TestServer::start().await;
    let client = server.client().await;
    for name in ["first", "second"] {
        client.collections.clone().create_collection(collection_of_vectors(name, 2)).await.expect("created");
        upsert(&client, name, vec![vector_item(name, &[1.0, 0.0])]).await;
    }
    let point =
        |alias: &str, collection: &str| v1::AliasChange { alias: alias.to_owned(), collection: collection.to_owned() };
    let change = |changes| v1::UpdateAliasesRequest { changes };
    let mut collections = client.collections.clone();
    collections.update_aliases(change(vec![point("live", "first")])).await.expect("set");
    let searched = async || {
        let mut request = query(Content::Vector(v1::Vector { values: vec![1.0, 0.0] }), 1);
        request.collection = "live".to_owned();
        found(&client, request).await
    };
    assert_eq!(searched().await, ["first"]);
    let partly = change(vec![point("live", "second"), point("other", "nobody")]);
    assert_eq!(collections.update_aliases(partly).await.expect_err("a missing target").code(), Code::NotFound);
    assert_eq!(searched().await, ["first"], "all or nothing");
    collections.update_aliases(change(vec![point("live", "second")])).await.expect("moved");
    assert_eq!(searched().await, ["second"]);

    let source = v1::field_spec::Source::Vector(v1::VectorSource { dimension: 3, space: String::new() });
    let field = v1::FieldSpec { name: "more".to_owned(), source: Some(source) };
    let add = v1::AddFieldRequest { collection: "second".to_owned(), field: Some(field) };
    let described = collections.add_field(add).await.expect("added").into_inner().collection.expect("a collection");
    assert_eq!(described.fields.len(), 2);
    let drop = v1::DropFieldRequest { collection: "second".to_owned(), field: "vec".to_owned() };
    let described = collections.drop_field(drop).await.expect("dropped").into_inner().collection.expect("a collection");
    assert_eq!(described.default_field, "more", "the first field that is left");
    let again = collections.create_collection(collection_of_vectors("first", 2)).await.expect_err("it exists");
    assert_eq!(again.code(), Code::AlreadyExists);
    let dropped = collections.drop_collection(v1::DropCollectionRequest { collection: "first".to_owned() }).await;
    assert_eq!(dropped.expect("dropped").into_inner().items, 1);
    let get = collections.get_collection(v1::GetCollectionRequest { collection: "first".to_owned() }).await;
    assert_eq!(get.expect_err("it is gone").code(), Code::NotFound);
    server.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn encoders_describe_themselves_and_embed() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let mut encoders = client.encoders.clone();
    let get = v1::GetEncoderRequest { encoder: ENCODER.to_owned() };
    let encoder = encoders.get_encoder(get).await.expect("an encoder").into_inner().encoder.expect("described");
    assert_eq!((encoder.architecture.as_str(), encoder.dimension, encoder.max_tokens), ("bert", 384, 256));
    assert_eq!(encoder.fingerprint.len(), 64);
    let listed = encoders.list_encoders(v1::ListEncodersRequest {}).await.expect("a list").into_inner().encoders;
    assert!(listed.iter().any(|listed| listed.name == ENCODER && listed.state() == v1::EncoderState::Ready));
    let text = |text: &str| v1::EmbedInput { content: Some(v1::embed_input::Content::Text(text.to_owned())) };
    let image = v1::EmbedInput { content: Some(v1::embed_input::Content::Image(b"bytes".to_vec().into())) };
    let request = v1::EmbedRequest { encoder: ENCODER.to_owned(), inputs: vec![text("a"), image, text("")], role: 0 };
    let results = encoders.embed(request).await.expect("vectors").into_inner().results;
    let is_vector = |result: &v1::EmbedResult| matches!(&result.outcome, Some(v1::embed_result::Outcome::Embedding(e)) if e.values.len() == 384);
    assert_eq!(results.iter().map(is_vector).collect::<Vec<_>>(), [true, false, true]);
    let unknown = encoders.get_encoder(v1::GetEncoderRequest { encoder: "../../etc".to_owned() }).await;
    assert!(matches!(unknown.expect_err("no such name").code(), Code::InvalidArgument | Code::NotFound));
    server.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_can_look_inside() {
    let server = TestServer::start().await;
    let client = server.client().await;
    fill(&client).await;
    for (path, expected) in [
        ("/livez", "alive"),
        ("/readyz", "ready"),
        ("/metrics", "pictor_items{collection=\"notes\"} 4"),
        ("/metrics", "pictor_calls_total{method=\"/pictor.v1.Items/Upsert\",code=\"OK\"} 1"),
    ] {
        let body = http_get(server.http, path).await;
        assert!(body.starts_with("HTTP/1.1 200") && body.contains(expected), "{path}: {body}");
    }
    let info = client.admin.clone().get_info(v1::GetInfoRequest {}).await.expect("info").into_inner();
    assert_eq!(info.limits["SEARCH_WINDOW"], 10_000);
    assert!(info.features.iter().any(|feature| feature.family == "composer" && feature.name == "sum"));
    assert!(!info.server_id.is_empty());
    let stats = client.admin.clone().get_stats(v1::GetStatsRequest {}).await.expect("stats").into_inner();
    assert_eq!((stats.collections[0].items, stats.collections[0].vectors), (4, 4));

    let channel = tonic::transport::Channel::from_shared(format!("http://{}", server.grpc)).expect("an address");
    let channel = channel.connect().await.expect("connected");
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
    for service in ["", "pictor.v1.Search", "pictor.v1.Admin"] {
        let request = tonic_health::pb::HealthCheckRequest { service: service.to_owned() };
        let mut status = health.check(request.clone()).await.expect("a status").into_inner().status();
        for _ in 0..50 {
            if status == tonic_health::pb::health_check_response::ServingStatus::Serving {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            status = health.check(request.clone()).await.expect("a status").into_inner().status();
        }
        assert_eq!(status, tonic_health::pb::health_check_response::ServingStatus::Serving, "{service:?}");
    }
    let mut reflection = tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient::new(channel);
    let list = tonic_reflection::pb::v1::ServerReflectionRequest {
        message_request: Some(tonic_reflection::pb::v1::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
        ..Default::default()
    };
    let answer = reflection
        .server_reflection_info(futures::stream::iter([list]))
        .await
        .expect("a stream")
        .into_inner()
        .message()
        .await;
    let answer = format!("{answer:?}");
    assert!(pictor::rpc::SERVICES.iter().all(|service| answer.contains(service)), "{answer}");
    server.shut_down().await;
}

async fn http_get(address: std::net::SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_finishes_what_is_in_work() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = ChildServer::start(folder.path()).await;
    let client = server.client().await;
    client.collections.clone().create_collection(collection_of_texts("notes")).await.expect("created");
    let items = (0..256).map(|n| text_item(&n.to_string(), &format!("sentence number {n} about something"))).collect();
    let request = v1::UpsertRequest { collection: "notes".to_owned(), items, ..Default::default() };
    let mut items = client.items.clone();
    let call = tokio::spawn(async move { items.upsert(request).await });
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let status = tokio::task::spawn_blocking(move || server.terminate()).await.expect("stopped");
    assert!(status.success(), "{status}");
    let results = call.await.expect("no panic").expect("the call was in work and is answered").into_inner().results;
    assert!(results.iter().all(|result| result.error.is_none()));
    let server = ChildServer::start(folder.path()).await;
    let count = v1::CountRequest { collection: "notes".to_owned(), filter: None };
    assert_eq!(server.client().await.items.clone().count(count).await.expect("a count").into_inner().count, 256);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_same_data_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let _server = ChildServer::start(folder.path()).await;
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_pictor-server"))
        .arg("serve")
        .args([
            "--data-dir".as_ref(),
            folder.path().as_os_str(),
            "--models-dir".as_ref(),
            crate::support::models_dir().as_os_str(),
        ])
        .args(["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"])
        .output()
        .expect("it runs");
    let stderr = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success() && stderr.contains("in use"), "{stderr}");
}
