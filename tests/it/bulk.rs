//! Bulk writes: stored at once, found by searches later.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pictor::collection::backend::{Durability, Indexing, ItemWrite, QueryKind, SearchParams, SearchReply, VectorQuery};
use pictor::collection::{Catalog, CatalogSettings, LocalCollection, SegmentSettings};
use pictor::store::{Store, StoreSettings};
use pictor::types::Value;
use pictor_proto::v1;

use crate::fixture::{
    Client, Content, block_on, content_hash, filter, id, item, new_collection, payload, settings, vector_of,
};
use crate::support::{TestServer, collection_of_vectors, vector_item};

/// Long enough that nothing is indexed while a test looks.
const LONG: Duration = Duration::from_secs(3_600);

fn open(folder: &Path, bulk_pause: Duration, bulk_table_bytes: usize) -> Catalog {
    let store = StoreSettings { memory_bytes: 32 << 20, bulk_table_bytes, ..StoreSettings::default() };
    let segments = SegmentSettings { bulk_pause, ..settings().segments };
    Catalog::open(Store::open(folder, &store).expect("a store"), CatalogSettings { segments, ..settings() })
        .expect("a catalog")
}

fn collection(catalog: &Catalog) -> Arc<LocalCollection> {
    if catalog.list().is_empty() {
        catalog.create(new_collection("c")).expect("a collection");
    }
    catalog.resolve_local("c").expect("a collection")
}

fn write(number: u64, seed: u64, indexing: Indexing) -> ItemWrite {
    let content = Content {
        payload: payload(&[("n", Value::Int(number as i64))]),
        own: vec![seed, seed + 1],
        ..Content::default()
    };
    ItemWrite { indexing, ..item(&format!("item{number}"), &content) }
}

fn store(local: &Arc<LocalCollection>, numbers: std::ops::Range<u64>, indexing: Indexing) {
    let writes = numbers.map(|number| write(number, number, indexing)).collect();
    let acks = block_on(Client(local.clone()).0.upsert(writes, Durability::Sync)).expect("a batch");
    acks.into_iter().for_each(|ack| _ = ack.expect("written"));
}

fn search(local: &Arc<LocalCollection>, exact: bool) -> SearchReply {
    let query = VectorQuery {
        kind: QueryKind::default(),
        vector: vector_of(&content_hash(&0_u64.to_le_bytes())).values,
        limit: 1_000,
        min_score: None,
        exclude: vec![],
        only: None,
    };
    let params = SearchParams { exact, ..SearchParams::default() };
    block_on(Client(local.clone()).0.search_batch("own", 1, vec![query], None, params)).expect("a search")
}

fn found(local: &Arc<LocalCollection>) -> usize {
    search(local, true).hits[0].len()
}

fn deferred(local: &Arc<LocalCollection>) -> u64 {
    Client(local.clone()).0.stats().indexes.iter().map(|index| index.deferred_vectors).sum()
}

fn count(local: &Arc<LocalCollection>, condition: &str) -> u64 {
    block_on(Client(local.clone()).0.count(Some(filter(condition)))).expect("a count")
}

fn check_whole(local: &Arc<LocalCollection>) {
    assert_eq!(local.verify().expect("an audit").problems, Vec::<String>::new());
}

/// Fails when a search finds what waits, when a read does not, or when the index and the store are not seen to agree meanwhile.
#[test]
fn what_waits_is_stored_and_not_searched() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = open(folder.path(), LONG, 1);
    let local = collection(&catalog);
    store(&local, 0..10, Indexing::AtOnce);
    store(&local, 10..40, Indexing::Deferred);
    assert_eq!((found(&local), deferred(&local)), (10, 60));
    assert_eq!((count(&local, "n >= 10"), count(&local, "n < 10")), (30, 10));
    let reply = search(&local, true);
    assert_eq!((reply.exact, reply.deferred), (false, 60), "an answer says what it lacks");
    check_whole(&local);
    // One that waits is deleted, one written anew to wait again, one written anew to be found; one that is found waits from now on.
    let client = Client(local.clone());
    block_on(client.0.delete(vec![id("item10")], None, Durability::Async)).expect("a delete");
    let writes = vec![
        write(11, 900, Indexing::Deferred),
        write(12, 900, Indexing::AtOnce),
        write(5, 900, Indexing::Deferred),
        // The same twice in one batch: the second takes the place of the first.
        write(50, 1, Indexing::Deferred),
        write(50, 2, Indexing::Deferred),
    ];
    block_on(client.0.upsert(writes, Durability::Async))
        .expect("a batch")
        .into_iter()
        .for_each(|ack| assert!(ack.is_ok()));
    assert_eq!((found(&local), deferred(&local)), (10, 60));
    check_whole(&local);
    drop((client, local, catalog));
    // A restart ends the wait.
    let catalog = open(folder.path(), LONG, 1);
    let local = collection(&catalog);
    assert_eq!((found(&local), deferred(&local)), (40, 0));
    check_whole(&local);
}

/// Fails when what waited is not in a segment some time later, or not as it was last written.
#[test]
fn what_waited_becomes_a_segment() {
    for bulk_table_bytes in [1, usize::MAX] {
        let folder = tempfile::tempdir().expect("a folder");
        let catalog = open(folder.path(), Duration::from_millis(30), bulk_table_bytes);
        let local = collection(&catalog);
        for first in (0..300).step_by(50) {
            store(&local, first..first + 50, Indexing::Deferred);
        }
        let client = Client(local.clone());
        block_on(client.0.delete(
            (0..20).map(|number| id(&format!("item{number}"))).collect(),
            None,
            Durability::Async,
        ))
        .expect("deletes");
        let start = Instant::now();
        while deferred(&local) > 0 {
            assert!(start.elapsed() < Duration::from_secs(60), "{:?}", client.0.stats().indexes);
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(found(&local), 280);
        let reports = client.0.stats().indexes;
        let own = reports.iter().find(|index| index.field == "own").expect("an index");
        assert!(own.segments > 0 && own.tail_vectors == 0 && own.vectors == 560, "{own:?}");
        check_whole(&local);
        assert!(search(&local, true).exact);
        drop((client, local, catalog));
        let catalog = open(folder.path(), LONG, bulk_table_bytes);
        let local = collection(&catalog);
        assert_eq!(found(&local), 280);
        check_whole(&local);
    }
}

/// Fails when bulk writers are refused because of the index, or others are not.
#[test]
fn bulk_writes_are_not_refused_for_the_sake_of_the_index() {
    let folder = tempfile::tempdir().expect("a folder");
    let store_settings = StoreSettings { memory_bytes: 32 << 20, ..StoreSettings::default() };
    // No segment is made by itself, and the tail has room for 24 vectors.
    let growth = pictor::index::Growth { idle: LONG, ..settings().segments.growth };
    let segments = SegmentSettings {
        bulk_pause: LONG,
        growth,
        tail_segments: 2,
        builder: "none of this name".to_owned(),
        tail_bytes: 1,
        ..settings().segments
    };
    let catalog = Catalog::open(
        Store::open(folder.path(), &store_settings).expect("a store"),
        CatalogSettings { segments, ..settings() },
    )
    .expect("a catalog");
    let local = collection(&catalog);
    store(&local, 0..12, Indexing::AtOnce);
    let client = Client(local.clone());
    let refused = block_on(client.0.upsert(vec![write(99, 99, Indexing::AtOnce)], Durability::Async));
    assert_eq!(refused.expect_err("no room").reason(), "OVERLOADED");
    store(&local, 12..100, Indexing::Deferred);
    assert_eq!(count(&local, "exists(n)"), 100);
}

/// Fails when a reply does not say that searches will find the items later, or when they do not.
#[test]
fn a_server_says_so_in_its_replies() {
    block_on(async {
        let server = TestServer::start().await;
        let client = server.client().await;
        client.collections.clone().create_collection(collection_of_vectors("shop", 3)).await.expect("created");
        let request = |indexing: v1::Indexing, from: usize| v1::UpsertRequest {
            collection: "shop".to_owned(),
            items: (from..from + 50)
                .map(|number| vector_item(&number.to_string(), &[1.0, number as f32, 0.5]))
                .collect(),
            indexing: indexing.into(),
            ..Default::default()
        };
        let mut items = client.items.clone();
        let at_once = items.upsert(request(v1::Indexing::Unspecified, 0)).await.expect("stored").into_inner();
        let later = items.upsert(request(v1::Indexing::Deferred, 50)).await.expect("stored").into_inner();
        assert_eq!((at_once.indexing_deferred, later.indexing_deferred), (false, true));
        let search = || async {
            let content = v1::query_part::Content::Vector(v1::Vector { values: vec![1.0, 2.0, 3.0] });
            let parts = vec![v1::QueryPart { content: Some(content), weight: None }];
            let request = v1::SearchRequest { collection: "shop".to_owned(), parts, limit: 100, ..Default::default() };
            client.search.clone().search(request).await.expect("an answer").into_inner()
        };
        let early = search().await;
        assert_eq!((early.hits.len(), early.deferred_vectors, early.exact), (50, 50, false));
        assert!(early.warnings.iter().any(|warning| warning.contains("50 vectors")), "{:?}", early.warnings);
        let stats = client.admin.clone().get_stats(v1::GetStatsRequest {}).await.expect("stats").into_inner();
        assert_eq!(stats.collections[0].indexes[0].deferred_vectors, 50);
        let start = Instant::now();
        while search().await.hits.len() < 100 {
            assert!(start.elapsed() < Duration::from_secs(60));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let late = search().await;
        assert_eq!((late.deferred_vectors, late.warnings), (0, vec![]));
        server.shut_down().await;
    });
}
