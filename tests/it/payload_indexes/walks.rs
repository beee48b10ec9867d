//! Walks through what a filter leaves, beside scans of it.

use pictor::collection::backend::{FilterStrategy, QueryKind, SearchParams, VectorQuery};
use pictor::collection::{Catalog, CatalogSettings, SegmentSettings};
use pictor::index::Growth;
use pictor::index::graph::BuildSettings;
use pictor::store::{Store, StoreSettings};
use pictor::types::payload_index::PayloadKind;
use pictor::types::vector::UnitVector;
use pictor::types::{PartRef, Payload, Value};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::fixture::{Client, block_on, content_hash, filter, id};
use crate::segments::{collection, is_sealed_all, wait_for};

const DIMENSION: usize = 24;
const ITEMS: usize = 50_000;
const N_QUERIES: usize = 100;

/// A vector near one of sixty centres.
fn vector(random: &mut ChaCha8Rng, centres: &[Vec<f32>]) -> Vec<f32> {
    let centre = &centres[random.random_range(0..centres.len())];
    let values = centre.iter().map(|value| value + 0.5 * (random.random::<f32>() - 0.5)).collect();
    UnitVector::normalise(values).expect("a direction").values
}

fn direction(random: &mut ChaCha8Rng) -> Vec<f32> {
    let values = (0..DIMENSION).map(|_| random.random::<f32>() - 0.5).collect();
    UnitVector::normalise(values).expect("a direction").values
}

/// Fails when: a walk ends among what the filter leaves out, loses what is far from the query, or gives fewer hits than there are.
#[test]
fn walks_find_what_a_filter_leaves() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path(), &StoreSettings::default()).expect("a store");
    let growth = Growth { seal_at: ITEMS / 2, ..Growth::default() };
    let build = BuildSettings { ef_construction: 100, ..BuildSettings::default() };
    let segments = SegmentSettings { growth, build, ..SegmentSettings::default() };
    let catalog = Catalog::open(store, CatalogSettings { segments, ..CatalogSettings::default() }).expect("a catalog");
    let client = collection(&catalog);
    for path in ["any", "along"] {
        super::create(&catalog, &super::spec(path, PayloadKind::Number));
    }
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let centres: Vec<Vec<f32>> = (0..60).map(|_| direction(&mut random)).collect();
    let axis = direction(&mut random);
    let vectors: Vec<Vec<f32>> = (0..ITEMS).map(|_| vector(&mut random, &centres)).collect();
    // How an item stands along the axis, among all: 0 to 1.
    let dot = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let mut order: Vec<usize> = (0..ITEMS).collect();
    order.sort_by(|&a, &b| dot(&vectors[a], &axis).total_cmp(&dot(&vectors[b], &axis)));
    let mut share = vec![0.0; ITEMS];
    order.iter().enumerate().for_each(|(rank, &item)| share[item] = rank as f64 / ITEMS as f64);
    write(&client, &vectors, &share, &mut random);
    wait_for(&client, "segments", is_sealed_all);

    for (text, toward) in [
        ("any < 0.5", 0.0),
        ("along >= 0.5", 0.7),
        ("along >= 0.5", 0.3),
        ("along >= 0.5", -0.7),
        ("along < 0.6 and any < 0.9", -0.3),
        ("along < 0.1", 0.7),
    ] {
        let (mut found, mut without, mut n_walks) = (0, 0, 0);
        for _ in 0..N_QUERIES {
            let near = vector(&mut random, &centres);
            let asked: Vec<f32> = near.iter().zip(&axis).map(|(value, axis)| value + toward * axis).collect();
            let query = VectorQuery {
                kind: QueryKind::Image,
                vector: UnitVector::normalise(asked).expect("a direction").values,
                limit: 10,
                min_score: None,
                exclude: vec![],
                only: None,
            };
            let of = |condition: Option<&str>| {
                let search = |exact: bool| {
                    let params = SearchParams { exact, ..SearchParams::default() };
                    let reply = client.0.search_batch("own", 1, vec![query.clone()], condition.map(filter), params);
                    block_on(reply).expect("a search")
                };
                let (found, best) = (search(false), search(true));
                assert_eq!((found.hits[0].len(), best.hits[0].len()), (10, 10), "{text}");
                let least = best.hits[0].last().expect("ten").score - 1e-4;
                (found.hits[0].iter().filter(|hit| hit.score >= least).count(), found.plan)
            };
            let (hits, plan) = of(Some(text));
            found += hits;
            n_walks += usize::from(plan.expect("a plan").strategy == FilterStrategy::Walk);
            without += of(None).0;
        }
        println!("{text}, {toward}: {found} of {}, without the filter {without}, {n_walks} walks", 10 * N_QUERIES);
        // Queries that lean away from what is left are compared with all of it.
        assert!(n_walks > N_QUERIES / 2 || toward < 0.0 || text == "along < 0.1", "{text}, {toward}: {n_walks} walks");
        // Queries from outside, such as these, are harder for walks without a filter, too.
        assert!(found * 1_000 >= N_QUERIES * 9_800 || found + N_QUERIES / 10 >= without, "{text}, {toward}: {found}");
    }
}

fn write(client: &Client, vectors: &[Vec<f32>], share: &[f64], random: &mut ChaCha8Rng) {
    use pictor::collection::backend::{Indexing, ItemWrite, PartVector, UpsertMode};
    let mut writes = Vec::new();
    for (number, vector) in vectors.iter().enumerate() {
        let part = PartRef::vector("own", 0);
        let values =
            [("any".to_owned(), Value::Double(random.random())), ("along".to_owned(), Value::Double(share[number]))];
        writes.push(ItemWrite {
            id: id(&format!("item-{number:05}")),
            payload: values.into_iter().collect::<Payload>(),
            media: vec![],
            texts: [].into(),
            parts: vec![(part.clone(), content_hash(&(number as u64).to_le_bytes()))],
            vectors: vec![PartVector {
                field: "own".to_owned(),
                generation: 1,
                part,
                vector: UnitVector { values: vector.clone(), norm: 1.0 },
            }],
            mode: UpsertMode::Upsert,
            indexing: Indexing::AtOnce,
            if_version: None,
        });
    }
    for batch in writes.chunks(1_000) {
        client.upsert(batch.to_vec()).into_iter().for_each(|ack| assert!(ack.is_ok(), "{ack:?}"));
    }
}
