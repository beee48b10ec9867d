//! Files of vectors in, everything out and in again, and snapshots, through the real binaries.

use std::path::Path;

use pictor_proto::client::Client;
use pictor_proto::v1;

use crate::ingest::pictor;
use crate::support::{ChildServer, root};

/// Runs `pictor --json` with these words; gives the lines of its output.
fn run(server: &ChildServer, words: &[&str]) -> Vec<serde_json::Value> {
    let url = format!("http://{}", server.grpc);
    let output = pictor().args(["--url", &url, "--json"]).args(words).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
    let lines = String::from_utf8(output.stdout).expect("text");
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Every item by id, with its vectors as long as they came.
async fn items(client: &Client, collection: &str) -> Vec<v1::StoredItem> {
    let select = v1::ItemSelection { payload: None, texts: true, media: true, media_data: true, vectors: true };
    let request = v1::ScrollRequest {
        collection: collection.to_owned(),
        limit: 1_000,
        select: Some(select),
        ..v1::ScrollRequest::default()
    };
    client.items.clone().scroll(request).await.expect("a page").into_inner().items
}

fn fvecs(path: &Path) {
    let row = |number: u32| [2_u32.to_le_bytes(), (number as f32).to_le_bytes(), 0.5_f32.to_le_bytes()].concat();
    std::fs::write(path, (1..=40).flat_map(row).collect::<Vec<u8>>()).expect("a file");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_comes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = ChildServer::start(&folder.path().join("data")).await;
    let client = server.client().await;
    for name in ["c", "copy"] {
        run(&server, &["collection", "create", name, "--vector-field", "embedding=2"]);
    }
    let parquet = root().join("index-tools/tests/data/zstd.parquet");
    let parquet = parquet.to_str().expect("a path");
    run(&server, &["ingest", "c", parquet, "--vector-columns", "embedding", "--text-columns", "title", "--no-journal"]);
    let vectors = folder.path().join("rows.fvecs");
    fvecs(&vectors);
    run(&server, &["ingest", "c", vectors.to_str().expect("a path"), "--vector-columns", "embedding", "--no-journal"]);
    let lines = folder.path().join("more.jsonl");
    std::fs::write(
        &lines,
        "{\"id\": \"two\", \"vectors\": {\"embedding\": [[3, 4], [-1, 7]]}}\n{\"id\": \"none\", \"n\": 1}\n",
    )
    .expect("a file");
    run(&server, &["ingest", "c", lines.to_str().expect("a path"), "--no-journal"]);

    let out = folder.path().join("out");
    let words = |name: &str| out.join(name).to_str().expect("a path").to_owned();
    let (folder_of_vectors, file) = (words(""), words("items.jsonl"));
    run(&server, &["export", "c", "--vectors", &folder_of_vectors, "--out", &file]);
    run(&server, &["ingest", "copy", &file, "--no-journal"]);
    let (before, after) = (items(&client, "c").await, items(&client, "copy").await);
    assert_eq!((before.len(), after.len()), (45, 45));
    for (before, after) in before.iter().zip(&after) {
        assert_eq!((&before.id, &before.payload, &before.texts), (&after.id, &after.payload, &after.texts));
        assert_eq!(before.vectors.len(), after.vectors.len(), "{}", before.id);
        for (one, other) in before.vectors.iter().zip(&after.vectors) {
            assert_eq!(one.part, other.part);
            let numbers = one.values.iter().zip(&other.values).chain([(&one.norm, &other.norm)]);
            numbers.for_each(|(a, b)| assert!((a - b).abs() <= 1e-6 * one.norm.max(1.0), "{}: {a} {b}", before.id));
        }
    }

    // A snapshot, through the command that waits until the server is back.
    let taken = run(&server, &["snapshot", "create"]);
    let name = taken[0]["name"].as_str().expect("a name");
    run(&server, &["collection", "drop", "copy"]);
    assert_eq!(run(&server, &["snapshot", "restore", name]), [serde_json::json!({"restored": name})]);
    assert_eq!(items(&server.client().await, "copy").await, after);
    assert_eq!(run(&server, &["snapshot", "list"]), taken);
}
