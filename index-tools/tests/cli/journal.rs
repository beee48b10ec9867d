//! A killed client goes on where it was.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::fixture::{Faults, Server, jsonl, pictor, run};

const COUNT: usize = 600;

/// Starts an ingest and kills it with SIGKILL once the server holds `items`.
fn ingest_and_kill(server: &Server, home: &Path, source: &Path, items: usize, rejects: &Path) {
    let mut command = pictor(server.address, home);
    command.args(["ingest", "c", "--batch", "5", "--rejects"]).arg(rejects).arg(source);
    let mut child = command.spawn().expect("it runs");
    while server.with(|state| state.items.len()) < items {
        std::thread::sleep(Duration::from_millis(2));
        assert!(child.try_wait().expect("a child").is_none(), "it ended before it was killed");
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
}

#[test]
fn a_killed_run_goes_on_without_loss_or_duplicate() {
    let home = tempfile::tempdir().expect("a folder");
    let (server, _running) = Server::new();
    server.set_faults(Faults {
        delay: Duration::from_millis(12),
        bad_item: Some(|id| id.ends_with('9')),
        swap_acknowledgements: true,
        ..Faults::default()
    });
    let source = jsonl(home.path(), COUNT);
    let rejects = home.path().join("rejects.jsonl");
    for items in [150, 300, 450] {
        ingest_and_kill(&server, home.path(), &source, items, &rejects);
    }
    server.set_faults(Faults { bad_item: Some(|id| id.ends_with('9')), ..Faults::default() });
    let ingest = |extra: &[&str]| {
        let mut command = pictor(server.address, home.path());
        run(command.args(["--json", "ingest", "c", "--rejects"]).arg(&rejects).args(extra).arg(&source))
    };
    let (code, lines, stderr) = ingest(&[]);
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("resuming at record "), "{stderr}");
    assert!(lines[0]["resumed_at"].as_u64().is_some_and(|record| record > 300), "{}", lines[0]);
    assert_eq!(lines[0]["records"], COUNT);
    assert_eq!(lines[0]["rejected"], COUNT / 10);
    assert_eq!(server.ids().len(), COUNT - COUNT / 10);
    assert_eq!(server.with(|state| state.version as usize), COUNT - COUNT / 10, "each item was written once");
    let text = std::fs::read_to_string(&rejects).expect("the rejects");
    let positions: Vec<u64> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["position"].as_u64().expect("one"))
        .collect();
    assert_eq!(positions, (1..=COUNT as u64 / 10).map(|ten| ten * 10).collect::<Vec<_>>(), "each reject once");

    // After a complete run everything is looked at again.
    let (code, lines, _) = ingest(&[]);
    assert_eq!(code, 3);
    assert_eq!(lines[0]["resumed_at"], 1);
    assert_eq!(lines[0]["unchanged"], COUNT - COUNT / 10);
    assert_eq!(std::fs::read_to_string(&rejects).expect("the rejects"), text);
}

#[test]
fn a_journal_of_something_else_is_refused_or_ignored() {
    let home = tempfile::tempdir().expect("a folder");
    let (server, _running) = Server::new();
    server.set_faults(Faults { poison: Some(|id| id == "00010"), refuse_every: 3, ..Faults::default() });
    let source = jsonl(home.path(), 20);
    let journal = home.path().join("the.journal");
    let ingest = |extra: &[&str]| {
        let mut command = pictor(server.address, home.path());
        command.args(["--json", "ingest", "c", "--batch", "2", "--retry-for", "0s", "--journal"]).arg(&journal);
        run(command.args(extra).arg(&source))
    };
    // The refusal may come before the first acknowledgement; then nothing is counted as stored yet.
    let is_counted = || {
        let (code, lines, stderr) = ingest(&[]);
        assert_eq!((code, &lines[0]["complete"]), (1, &false.into()), "{stderr}");
        lines[0]["next_record"].as_u64().is_some_and(|record| record > 1)
    };
    assert!((0..20).any(|_| is_counted()));

    // Another server: refused, and nothing is written.
    server.set_faults(Faults::default());
    server.with(|state| state.server_id = "server-2".into());
    let (code, _, stderr) = ingest(&[]);
    assert!(code == 1 && stderr.contains("belongs to another server"), "{stderr}");
    server.with(|state| state.server_id = "server-1".into());

    // Other options: the positions mean something else.
    let (code, lines, stderr) = ingest(&["--limit", "5"]);
    assert!(code == 0 && stderr.contains("have changed since"), "{stderr}");
    assert_eq!((&lines[0]["resumed_at"], &lines[0]["records"]), (&1.into(), &5.into()));

    // The collection lost what the journal counts as stored: start again.
    server.set_faults(Faults { refuse_every: 8, ..Faults::default() });
    assert!((0..20).any(|_| is_counted()));
    server.set_faults(Faults::default());
    server.with(|state| (state.version, state.items) = (0, BTreeMap::new()));
    let (code, lines, stderr) = ingest(&[]);
    assert!(code == 0 && stderr.contains("older than the journal"), "{stderr}");
    assert_eq!(lines[0]["resumed_at"], 1);
    // A batch of the run before may arrive after the loss; what it stored is then unchanged.
    let stored = |outcome: &str| lines[0][outcome].as_u64().expect("a number");
    assert_eq!(stored("created") + stored("unchanged"), 20);
    assert_eq!(server.ids().len(), 20);
}

#[test]
fn options_choose_the_journal() {
    let home = tempfile::tempdir().expect("a folder");
    let (server, _running) = Server::new();
    let source = jsonl(home.path(), 20);
    let mut command = pictor(server.address, home.path());
    let (code, ..) = run(command.args(["--json", "ingest", "c", "--no-journal", "--limit", "7"]).arg(&source));
    assert_eq!((code, server.ids().len()), (0, 7));
    assert!(!home.path().join("state").exists());
    let mut command = pictor(server.address, home.path());
    let (code, lines, _) = run(command.args(["--json", "ingest", "c"]).arg(&source));
    assert_eq!((code, &lines[0]["unchanged"], &lines[0]["created"]), (0, &7.into(), &13.into()));
    let journals = std::fs::read_dir(home.path().join("state/pictor")).expect("the state folder").count();
    assert_eq!(journals, 2, "a journal and its lock");
    let mut command = pictor(server.address, home.path());
    command.args(["ingest", "c", "--journal", "x", "--no-journal"]).arg(&source);
    assert_eq!(run(&mut command).0, 2);
}
