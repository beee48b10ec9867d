//! Every verb's output and exit code.

use std::process::Stdio;

use pictor_proto::v1::query_part::Content;
use serde_json::json;

use super::fixture::{Server, jsonl, pictor, run};

#[test]
fn every_verb_answers_in_json() {
    let home = tempfile::tempdir().expect("a folder");
    let (server, _running) = Server::new();
    let source = jsonl(home.path(), 8);
    let call = |line: &str| {
        let mut command = pictor(server.address, home.path());
        run(command.arg("--json").args(line.split_whitespace()))
    };
    let check = |line: &str, expected: serde_json::Value| {
        let (code, lines, stderr) = call(line);
        assert_eq!(code, 0, "{line}: {stderr}");
        assert_eq!(lines[0], expected, "{line}");
    };
    let ingest = |flags: &str| call(&format!("ingest c {} --no-journal {flags}", source.display()));
    let (code, lines, _) = ingest("--bulk");
    assert_eq!((code, &lines[0]["indexing_deferred"]), (0, &json!(true)));
    assert_eq!(server.with(|state| state.indexing), pictor_proto::v1::Indexing::Deferred);
    let (code, lines, _) = ingest("");
    assert_eq!((code, &lines[0]["indexing_deferred"]), (0, &json!(false)));
    assert_eq!(server.with(|state| state.indexing), pictor_proto::v1::Indexing::AtOnce);
    check("count c", json!({"count": 8}));
    check("alias set a c", json!({"alias": "a", "collection": "c"}));
    check("alias list", json!({"alias": "a", "collection": "c"}));
    check("alias drop a", json!({"dropped": "a"}));
    check("collection drop c", json!({"dropped": "c", "items": 5}));
    check("delete c 00007 nobody", json!({"deleted": 1, "version": 0}));
    let item = json!({"id": "00001", "version": 2, "payload": {"n": 1}, "texts": {"t": ["text 1"]}, "media": []});
    check("get c 00001", item);
    let (code, lines, stderr) = call("get c 00001 nobody");
    assert_eq!((code, lines.len()), (1, 1));
    assert!(stderr.contains("not found: nobody"), "{stderr}");
    let (_, lines, _) =
        call("collection create n --text-field text=mini:t --vector-field v=3 --default-field v --media none");
    assert_eq!(lines[0]["fields"][0]["name"], "v");
    assert_eq!(lines[0]["fields"][1]["texts"], json!(["t"]));
    assert_eq!(lines[0]["media"], "none");
    assert_eq!(call("collection list").1[0]["items"], 7);
    assert_eq!(call("collection info c").1[0]["uid"], "uid-1");
    let status = &call("status").1[0];
    assert_eq!((&status["server_id"], &status["jobs"]), (&json!("server-1"), &json!({"failed": 1, "succeeded": 1})));
    let attention = status["attention"].as_array().expect("a list");
    assert!(
        attention.len() == 1 && attention[0].as_str().is_some_and(|line| line.contains("no room")),
        "{attention:?}"
    );
    let expiry = &call("collection expire c --path until --after 30d").1[0]["expiry"];
    assert_eq!(*expiry, json!({"path": "until", "after_seconds": 2_592_000}));
    assert_eq!(call("collection expire c --never").1[0]["expiry"], serde_json::Value::Null);
    assert_eq!(call("collection expire c").0, 2, "neither a path nor --never");
    assert_eq!(call("collection create n --vector-field v=3 --expire-after 3s").0, 2, "after what?");
    assert_eq!(call("field add c --image-field i=clip").0, 0);
    let snapshot = json!({"name": "2025-11-27T15-04-05Z", "created": "2025-11-27T15:04:05Z", "bytes": 1024});
    check("snapshot create", snapshot.clone());
    check("snapshot list", snapshot);
    check("snapshot delete s", json!({"deleted": "s"}));
    check("snapshot restore 2025-11-27T15-04-05Z --no-wait", json!({"restored": "2025-11-27T15-04-05Z"}));
    assert_eq!(call("snapshot restore s").0, 1);
    let (code, lines, _) = call("export c");
    assert_eq!((code, lines.len()), (0, 7));
    assert_eq!(lines[6], json!({"id": "00006", "payload": {"n": 6}, "texts": {"t": ["text 6"]}, "media": []}));
}

#[test]
fn a_search_is_sent_as_given() {
    let home = tempfile::tempdir().expect("a folder");
    let (server, _running) = Server::new();
    let source = jsonl(home.path(), 8);
    run(pictor(server.address, home.path()).args(["ingest", "c"]).arg(&source).arg("--json"));
    std::fs::write(home.path().join("a.png"), "A").expect("a file");
    std::fs::write(home.path().join("v.json"), "[1, 0.5]").expect("a file");
    let mut command = pictor(server.address, home.path());
    command.current_dir(home.path()).args(["--json", "search", "c", "--image", "a.png", "--item", "00003"]);
    command.args([
        "--vector", "v.json", "--text", "shoe", "--modify", "in red", "--minus", "boot", "--weight", "item=0.5",
    ]);
    command.args([
        "--filter",
        "n > 2",
        "--field",
        "f",
        "--limit",
        "2",
        "--offset",
        "1",
        "--min-score",
        "-0.5",
        "--exact",
    ]);
    let (code, lines, stderr) = run(command.args(["--composer", "sum"]));
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(lines.len(), 2);
    assert_eq!(
        lines[0],
        json!({"rank": 1, "id": "00000", "score": 0.1, "field": "text", "generation": 0,
            "part": {"kind": "text", "name": "t", "index": 0}, "version": 1, "payload": {"n": 0}, "texts": {"t": ["text 0"]}})
    );
    let request = server.with(|state| state.searches.remove(0));
    let parts: Vec<_> =
        request.parts.iter().map(|part| (part.content.clone().expect("content"), part.weight)).collect();
    let text = |text: &str| Content::Text(text.to_owned());
    let vector = Content::Vector(pictor_proto::v1::Vector { values: vec![1.0, 0.5] });
    assert_eq!(
        parts,
        [
            (Content::Image("A".into()), None),
            (Content::ItemId("00003".into()), Some(0.5)),
            (vector, None),
            (text("shoe"), None),
            (text("in red"), None),
            (text("boot"), Some(-1.0)),
        ]
    );
    assert_eq!((request.limit, request.offset, request.min_score, request.exact), (2, 1, Some(-0.5), true));
    assert_eq!((request.field.as_str(), request.composer.as_str()), ("f", "sum"));
    assert!(format!("{:?}", request.filter).contains("n > 2"));
}

#[test]
fn an_evaluation_counts_ranks() {
    let home = tempfile::tempdir().expect("a folder");
    let (server, _running) = Server::new();
    let source = jsonl(home.path(), 20);
    run(pictor(server.address, home.path()).args(["ingest", "c"]).arg(&source).arg("--json"));
    std::fs::write(home.path().join("a.png"), "A").expect("a file");
    let queries = home.path().join("queries.jsonl");
    let eval = |lines: &str, flags: &str| {
        std::fs::write(&queries, lines).expect("a file");
        let mut command = pictor(server.address, home.path());
        run(command.args(["--json", "eval", "c", "--queries"]).arg(&queries).args(flags.split_whitespace()))
    };
    // The fixture finds the items in the order of their ids, whatever is looked for.
    let text = |id: &str| format!("{{\"text\": \"x\", \"targets\": [\"{id}\", \"nobody\"]}}\n");
    let texts: String = ["00000", "00004", "00004", "00019", "none"].map(text).concat();
    let picture = "{\"image\": \"a.png\", \"targets\": [\"00002\", \"00001\"]}\n";
    let (code, lines, stderr) = eval(&(texts + picture), "--k 1,5 --exact");
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("1 of 6 queries have none left"), "{stderr}");
    let figures: Vec<_> = lines
        .iter()
        .map(|line| (line["direction"].as_str(), line["metric"].as_str(), line["value"].as_f64()))
        .collect();
    assert_eq!(
        figures,
        [
            (Some("image-to-text"), Some("R@1"), Some(0.0)),
            (Some("image-to-text"), Some("R@5"), Some(1.0)),
            (Some("image-to-text"), Some("median_rank"), Some(2.0)),
            (Some("text-to-text"), Some("R@1"), Some(0.25)),
            (Some("text-to-text"), Some("R@5"), Some(0.75)),
            (Some("text-to-text"), Some("median_rank"), Some(5.0)),
        ]
    );
    assert_eq!((&lines[3]["gallery"], &lines[3]["queries"]), (&json!(20), &json!(4)));
    assert!(lines[3]["chance"].as_f64().is_some_and(|chance| (chance - 0.05).abs() < 1e-12), "{}", lines[3]);
    assert!(lines[4]["low"].as_f64() <= Some(0.75) && Some(0.75) <= lines[4]["high"].as_f64(), "{}", lines[4]);
    server.with(|state| assert!(state.searches.iter().all(|request| request.exact && request.limit == 1000)));

    let check = |lines: &str, flags: &str, expected: &str| {
        let (code, _, stderr) = eval(lines, flags);
        assert!(code != 0 && stderr.contains(expected), "{code} {stderr}");
    };
    check(&text("none"), "", "no query has a target");
    check(&text("00001"), "--field broken", "queries.jsonl:1: there is no field");
    check("nonsense", "", "queries.jsonl:1");
    check(&text("00001"), "--depth 0", "--depth");
    let output = pictor(server.address, home.path()).args(["eval", "c", "--queries"]).arg(&queries).output();
    let text = String::from_utf8(output.expect("it runs").stdout).expect("UTF-8");
    assert!(text.lines().next().is_some_and(|line| line.contains("INTERVAL")), "{text}");
}

#[test]
fn an_export_can_be_ingested_again() {
    let home = tempfile::tempdir().expect("a folder");
    let (server, _running) = Server::new();
    let pictures = home.path().join("pictures");
    std::fs::create_dir(&pictures).expect("a folder");
    for name in ["a", "b", "c", "d"] {
        std::fs::write(pictures.join(format!("{name}.png")), name).expect("a file");
        std::fs::write(pictures.join(format!("{name}.txt")), name.to_uppercase()).expect("a file");
    }
    let (code, ..) = run(pictor(server.address, home.path()).args(["--json", "ingest", "c"]).arg(&pictures));
    assert_eq!((code, server.ids()), (0, ["a.png", "b.png", "c.png", "d.png"].map(str::to_owned).to_vec()));
    let out = home.path().join("out");
    let mut command = pictor(server.address, home.path());
    command.args(["export", "c", "--media"]).arg(&out).arg("--out").arg(out.join("items.jsonl"));
    let (code, _, stderr) = run(&mut command);
    assert_eq!(code, 0, "{stderr}");
    let (copy, _copy_running) = Server::new();
    let (code, ..) =
        run(pictor(copy.address, home.path()).args(["--json", "ingest", "c"]).arg(out.join("items.jsonl")));
    assert_eq!((code, copy.ids()), (0, server.ids()));
    let parts = |server: &Server| -> Vec<_> {
        let part = |item: &pictor_proto::v1::Item| (item.media[0].data.clone(), item.texts.clone());
        server.with(|state| state.items.values().map(|(_, item)| part(item)).collect())
    };
    assert_eq!(parts(&copy), parts(&server));
}

#[test]
fn exit_codes_tell_what_happened() {
    let home = tempfile::tempdir().expect("a folder");
    let (server, running) = Server::new();
    let call = |line: &str| {
        let mut command = pictor(server.address, home.path());
        let (code, _, stderr) = run(command.arg("--json").args(line.split_whitespace()));
        (code, stderr)
    };
    let check = |line: &str, expected: i32, text: &str| {
        let (code, stderr) = call(line);
        assert_eq!(code, expected, "{line}: {stderr}");
        assert!(stderr.contains(text), "{line}: {stderr}");
    };
    check("collection info nothing", 1, "there is no collection \"nothing\" (NOT_FOUND)");
    check("delete c --filter x", 1, "filter: expected a value");
    check("job cancel 1", 1, "does not serve");
    check("search c", 2, "give something to look for");
    check("search c --text a --weight size=2", 2, "a part is text");
    check("search c --text a --image none.png", 1, "cannot read none.png");
    check("field add c", 2, "exactly one of");
    check("nonsense", 2, "nonsense");
    check("ingest c none.jsonl", 1, "cannot open none.jsonl");
    std::fs::write(home.path().join("a.xyz"), "").expect("a file");
    check(&format!("ingest c {}", home.path().join("a.xyz").display()), 2, "--kind");
    running.kill();
    std::thread::sleep(std::time::Duration::from_millis(50));
    check("count c", 1, "no server answers");
}

#[test]
fn tables_are_for_people_and_a_closed_pipe_is_fine() {
    let home = tempfile::tempdir().expect("a folder");
    let (server, _running) = Server::new();
    let source = jsonl(home.path(), 2000);
    run(pictor(server.address, home.path()).args(["ingest", "c", "--json"]).arg(&source));
    let output = pictor(server.address, home.path()).args(["search", "c", "--text", "x", "--limit", "2"]).output();
    let text = String::from_utf8(output.expect("it runs").stdout).expect("UTF-8");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["RANK", "SCORE", "ID", "MATCHED", "PAYLOAD"]);
    assert!(lines[1].contains("0.1000  00000  text 0"), "{text}");
    assert!(lines[3].starts_with("2 hits from field text"), "{text}");

    let mut command = pictor(server.address, home.path());
    let mut child = command.args(["export", "c"]).stdout(Stdio::piped()).spawn().expect("it runs");
    drop(child.stdout.take());
    assert!(child.wait().expect("it ends").success());
}
