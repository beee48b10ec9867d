//! Ingest against a server that refuses, puts off, rejects and dies: nothing is lost, nothing is stored twice.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use super::fixture::{Faults, Server, jsonl, pictor, run};
use super::proxy::Proxy;

const COUNT: usize = 500;

fn all_ids() -> Vec<String> {
    (0..COUNT).map(|number| format!("{number:05}")).collect()
}

/// Ingests under the faults and expects every item stored, written once.
fn check(faults: Faults) -> (Server, serde_json::Value) {
    let home = tempfile::tempdir().expect("a folder");
    let (server, _running) = Server::new();
    server.set_faults(faults);
    let source = jsonl(home.path(), COUNT);
    let mut command = pictor(server.address, home.path());
    let (code, lines, stderr) = run(command.args(["--json", "ingest", "c", "--batch", "10"]).arg(&source));
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(server.ids(), all_ids());
    assert_eq!(server.with(|state| state.version), COUNT as u64, "each item was written once");
    let [summary] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!(summary["records"], COUNT);
    assert_eq!(summary["rejected"], 0);
    (server, summary.clone())
}

#[test]
fn nothing_wrong() {
    let (server, summary) = check(Faults::default());
    assert_eq!(summary["created"], COUNT);
    assert_eq!(server.with(|state| (state.streams, state.largest_batch)), (1, 10));
}

#[test]
fn refused_batches_come_again() {
    let (server, _) = check(Faults { refuse_every: 3, ..Faults::default() });
    assert!(server.with(|state| state.batches) > 70);
}

#[test]
fn items_that_are_put_off_come_again_without_the_others() {
    let (server, _) = check(Faults { put_off_every: 7, ..Faults::default() });
    let seen = server.with(|state| state.seen);
    assert!((580..600).contains(&seen), "{seen} items were sent");
}

#[test]
fn ended_streams_are_opened_again() {
    let (server, _) = check(Faults { end_stream_after: 5, ..Faults::default() });
    assert!(server.with(|state| state.streams) >= 10);
}

#[test]
fn acknowledgements_may_come_in_any_order() {
    check(Faults { swap_acknowledgements: true, ..Faults::default() });
}

#[test]
fn everything_at_once() {
    check(Faults {
        swap_acknowledgements: true,
        end_stream_after: 9,
        put_off_every: 11,
        refuse_every: 5,
        ..Faults::default()
    });
}

#[test]
fn a_cut_wire_loses_nothing() {
    let home = tempfile::tempdir().expect("a folder");
    let (server, _running) = Server::new();
    let proxy = Proxy::new(server.address, 5_000, 8);
    let source = jsonl(home.path(), COUNT);
    let mut command = pictor(proxy.address, home.path());
    let (code, lines, stderr) = run(command.args(["--json", "ingest", "c", "--batch", "10"]).arg(&source));
    assert_eq!(code, 0, "{stderr}");
    assert!(proxy.cuts_made.load(Ordering::SeqCst) >= 4, "{stderr}");
    assert_eq!(server.ids(), all_ids());
    assert_eq!(server.with(|state| state.version), COUNT as u64);
    assert_eq!(lines[0]["records"], COUNT);
}

#[test]
fn a_server_that_dies_is_waited_for() {
    let home = tempfile::tempdir().expect("a folder");
    let (server, running) = Server::new();
    server.set_faults(Faults { delay: Duration::from_millis(10), ..Faults::default() });
    let source = jsonl(home.path(), COUNT);
    let mut command = pictor(server.address, home.path());
    let child = command.args(["--json", "ingest", "c", "--batch", "10"]).arg(&source).spawn().expect("it runs");
    while server.with(|state| state.items.len()) < 100 {
        std::thread::sleep(Duration::from_millis(5));
    }
    running.kill();
    std::thread::sleep(Duration::from_millis(300));
    let _running = server.again();
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(server.ids(), all_ids());
    assert_eq!(server.with(|state| state.version), COUNT as u64);
}

#[test]
fn another_server_at_the_same_address_is_refused() {
    let home = tempfile::tempdir().expect("a folder");
    let (server, _running) = Server::new();
    server.set_faults(Faults { end_stream_after: 3, ..Faults::default() });
    let source = jsonl(home.path(), COUNT);
    let mut command = pictor(server.address, home.path());
    let child = command.args(["ingest", "c", "--batch", "10"]).arg(&source).spawn().expect("it runs");
    while server.with(|state| state.streams) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    server.with(|state| state.server_id = "server-2".into());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("another server answers"));
}

#[test]
fn a_server_that_never_works_is_given_up() {
    let home = tempfile::tempdir().expect("a folder");
    let (server, _running) = Server::new();
    server.set_faults(Faults { refuse_every: 1, ..Faults::default() });
    let source = jsonl(home.path(), 20);
    let mut command = pictor(server.address, home.path());
    let (code, lines, stderr) = run(command.args(["--json", "ingest", "c", "--retry-for", "1s"]).arg(&source));
    assert_eq!(code, 1);
    assert!(stderr.contains("nothing worked for 1 s"), "{stderr}");
    assert_eq!((&lines[0]["complete"], &lines[0]["records"]), (&json!(false), &json!(0)));
}

#[test]
fn bad_items_are_rejected_and_harm_no_others() {
    let home = tempfile::tempdir().expect("a folder");
    let (server, _running) = Server::new();
    server.set_faults(Faults {
        bad_item: Some(|id| id.ends_with("77")),
        poison: Some(|id| id.ends_with("33") || id == "00034"),
        ..Faults::default()
    });
    let source = jsonl(home.path(), COUNT);
    std::fs::OpenOptions::new()
        .append(true)
        .open(&source)
        .and_then(|mut file| std::io::Write::write_all(&mut file, b"{\n{\"id\":\"p\",\"image\":\"none.png\"}\n"))
        .expect("appended");
    let rejects = home.path().join("rejects.jsonl");
    let mut command = pictor(server.address, home.path());
    command.args(["--json", "ingest", "c", "--batch", "64", "--rejects"]).arg(&rejects).arg(&source);
    let (code, lines, stderr) = run(&mut command);
    assert_eq!(code, 3, "{stderr}");
    assert_eq!((&lines[0]["created"], &lines[0]["rejected"]), (&json!(COUNT - 11), &json!(13)));
    assert_eq!(server.ids().len(), COUNT - 11);
    let text = std::fs::read_to_string(&rejects).expect("the rejects");
    let rejects: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let positions: Vec<_> = rejects.iter().map(|reject| reject["position"].as_u64().expect("a number")).collect();
    assert_eq!(positions, [34, 35, 78, 134, 178, 234, 278, 334, 378, 434, 478, 501, 502]);
    assert_eq!(rejects[2]["id"], "00077");
    assert_eq!(rejects[2]["code"], "INVALID_ARGUMENT");
    assert_eq!(rejects[2]["source"], "items.jsonl:78");
    assert_eq!((&rejects[11]["id"], &rejects[11]["code"]), (&json!(null), &json!("BAD_RECORD")));
    assert_eq!((&rejects[12]["id"], &rejects[12]["code"]), (&json!("p"), &json!("MISSING_FILE")));
}
