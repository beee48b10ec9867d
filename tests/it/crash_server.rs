//! `kill -9` of the whole server under load: every acknowledged write is there, nothing deleted comes back.
//!
//! Fails when: an acknowledgement is sent before the write-ahead log has the write, or the index is rebuilt from anything but
//! the store. `the_check_notices_a_lost_write` shows that the comparison itself can fail.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pictor_proto::client::Client;
use pictor_proto::v1;

use crate::support::{ChildServer, collection_of_vectors, is_verify, vector_item};

const WRITERS: usize = 4;
const IDS_PER_WRITER: u64 = 40;

/// What a writer knows of one of its ids.
#[derive(Clone, Debug, Default, PartialEq)]
struct Known {
    /// The last acknowledged state: version and number, or deleted (`None`).
    acknowledged: Option<(u64, i64)>,
    /// A write that was sent and not answered: its number, or a delete.
    in_doubt: Option<Option<i64>>,
}

type Book = BTreeMap<String, Known>;

fn item(id: &str, number: i64) -> v1::Item {
    let mut item = vector_item(id, &[number as f32 + 1.0, 1.0]);
    item.payload.insert("n".to_owned(), v1::Value { kind: Some(v1::value::Kind::IntValue(number)) });
    item
}

/// Writes until the connection breaks. Each writer has ids of its own, so it knows what each must be.
async fn write(
    client: Client,
    writer: usize,
    seed: u64,
    book: Arc<Mutex<Book>>,
    acks: Arc<AtomicU64>,
    in_flight: Arc<AtomicUsize>,
) {
    let mut random = seed ^ ((writer as u64 + 1) << 32);
    for number in 0_i64.. {
        // xorshift64
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let id = format!("w{writer}-{}", random % IDS_PER_WRITER);
        let is_delete = random >> 60 < 4;
        let number = (seed as i64 & 0xffff) * 1_000_000 + number;
        book.lock().expect("no panic").entry(id.clone()).or_default().in_doubt = Some((!is_delete).then_some(number));
        in_flight.fetch_add(1, Ordering::SeqCst);
        let mut items = client.items.clone();
        let acknowledged = if is_delete {
            let ids = v1::delete_request::Target::Ids(v1::IdList { ids: vec![id.clone()] });
            let request = v1::DeleteRequest { collection: "crash".to_owned(), target: Some(ids), durability: 0 };
            items.delete(request).await.ok().map(|_| None)
        } else {
            let request = v1::UpsertRequest {
                collection: "crash".to_owned(),
                items: vec![item(&id, number)],
                ..Default::default()
            };
            items.upsert(request).await.ok().map(|response| {
                let result = &response.get_ref().results[0];
                assert!(result.error.is_none(), "{result:?}");
                Some((result.version, number))
            })
        };
        // Left counted as in flight: the kill came in the middle of this call.
        let Some(acknowledged) = acknowledged else { return };
        in_flight.fetch_sub(1, Ordering::SeqCst);
        *book.lock().expect("no panic").entry(id).or_default() = Known { acknowledged, in_doubt: None };
        acks.fetch_add(1, Ordering::SeqCst);
    }
}

/// Compares what the server has with what was acknowledged; gives one sentence for each difference.
fn differences(book: &Book, stored: &BTreeMap<String, (u64, i64)>) -> Vec<String> {
    let mut found = Vec::new();
    for (id, known) in book {
        let is = stored.get(id).copied();
        let is_acknowledged = is == known.acknowledged;
        let is_in_doubt = match known.in_doubt {
            Some(Some(number)) => is.is_some_and(|(version, stored)| {
                stored == number && known.acknowledged.is_none_or(|(acknowledged, _)| version > acknowledged)
            }),
            Some(None) => is.is_none(),
            None => false,
        };
        if !is_acknowledged && !is_in_doubt {
            found.push(format!("{id}: stored {is:?}, known {known:?}"));
        }
    }
    found.extend(stored.keys().filter(|id| !book.contains_key(*id)).map(|id| format!("{id}: nobody wrote it")));
    found
}

async fn read_all(client: &Client) -> BTreeMap<String, (u64, i64)> {
    let request = v1::ScrollRequest { collection: "crash".to_owned(), limit: 10_000, ..Default::default() };
    let page = client.items.clone().scroll(request).await.expect("a page").into_inner();
    assert!(page.next_cursor.is_empty());
    let number_of = |item: &v1::StoredItem| match item.payload["n"].kind {
        Some(v1::value::Kind::IntValue(number)) => number,
        ref other => panic!("{}: half a payload: {other:?}", item.id),
    };
    page.items.into_iter().map(|item| (item.id.clone(), (item.version, number_of(&item)))).collect()
}

/// Every stored item is found by its own vector, and nothing else is.
async fn check_index(client: &Client, stored: &BTreeMap<String, (u64, i64)>) {
    let request = v1::SearchRequest {
        collection: "crash".to_owned(),
        parts: vec![v1::QueryPart {
            content: Some(v1::query_part::Content::Vector(v1::Vector { values: vec![1.0, 0.0] })),
            weight: None,
        }],
        limit: 1000,
        ..Default::default()
    };
    let hits = client.search.clone().search(request).await.expect("an answer").into_inner().hits;
    let mut ids: Vec<_> = hits.into_iter().map(|hit| hit.id).collect();
    ids.sort();
    assert_eq!(ids, stored.keys().cloned().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_the_server_loses_nothing_acknowledged() {
    let cycles = if is_verify() { 20 } else { 2 };
    let folder = tempfile::tempdir().expect("a folder");
    let book = Arc::new(Mutex::new(Book::new()));
    let mut kills_in_flight = 0;
    let mut server = ChildServer::start(folder.path()).await;
    server.client().await.collections.create_collection(collection_of_vectors("crash", 2)).await.expect("created");
    for cycle in 1..=cycles {
        let seed = std::process::id() as u64 * 1000 + cycle;
        println!("cycle {cycle}: seed {seed}");
        let (acks, in_flight) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut writers = Vec::new();
        for writer in 0..WRITERS {
            let client = server.client().await;
            writers.push(tokio::spawn(write(
                client,
                writer,
                seed,
                Arc::clone(&book),
                Arc::clone(&acks),
                Arc::clone(&in_flight),
            )));
        }
        while acks.load(Ordering::SeqCst) < 100 + seed % 97 {
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
        kills_in_flight += u64::from(in_flight.load(Ordering::SeqCst) > 0);
        server.kill();
        for writer in writers {
            writer.await.expect("no panic");
        }
        server = ChildServer::start(folder.path()).await;
        let client = server.client().await;
        let stored = read_all(&client).await;
        let found = differences(&book.lock().expect("no panic"), &stored);
        assert!(found.is_empty(), "cycle {cycle}, seed {seed}:\n{}", found.join("\n"));
        check_index(&client, &stored).await;
        // What is there now is the truth for the next cycle.
        for (id, known) in book.lock().expect("no panic").iter_mut() {
            *known = Known { acknowledged: stored.get(id).copied(), in_doubt: None };
        }
    }
    println!("{cycles} kills, {kills_in_flight} with writes in flight");
    assert!(
        kills_in_flight * 10 >= cycles * 3,
        "only {kills_in_flight} of {cycles} kills came while writes were in flight"
    );
}

#[test]
fn the_check_notices_a_lost_write() {
    let known = |acknowledged, in_doubt| Known { acknowledged, in_doubt };
    let check = |known: Known, stored: Option<(u64, i64)>, is_fine: bool| {
        let book = Book::from([("a".to_owned(), known.clone())]);
        let stored = stored.map(|stored| ("a".to_owned(), stored)).into_iter().collect();
        assert_eq!(differences(&book, &stored).is_empty(), is_fine, "{known:?} {stored:?}");
    };
    check(known(Some((5, 50)), None), Some((5, 50)), true);
    check(known(Some((5, 50)), None), None, false);
    check(known(Some((5, 50)), None), Some((4, 40)), false);
    check(known(None, None), Some((4, 40)), false);
    check(known(Some((5, 50)), Some(Some(60))), Some((6, 60)), true);
    check(known(Some((5, 50)), Some(Some(60))), Some((5, 50)), true);
    check(known(Some((5, 50)), Some(Some(60))), Some((6, 70)), false);
    check(known(Some((5, 50)), Some(None)), None, true);
    let stranger = BTreeMap::from([("b".to_owned(), (1, 1))]);
    assert!(!differences(&Book::new(), &stranger).is_empty());
}
