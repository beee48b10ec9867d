//! Records that are kept in memory for hits are never older than what was acknowledged.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use pictor::collection::CatalogSettings;
use pictor::collection::backend::{
    CollectionBackend, Durability, PayloadChange, PayloadWrite, QueryKind, SearchParams, Selection, VectorQuery,
};
use pictor::collection::{Catalog, LocalCollection};
use pictor::store::{Store, StoreSettings};
use pictor::types::Value;

use crate::fixture::{block_on, content_hash, id, new_collection, payload, settings, simple, vector_of};

const ITEMS: u64 = 20;
const WRITES: i64 = 3_000;

/// Every item's number as a search reads it.
fn seen(local: &LocalCollection) -> HashMap<String, i64> {
    let query = VectorQuery {
        kind: QueryKind::default(),
        vector: vector_of(&content_hash(&0_u64.to_le_bytes())).values,
        limit: 100,
        min_score: None,
        exclude: vec![],
        only: None,
    };
    let params = SearchParams { select: Selection::PAYLOAD, ..SearchParams::default() };
    let reply = local.search_batch_blocking("own", 1, &[query], None, &params).expect("an answer");
    let number = |value: Option<&Value>| match value {
        Some(Value::Int(number)) => *number,
        other => panic!("{other:?}"),
    };
    reply.hits[0].iter().map(|hit| (hit.item.id.to_string(), number(hit.item.payload.get("n")))).collect()
}

fn write(local: &LocalCollection, item: u64, number: i64) {
    // The payload alone, or the same item with another payload.
    if number % 3 == 0 {
        let mut write = simple(&format!("item{item}"), number, item);
        write.payload = payload(&[("n", Value::Int(number))]);
        block_on(local.upsert(vec![write], Durability::Async)).expect("a call").remove(0).expect("written");
    } else {
        let change = PayloadChange::Replace(payload(&[("n", Value::Int(number))])).into();
        let write = PayloadWrite { id: id(&format!("item{item}")), change, if_version: None };
        block_on(local.set_payload(vec![write], Durability::Async)).expect("a call").remove(0).expect("written");
    }
}

/// Fails when: a search after an acknowledged write reads what was before it, a reader beside a writer goes back in time, or a record stays
/// after its collection's memory is made anew.
#[test]
fn searches_read_what_was_written_last() {
    for record_bytes in [0, 8 << 20, 4_000] {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || {
            let store = StoreSettings { memory_bytes: 32 << 20, ..StoreSettings::default() };
            let settings = CatalogSettings { record_bytes, ..settings() };
            Catalog::open(Store::open(folder.path(), &store).expect("a store"), settings).expect("a catalog")
        };
        let catalog = open();
        catalog.create(new_collection("c")).expect("a collection");
        let local = catalog.resolve_local("c").expect("a collection");
        (0..ITEMS).for_each(|item| write(&local, item, 0));
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut before: HashMap<String, i64> = HashMap::new();
                    while !is_over.load(Ordering::Relaxed) {
                        let now = seen(&local);
                        for (item, number) in &before {
                            assert!(now[item] >= *number, "{item} was {number} and is {}", now[item]);
                        }
                        before = now;
                    }
                });
            }
            for number in 1..=WRITES {
                let item = number as u64 * 7 % ITEMS;
                write(&local, item, number);
                assert_eq!(seen(&local)[&format!("item{item}")], number, "{record_bytes}");
            }
            is_over.store(true, Ordering::Relaxed);
        });
        let last = seen(&local);
        drop((local, catalog));
        let catalog = open();
        assert_eq!(seen(&catalog.resolve_local("c").expect("a collection")), last);
    }
}
