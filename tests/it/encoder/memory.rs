//! Encoders share a memory: the one that was not used for longest makes room.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pictor::encode::{EncodeSettings, EncoderHandle, EncoderRegistry, Role};
use pictor::model::Precision;
use pictor::{Error, Result};
use pictor_proto::v1;

use super::tiny::{copy_folder, serialize};
use super::tower_models::Tower;
use super::{block_on, settings};
use crate::generations::{Expected, Towers, check_items, check_nearest, reembed, search, switch};
use crate::random::{Random, seed};
use crate::support::TestServer;

/// `pictor@r1` to `pictor@r4` with different weights.
fn revisions() -> Tower {
    let tower = Tower::new("pictor");
    for number in 2..=4 {
        let folder = tower.models().join(format!("pictor/r{number}"));
        copy_folder(&tower.folder.path, &folder);
        let turned: Vec<_> = tower
            .tensors()
            .into_iter()
            .map(|(name, shape, mut values)| {
                let places = number % values.len();
                values.rotate_left(places);
                (name, shape, values)
            })
            .collect();
        std::fs::write(folder.join("vision/model.safetensors"), serialize(&turned)).expect("weights");
    }
    tower
}

fn registry(tower: &Tower, weight_bytes: u64) -> EncoderRegistry {
    let settings = EncodeSettings { weight_bytes, patience: Duration::from_millis(300), ..settings(Precision::F32) };
    EncoderRegistry::open(tower.models(), settings).expect("a registry")
}

fn get(registry: &EncoderRegistry, revision: usize) -> Result<EncoderHandle> {
    block_on(registry.get(&format!("pictor@r{revision}")))
}

fn loaded(registry: &EncoderRegistry) -> Vec<String> {
    registry.loaded().iter().map(|handle| handle.info().revision.clone()).collect()
}

/// Bytes of one revision.
fn size(tower: &Tower) -> u64 {
    let registry = registry(tower, u64::MAX);
    get(&registry, 1).expect("loaded");
    registry.weight_bytes()
}

/// Fails when: another than the longest unused encoder goes, one in use goes, or one that went does not come back.
#[test]
fn the_longest_unused_encoder_makes_room() {
    let tower = revisions();
    let one = size(&tower);
    let parameters = pictor::model::inspect::inspect(&tower.folder).expect("inspected").parameters;
    assert_eq!(one, parameters * 4, "float32");
    let registry = registry(&tower, 2 * one + one / 2);
    let texts = || vec!["a probe".to_owned()];
    let vector = |handle: &EncoderHandle| block_on(handle.encode_texts(texts(), Role::Query, None)).expect("encoded");
    let first = vector(&get(&registry, 1).expect("r1"));
    get(&registry, 2).expect("r2");
    get(&registry, 1).expect("r1");
    get(&registry, 3).expect("r3");
    assert_eq!(loaded(&registry), ["r1", "r3"]);
    assert!(registry.is_set_aside("pictor@r2") && !registry.is_set_aside("pictor@r1"));
    get(&registry, 2).expect("r2");
    assert_eq!(loaded(&registry), ["r2", "r3"]);
    assert_eq!(vector(&get(&registry, 1).expect("r1 again")), first);
    assert_eq!((loaded(&registry), registry.weight_bytes()), (vec!["r1".to_owned(), "r2".to_owned()], 2 * one));

    // What is held stays, and a load that finds no room says so after its patience.
    let held = [get(&registry, 1).expect("r1"), get(&registry, 2).expect("r2")];
    let started = Instant::now();
    match get(&registry, 3) {
        Err(Error::Overloaded { depth, capacity, .. }) => {
            assert_eq!((depth, capacity), (2 * one, 2 * one + one / 2));
        }
        other => panic!("{:?}", other.map(|handle| handle.info().full_name())),
    }
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert_eq!(vector(&held[0]), first);
    drop(held);
    get(&registry, 3).expect("room again");

    let small = self::registry(&tower, one - 1);
    let error = get(&small, 1).err().expect("too large");
    assert_eq!(error.reason(), "ENCODER_TOO_LARGE");
    assert!(error.to_string().contains(&one.to_string()), "{error}");
}

/// Fails when: two loads count on the same room, a request meets an encoder that was let go, or vectors are another encoder's.
#[test]
fn many_callers_share_the_room() {
    let seed = seed("many_callers_share_the_room");
    let tower = revisions();
    let one = size(&tower);
    let expected: Arc<Vec<_>> = Arc::new({
        let all = registry(&tower, u64::MAX);
        (1..=4).map(|revision| block_on(encode_picture(&all, revision, &tower))).collect()
    });
    let settings =
        EncodeSettings { weight_bytes: 2 * one, patience: Duration::from_secs(30), ..settings(Precision::F32) };
    let registry = EncoderRegistry::open(tower.models(), settings).expect("a registry");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().expect("a runtime");
    let (is_over, most) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let watcher = std::thread::spawn({
        let (registry, is_over, most) = (registry.clone(), is_over.clone(), most.clone());
        move || {
            while !is_over.load(Ordering::SeqCst) {
                most.fetch_max(registry.weight_bytes(), Ordering::SeqCst);
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    });
    let tower = Arc::new(tower);
    let calls: u64 = runtime.block_on(async {
        let callers: Vec<_> = (0..8)
            .map(|number| {
                let (registry, tower, expected) = (registry.clone(), tower.clone(), expected.clone());
                tokio::spawn(async move {
                    let mut random = Random::new(seed ^ number);
                    let (until, mut calls) = (Instant::now() + Duration::from_secs(2), 0);
                    while Instant::now() < until {
                        let revision = 1 + random.below(4);
                        let found = encode_picture(&registry, revision, &tower).await;
                        // Pictures that share a batch round otherwise than one alone.
                        let cosine: f32 = found.iter().zip(&expected[revision - 1]).map(|(a, b)| a * b).sum();
                        assert!(cosine > 0.9999, "r{revision}: {cosine}");
                        calls += 1;
                    }
                    calls
                })
            })
            .collect();
        let mut calls = 0;
        for caller in callers {
            calls += caller.await.expect("no call fails");
        }
        calls
    });
    is_over.store(true, Ordering::SeqCst);
    watcher.join().expect("no panic");
    println!("{calls} calls of four encoders in the room of two");
    assert!(most.load(Ordering::SeqCst) <= 2 * one, "{} of {}", most.load(Ordering::SeqCst), 2 * one);
}

async fn encode_picture(registry: &EncoderRegistry, revision: usize, tower: &Tower) -> Vec<f32> {
    let handle = registry.get(&format!("pictor@r{revision}")).await.expect("an encoder");
    let picture = super::pictures::png(&super::tower_models::picture(1, tower.side(), tower.side()));
    let mut vectors = handle.encode_images(vec![picture.into()], Role::Document, None).await.expect("encoded");
    vectors.pop().expect("a vector").expect("a vector").vector.values.clone()
}

/// Fails when: the job keeps its encoder in memory while searches need the room, or an encoder that was let go counts as a problem.
#[test]
fn a_generation_is_built_in_the_room_of_one_encoder() {
    crate::fixture::block_on(async {
        let towers = Towers::new();
        let one = pictor::model::inspect::inspect(&towers.tower.folder).expect("inspected").parameters * 4;
        let server = TestServer::start_changed(towers.models(), |settings| {
            settings.resources.encoder_bytes = one + one / 2;
        })
        .await;
        let client = server.client().await;
        let known = towers.fill(&client, 1_000).await;
        let expected: Expected =
            [(1, towers.vectors(&client, "r1").await), (2, towers.vectors(&client, "r2").await)].into();
        let job = reembed(&client, "pictor@r2").await.expect("a job");
        let mut searches = 0;
        let ended = loop {
            check_nearest(&search(&client, &towers.pool[3], 10).await.expect("hits"), 3, &expected);
            assert!(server.engine.encoders().weight_bytes() <= one);
            assert_eq!(server.engine.encoder_problems(), Vec::<String>::new());
            searches += 1;
            let request = v1::GetJobRequest { id: job.id.clone() };
            let now = client.jobs.clone().get_job(request).await.expect("the job").into_inner().job.expect("the job");
            if now.state() != v1::JobState::Running && now.state() != v1::JobState::Queued {
                break now;
            }
        };
        println!("{searches} searches");
        assert_eq!(ended.state(), v1::JobState::Succeeded, "{ended:?}");
        switch(&client, 2).await.expect("switched");
        check_items(&client, &known, &expected).await;
        check_nearest(&search(&client, &towers.pool[3], 10).await.expect("hits"), 3, &expected);
        server.shut_down().await;
    });
}
