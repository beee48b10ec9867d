//! From one encoder to another while everybody searches and writes.
//!
//! Every picture is one of a small pool, so that a test knows each stored picture's vector under each encoder, and therefore the
//! score of each hit.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pictor_proto::client::Client;
use pictor_proto::v1;

use crate::encoder::pictures::png;
use crate::encoder::tiny::{copy_folder, serialize};
use crate::encoder::tower_models::{Tower, picture};
use crate::fixture::block_on;
use crate::random::{Random, seed};
use crate::support::{ChildServer, TestServer, is_verify};

/// Different pictures.
pub(crate) const POOL: usize = 24;
pub(crate) const NAME: &str = "goods";

/// One tower in two revisions with different weights.
pub(crate) struct Towers {
    pub(crate) tower: Tower,
    pub(crate) pool: Vec<Vec<u8>>,
}

impl Towers {
    pub(crate) fn new() -> Self {
        let tower = Tower::new("pictor");
        let other = tower.models().join("pictor/r2");
        copy_folder(&tower.folder.path, &other);
        let turned: Vec<_> = tower
            .tensors()
            .into_iter()
            .map(|(name, shape, values)| (name, shape, values.into_iter().rev().collect()))
            .collect();
        std::fs::write(other.join("vision/model.safetensors"), serialize(&turned)).expect("weights");
        let side = tower.side();
        let pool = (0..POOL).map(|number| png(&picture(number, side, side))).collect();
        Self { tower, pool }
    }

    pub(crate) fn models(&self) -> &Path {
        self.tower.models()
    }

    pub(crate) fn item(&self, id: &str, content: usize) -> v1::Item {
        v1::Item {
            id: id.to_owned(),
            payload: [("content".to_owned(), integer(content as i64)), ("lot".to_owned(), integer(lot_of(id)))].into(),
            media: vec![v1::Media { data: self.pool[content].clone().into(), ..Default::default() }],
            ..Default::default()
        }
    }

    pub(crate) async fn upsert(&self, client: &Client, items: Vec<v1::Item>) -> Result<(), tonic::Status> {
        let request = v1::UpsertRequest { collection: NAME.to_owned(), items, ..Default::default() };
        let reply = client.items.clone().upsert(request).await?.into_inner();
        for result in reply.results {
            assert!(result.error.is_none(), "{result:?}");
        }
        Ok(())
    }

    pub(crate) async fn fill(&self, client: &Client, items: usize) -> BTreeMap<String, usize> {
        create(client, v1::MediaOriginals::Keep).await;
        let known: BTreeMap<String, usize> = (0..items).map(|n| (format!("item-{n:05}"), n % POOL)).collect();
        let all: Vec<v1::Item> = known.iter().map(|(id, content)| self.item(id, *content)).collect();
        for batch in all.chunks(500) {
            self.upsert(client, batch.to_vec()).await.expect("stored");
        }
        known
    }

    /// The pool's vectors under a revision.
    pub(crate) async fn vectors(&self, client: &Client, revision: &str) -> Vec<Vec<f32>> {
        let input =
            |data: &Vec<u8>| v1::EmbedInput { content: Some(v1::embed_input::Content::Image(data.clone().into())) };
        let request = v1::EmbedRequest {
            encoder: format!("pictor@{revision}"),
            inputs: self.pool.iter().map(input).collect(),
            ..Default::default()
        };
        let reply = client.encoders.clone().embed(request).await.expect("embedded").into_inner();
        let vector = |result: v1::EmbedResult| match result.outcome {
            Some(v1::embed_result::Outcome::Embedding(embedding)) => embedding.values,
            other => panic!("no vector: {other:?}"),
        };
        reply.results.into_iter().map(vector).collect()
    }
}

/// A server on the towers.
pub(crate) async fn start() -> (Towers, TestServer, Client) {
    let towers = Towers::new();
    let server = TestServer::start_on(towers.models()).await;
    let client = server.client().await;
    (towers, server, client)
}

/// Fifty items whose numbers follow each other.
fn lot_of(id: &str) -> i64 {
    id.rsplit('-').next().and_then(|number| number.parse::<i64>().ok()).unwrap_or_default() / 50
}

fn integer(number: i64) -> v1::Value {
    v1::Value { kind: Some(v1::value::Kind::IntValue(number)) }
}

pub(crate) async fn create(client: &Client, originals: v1::MediaOriginals) {
    let source = v1::field_spec::Source::Media(v1::MediaSource { encoder: "pictor@r1".to_owned() });
    let field = v1::FieldSpec { name: "image".to_owned(), source: Some(source) };
    let mut spec = v1::CollectionSpec { name: NAME.to_owned(), fields: vec![field], ..Default::default() };
    spec.set_media_originals(originals);
    let request = v1::CreateCollectionRequest { spec: Some(spec) };
    client.collections.clone().create_collection(request).await.expect("a collection");
}

pub(crate) async fn reembed(client: &Client, encoder: &str) -> Result<v1::Job, tonic::Status> {
    let request = v1::ReembedRequest {
        collection: NAME.to_owned(),
        field: "image".to_owned(),
        encoder: encoder.to_owned(),
        allow_thumbnails: false,
    };
    Ok(client.training.clone().reembed(request).await?.into_inner().job.expect("a job"))
}

pub(crate) async fn ended(client: &Client, id: &str) -> v1::Job {
    let deadline = Instant::now() + Duration::from_secs(1200);
    loop {
        let request = v1::GetJobRequest { id: id.to_owned() };
        let job = client.jobs.clone().get_job(request).await.expect("the job").into_inner().job.expect("the job");
        if matches!(job.state(), v1::JobState::Succeeded | v1::JobState::Failed | v1::JobState::Cancelled) {
            return job;
        }
        assert!(Instant::now() < deadline, "waited in vain: {job:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn switch(client: &Client, generation: u32) -> Result<u32, tonic::Status> {
    let request = v1::SwitchGenerationRequest { collection: NAME.to_owned(), field: "image".to_owned(), generation };
    Ok(client.training.clone().switch_generation(request).await?.into_inner().previous)
}

async fn drop_generation(client: &Client, generation: u32) -> Result<v1::DropGenerationResponse, tonic::Status> {
    let request = v1::DropGenerationRequest { collection: NAME.to_owned(), field: "image".to_owned(), generation };
    Ok(client.training.clone().drop_generation(request).await?.into_inner())
}

pub(crate) async fn search(client: &Client, picture: &[u8], limit: u32) -> Result<v1::SearchResponse, tonic::Status> {
    search_lot(client, picture, limit, None).await
}

async fn search_lot(
    client: &Client,
    picture: &[u8],
    limit: u32,
    lot: Option<i64>,
) -> Result<v1::SearchResponse, tonic::Status> {
    let expression = |lot: i64| v1::Filter { node: Some(v1::filter::Node::Expression(format!("lot = {lot}"))) };
    let content = Some(v1::query_part::Content::Image(picture.to_vec().into()));
    let request = v1::SearchRequest {
        collection: NAME.to_owned(),
        parts: vec![v1::QueryPart { content, weight: None }],
        limit,
        filter: lot.map(expression),
        ..Default::default()
    };
    Ok(client.search.clone().search(request).await?.into_inner())
}

/// Numbers and states of the field's generations, with their vectors.
async fn generations(client: &Client) -> Vec<(u32, v1::GenerationState, u64)> {
    let request = v1::GetCollectionRequest { collection: NAME.to_owned() };
    let reply = client.collections.clone().get_collection(request).await.expect("described").into_inner();
    let mut fields = reply.collection.expect("a collection").fields;
    let stored = fields.remove(0).generations;
    stored.into_iter().map(|one| (one.number, one.state(), one.vectors)).collect()
}

pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// What each generation's vectors must be, by generation.
pub(crate) type Expected = BTreeMap<u32, Vec<Vec<f32>>>;

/// Every hit's score is the one of its picture in the generation that the reply names, and the order is by score.
fn check_reply(reply: &v1::SearchResponse, query: usize, expected: &Expected) {
    let vectors = &expected[&reply.generation];
    let mut last = f32::INFINITY;
    for hit in &reply.hits {
        let payload = &hit.item.as_ref().expect("an item").payload["content"];
        let Some(v1::value::Kind::IntValue(content)) = payload.kind else { panic!("{payload:?}") };
        let score = dot(&vectors[query], &vectors[content as usize]);
        assert!((score - hit.score).abs() < 1e-4, "generation {}: {} for {score}", reply.generation, hit.score);
        assert!(hit.score <= last, "out of order");
        last = hit.score;
    }
}

/// Also that the nearest picture is the query itself, which the pool holds.
pub(crate) fn check_nearest(reply: &v1::SearchResponse, query: usize, expected: &Expected) {
    check_reply(reply, query, expected);
    assert!(reply.hits[0].score > 0.999, "{:?}", reply.hits[0]);
}

/// A search of a whole lot finds all of its items that nobody writes, each once, and no item of another lot.
fn check_lot(reply: &v1::SearchResponse, lot: i64, untouched: &BTreeSet<String>) {
    let found: BTreeSet<&str> = reply.hits.iter().map(|hit| hit.id.as_str()).collect();
    assert_eq!(found.len(), reply.hits.len(), "an item stands twice");
    assert!(found.iter().all(|id| lot_of(id) == lot), "an item of another lot");
    let missing: Vec<_> = untouched.iter().filter(|id| lot_of(id) == lot && !found.contains(id.as_str())).collect();
    assert!(missing.is_empty(), "generation {}: {missing:?} are missing", reply.generation);
}

/// Every item has the vector of its picture in every generation, and there are no others.
pub(crate) async fn check_items(client: &Client, known: &BTreeMap<String, usize>, expected: &Expected) {
    let count = client.items.clone().count(v1::CountRequest { collection: NAME.to_owned(), filter: None }).await;
    assert_eq!(count.expect("a count").into_inner().count, known.len() as u64);
    for (_, _, vectors) in generations(client).await {
        assert_eq!(vectors, known.len() as u64);
    }
    let ids: Vec<String> = known.keys().cloned().collect();
    for ids in ids.chunks(1000) {
        let select = Some(v1::ItemSelection { vectors: true, ..Default::default() });
        let request = v1::GetRequest { collection: NAME.to_owned(), ids: ids.to_vec(), select };
        for item in client.items.clone().get(request).await.expect("items").into_inner().items {
            assert_eq!(item.vectors.len(), expected.len(), "{}", item.id);
            for vector in &item.vectors {
                let wanted = &expected[&vector.generation][known[&item.id]];
                assert!(dot(wanted, &vector.values) > 0.9999, "{} in generation {}", item.id, vector.generation);
            }
        }
    }
}

pub(crate) fn reason(status: &tonic::Status) -> String {
    use tonic_types::StatusExt as _;
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

#[test]
fn a_field_goes_to_another_encoder_and_back() {
    use v1::GenerationState::{Current, Ready, Retired};
    block_on(async {
        let (towers, server, client) = start().await;
        let known = towers.fill(&client, 100).await;
        let expected: Expected =
            [(1, towers.vectors(&client, "r1").await), (2, towers.vectors(&client, "r2").await)].into();
        assert_eq!(generations(&client).await, [(1, Current, 100)]);
        let same = reembed(&client, "pictor@r1").await.expect_err("nothing would change");
        assert_eq!((same.code(), reason(&same).as_str()), (tonic::Code::FailedPrecondition, "GENERATION_EXISTS"));

        let job = reembed(&client, "pictor@r2").await.expect("a job");
        let job = ended(&client, &job.id).await;
        assert_eq!(job.state(), v1::JobState::Succeeded, "{job:?}");
        assert_eq!((job.done, job.total), (100, 100));
        println!("{}", job.message);
        assert_eq!(generations(&client).await, [(1, Current, 100), (2, Ready, 100)]);
        check_items(&client, &known, &expected).await;
        check_nearest(&search(&client, &towers.pool[3], 30).await.expect("hits"), 3, &expected);

        for (number, states) in [(2, [Retired, Current]), (1, [Current, Retired]), (2, [Retired, Current])] {
            assert_eq!(switch(&client, number).await.expect("switched"), 3 - number);
            assert_eq!(generations(&client).await, [(1, states[0], 100), (2, states[1], 100)]);
            let reply = search(&client, &towers.pool[5], 30).await.expect("hits");
            assert_eq!(reply.generation, number);
            check_nearest(&reply, 5, &expected);
        }

        let current = drop_generation(&client, 2).await.expect_err("it is current");
        assert_eq!(reason(&current), "GENERATION_IS_CURRENT");
        let dropped = drop_generation(&client, 1).await.expect("dropped");
        assert_eq!(dropped.vectors, 100);
        let (before, after) = (dropped.bytes_before, dropped.bytes_after);
        assert!(3 * after < 2 * before, "half of the vectors are gone: {before} bytes before, {after} after");
        assert_eq!(generations(&client).await, [(2, Current, 100)]);
        assert_eq!(drop_generation(&client, 1).await.expect_err("gone").code(), tonic::Code::NotFound);
        check_nearest(&search(&client, &towers.pool[7], 30).await.expect("hits"), 7, &expected);

        // A number is never used again, and a restart changes nothing.
        let job = reembed(&client, "pictor@r1").await.expect("a job");
        assert_eq!(ended(&client, &job.id).await.state(), v1::JobState::Succeeded);
        assert_eq!(generations(&client).await, [(2, Current, 100), (3, Ready, 100)]);
        server.shut_down().await;
    });
}

#[test]
fn the_command_line_embeds_again_switches_and_drops() {
    block_on(async {
        let (towers, server, client) = start().await;
        towers.fill(&client, 50).await;
        let address = format!("http://{}", server.grpc);
        let call = |line: &'static str| {
            let address = address.clone();
            // The server answers on this runtime's threads.
            tokio::task::spawn_blocking(move || {
                let mut command = crate::ingest::pictor();
                let output =
                    command.env("PICTOR_URL", address).arg("--json").args(line.split(' ')).output().expect("it runs");
                let text = String::from_utf8(output.stdout).expect("text");
                let last =
                    text.lines().last().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
                (output.status.code(), last.unwrap_or_default(), String::from_utf8_lossy(&output.stderr).into_owned())
            })
        };
        let (code, last, errors) = call("reembed goods --field image --encoder pictor@r2 --switch").await.expect("run");
        assert_eq!(
            (code, last),
            (Some(0), serde_json::json!({"field": "image", "current": 2, "previous": 1})),
            "{errors}"
        );
        let (code, last, errors) = call("generation switch goods --field image --generation 1").await.expect("run");
        assert_eq!((code, &last["previous"]), (Some(0), &2.into()), "{errors}");
        let (code, _, errors) = call("generation drop goods --field image --generation 1").await.expect("run");
        assert_eq!(code, Some(1));
        assert!(errors.contains("switch first"), "{errors}");
        let (code, last, errors) = call("generation drop goods --field image --generation 2").await.expect("run");
        assert_eq!((code, &last["vectors"]), (Some(0), &50.into()), "{errors}");
        server.shut_down().await;
    });
}

/// Fails when: a cancelled job leaves a generation behind that is written for ever.
#[test]
fn a_cancelled_job_takes_its_generation_with_it() {
    block_on(async {
        let (towers, server, client) = start().await;
        let known = towers.fill(&client, 3_000).await;
        let job = reembed(&client, "pictor@r2").await.expect("a job");
        while generations(&client).await.len() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let building = drop_generation(&client, 2).await.expect_err("a job is at work");
        assert_eq!(reason(&building), "GENERATION_IS_BUILDING");
        assert_eq!(reason(&switch(&client, 2).await.expect_err("not complete")), "GENERATION_IS_BUILDING");
        client.jobs.clone().cancel_job(v1::CancelJobRequest { id: job.id.clone() }).await.expect("asked to stop");
        assert_eq!(ended(&client, &job.id).await.state(), v1::JobState::Cancelled);
        let deadline = Instant::now() + Duration::from_secs(30);
        while generations(&client).await.len() > 1 {
            assert!(Instant::now() < deadline, "the generation stays");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let expected: Expected = [(1, towers.vectors(&client, "r1").await)].into();
        check_items(&client, &known, &expected).await;
        server.shut_down().await;
    });
}

#[test]
fn pictures_that_are_not_kept_are_not_encoded_again() {
    block_on(async {
        let (towers, server, client) = start().await;
        create(&client, v1::MediaOriginals::Thumbnail).await;
        let items = (0..7).map(|n| towers.item(&format!("item-{n}"), n)).collect();
        towers.upsert(&client, items).await.expect("stored");
        let refused = reembed(&client, "pictor@r2").await.expect_err("no originals");
        assert_eq!(reason(&refused), "WITHOUT_ORIGINALS");
        assert!(refused.message().contains("7 items keep a thumbnail"), "{}", refused.message());
        let request = v1::ReembedRequest {
            collection: NAME.to_owned(),
            field: "image".to_owned(),
            encoder: "pictor@r2".to_owned(),
            allow_thumbnails: true,
        };
        let job = client.training.clone().reembed(request).await.expect("a job").into_inner().job.expect("a job");
        assert_eq!(ended(&client, &job.id).await.state(), v1::JobState::Succeeded);
        server.shut_down().await;
    });
}

/// Fails when: a write goes to one generation only, a search mixes two, a call fails because of a switch or a drop.
#[test]
fn everybody_searches_and_writes_while_a_generation_is_built() {
    const WRITERS: usize = 2;
    const SEARCHERS: usize = 8;
    block_on(async {
        let seed = seed("everybody_searches_and_writes_while_a_generation_is_built");
        let towers = Arc::new(Towers::new());
        let server = TestServer::start_on(towers.models()).await;
        let client = server.client().await;
        let known = towers.fill(&client, if is_verify() { 30_000 } else { 1_500 }).await;
        let expected: Arc<Expected> =
            Arc::new([(1, towers.vectors(&client, "r1").await), (2, towers.vectors(&client, "r2").await)].into());
        let is_over = Arc::new(AtomicBool::new(false));
        let searches = Arc::new(AtomicU64::new(0));
        // What no writer has.
        let of_nobody = known.keys().enumerate().filter(|(position, _)| position % (2 * WRITERS) >= WRITERS);
        let untouched: Arc<BTreeSet<String>> = Arc::new(of_nobody.map(|(_, id)| id.clone()).collect());
        let lots = known.len() / 50;

        let mut searchers = Vec::new();
        for number in 0..SEARCHERS {
            let (client, towers, expected) = (server.client().await, towers.clone(), expected.clone());
            let (is_over, searches, untouched) = (is_over.clone(), searches.clone(), untouched.clone());
            searchers.push(tokio::spawn(async move {
                let mut seen = Vec::new();
                let mut random = Random::new(seed ^ number as u64);
                while !is_over.load(Ordering::SeqCst) {
                    let query = random.below(POOL);
                    let reply = search(&client, &towers.pool[query], 20).await.expect("no search fails");
                    check_nearest(&reply, query, &expected);
                    seen.push(reply.generation);
                    let lot = random.below(lots) as i64;
                    let reply =
                        search_lot(&client, &towers.pool[query], 100, Some(lot)).await.expect("no search fails");
                    check_reply(&reply, query, &expected);
                    check_lot(&reply, lot, &untouched);
                    seen.push(reply.generation);
                    searches.fetch_add(2, Ordering::SeqCst);
                }
                seen.dedup();
                seen
            }));
        }
        let mut writers = Vec::new();
        for number in 0..WRITERS {
            let (client, towers, is_over) = (server.client().await, towers.clone(), is_over.clone());
            // Each writer has items of its own, and leaves half of all items alone.
            let mut own: BTreeMap<String, usize> = known
                .iter()
                .enumerate()
                .filter(|(position, _)| position % (2 * WRITERS) == number)
                .map(|(_, (id, content))| (id.clone(), *content))
                .collect();
            writers.push(tokio::spawn(async move {
                let ids: Vec<String> = own.keys().cloned().collect();
                let mut random = Random::new(seed ^ 0xffff ^ number as u64);
                let mut writes = 0;
                while !is_over.load(Ordering::SeqCst) {
                    let id = random.pick(&ids).clone();
                    if random.chance(15) {
                        let target = v1::delete_request::Target::Ids(v1::IdList { ids: vec![id.clone()] });
                        let request =
                            v1::DeleteRequest { collection: NAME.to_owned(), target: Some(target), durability: 0 };
                        client.items.clone().delete(request).await.expect("no delete fails");
                        own.remove(&id);
                    } else if let (Some(content), true) = (own.get(&id), random.chance(30)) {
                        let request = v1::SetPayloadRequest {
                            collection: NAME.to_owned(),
                            ids: vec![id.clone()],
                            payload: [
                                ("content".to_owned(), integer(*content as i64)),
                                ("n".to_owned(), integer(writes)),
                            ]
                            .into(),
                            ..Default::default()
                        };
                        client.items.clone().set_payload(request).await.expect("no change of payload fails");
                    } else {
                        let content = random.below(POOL);
                        towers.upsert(&client, vec![towers.item(&id, content)]).await.expect("no upsert fails");
                        own.insert(id, content);
                    }
                    writes += 1;
                }
                (ids, own, writes)
            }));
        }

        tokio::time::sleep(Duration::from_millis(200)).await;
        let started = Instant::now();
        let job = reembed(&client, "pictor@r2").await.expect("a job");
        let job = ended(&client, &job.id).await;
        assert_eq!(job.state(), v1::JobState::Succeeded, "{job:?}");
        println!("built in {:?}: {}", started.elapsed(), job.message);
        let pause = || tokio::time::sleep(Duration::from_millis(200));
        switch(&client, 2).await.expect("switched");
        pause().await;
        switch(&client, 1).await.expect("switched back");
        pause().await;
        switch(&client, 2).await.expect("switched");
        pause().await;
        is_over.store(true, Ordering::SeqCst);

        let mut now = known;
        let mut n_writes = 0;
        for writer in writers {
            let (ids, own, writes) = writer.await.expect("a writer");
            now.retain(|id, _| !ids.contains(id));
            now.extend(own);
            n_writes += writes;
        }
        for searcher in searchers {
            let seen = searcher.await.expect("a searcher");
            assert!(seen.contains(&1) && seen.contains(&2), "a searcher saw generations {seen:?}");
        }
        println!("{} searches, {n_writes} writes", searches.load(Ordering::SeqCst));
        check_items(&client, &now, &expected).await;
        let dropped = drop_generation(&client, 1).await.expect("dropped");
        println!("{dropped:?}");
        assert!(dropped.bytes_after < dropped.bytes_before);
        let left: Expected = [(2, expected[&2].clone())].into();
        check_items(&client, &now, &left).await;
        server.shut_down().await;
    });
}

/// Fails when: a step is not safe to die in, or what it left behind is not taken up.
#[test]
fn a_server_that_dies_at_any_step_ends_with_one_complete_generation() {
    // A change of generations is `add`, `complete`, `switch`, `drop`, in this order.
    let steps = [
        "reembed.before",
        "reembed.begun",
        "reembed.page:2",
        "reembed.filled",
        "reembed.checked",
        "reembed.complete",
        "generation.before:1",
        "generation.after:1",
        "generation.before:2",
        "generation.after:2",
        "generation.before:3",
        "generation.after:3",
        "generation.before:4",
        "generation.after:4",
    ];
    let towers = Towers::new();
    for step in steps {
        block_on(async {
            let folder = tempfile::tempdir().expect("a folder");
            let arm = |command: &mut std::process::Command| {
                command.env("PICTOR_FAIL_POINT", step);
            };
            let server = ChildServer::start_with(folder.path(), towers.models(), arm).await;
            let client = server.client().await;
            let known = towers.fill(&client, 200).await;
            // Every call may be the one that the server dies in, this one too.
            let work = async {
                let id = reembed(&client, "pictor@r2").await.ok()?.id;
                loop {
                    let request = v1::GetJobRequest { id: id.clone() };
                    let job = client.jobs.clone().get_job(request).await.ok()?.into_inner().job?;
                    if job.state() == v1::JobState::Succeeded {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                switch(&client, 2).await.ok()?;
                drop_generation(&client, 1).await.ok()
            };
            assert!(tokio::time::timeout(Duration::from_secs(60), work).await.expect("in time").is_none(), "{step}");
            server.kill();

            let server = ChildServer::start_with_models(folder.path(), towers.models()).await;
            let client = server.client().await;
            let jobs = client.jobs.clone().list_jobs(v1::ListJobsRequest {}).await.expect("jobs").into_inner().jobs;
            assert_eq!(jobs.len(), 1, "{step}: {jobs:?}");
            let job = ended(&client, &jobs[0].id).await;
            assert_eq!(job.state(), v1::JobState::Succeeded, "{step}: {job:?}");
            let found = generations(&client).await;
            let n_current = found.iter().filter(|(_, state, _)| *state == v1::GenerationState::Current).count();
            assert_eq!(n_current, 1, "{step}: {found:?}");
            assert!(found.iter().all(|(_, state, _)| *state != v1::GenerationState::Building), "{step}: {found:?}");
            let mut expected = Expected::new();
            for (number, _, _) in found {
                expected.insert(number, towers.vectors(&client, &format!("r{number}")).await);
            }
            check_items(&client, &known, &expected).await;
            check_nearest(&search(&client, &towers.pool[4], 20).await.expect("hits"), 4, &expected);
            // What is left to do can be done.
            if expected.len() == 2 {
                switch(&client, 2).await.expect("switched");
                drop_generation(&client, 1).await.expect("dropped");
            }
        });
    }
}
