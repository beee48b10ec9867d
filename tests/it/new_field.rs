//! A field that is added to a collection with items: a job fills it while everybody goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use pictor_proto::client::Client;
use pictor_proto::v1;

use crate::fixture::block_on;
use crate::generations::{NAME, POOL, Towers, create, dot, ended, reason, start};
use crate::support::ChildServer;

const FIELD: &str = "second";

async fn add(client: &Client) -> Result<v1::AddFieldResponse, tonic::Status> {
    let source = v1::field_spec::Source::Media(v1::MediaSource { encoder: "pictor@r2".to_owned() });
    let field = v1::FieldSpec { name: FIELD.to_owned(), source: Some(source) };
    let request = v1::AddFieldRequest { collection: NAME.to_owned(), field: Some(field) };
    Ok(client.collections.clone().add_field(request).await?.into_inner())
}

async fn search(client: &Client, picture: &[u8]) -> Result<v1::SearchResponse, tonic::Status> {
    let content = Some(v1::query_part::Content::Image(picture.to_vec().into()));
    let request = v1::SearchRequest {
        collection: NAME.to_owned(),
        field: FIELD.to_owned(),
        parts: vec![v1::QueryPart { content, weight: None }],
        limit: 10,
        ..Default::default()
    };
    Ok(client.search.clone().search(request).await?.into_inner())
}

async fn fields(client: &Client) -> Vec<(String, Vec<(v1::GenerationState, u64)>)> {
    let request = v1::GetCollectionRequest { collection: NAME.to_owned() };
    let reply = client.collections.clone().get_collection(request).await.expect("described").into_inner();
    let describe = |field: v1::FieldInfo| {
        let states = field.generations.iter().map(|one| (one.state(), one.vectors)).collect();
        (field.spec.expect("a description").name, states)
    };
    reply.collection.expect("a collection").fields.into_iter().map(describe).collect()
}

/// Every item has its picture's vector in both fields.
async fn check_items(client: &Client, known: &BTreeMap<String, usize>, expected: &BTreeMap<&str, Vec<Vec<f32>>>) {
    let select = Some(v1::ItemSelection { vectors: true, ..Default::default() });
    let request = v1::GetRequest { collection: NAME.to_owned(), ids: known.keys().cloned().collect(), select };
    let items = client.items.clone().get(request).await.expect("items").into_inner().items;
    assert_eq!(items.len(), known.len());
    for item in items {
        assert_eq!(item.vectors.len(), expected.len(), "{}", item.id);
        for vector in &item.vectors {
            let wanted = &expected[vector.field.as_str()][known[&item.id]];
            assert!(dot(wanted, &vector.values) > 0.9999, "{} in field {}", item.id, vector.field);
        }
    }
}

async fn expected(towers: &Towers, client: &Client) -> BTreeMap<&'static str, Vec<Vec<f32>>> {
    [("image", towers.vectors(client, "r1").await), (FIELD, towers.vectors(client, "r2").await)].into()
}

/// Fails when: a write meanwhile misses the new field, a search of it answers from a part of the items, or it cannot be dropped.
#[test]
fn a_new_field_is_filled_beside_writers() {
    use v1::GenerationState::Current;
    block_on(async {
        let (towers, server, client) = start().await;
        let mut known = towers.fill(&client, 600).await;
        let reply = add(&client).await.expect("added");
        let job = reply.job.expect("a job");
        assert_eq!(add(&client).await.expect_err("it is there").code(), tonic::Code::AlreadyExists);

        let mut refused = 0;
        for number in 0.. {
            let id = format!("item-{:05}", number * 7 % 900);
            towers.upsert(&client, vec![towers.item(&id, number % POOL)]).await.expect("stored");
            known.insert(id, number % POOL);
            match search(&client, &towers.pool[3]).await {
                Ok(reply) => {
                    assert_eq!((reply.hits.len(), reply.generation), (10, 1));
                    break;
                }
                Err(status) => assert_eq!(reason(&status), "FIELD_IS_BUILDING", "{status}"),
            }
            refused += 1;
        }
        println!("{refused} searches were refused");
        let job = ended(&client, &job.id).await;
        assert_eq!(job.state(), v1::JobState::Succeeded, "{job:?}");
        let n_items = known.len() as u64;
        let both = ["image", FIELD].map(|name| (name.to_owned(), vec![(Current, n_items)]));
        assert_eq!(fields(&client).await, both);
        check_items(&client, &known, &expected(&towers, &client).await).await;

        let request = v1::DropFieldRequest { collection: NAME.to_owned(), field: FIELD.to_owned() };
        client.collections.clone().drop_field(request).await.expect("dropped");
        assert_eq!(fields(&client).await, both[..1]);
        server.shut_down().await;
    });
}

/// Fails when: a cancelled job leaves an empty field behind, or pictures that are not kept are encoded as something else.
#[test]
fn a_cancelled_field_goes_and_pictures_without_originals_are_refused() {
    block_on(async {
        let (towers, server, client) = start().await;
        towers.fill(&client, 3_000).await;
        let job = add(&client).await.expect("added").job.expect("a job");
        client.jobs.clone().cancel_job(v1::CancelJobRequest { id: job.id.clone() }).await.expect("asked to stop");
        assert_eq!(ended(&client, &job.id).await.state(), v1::JobState::Cancelled);
        while fields(&client).await.len() > 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let request = v1::DropCollectionRequest { collection: NAME.to_owned() };
        client.collections.clone().drop_collection(request).await.expect("dropped");
        create(&client, v1::MediaOriginals::Thumbnail).await;
        towers.upsert(&client, (0..7).map(|n| towers.item(&format!("item-{n}"), n)).collect()).await.expect("stored");
        let refused = add(&client).await.expect_err("no originals");
        assert_eq!(reason(&refused), "WITHOUT_ORIGINALS");
        assert_eq!(fields(&client).await.len(), 1);
        server.shut_down().await;
    });
}

/// Fails when: the field and its job are written apart, or the first generation becomes current before it is complete.
#[test]
fn a_server_that_dies_while_a_field_is_filled_ends_with_it_complete() {
    use v1::GenerationState::Current;
    let towers = Towers::new();
    for step in ["reembed.before", "reembed.begun", "reembed.page:2", "reembed.filled", "reembed.complete"] {
        block_on(async {
            let folder = tempfile::tempdir().expect("a folder");
            let arm = |command: &mut std::process::Command| {
                command.env("PICTOR_FAIL_POINT", step);
            };
            let server = ChildServer::start_with(folder.path(), towers.models(), arm).await;
            let client = server.client().await;
            let known = towers.fill(&client, 200).await;
            // The answer may be what the server dies before.
            let _ = add(&client).await;
            let request = v1::ListJobsRequest {};
            while client.jobs.clone().list_jobs(request).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            server.kill();

            let server = ChildServer::start_with_models(folder.path(), towers.models()).await;
            let client = server.client().await;
            let jobs = client.jobs.clone().list_jobs(request).await.expect("jobs").into_inner().jobs;
            assert_eq!(jobs.len(), 1, "{step}: {jobs:?}");
            assert_eq!(ended(&client, &jobs[0].id).await.state(), v1::JobState::Succeeded, "{step}");
            let both = ["image", FIELD].map(|name| (name.to_owned(), vec![(Current, 200)]));
            assert_eq!(fields(&client).await, both, "{step}");
            check_items(&client, &known, &expected(&towers, &client).await).await;
            assert_eq!(search(&client, &towers.pool[4]).await.expect("hits").hits.len(), 10);
        });
    }
}
