//! The store and the catalog: what survives a restart, what is refused, and how damage is contained.

use std::path::Path;
use std::process::Command;

use pictor::collection::backend::{CollectionBackend, Durability, PayloadChange, PayloadWrite, Selection};
use pictor::collection::schema::{FieldSource, FieldSpec};
use pictor::collection::{AliasChange, Catalog, CatalogSettings, NewCollection, NewField};
use pictor::store::{JobRecord, JobState, Store, StoreSettings};
use pictor::types::{Error, Payload, Timestamp, Value};

use crate::fixture::{Client, Content, block_on, id, item, new_collection, open, payload, query, simple};

const CHILD: &str = "PICTOR_LOCK_CHILD";

fn open_store(folder: &Path) -> pictor::Result<Store> {
    Store::open(folder, &StoreSettings { memory_bytes: 16 << 20, ..StoreSettings::default() })
}

fn reason_of<T>(outcome: pictor::Result<T>) -> &'static str {
    outcome.map_or_else(|error| error.reason(), |_| "fine")
}

/// The other process of [`a_folder_belongs_to_one_process`]; does nothing by itself.
#[test]
fn lock_child() {
    if let Some(folder) = std::env::var_os(CHILD) {
        let error = open_store(Path::new(&folder)).err().map(|error| format!("{} {error}", error.reason()));
        println!("CHILD {}", error.unwrap_or_else(|| "opened".to_owned()));
    }
}

#[test]
fn a_folder_belongs_to_one_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let child = || {
        let program = std::env::current_exe().expect("this program");
        let arguments = ["--exact", "store::lock_child", "--nocapture"];
        let output = Command::new(program).args(arguments).env(CHILD, folder.path()).output().expect("a child");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let store = open_store(folder.path()).expect("a store");
    let said = child();
    assert!(said.contains("CHILD DATA_DIR_IN_USE"), "{said}");
    assert!(said.contains(&folder.path().display().to_string()), "the message names the folder: {said}");
    assert_eq!(reason_of(open_store(folder.path())), "DATA_DIR_IN_USE", "this process counts as another");
    drop(store);
    assert!(child().contains("CHILD opened"));
}

#[test]
fn a_restart_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let content = Content {
        payload: payload(&[("n", Value::Int(1))]),
        media: vec![("p".to_owned(), vec![7; 100_000])],
        own: vec![5, 6],
        ..Content::default()
    };
    let read = |catalog: &Catalog| {
        let client = Client(catalog.resolve("alias").expect("a collection"));
        let items = block_on(client.0.scroll(None, None, 10, Selection::ALL)).expect("a page").items;
        (items, client.0.stats(), client.0.schema(), client.search("own", vec![query(5, 9)], None).hits)
    };
    let (before, server) = {
        let catalog = open(folder.path());
        catalog.create(new_collection("c")).expect("a collection");
        let change = AliasChange { alias: "alias".to_owned(), collection: Some("c".to_owned()) };
        catalog.update_aliases(&[change]).expect("an alias");
        let client = Client(catalog.resolve("c").expect("a collection"));
        client.upsert(vec![item("a", &content), item("b", &content), simple("c", 1, 1)]);
        block_on(client.0.delete(vec![id("b")], None, Durability::Sync)).expect("a delete");
        (read(&catalog), catalog.store().server_id().to_owned())
    };
    let catalog = open(folder.path());
    let mut after = read(&catalog);
    // The memory that the index reserves may differ.
    after.1.index_bytes = before.1.index_bytes;
    assert_eq!(after, before);
    assert_eq!(after.1.version, 4, "the delete's version is kept");
    assert_eq!(catalog.store().server_id(), server);
    let client = Client(catalog.resolve("c").expect("a collection"));
    assert_eq!(client.upsert(vec![simple("b", 1, 1)])[0].as_ref().map(|ack| ack.0), Ok(5));
}

/// Fails when bytes are removed with the first of two users, or kept after the last.
#[test]
fn pictures_live_as_long_as_their_users() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = open(folder.path());
    catalog.create(new_collection("c")).expect("a collection");
    let local = catalog.resolve_local("c").expect("a collection");
    let client = Client(local.clone());
    let with = |bytes: &[u8]| Content { media: vec![("p".to_owned(), bytes.to_vec())], ..Content::default() };
    let check = |expected: u64| {
        let report = local.verify().expect("an audit");
        assert_eq!((report.problems, report.media), (vec![], expected));
    };
    client.upsert(vec![item("a", &with(b"one")), item("b", &with(b"one")), item("c", &with(b"two"))]);
    check(2);
    client.upsert(vec![item("a", &with(b"two"))]);
    check(2);
    block_on(client.0.delete(vec![id("b")], None, Durability::Async)).expect("a delete");
    check(1);
    let found = block_on(client.0.get(vec![id("a")], Selection::ALL)).expect("a get").remove(0).expect("an item");
    assert_eq!(found.media[0].data.as_deref(), Some(b"two".as_slice()));
    block_on(client.0.delete(vec![id("a"), id("c")], None, Durability::Async)).expect("a delete");
    check(0);
}

#[test]
fn names_are_shared_by_collections_and_aliases() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = open(folder.path());
    let alias = |alias: &str, collection: Option<&str>| AliasChange {
        alias: alias.to_owned(),
        collection: collection.map(str::to_owned),
    };
    catalog.create(new_collection("a")).expect("a collection");
    catalog.create(new_collection("b")).expect("a collection");
    assert_eq!(reason_of(catalog.create(new_collection("a"))), "ALREADY_EXISTS");
    assert_eq!(reason_of(catalog.create(new_collection("../a"))), "INVALID_ARGUMENT");
    catalog.update_aliases(&[alias("x", Some("a")), alias("y", Some("a"))]).expect("aliases");
    assert_eq!(reason_of(catalog.create(new_collection("x"))), "ALREADY_EXISTS");
    assert_eq!(reason_of(catalog.update_aliases(&[alias("b", Some("a"))])), "ALREADY_EXISTS");
    assert_eq!(reason_of(catalog.drop_collection("x")), "IS_ALIAS");
    // All or nothing: the first change is good, the second is not.
    assert_eq!(reason_of(catalog.update_aliases(&[alias("x", Some("b")), alias("z", None)])), "NOT_FOUND");
    assert_eq!(catalog.resolve("x").expect("a collection").schema().name, "a");
    catalog.update_aliases(&[alias("y", None), alias("y", Some("b"))]).expect("aliases");
    assert_eq!(catalog.resolve("y").expect("a collection").schema().name, "b");
    let held = catalog.resolve("a").expect("a collection");
    assert_eq!(catalog.drop_collection("a"), Ok(0));
    assert_eq!(reason_of(block_on(held.count(None))), "NOT_FOUND");
    assert_eq!(reason_of(block_on(held.upsert(vec![simple("i", 1, 1)], Durability::Sync))), "NOT_FOUND");
    assert_eq!(reason_of(catalog.resolve("x")), "NOT_FOUND");
    assert_eq!(catalog.aliases().len(), 1);
}

#[test]
fn a_dropped_collection_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = open(folder.path());
    let uid = catalog.create(new_collection("c")).expect("a collection").schema.expect("a schema").uid.clone();
    let client = Client(catalog.resolve("c").expect("a collection"));
    let content = Content { media: vec![("p".to_owned(), vec![1; 9000])], own: vec![1], ..Content::default() };
    client.upsert(vec![item("a", &content)]);
    assert_eq!(catalog.drop_collection("c"), Ok(1));
    let info = catalog.create(new_collection("c")).expect("a collection");
    assert_ne!(info.schema.expect("a schema").uid, uid);
    let local = catalog.resolve_local("c").expect("a collection");
    assert_eq!(block_on(local.scroll(None, None, 9, Selection::ALL)).expect("a page").items, []);
    assert_eq!(Client(local.clone()).upsert(vec![item("a", &content)]), [Ok((1, "Created".to_owned()))]);
    assert_eq!(local.verify().expect("an audit").problems, Vec::<String>::new());
}

#[test]
fn fields_come_and_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = FieldSource::Vector { dimension: 8, space: String::new() };
    let own =
        |name: &str| NewField { spec: FieldSpec { name: name.to_owned(), source: source.clone() }, encoder: None };
    {
        let catalog = open(folder.path());
        catalog.create(new_collection("c")).expect("a collection");
        let client = Client(catalog.resolve("c").expect("a collection"));
        client.upsert(vec![simple("a", 1, 1)]);
        let text = new_collection("x").fields[1].clone();
        let text = NewField { spec: FieldSpec { name: "more".to_owned(), ..text.spec }, ..text };
        assert_eq!(reason_of(catalog.add_field("c", text, "")), "COLLECTION_NOT_EMPTY");
        assert_eq!(reason_of(catalog.add_field("c", own("own"), "")), "ALREADY_EXISTS");
        catalog.add_field("c", own("second"), "").expect("a field");
        assert_eq!(client.ids("second", query(1, 9), None), Vec::<String>::new());
        catalog.drop_field("c", "own").expect("a drop");
        assert_eq!(reason_of(client.0.schema().field("own")), "NOT_FOUND");
        catalog.add_field("c", own("own"), "").expect("a field");
        assert_eq!(client.ids("own", query(1, 9), None), Vec::<String>::new(), "the old vectors are gone");
        assert_eq!(client.upsert(vec![simple("a", 1, 1)]), [Ok((2, "Updated".to_owned()))]);
        assert_eq!(client.upsert(vec![simple("a", 1, 1)]), [Ok((2, "Unchanged".to_owned()))]);
        catalog.drop_field("c", "image").expect("a drop");
        assert_eq!(client.0.schema().default_field, "text");
    }
    let catalog = open(folder.path());
    let local = catalog.resolve_local("c").expect("a collection");
    assert_eq!(Client(local.clone()).ids("own", query(1, 9), None), ["a"]);
    assert_eq!(local.verify().expect("an audit").problems, Vec::<String>::new());
}

#[test]
fn a_bad_write_is_refused_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = open(folder.path());
    catalog.create(new_collection("c")).expect("a collection");
    let client = Client(catalog.resolve("c").expect("a collection"));
    let check = |spoil: &dyn Fn(&mut pictor::collection::backend::ItemWrite), expected: &str| {
        let mut write = simple("a", 1, 1);
        spoil(&mut write);
        assert_eq!(reason_of(client.upsert(vec![write]).remove(0)), expected);
    };
    check(&|write| write.vectors[0].vector.values.push(0.0), "INVALID_ARGUMENT");
    check(&|write| write.vectors[0].vector.values[0] = f32::NAN, "INVALID_ARGUMENT");
    check(&|write| write.vectors[0].field = "image".to_owned(), "INVALID_ARGUMENT");
    check(&|write| write.vectors[0].part.index = 9, "INVALID_ARGUMENT");
    check(&|write| write.vectors.push(write.vectors[0].clone()), "INVALID_ARGUMENT");
    check(&|write| drop(write.payload.insert("k".to_owned(), Value::Double(f64::NAN))), "INVALID_ARGUMENT");
    // What was prepared for other fields is refused as a whole, with the good writes beside it, so that their order stays.
    let outdated = |spoil: &dyn Fn(&mut pictor::collection::backend::ItemWrite)| {
        let mut write = simple("a", 1, 1);
        spoil(&mut write);
        let whole = block_on(client.0.upsert(vec![simple("b", 2, 2), write], Durability::Async));
        assert_eq!(reason_of(whole), "SCHEMA_CHANGED");
    };
    outdated(&|write| write.vectors[0].field = "nope".to_owned());
    outdated(&|write| write.vectors[0].generation = 2);
    outdated(&|write| write.vectors.clear());
    assert_eq!(client.0.stats().items, 0);
}

#[test]
fn a_long_batch_is_split_at_items() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = open(folder.path());
    catalog.create(new_collection("c")).expect("a collection");
    let client = Client(catalog.resolve("c").expect("a collection"));
    let content =
        |n: u8| Content { media: vec![("p".to_owned(), vec![n; 30 << 20])], own: vec![1], ..Content::default() };
    let acks = client.upsert((0..6).map(|n| item(&format!("{n}"), &content(n))).collect());
    assert!(acks.iter().all(Result::is_ok), "{acks:?}");
    let report = catalog.resolve_local("c").expect("a collection").verify().expect("an audit");
    assert_eq!((report.problems, report.media, report.items), (vec![], 6, 6));
    let too_much = block_on(client.0.scroll(None, None, 9, Selection::ALL));
    assert_eq!(reason_of(too_much), "LIMIT_EXCEEDED", "a reply carries 48 MiB of media at most");
}

/// Fails when one unreadable collection keeps the server from starting, or is silently dropped.
#[test]
fn a_broken_collection_does_not_stop_the_others() {
    let folder = tempfile::tempdir().expect("a folder");
    {
        let catalog = open(folder.path());
        for name in ["good", "bad", "ugly"] {
            let info = catalog.create(new_collection(name)).expect("a collection");
            Client(catalog.resolve(name).expect("a collection")).upsert(vec![simple("a", 1, 1)]);
            let schema = info.schema.expect("a schema");
            let mut batch = catalog.store().batch();
            match name {
                // A vector of the wrong length.
                "bad" => {
                    let slot = pictor::store::VectorSlot { field: 3, generation: 1, part: 0 };
                    let vector = pictor::types::vector::UnitVector { values: vec![1.0], norm: 1.0 };
                    batch.put_vector(schema.id, 1, slot, &vector);
                }
                "ugly" => batch.put_schema(schema.id, b"{ no json"),
                _ => {}
            }
            catalog.store().commit(batch).expect("a write");
        }
    }
    let catalog = open(folder.path());
    assert_eq!(Client(catalog.resolve("good").expect("a collection")).ids("own", query(1, 9), None), ["a"]);
    assert!(matches!(catalog.resolve("bad").map(|_| ()), Err(Error::Corruption(_))));
    let broken: Vec<String> =
        catalog.list().into_iter().filter(|info| info.backend.is_err()).map(|info| info.name).collect();
    assert_eq!(broken, ["?3", "bad"]);
    let problems = catalog.verify("bad").expect("an audit").problems;
    assert!(problems[0].contains("not a unit vector of 8"), "{problems:?}");
    assert_eq!(reason_of(catalog.verify("?3")), "DATA_CORRUPTION");
    assert_eq!(catalog.drop_collection("bad"), Ok(0));
    assert_eq!(catalog.drop_collection("?3"), Ok(0));
    assert_eq!(catalog.list().len(), 1);
}

/// Fails when the audit overlooks a missing, foreign or miscounted entry.
#[test]
fn the_audit_finds_every_kind_of_damage() {
    type Damage = fn(&mut pictor::store::Batch<'_>, u32);
    let damages: [(&str, Damage); 7] = [
        ("lacks its vector", |batch, c| {
            batch.delete_vector(c, 1, pictor::store::VectorSlot { field: 3, generation: 1, part: 1 });
        }),
        ("has no item", |batch, c| {
            let vector = crate::fixture::vector_of(&[0; 16]);
            batch.put_vector(c, 77, pictor::store::VectorSlot { field: 3, generation: 1, part: 0 }, &vector);
        }),
        ("which holds None", |batch, c| batch.delete_item(c, 1)),
        ("ids but", |batch, c| batch.delete_id(c, &id("a"))),
        ("is counted 5 times", |batch, c| batch.put_media_count(c, blake3::hash(b"one").as_bytes(), 5)),
        ("holds other bytes", |batch, c| batch.put_media(c, blake3::hash(b"one").as_bytes(), b"two")),
        ("the newest is 0", |batch, c| {
            batch.put_counters(c, pictor::store::Counters { version: 0, next_internal: 9 });
        }),
    ];
    for (expected, damage) in damages {
        let folder = tempfile::tempdir().expect("a folder");
        let catalog = open(folder.path());
        let schema = catalog.create(new_collection("c")).expect("a collection").schema.expect("a schema");
        let local = catalog.resolve_local("c").expect("a collection");
        let content = Content { media: vec![("p".to_owned(), b"one".to_vec())], own: vec![1], ..Content::default() };
        Client(local.clone()).upsert(vec![item("a", &content)]);
        let mut batch = catalog.store().batch();
        damage(&mut batch, schema.id);
        catalog.store().commit(batch).expect("a write");
        let problems = local.verify().expect("an audit").problems;
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{expected}: {problems:?}");
    }
}

#[test]
fn running_jobs_are_interrupted_by_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let job = |id: String, state| JobRecord {
        id,
        kind: "train".to_owned(),
        spec: serde_json::json!({"recipe": ["a", 1, 0.5, null]}),
        state,
        done: 3,
        total: 9,
        message: "epoch 1".to_owned(),
        error: String::new(),
        created: Timestamp::now(),
        heartbeat: Timestamp::now(),
        checkpoint: vec![0, 255],
        result: serde_json::Value::Null,
    };
    let (running, done) = {
        let store = open_store(folder.path()).expect("a store");
        let running = job(store.jobs().new_id().expect("an id"), JobState::Running);
        let done = job(store.jobs().new_id().expect("an id"), JobState::Succeeded);
        store.jobs().put(&running).expect("a write");
        store.jobs().put(&done).expect("a write");
        assert_eq!(store.jobs().get(&running.id), Ok(Some(running.clone())));
        (running, done)
    };
    let store = open_store(folder.path()).expect("a store");
    let interrupted = JobRecord { state: JobState::Interrupted, ..running };
    assert_eq!(store.jobs().list(), Ok(vec![interrupted.clone(), done.clone()]));
    store.jobs().delete(&done.id).expect("a delete");
    assert_eq!(store.jobs().list(), Ok(vec![interrupted]));
    assert!(store.jobs().new_id().expect("an id") > done.id);
}

#[test]
fn an_empty_collection_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open_store(folder.path()).expect("a store");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("a pool");
    let settings = CatalogSettings { search_pool: Some(std::sync::Arc::new(pool)), ..CatalogSettings::default() };
    let catalog = Catalog::open(store, settings).expect("a catalog");
    let bare = NewCollection { name: "bare".to_owned(), ..NewCollection::default() };
    catalog.create(bare).expect("a collection without fields");
    catalog.create(new_collection("c")).expect("a collection");
    let client = Client(catalog.resolve("c").expect("a collection"));
    assert_eq!(client.ids("own", query(1, 9), None), Vec::<String>::new());
    assert_eq!(block_on(client.0.count(None)), Ok(0));
    assert_eq!(reason_of(block_on(client.0.scroll(None, None, 0, Selection::ALL))), "INVALID_ARGUMENT");
}

/// A checkpoint holds what was written before it, is opened as any data folder, and shares its files with the store.
#[test]
fn a_checkpoint_is_a_frozen_copy() {
    use std::os::unix::fs::MetadataExt as _;

    let folder = tempfile::tempdir().expect("a folder");
    let (data, frozen) = (folder.path().join("data"), folder.path().join("frozen"));
    let catalog = open(&data);
    catalog.create(new_collection("c")).expect("a collection");
    let client = Client(catalog.resolve("c").expect("a collection"));
    let content = Content { media: vec![("p".to_owned(), vec![7; 100_000])], own: vec![5], ..Content::default() };
    client.upsert(vec![item("before", &content)]).into_iter().for_each(|ack| assert!(ack.is_ok(), "{ack:?}"));
    let store = catalog.store();
    let newest = store.checkpoint(&frozen).expect("a checkpoint");
    assert_eq!(reason_of(store.checkpoint(&frozen)), "ALREADY_EXISTS");
    client.upsert(vec![simple("after", 1, 2)]).into_iter().for_each(|ack| assert!(ack.is_ok(), "{ack:?}"));
    assert!(store.checkpoint(&folder.path().join("later")).expect("another") > newest);

    // Both are open at once.
    let copy = open(&frozen);
    let frozen_client = Client(copy.resolve("c").expect("the collection"));
    assert_eq!(frozen_client.ids("own", query(2, 10), None), ["before"]);
    let mut now = client.ids("own", query(2, 10), None);
    now.sort();
    assert_eq!(now, ["after", "before"]);
    let is_shared = |entry: std::io::Result<std::fs::DirEntry>| {
        // The open copy may remove a table meanwhile.
        let entry = entry.ok()?;
        let is_data = [".sst", ".blob"].iter().any(|end| entry.file_name().to_string_lossy().ends_with(end));
        Some(entry.metadata().ok().filter(|_| is_data)?.nlink() > 1)
    };
    let shared: Vec<bool> = std::fs::read_dir(frozen.join("store")).expect("files").filter_map(is_shared).collect();
    assert!(shared.contains(&true), "no file is a hard link: {shared:?}");
}

/// Writers stop before the disk is full; what makes room goes on.
#[test]
fn a_nearly_full_disk_takes_deletes_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = open(folder.path());
    catalog.create(new_collection("c")).expect("a collection");
    let client = Client(catalog.resolve("c").expect("a collection"));
    client
        .upsert(vec![simple("a", 1, 1), simple("b", 2, 2)])
        .into_iter()
        .for_each(|ack| assert!(ack.is_ok(), "{ack:?}"));
    drop((client, catalog));
    let settings = StoreSettings { memory_bytes: 16 << 20, reserve_bytes: Some(1 << 60), ..StoreSettings::default() };
    let store = Store::open(folder.path(), &settings).expect("a store");
    let catalog = Catalog::open(store, crate::fixture::settings()).expect("a catalog");
    let client = Client(catalog.resolve("c").expect("a collection"));
    let change = PayloadWrite { id: id("a"), change: PayloadChange::Replace(Payload::new()).into(), if_version: None };
    assert_eq!(reason_of(block_on(client.0.upsert(vec![simple("d", 1, 1)], Durability::Sync))), "STORAGE_FULL");
    assert_eq!(reason_of(block_on(client.0.set_payload(vec![change], Durability::Sync))), "STORAGE_FULL");
    assert_eq!(reason_of(catalog.store().create_snapshot()), "STORAGE_FULL");
    assert_eq!(client.ids("own", query(1, 10), None), ["a", "b"]);
    assert_eq!(reason_of(block_on(client.0.delete(vec![id("a")], None, Durability::Sync))), "fine");
    assert_eq!(client.ids("own", query(1, 10), None), ["b"]);
}
