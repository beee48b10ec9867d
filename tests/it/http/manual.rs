//! Every command that docs/http.md shows is run as it stands there.

use pictor_proto::v1;

use super::Http;
use crate::support::{TestServer, collection_of_texts, root, text_item};

/// The manual's shell blocks, each with its line.
fn commands() -> Vec<(usize, String)> {
    let text = std::fs::read_to_string(root().join("docs/http.md")).expect("the manual");
    let mut blocks = Vec::new();
    let mut block: Option<(usize, String)> = None;
    for (number, line) in (1..).zip(text.lines()) {
        match (&mut block, line) {
            (None, "```sh") => block = Some((number, String::new())),
            (Some(_), "```") => blocks.extend(block.take()),
            (Some((_, commands)), line) => *commands += &format!("{line}\n"),
            (None, _) => {}
        }
    }
    blocks
}

async fn fill(server: &TestServer) {
    let client = server.client().await;
    for name in ["notes", "emoji"] {
        client.collections.clone().create_collection(collection_of_texts(name)).await.expect("created");
    }
    let note = |(id, text, year): (&str, &str, i64)| {
        let mut item = text_item(id, text);
        item.payload.insert("year".to_owned(), v1::Value { kind: Some(v1::value::Kind::IntValue(year)) });
        item
    };
    let notes =
        [("soup", "tomato soup", 2021), ("bread", "baking a loaf", 2020), ("moon", "walking on the moon", 1969)];
    let media = v1::Media {
        data: std::fs::read(root().join("tests/data/noto-1f600.png")).expect("a picture").into(),
        name: String::new(),
    };
    let smile = v1::Item { media: vec![media], ..text_item("smile", "a smiling face") };
    for (collection, items) in [("notes", notes.into_iter().map(note).collect()), ("emoji", vec![smile])] {
        let request = v1::UpsertRequest { collection: collection.to_owned(), items, ..Default::default() };
        client.items.clone().upsert(request).await.expect("stored");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_manual_works() {
    let has_curl = std::process::Command::new("curl").arg("--version").output().is_ok();
    if !has_curl {
        assert!(std::env::var_os("CI").is_none(), "every_command_of_the_manual_works needs curl");
        eprintln!("skipped every_command_of_the_manual_works: curl is not there");
        return;
    }
    let server = TestServer::start().await;
    fill(&server).await;
    let folder = tempfile::tempdir().expect("a folder");
    let commands = commands();
    assert!(commands.len() >= 5, "{commands:?}");
    for (line, command) in commands {
        let command = command
            .replace("127.0.0.1:7601", &server.http.to_string())
            .replace("tests/data", &root().join("tests/data").display().to_string())
            .replace("curl -s", "curl -s --fail-with-body --noproxy '*' -w '\\n'");
        let expects_refusal = command.contains("year == 2020");
        // No picture network stands in the sentence encoder's folder: the form is read, and the field says what it takes.
        let expects_no_pictures = command.contains("file:mine");
        let mut shell = std::process::Command::new("bash");
        shell.args(["-euc", &command]).current_dir(folder.path());
        let output = tokio::task::spawn_blocking(move || shell.output().expect("bash runs")).await.expect("no panic");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if expects_refusal {
            assert!(said.contains("at byte 6") && said.contains("\"field\":\"filter\""), "line {line}: {said}");
        } else if expects_no_pictures {
            assert!(said.contains("FIELD_CANNOT_ANSWER"), "line {line}: {said}");
        } else {
            assert!(output.status.success(), "line {line}: {said} {}", String::from_utf8_lossy(&output.stderr));
            for answer in said.lines().filter(|line| !line.is_empty()) {
                serde_json::from_str::<serde_json::Value>(answer)
                    .unwrap_or_else(|error| panic!("line {line}: {error}: {answer}"));
            }
        }
    }
    let thumbnail = std::fs::read(folder.path().join("thumbnail.jpg")).expect("a thumbnail");
    assert_eq!(thumbnail, Http::new(server.http).get("/v1/items/emoji/smile/thumbnail?size=128").await.body);
    server.shut_down().await;
}
