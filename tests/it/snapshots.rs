//! Snapshots: of one moment though writers go on, checked before they are used, and put in place wholly or not at all.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pictor::collection::Catalog;
use pictor::collection::backend::{BackendHit, Durability, Selection, StoredItem};
use pictor::store::{FORMAT, Store, StoreSettings};
use pictor::types::Value;
use pictor_proto::v1;

use crate::fixture::{
    Client, Content, block_on, content_hash, item, new_collection, open, payload, query, simple, vector_of,
};
use crate::random::Random;
use crate::support::ChildServer;

const CHILD: &str = "PICTOR_SNAPSHOT_CHILD";

fn client(catalog: &Catalog) -> Client {
    Client(catalog.resolve("c").expect("a collection"))
}

/// Everything of every item, by id, with a checksum of it all.
fn contents(client: &Client) -> (BTreeMap<String, StoredItem>, blake3::Hash) {
    let page = block_on(client.0.scroll(None, None, 100_000, Selection::ALL)).expect("a page");
    let items: BTreeMap<String, StoredItem> = page.items.into_iter().map(|item| (item.id.to_string(), item)).collect();
    let checksum = blake3::hash(format!("{items:?}").as_bytes());
    (items, checksum)
}

/// What 100 queries find.
fn answers(client: &Client) -> Vec<Vec<(String, f32)>> {
    let queries = (0..100).map(|seed| query(seed, 10)).collect();
    let hits = |hits: Vec<BackendHit>| hits.into_iter().map(|hit| (hit.item.id.to_string(), hit.score)).collect();
    client.search("own", queries, None).hits.into_iter().map(hits).collect()
}

/// What these 100 queries find among items that are named by the seeds of their vectors, by every product.
fn true_answers<'i>(names: impl Iterator<Item = &'i String>) -> Vec<Vec<(String, f32)>> {
    let seed = |name: &str| name.rsplit('-').next().and_then(|digits| digits.parse::<u64>().ok()).expect("a seed");
    let vectors: Vec<(&String, Vec<f32>)> =
        names.map(|name| (name, vector_of(&content_hash(&seed(name).to_le_bytes())).values)).collect();
    let answer = |query: Vec<f32>| {
        let score = |vector: &[f32]| vector.iter().zip(&query).map(|(a, b)| a * b).sum::<f32>();
        let mut scored: Vec<(String, f32)> =
            vectors.iter().map(|(name, vector)| ((*name).clone(), score(vector))).collect();
        scored.sort_by(|(a, x), (b, y)| y.total_cmp(x).then_with(|| a.cmp(b)));
        scored.truncate(10);
        scored
    };
    (0..100).map(|seed| answer(query(seed, 10).vector)).collect()
}

fn picture(number: u64) -> Content {
    let media = vec![("p".to_owned(), vec![number as u8; 5_000 + number as usize % 7])];
    Content { payload: payload(&[("n", Value::Int(number as i64))]), media, own: vec![number], ..Content::default() }
}

fn fill(client: &Client, numbers: std::ops::Range<u64>) {
    let writes: Vec<_> = numbers.map(|number| item(&format!("i{number:04}"), &picture(number))).collect();
    for batch in writes.chunks(50) {
        client.upsert(batch.to_vec()).into_iter().for_each(|ack| assert!(ack.is_ok(), "{ack:?}"));
    }
}

fn assert_is_whole(catalog: &Catalog) {
    let report = catalog.verify("c").expect("an audit");
    assert_eq!(report.problems, Vec::<String>::new());
}

#[test]
fn a_restored_snapshot_has_the_same_items_and_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = open(folder.path());
    catalog.create(new_collection("c")).expect("a collection");
    fill(&client(&catalog), 0..300);
    let before = contents(&client(&catalog));
    let answered = answers(&client(&catalog));
    let store = catalog.store().clone();
    let snapshot = store.create_snapshot().expect("a snapshot");
    assert!(snapshot.bytes > 300 * 5_000, "{snapshot:?}");
    // Everything changes: other contents, other items, another collection; tables are written anew.
    fill(&client(&catalog), 200..600);
    let gone = (0..100).map(|number| item(&format!("i{number:04}"), &picture(number)).id).collect();
    block_on(client(&catalog).0.delete(gone, None, Durability::Sync)).expect("deletes");
    catalog.create(new_collection("later")).expect("a collection");
    store.compact().expect("a compaction");
    assert_ne!(contents(&client(&catalog)).1, before.1);
    let second = store.create_snapshot().expect("a snapshot");
    assert_eq!(store.list_snapshots().expect("a list"), [snapshot.clone(), second.clone()]);

    store.stage_snapshot(&snapshot.name).expect("a whole snapshot");
    assert_ne!(contents(&client(&catalog)).1, before.1, "nothing changes until the folder is opened again");
    drop((catalog, store));
    let catalog = open(folder.path());
    assert!(contents(&client(&catalog)) == before, "the items are those of the snapshot");
    assert!(answers(&client(&catalog)) == answered, "the answers are those of the snapshot");
    assert_is_whole(&catalog);
    assert!(catalog.get("later").is_err());
    fill(&client(&catalog), 600..700);
    assert_is_whole(&catalog);
    let store = catalog.store();
    store.delete_snapshot(&snapshot.name).expect("a delete");
    assert_eq!(store.list_snapshots().expect("a list"), [second]);
    for missing in [snapshot.name.as_str(), "nothing", "../store"] {
        let reasons = [store.delete_snapshot(missing), store.stage_snapshot(missing)]
            .map(|outcome| outcome.expect_err("no snapshot").reason());
        assert!(
            reasons.iter().all(|reason| ["NOT_FOUND", "INVALID_ARGUMENT"].contains(reason)),
            "{missing}: {reasons:?}"
        );
    }
}

/// Four writers write their own items in order; a snapshot holds of each the first ones, all that was acknowledged before it among them.
#[test]
fn a_snapshot_under_write_load_is_of_one_moment() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = open(folder.path());
    catalog.create(new_collection("c")).expect("a collection");
    let (stop, acknowledged) = (AtomicBool::new(false), [const { AtomicU64::new(0) }; 4]);
    let mut taken = Vec::new();
    std::thread::scope(|scope| {
        for (writer, acknowledged) in acknowledged.iter().enumerate() {
            let client = client(&catalog);
            let stop = &stop;
            scope.spawn(move || {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let write = simple(&format!("w{writer}-{number:06}"), number as i64, number);
                    client.upsert(vec![write]).into_iter().for_each(|ack| assert!(ack.is_ok(), "{ack:?}"));
                    acknowledged.store(number + 1, Ordering::SeqCst);
                }
            });
        }
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(150));
            let least: Vec<u64> = acknowledged.iter().map(|count| count.load(Ordering::SeqCst)).collect();
            let snapshot = catalog.store().create_snapshot().expect("a snapshot");
            let most: Vec<u64> = acknowledged.iter().map(|count| count.load(Ordering::SeqCst) + 1).collect();
            taken.push((snapshot, least, most));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let mut catalog = catalog;
    for (snapshot, least, most) in taken {
        catalog.store().stage_snapshot(&snapshot.name).expect("a whole snapshot");
        drop(catalog);
        catalog = open(folder.path());
        let (items, _) = contents(&client(&catalog));
        for writer in 0..4 {
            let own: Vec<&String> = items.keys().filter(|id| id.starts_with(&format!("w{writer}-"))).collect();
            let expected: Vec<String> = (0..own.len()).map(|number| format!("w{writer}-{number:06}")).collect();
            assert!(own.iter().zip(&expected).all(|(found, expected)| *found == expected), "{own:?} has a gap");
            let range = least[writer]..=most[writer];
            assert!(range.contains(&(own.len() as u64)), "writer {writer}: {} of {range:?}", own.len());
        }
        assert!(least.iter().sum::<u64>() > 20, "the writers wrote: {least:?}");
        assert_eq!(answers(&client(&catalog)), true_answers(items.keys()));
        assert_is_whole(&catalog);
    }
}

#[test]
fn a_damaged_snapshot_is_refused_and_the_data_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = open(folder.path());
    catalog.create(new_collection("c")).expect("a collection");
    fill(&client(&catalog), 0..120);
    let store = catalog.store();
    let name = store.create_snapshot().expect("a snapshot").name;
    fill(&client(&catalog), 120..130);
    let before = contents(&client(&catalog));
    let root = folder.path().join("snapshots").join(&name);
    let mut files: Vec<_> = ["store", "segments"]
        .iter()
        .flat_map(|part| fs::read_dir(root.join(part)).expect("a folder"))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.push(root.join("snapshot.json"));
    assert!(files.len() > 6, "{files:?}");
    let mut random = Random::new(7);
    let refused = |what: &str| {
        let error = store.stage_snapshot(&name).expect_err(what);
        assert!(matches!(error.reason(), "DATA_CORRUPTION" | "NOT_FOUND"), "{what}: {error}");
        assert!(!folder.path().join("restoring").exists(), "{what}");
    };
    for path in &files {
        let whole = fs::read(path).expect("a file");
        // A file in use may be the same one: a damaged copy takes its place.
        let replace = |bytes: &[u8]| {
            fs::remove_file(path).expect("a file");
            fs::write(path, bytes).expect("a file");
        };
        if !whole.is_empty() {
            let mut flipped = whole.clone();
            let at = random.below(whole.len());
            flipped[at] ^= 0x55;
            replace(&flipped);
            let is_described = !path.ends_with("snapshot.json");
            // A description may also say the same in other bytes, such as another time.
            if is_described || store.stage_snapshot(&name).is_err() {
                refused(&format!("{} with another byte", path.display()));
            } else {
                fs::remove_dir_all(folder.path().join("restoring")).expect("a staged copy");
            }
            replace(&whole[..whole.len() - 1]);
            refused(&format!("{} cut short", path.display()));
        }
        fs::remove_file(path).expect("a file");
        refused(&format!("without {}", path.display()));
        fs::write(path, &whole).expect("a file");
    }
    fs::write(root.join("store/more"), "x").expect("a file");
    refused("a file that nobody described");
    fs::remove_file(root.join("store/more")).expect("a file");
    let text = fs::read_to_string(root.join("snapshot.json")).expect("text");
    fs::write(root.join("snapshot.json"), text.replace("\"store/CURRENT\"", "\"../../../outside\"")).expect("a file");
    refused("a path outside");
    let (own, newer) = (format!("\"format\": {FORMAT}"), "\"format\": 4000");
    assert!(text.contains(&own), "{text}");
    fs::write(root.join("snapshot.json"), text.replace(&own, newer)).expect("a file");
    assert_eq!(store.stage_snapshot(&name).expect_err("a newer one").reason(), "DATA_FORMAT_TOO_NEW");
    fs::write(root.join("snapshot.json"), &text).expect("a file");
    assert!(contents(&client(&catalog)) == before, "the data stays");
    store.stage_snapshot(&name).expect("whole again");
}

/// The other process of [`a_death_at_any_step_leaves_the_old_or_the_new`]; does nothing by itself.
#[test]
fn snapshot_child() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let store = Store::open(Path::new(&folder), &StoreSettings { memory_bytes: 32 << 20, ..StoreSettings::default() })
        .expect("a store");
    let first = store.list_snapshots().expect("a list").first().expect("a snapshot").name.clone();
    store.create_snapshot().expect("a snapshot");
    store.stage_snapshot(&first).expect("a whole snapshot");
    drop(store);
    Store::open(Path::new(&folder), &StoreSettings { memory_bytes: 32 << 20, ..StoreSettings::default() })
        .expect("a store");
    panic!("it should have died");
}

#[test]
fn a_death_at_any_step_leaves_the_old_or_the_new() {
    const STEPS: [(&str, bool); 9] = [
        ("snapshot.segments", false),
        ("snapshot.store", false),
        ("snapshot.written", false),
        ("restore.copied", false),
        ("restore.staged", true),
        ("restore.moving:1", true),
        ("restore.moved:1", true),
        ("restore.moving:2", true),
        ("restore.moved:2", true),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let catalog = open(folder.path());
    catalog.create(new_collection("c")).expect("a collection");
    fill(&client(&catalog), 0..60);
    let old = contents(&client(&catalog));
    catalog.store().create_snapshot().expect("a snapshot");
    drop(catalog);
    for (step, is_restored) in STEPS {
        let catalog = open(folder.path());
        fill(&client(&catalog), 60..120);
        let new = contents(&client(&catalog));
        drop(catalog);
        let mut child = Command::new(std::env::current_exe().expect("this program"));
        child.args(["--exact", "snapshots::snapshot_child", "--nocapture"]).env(CHILD, folder.path());
        let status = child.env("PICTOR_FAIL_POINT", step).stdout(Stdio::null()).stderr(Stdio::null()).status();
        use std::os::unix::process::ExitStatusExt as _;
        assert_eq!(status.expect("a child").signal(), Some(libc::SIGABRT), "{step}");
        let catalog = open(folder.path());
        let found = contents(&client(&catalog));
        assert!(found == if is_restored { old.clone() } else { new }, "{step}");
        assert_is_whole(&catalog);
        drop(catalog);
        let names = |path: &Path| -> Vec<String> {
            let entries = fs::read_dir(path).expect("a folder");
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
        };
        let left = [names(folder.path()), names(&folder.path().join("snapshots"))].concat();
        let is_left = |name: &&String| name.ends_with(".writing") || ["restoring", "replaced"].contains(&name.as_str());
        assert_eq!(left.iter().find(is_left), None, "{step} left {left:?}");
    }
}

/// Through a server: a snapshot is taken, listed, restored while the server runs, and carried to another server.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_starts_anew_with_a_snapshot() {
    let (folder, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let server = ChildServer::start(folder.path()).await;
    let client = server.client().await;
    let mut collections = client.collections.clone();
    collections.create_collection(crate::support::collection_of_vectors("c", 3)).await.expect("a collection");
    let write = |id: &str| {
        let vector = v1::Vector { values: vec![1.0, 2.0, 3.0] };
        let vectors = [("vec".to_owned(), v1::VectorParts { vectors: vec![vector] })].into();
        let item = v1::Item { id: id.to_owned(), vectors, ..v1::Item::default() };
        v1::UpsertRequest { collection: "c".to_owned(), items: vec![item], ..v1::UpsertRequest::default() }
    };
    let count = async |client: &pictor_proto::client::Client| {
        let request = v1::CountRequest { collection: "c".to_owned(), filter: None };
        client.items.clone().count(request).await.map(|reply| reply.into_inner().count)
    };
    client.items.clone().upsert(write("a")).await.expect("a write");
    let mut admin = client.admin.clone();
    let snapshot = admin.create_snapshot(v1::CreateSnapshotRequest {}).await.expect("a snapshot").into_inner();
    let snapshot = snapshot.snapshot.expect("a description");
    client.items.clone().upsert(write("b")).await.expect("a write");
    assert_eq!(count(&client).await.expect("a count"), 2);
    let listed = admin.list_snapshots(v1::ListSnapshotsRequest {}).await.expect("a list").into_inner().snapshots;
    assert_eq!(listed, std::slice::from_ref(&snapshot));
    let unknown = v1::RestoreSnapshotRequest { name: "nothing".to_owned() };
    let refused = admin.restore_snapshot(unknown).await.expect_err("no such snapshot");
    assert_eq!(refused.code(), tonic::Code::NotFound);

    let restore = v1::RestoreSnapshotRequest { name: snapshot.name.clone() };
    admin.restore_snapshot(restore.clone()).await.expect("a restore");
    wait_for_one(&server, count).await;
    // The old connection may be gone; a new one goes on as before.
    let client = server.client().await;
    client.items.clone().upsert(write("c")).await.expect("a write");
    assert_eq!(count(&client).await.expect("a count"), 2);
    server.kill();

    let (from, to) = (folder.path().join("snapshots"), other.path().join("snapshots"));
    assert!(Command::new("cp").arg("-r").args([from, to]).status().expect("cp").success());
    let server = ChildServer::start(other.path()).await;
    let client = server.client().await;
    client.admin.clone().restore_snapshot(restore).await.expect("a restore");
    wait_for_one(&server, count).await;
    let delete = v1::DeleteSnapshotRequest { name: snapshot.name };
    server.client().await.admin.clone().delete_snapshot(delete).await.expect("a delete");
}

async fn wait_for_one(
    server: &ChildServer,
    count: impl AsyncFn(&pictor_proto::client::Client) -> Result<u64, tonic::Status>,
) {
    let start = std::time::Instant::now();
    while count(&server.client().await).await.ok() != Some(1) {
        assert!(start.elapsed() < std::time::Duration::from_secs(60), "the server does not come back");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
