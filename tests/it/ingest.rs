//! `pictor ingest` of real texts through real binaries, with the client killed and the server killed in the middle.
//!
//! Fails when: the journal is written before the acknowledgement (records get lost), or a resumed run starts at the first
//! record (`resumed_at` is 1), or the client gives up when the server goes away.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use pictor_proto::client::Client;
use pictor_proto::v1;

use crate::support::{ChildServer, collection_of_texts, is_verify, test_data};

/// The client's binary, which cargo puts beside the server's.
pub(crate) fn pictor() -> Command {
    let path = Path::new(env!("CARGO_BIN_EXE_pictor-server")).with_file_name("pictor");
    assert!(path.exists(), "{} is not built; run `cargo build --release --workspace`", path.display());
    Command::new(path)
}

/// The first `count` tldr pairs in a file of their own; gives their ids.
fn source(pairs: &Path, folder: &Path, count: usize) -> (PathBuf, BTreeSet<String>) {
    let path = folder.join("pairs.jsonl");
    let mut out = std::fs::File::create(&path).expect("a file");
    let mut ids = BTreeSet::new();
    for line in BufReader::new(std::fs::File::open(pairs).expect("the pairs")).lines().take(count) {
        let line = line.expect("a line");
        let json: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        ids.insert(json["id"].as_str().expect("an id").to_owned());
        writeln!(out, "{line}").expect("written");
    }
    (path, ids)
}

fn ingest(server: &ChildServer, source: &Path, journal: &Path) -> Child {
    pictor()
        .args(["--url", &format!("http://{}", server.grpc), "--json", "ingest", "notes"])
        .arg(source)
        .args(["--text-columns", "description", "--batch", "64", "--journal"])
        .arg(journal)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("pictor starts")
}

async fn count(client: &Client) -> u64 {
    let request = v1::CountRequest { collection: "notes".to_owned(), filter: None };
    client.items.clone().count(request).await.expect("a count").into_inner().count
}

async fn wait_for(client: &Client, items: u64) {
    let patience = Instant::now() + Duration::from_secs(300);
    while count(client).await < items {
        assert!(Instant::now() < patience, "the ingest does not get to {items} items");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn summary(output: &Output) -> serde_json::Value {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let last = stdout.lines().last().unwrap_or_else(|| panic!("no summary: {output:?}"));
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {last}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_ingest_goes_on_without_loss() {
    let Some(pairs) = test_data("tldr/pairs.jsonl", "an_interrupted_ingest_goes_on_without_loss") else { return };
    let records = if is_verify() { usize::MAX } else { 3000 };
    let folder = tempfile::tempdir().expect("a folder");
    let (source, ids) = source(&pairs, folder.path(), records);
    let total = ids.len() as u64;
    let journal = folder.path().join("journal");
    let data = folder.path().join("data");
    let started = Instant::now();

    let server = ChildServer::start(&data).await;
    let client = server.client().await;
    client.collections.clone().create_collection(collection_of_texts("notes")).await.expect("created");
    let mut first = ingest(&server, &source, &journal);
    wait_for(&client, total / 4).await;
    first.kill().expect("a running client");
    first.wait().expect("a dead client");
    let after_client_kill = count(&client).await;
    assert!(after_client_kill < total, "the client was killed in the middle");

    let second = ingest(&server, &source, &journal);
    wait_for(&client, total / 2).await;
    let (grpc, http) = (server.grpc, server.http);
    server.kill();
    let server = ChildServer::start_at(&data, grpc, http).await;
    let client = server.client().await;
    assert!(count(&client).await >= total / 2, "what was seen before the kill is there after it");
    let output = tokio::task::spawn_blocking(|| second.wait_with_output()).await.expect("no panic").expect("an end");
    assert!(output.status.success(), "{output:?}");
    let told = summary(&output);
    assert_eq!((told["complete"].as_bool(), told["rejected"].as_u64()), (Some(true), Some(0)), "{told}");
    assert!(told["resumed_at"].as_u64().is_some_and(|record| record > 1), "{told}");

    let mut scroll = v1::ScrollRequest { collection: "notes".to_owned(), limit: 5000, ..Default::default() };
    let mut stored = Vec::new();
    loop {
        let page = client.items.clone().scroll(scroll.clone()).await.expect("a page").into_inner();
        stored.extend(page.items.into_iter().map(|item| item.id));
        if page.next_cursor.is_empty() {
            break;
        }
        scroll.cursor = page.next_cursor;
    }
    assert_eq!(stored, ids.into_iter().collect::<Vec<_>>(), "every record once");

    // A complete run starts afresh, finds everything as it is, and encodes nothing.
    let again = ingest(&server, &source, &journal);
    let output = tokio::task::spawn_blocking(|| again.wait_with_output()).await.expect("no panic").expect("an end");
    let told = summary(&output);
    assert_eq!((told["unchanged"].as_u64(), told["created"].as_u64()), (Some(total), Some(0)), "{told}");
    let stats = client.admin.clone().get_stats(v1::GetStatsRequest {}).await.expect("stats").into_inner();
    println!(
        "{total} records in {:.1} s with a killed client and a killed server; server's memory {} MiB; again: {told}",
        started.elapsed().as_secs_f64(),
        stats.resident_bytes >> 20
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_readme_and_of_operations_work() {
    let readme = std::fs::read_to_string(crate::support::root().join("README.md")).expect("the README");
    let folder = tempfile::tempdir().expect("a folder");
    let server = ChildServer::start(&folder.path().join("data")).await;
    let operations = std::fs::read_to_string(crate::support::root().join("docs/operations.md")).expect("the manual");
    let mut commands = 0;
    for line in readme.lines().chain(operations.lines()).filter(|line| line.starts_with("target/release/pictor ")) {
        let words = shell_words(line);
        let output = pictor()
            .args(&words[1..])
            .current_dir(crate::support::root())
            .env("PICTOR_URL", format!("http://{}", server.grpc))
            .env("XDG_STATE_HOME", folder.path())
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{line}: {output:?}");
        if line.contains("something to eat") {
            let stdout = String::from_utf8_lossy(&output.stdout);
            assert!(stdout.contains("soup") || stdout.contains("bread"), "{line}: {stdout}");
        }
        commands += 1;
    }
    assert!(commands >= 10, "README and operations.md show the commands");
    let embed = readme
        .lines()
        .flat_map(|line| line.split('`'))
        .find(|code| code.starts_with("target/release/pictor-server embed"));
    let texts = folder.path().join("texts");
    std::fs::write(&texts, "one text\n\nanother\n").expect("a file");
    let out = folder.path().join("out.safetensors");
    let words: Vec<String> = shell_words(embed.expect("the README shows embed"))
        .into_iter()
        .map(|word| {
            word.replace("FILE", &texts.display().to_string()).replace("OUT.safetensors", &out.display().to_string())
        })
        .map(|word| word.replace(".deps/models", &crate::support::models_dir().display().to_string()))
        .collect();
    let output = Command::new(env!("CARGO_BIN_EXE_pictor-server")).args(&words[1..]).output().expect("it runs");
    assert!(output.status.success() && out.exists(), "{output:?}");
}

/// Splits at spaces outside single quotes.
fn shell_words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for c in line.chars() {
        match c {
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            _ => words.last_mut().expect("one").push(c),
        }
    }
    words
}
