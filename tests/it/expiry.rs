//! Items that end by themselves.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pictor_proto::client::Client;
use pictor_proto::v1;

use crate::fixture::block_on;
use crate::generations::ended;
use crate::support::{TestServer, collection_of_vectors, vector_item};

const NAME: &str = "news";

/// An item whose payload says `until`, so many seconds from now.
fn item(id: &str, seconds: i64) -> v1::Item {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64;
    let kind = v1::value::Kind::TimestampValue(prost_types::Timestamp { seconds: now + seconds, nanos: 0 });
    let payload = [("until".to_owned(), v1::Value { kind: Some(kind) })].into();
    v1::Item { payload, ..vector_item(id, &[1.0, 2.0, 3.0]) }
}

async fn upsert(client: &Client, items: Vec<v1::Item>) {
    let request = v1::UpsertRequest { collection: NAME.to_owned(), items, ..Default::default() };
    let reply = client.items.clone().upsert(request).await.expect("stored").into_inner();
    assert!(reply.results.iter().all(|result| result.error.is_none()), "{:?}", reply.results);
}

async fn ids(client: &Client) -> Vec<String> {
    let request = v1::ScrollRequest { collection: NAME.to_owned(), limit: 10_000, ..Default::default() };
    let reply = client.items.clone().scroll(request).await.expect("a page").into_inner();
    reply.items.into_iter().map(|item| item.id).collect()
}

async fn wait_for(client: &Client, expected: &[&str]) {
    let start = Instant::now();
    while ids(client).await != expected {
        assert!(start.elapsed() < Duration::from_secs(30), "{:?} instead of {expected:?}", ids(client).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn set(client: &Client, expiry: Option<(&str, u64)>) -> Result<v1::Collection, tonic::Status> {
    let expiry = expiry.map(|(path, after_seconds)| v1::Expiry { path: path.to_owned(), after_seconds });
    let request = v1::SetExpiryRequest { collection: NAME.to_owned(), expiry };
    let reply = client.collections.clone().set_expiry(request).await?.into_inner();
    Ok(reply.collection.expect("a collection"))
}

async fn change_index(client: &Client, is_drop: bool) -> Result<Option<v1::Job>, tonic::Status> {
    let (collection, kind) = (NAME.to_owned(), v1::PayloadKind::Time as i32);
    let index = Some(v1::PayloadIndexSpec { path: "until".to_owned(), kind });
    let mut collections = client.collections.clone();
    if is_drop {
        let request = v1::DropPayloadIndexRequest { collection, index };
        return collections.drop_payload_index(request).await.map(|_| None);
    }
    let request = v1::CreatePayloadIndexRequest { collection, index };
    Ok(collections.create_payload_index(request).await?.into_inner().job)
}

/// Fails when an item outlives its time, ends before it or without one, or when a changed time does not count.
#[test]
fn items_end_at_their_time() {
    block_on(async {
        let server = TestServer::start().await;
        let client = server.client().await;
        let mut request = collection_of_vectors(NAME, 3);
        let expiry = Some(v1::Expiry { path: "until".to_owned(), after_seconds: 3_600 });
        request.spec.as_mut().expect("a description").expiry.clone_from(&expiry);
        let made = client.collections.clone().create_collection(request).await.expect("created").into_inner();
        let made = made.collection.expect("a collection");
        assert_eq!((made.expiry, made.payload_indexes.len()), (expiry, 1));

        let without = vector_item("without", &[1.0, 0.0, 0.0]);
        let words = v1::value::Kind::StringValue("2000-01-01T00:00:00Z".to_owned());
        let payload = [("until".to_owned(), v1::Value { kind: Some(words) })].into();
        let words = v1::Item { payload, ..vector_item("words", &[0.0, 1.0, 0.0]) };
        upsert(&client, vec![item("kept", 60), item("old", -3_601), item("soon", -3_598), without, words]).await;
        // More than one step takes.
        upsert(&client, (0..1_500).map(|number| item(&format!("x{number}"), -4_000)).collect()).await;
        wait_for(&client, &["kept", "without", "words"]).await;

        let ended = vec![item("kept", -5_000)];
        upsert(&client, ended).await;
        wait_for(&client, &["without", "words"]).await;

        // Without a rule all stay, also after a restart; with one again they go.
        assert_eq!(set(&client, None).await.expect("set").expiry, None);
        upsert(&client, vec![item("late", -9_000), item("young", -10)]).await;
        let server = server.restart().await;
        let client = server.client().await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert_eq!(ids(&client).await, ["late", "without", "words", "young"]);
        set(&client, Some(("until", 3_600))).await.expect("set");
        wait_for(&client, &["without", "words", "young"]).await;
        let server = server.restart().await;
        let client = server.client().await;
        set(&client, Some(("until", 0))).await.expect("set");
        wait_for(&client, &["without", "words"]).await;
        server.shut_down().await;
    });
}

/// Fails when a rule is taken without the index that it needs, or the index is dropped under the rule.
#[test]
fn a_rule_needs_its_index() {
    block_on(async {
        let server = TestServer::start().await;
        let client = server.client().await;
        client.collections.clone().create_collection(collection_of_vectors(NAME, 3)).await.expect("created");
        upsert(&client, vec![item("old", -10)]).await;
        let refused = set(&client, Some(("until", 0))).await.expect_err("there is no index");
        assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
        assert!(refused.message().contains("pictor index create news until --kind time"), "{}", refused.message());
        let bad = set(&client, Some(("a..b", 0))).await.expect_err("no path");
        assert_eq!(bad.code(), tonic::Code::InvalidArgument);
        let job = change_index(&client, false).await.expect("an index").expect("a job");
        assert_eq!(ended(&client, &job.id).await.state(), v1::JobState::Succeeded);
        set(&client, Some(("until", 0))).await.expect("set");
        wait_for(&client, &[]).await;
        let refused = change_index(&client, true).await.expect_err("it is in use");
        assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
        assert!(refused.message().contains("pictor collection expire news --never"), "{}", refused.message());
        set(&client, None).await.expect("set");
        change_index(&client, true).await.expect("dropped");
        server.shut_down().await;
    });
}
