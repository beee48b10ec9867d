//! Indexes through a server: filled by a job beside writers, and whole after any death.

use std::time::Duration;

use pictor_proto::client::Client;
use pictor_proto::v1;

use crate::fixture::block_on;
use crate::generations::ended;
use crate::support::{ChildServer, TestServer, collection_of_vectors, vector_item};

const NAME: &str = "shop";

fn index(path: &str, kind: v1::PayloadKind) -> Option<v1::PayloadIndexSpec> {
    Some(v1::PayloadIndexSpec { path: path.to_owned(), kind: kind as i32 })
}

async fn create(client: &Client, path: &str) -> Result<v1::CreatePayloadIndexResponse, tonic::Status> {
    let request =
        v1::CreatePayloadIndexRequest { collection: NAME.to_owned(), index: index(path, v1::PayloadKind::Number) };
    Ok(client.collections.clone().create_payload_index(request).await?.into_inner())
}

async fn described(client: &Client) -> Vec<v1::PayloadIndexInfo> {
    let request = v1::GetCollectionRequest { collection: NAME.to_owned() };
    let reply = client.collections.clone().get_collection(request).await.expect("described").into_inner();
    reply.collection.expect("a collection").payload_indexes
}

fn numbered(number: usize) -> v1::Item {
    let kind = Some(v1::value::Kind::IntValue((number % 10) as i64));
    let payload = [("n".to_owned(), v1::Value { kind })].into();
    v1::Item { payload, ..vector_item(&format!("item-{number:05}"), &[1.0, number as f32, 0.5]) }
}

async fn upsert(client: &Client, items: Vec<v1::Item>) -> Result<(), tonic::Status> {
    let request = v1::UpsertRequest { collection: NAME.to_owned(), items, ..Default::default() };
    let reply = client.items.clone().upsert(request).await?.into_inner();
    assert!(reply.results.iter().all(|result| result.error.is_none()), "{:?}", reply.results);
    Ok(())
}

async fn fill(client: &Client, from: usize, to: usize) {
    for first in (from..to).step_by(1_000) {
        upsert(client, (first..to.min(first + 1_000)).map(numbered).collect()).await.expect("stored");
    }
}

async fn count(client: &Client, expression: &str) -> u64 {
    let node = Some(v1::filter::Node::Expression(expression.to_owned()));
    let request = v1::CountRequest { collection: NAME.to_owned(), filter: Some(v1::Filter { node }) };
    client.items.clone().count(request).await.expect("a count").into_inner().count
}

async fn facets(client: &Client) -> v1::CountFacetsResponse {
    let request =
        v1::CountFacetsRequest { collection: NAME.to_owned(), paths: vec!["n".to_owned()], ..Default::default() };
    client.search.clone().count_facets(request).await.expect("counts").into_inner()
}

/// Fails when: an index is used before it is complete, a write beside its job is missing from it, or its end is not told.
#[test]
fn an_index_is_filled_beside_writers() {
    block_on(async {
        let server = TestServer::start().await;
        let client = server.client().await;
        client.collections.clone().create_collection(collection_of_vectors(NAME, 3)).await.expect("created");
        fill(&client, 0, 5_000).await;
        assert_eq!(facets(&client).await.warnings.len(), 1, "payloads are read without an index");
        let job = create(&client, "n").await.expect("an index").job.expect("a job");
        for number in 5_000..5_200 {
            upsert(&client, vec![numbered(number)]).await.expect("stored");
            assert_eq!(count(&client, "n = 3").await, (number as u64 + 7) / 10);
        }
        let job = ended(&client, &job.id).await;
        assert_eq!(job.state(), v1::JobState::Succeeded, "{job:?}");
        let indexes = described(&client).await;
        assert_eq!((indexes.len(), indexes[0].is_ready, indexes[0].values), (1, true, 10), "{indexes:?}");
        let again = create(&client, "n").await.expect_err("it is there");
        assert_eq!(again.code(), tonic::Code::AlreadyExists);
        let reply = facets(&client).await;
        assert_eq!((reply.items, reply.warnings.len()), (5_200, 0), "{:?}", reply.warnings);
        assert!(reply.facets[0].values.iter().all(|value| value.count == 520), "{:?}", reply.facets);
        let drop = |kind| {
            let request = v1::DropPayloadIndexRequest { collection: NAME.to_owned(), index: index("n", kind) };
            let mut collections = client.collections.clone();
            async move { collections.drop_payload_index(request).await }
        };
        let other = drop(v1::PayloadKind::Keyword).await.expect_err("there is none");
        assert_eq!(other.code(), tonic::Code::NotFound);
        drop(v1::PayloadKind::Number).await.expect("dropped");
        assert_eq!((described(&client).await.len(), count(&client, "n = 3").await), (0, 520));
        server.shut_down().await;
    });
}

/// Every call may be the one that the server dies in.
async fn work_until_death(client: &Client) {
    let Some(job) = create(client, "n").await.ok().and_then(|reply| reply.job) else { return };
    let request = v1::GetJobRequest { id: job.id };
    while client.jobs.clone().get_job(request.clone()).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Fails when: a death at any step of the job leaves an index that misses items, or a job that does not go on.
#[test]
fn a_server_that_dies_at_any_step_ends_with_a_whole_index() {
    for step in ["payload_index.begun", "payload_index.page:1", "payload_index.page:3", "payload_index.complete"] {
        block_on(async {
            let folder = tempfile::tempdir().expect("a folder");
            let models = crate::support::models_dir();
            let arm = |command: &mut std::process::Command| _ = command.env("PICTOR_FAIL_POINT", step);
            let server = ChildServer::start_with(folder.path(), &models, arm).await;
            let client = server.client().await;
            client.collections.clone().create_collection(collection_of_vectors(NAME, 3)).await.expect("created");
            fill(&client, 0, 5_000).await;
            let death = tokio::time::timeout(Duration::from_secs(60), work_until_death(&client)).await;
            death.unwrap_or_else(|_| panic!("{step}: the server lives"));
            server.kill();

            let server = ChildServer::start_with(folder.path(), &models, |_| ()).await;
            let client = server.client().await;
            let jobs = client.jobs.clone().list_jobs(v1::ListJobsRequest {}).await.expect("jobs").into_inner().jobs;
            let job = ended(&client, &jobs[0].id).await;
            assert_eq!(job.state(), v1::JobState::Succeeded, "{step}: {job:?}");
            let indexes = described(&client).await;
            assert_eq!((indexes.len(), indexes[0].is_ready, indexes[0].values), (1, true, 10), "{step}: {indexes:?}");
            assert_eq!(count(&client, "n = 3").await, 500, "{step}");
            server.terminate();
            let store = pictor::store::Store::open(folder.path(), &Default::default()).expect("a store");
            let catalog = pictor::collection::Catalog::open(store, Default::default()).expect("a catalog");
            assert_eq!(catalog.verify(NAME).expect("an audit").problems, Vec::<String>::new(), "{step}");
        });
    }
}
