//! `models pull`, the real program, against a mirror on loopback.

mod mirror;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::encoder::tiny::Tiny;
use mirror::{Answer, COMMIT, Mirror, Seen, read_folder};

const REVISION: &str = "0123456789ab";
const WEIGHTS: &str = "model.safetensors";
const TOKEN: &str = "hf_secret";

/// The tiny encoder with what publishers put beside theirs.
fn repository() -> BTreeMap<String, Vec<u8>> {
    let mut files = read_folder(&Tiny::new().folder.path);
    for decoy in ["pytorch_model.bin", "onnx/model.onnx", "modeling.py", ".gitattributes", "a/b/c/d/e.txt"] {
        files.insert(decoy.to_owned(), b"decoy".to_vec());
    }
    files.insert("LICENSE".to_owned(), b"Apache-2.0".to_vec());
    files.insert("README.md".to_owned(), Vec::new());
    files
}

/// A models folder and the program to fill it.
struct Puller {
    folder: TempDir,
    endpoint: String,
}

impl Puller {
    fn new(mirror: &Mirror) -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), endpoint: mirror.url() }
    }

    fn models(&self) -> PathBuf {
        self.folder.path().join("models")
    }

    fn revision(&self) -> PathBuf {
        self.models().join("tiny").join(REVISION)
    }

    fn partial(&self, file: &str) -> PathBuf {
        self.models().join("tiny").join(format!(".{REVISION}.partial")).join(file)
    }

    fn command(&self, verb: &str, model: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pictor-server"));
        for variable in ["PICTOR_HUB_ENDPOINT", "PICTOR_HUB_TOKEN", "HF_ENDPOINT", "HF_TOKEN"] {
            command.env_remove(variable);
        }
        // A proxy of the machine must not be asked for the hub.
        command.env("HTTP_PROXY", "http://127.0.0.1:9").env("ALL_PROXY", "http://127.0.0.1:9").env_remove("NO_PROXY");
        command.args(["models", verb, model, "--models-dir"]).arg(self.models());
        command
    }

    fn pull_command(&self, extra: &[&str]) -> Command {
        let mut command = self.command("pull", "hf:Owner/Tiny");
        command.args(["--endpoint", &self.endpoint]).args(extra);
        if !extra.contains(&"--retries") {
            command.args(["--retries", "0"]);
        }
        command
    }

    #[track_caller]
    fn pull(&self, extra: &[&str]) -> Value {
        succeed(&mut self.pull_command(extra))
    }

    #[track_caller]
    fn pull_fails(&self, extra: &[&str], expected: &[&str]) {
        fail(&mut self.pull_command(extra), expected);
        assert!(!self.revision().exists() && !self.models().join("tiny/current").exists(), "something was published");
    }
}

fn run(command: &mut Command) -> (Output, String) {
    let output = command.stdin(Stdio::null()).output().expect("the program runs");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, stderr)
}

/// One JSON object on standard output.
#[track_caller]
fn succeed(command: &mut Command) -> Value {
    let (output, stderr) = run(command);
    assert!(output.status.success(), "{stderr}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[track_caller]
fn fail(command: &mut Command, expected: &[&str]) {
    let (output, stderr) = run(command);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    for expected in expected {
        assert!(stderr.contains(expected), "expected {expected:?} in {stderr}");
    }
}

#[track_caller]
fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < patience, "{what} does not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn of(path: &str, seen: Vec<Seen>) -> Vec<Seen> {
    seen.into_iter().filter(|seen| seen.path == path).collect()
}

fn length(path: &Path) -> usize {
    path.metadata().map_or(0, |metadata| metadata.len() as usize)
}

#[test]
fn a_model_is_pulled_once_and_is_sound() {
    let files = repository();
    let (mirror, total) = (Mirror::start(files.clone()), |files: &BTreeMap<String, Vec<u8>>| -> usize {
        files.values().map(Vec::len).sum()
    });
    let puller = Puller::new(&mirror);
    let report = puller.pull(&[]);
    let needed: BTreeMap<_, _> = files
        .into_iter()
        .filter(|(path, _)| {
            !["pytorch_model.bin", "onnx/model.onnx", "modeling.py", ".gitattributes", "a/b/c/d/e.txt"]
                .contains(&path.as_str())
        })
        .collect();
    assert_eq!((&report["name"], &report["revision"]), (&"tiny".into(), &REVISION.into()));
    assert_eq!((&report["files"], &report["bytes"]), (&needed.len().into(), &total(&needed).into()));
    assert_eq!((&report["resumed_bytes"], &report["already_there"]), (&0.into(), &false.into()));
    assert_eq!(report["warnings"], Value::Array(Vec::new()));
    let mut pulled = read_folder(&puller.revision());
    let card: Value = serde_json::from_slice(&pulled.remove("card.json").expect("a card")).expect("JSON");
    assert_eq!(pulled, needed);
    assert_eq!(card["source"], format!("hf:Owner/Tiny@{COMMIT}"));
    assert_eq!((&card["licence"], &card["fingerprint"]), (&"apache-2.0".into(), &report["fingerprint"]));
    assert_eq!(card["files"][WEIGHTS], blake3::hash(&needed[WEIGHTS]).to_hex().as_str());
    // No code, no pickles, no second request.
    let mut asked: Vec<_> = mirror.take_seen().into_iter().map(|seen| seen.path).collect();
    asked.sort();
    let listing = "/api/models/Owner/Tiny/revision/main?blobs=true".to_owned();
    // An empty file needs no request.
    let filled = needed.iter().filter(|(_, bytes)| !bytes.is_empty()).map(|(path, _)| path.clone());
    let mut expected: Vec<_> = filled.chain([listing]).collect();
    expected.sort();
    assert_eq!(asked, expected);

    let verified = succeed(&mut puller.command("verify", "tiny"));
    assert_eq!((&verified["files_checked"], &verified["problems"]), (&needed.len().into(), &Value::Array(Vec::new())));
    let mut list = Command::new(env!("CARGO_BIN_EXE_pictor-server"));
    let line = succeed(list.args(["models", "list", "--models-dir"]).arg(puller.models()));
    assert_eq!(
        (&line["name"], &line["revision"], &line["is_current"]),
        (&"tiny".into(), &REVISION.into(), &true.into())
    );

    let again = puller.pull(&[]);
    assert_eq!((&again["already_there"], &again["received_bytes"]), (&true.into(), &0.into()));
    assert_eq!((&again["files"], &again["bytes"]), (&report["files"], &report["bytes"]));
    assert_eq!(mirror.take_seen().len(), 1, "only the listing is asked for");
    // The hub is not needed for a commit that is there, and a lost `current` comes back.
    std::fs::remove_file(puller.models().join("tiny/current")).expect("a file");
    let model = format!("hf:Owner/Tiny@{COMMIT}");
    succeed(puller.command("pull", &model).args(["--endpoint", "http://127.0.0.1:9", "--retries", "0"]));
    assert_eq!(std::fs::read_to_string(puller.models().join("tiny/current")).expect("current").trim(), REVISION);
}

#[test]
fn verify_names_what_differs() {
    let mirror = Mirror::start(repository());
    let puller = Puller::new(&mirror);
    puller.pull(&[]);
    let path = |file: &str| puller.revision().join(file);
    std::fs::write(path("extra.json"), "{}").expect("write");
    std::fs::write(path("LICENSE"), "mine").expect("write");
    std::fs::remove_file(path("README.md")).expect("a file");
    let (output, stderr) = run(&mut puller.command("verify", "tiny"));
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["extra_files"], serde_json::json!(["extra.json"]));
    let problems: Vec<_> = report["problems"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let [changed, missing] = problems[..] else { panic!("{problems:?}") };
    assert!(changed.starts_with("LICENSE: card.json says"), "{changed}");
    assert_eq!(missing, "README.md: card.json names it, but it is missing");
    // What lacks a file is neither mended nor passed off as complete.
    fail(&mut puller.pull_command(&[]), &["lacks README.md", "never edited"]);
}

#[test]
fn a_cut_file_goes_on_where_it_was_cut() {
    let files = repository();
    let size = files[WEIGHTS].len();
    let mirror = Mirror::start(files);
    let puller = Puller::new(&mirror);
    mirror.rule(|path, nth| match (path, nth) {
        (WEIGHTS, 0) => Answer::Cut(1000),
        (WEIGHTS, _) => Answer::Status(503, ""),
        _ => Answer::Serve,
    });
    puller.pull_fails(&["--retries", "1"], &["503", "pull again"]);
    assert_eq!(length(&puller.partial(WEIGHTS)), 1000);
    mirror.take_seen();
    mirror.rule(|_, _| Answer::Serve);
    let report = puller.pull(&[]);
    let seen = mirror.take_seen();
    assert_eq!(seen.len(), 2, "whole files are not fetched again: {seen:?}");
    let [request] = &of(WEIGHTS, seen)[..] else { panic!("one request") };
    assert_eq!((request.range.as_deref(), request.sent), (Some("bytes=1000-"), size - 1000));
    let others = report["bytes"].as_u64().expect("a number") - size as u64;
    assert_eq!(report["resumed_bytes"], others + 1000);
    assert_eq!(report["received_bytes"], size - 1000);
    succeed(&mut puller.command("verify", "tiny"));
}

#[test]
fn a_run_survives_cuts_and_a_busy_hub() {
    let files = repository();
    let size = files[WEIGHTS].len();
    let mirror = Mirror::start(files);
    let puller = Puller::new(&mirror);
    mirror.rule(|path, nth| match (path, nth) {
        (WEIGHTS, 0..6) => Answer::Cut(100),
        ("config.json", 0) => Answer::Status(429, "retry-after: 1\r\n"),
        ("tokenizer.json", 0) => Answer::Status(500, ""),
        (path, 0) if path.starts_with("/api/") => Answer::Status(502, ""),
        _ => Answer::Serve,
    });
    // More cuts than retries: what brings bytes is no failure.
    let report = puller.pull(&["--retries", "1"]);
    assert_eq!(report["received_bytes"], report["bytes"]);
    let ranges: Vec<_> = of(WEIGHTS, mirror.take_seen()).into_iter().map(|seen| (seen.range, seen.sent)).collect();
    let mut expected = vec![(None, 100)];
    expected.extend((1..6).map(|n| (Some(format!("bytes={}-", n * 100)), 100)));
    expected.push((Some("bytes=600-".to_owned()), size - 600));
    assert_eq!(ranges, expected);
    succeed(&mut puller.command("verify", "tiny"));
}

#[test]
fn a_hub_without_ranges_sends_the_file_again() {
    let mirror = Mirror::start(repository());
    let puller = Puller::new(&mirror);
    mirror.rule(|path, nth| match (path, nth) {
        (WEIGHTS, 0) => Answer::Cut(1000),
        _ => Answer::IgnoreRange,
    });
    let report = puller.pull(&["--retries", "1"]);
    let received = report["bytes"].as_u64().expect("a number") + 1000;
    assert_eq!((&report["resumed_bytes"], &report["received_bytes"]), (&0.into(), &received.into()));
    succeed(&mut puller.command("verify", "tiny"));
}

/// Fails if a killed pull publishes anything, or if the next one starts from the beginning.
#[test]
fn a_killed_pull_goes_on() {
    let files = repository();
    let size = files[WEIGHTS].len();
    let mirror = Mirror::start(files);
    let puller = Puller::new(&mirror);
    mirror.rule(|path, _| if path == WEIGHTS { Answer::Stall(4321) } else { Answer::Serve });
    let mut child = puller.pull_command(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a child");
    wait_for("the first part", || length(&puller.partial(WEIGHTS)) == 4321);
    // While it works, nobody else does.
    fail(&mut puller.pull_command(&[]), &["another process is pulling", "wait"]);
    child.kill().expect("a running child");
    child.wait().expect("a dead child");
    assert!(!puller.revision().exists() && !puller.models().join("tiny/current").exists());
    mirror.take_seen();
    mirror.rule(|_, _| Answer::Serve);
    puller.pull(&[]);
    let [request] = &of(WEIGHTS, mirror.take_seen())[..] else { panic!("one request") };
    assert_eq!((request.range.as_deref(), request.sent), (Some("bytes=4321-"), size - 4321));
    succeed(&mut puller.command("verify", "tiny"));
}

#[test]
fn two_pulls_at_once_leave_one_sound_model() {
    let mirror = Mirror::start(repository());
    let puller = Puller::new(&mirror);
    let start = || puller.pull_command(&[]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a child");
    let outputs = [start(), start(), start()].map(|child| child.wait_with_output().expect("an end"));
    let n_done = outputs.iter().filter(|output| output.status.success()).count();
    assert!(n_done >= 1, "{outputs:?}");
    for output in outputs.iter().filter(|output| !output.status.success()) {
        assert!(String::from_utf8_lossy(&output.stderr).contains("another process is pulling"), "{output:?}");
    }
    succeed(&mut puller.command("verify", "tiny"));
}

#[test]
fn wrong_bytes_are_refused() {
    for (file, kind) in [(WEIGHTS, "sha256"), ("tokenizer.json", "git blob")] {
        let files = repository();
        let mut damaged = files[file].clone();
        damaged[17] ^= 1;
        let mirror = Mirror::start(files);
        let puller = Puller::new(&mirror);
        mirror.rule(move |path, _| if path == file { Answer::Other(damaged.clone()) } else { Answer::Serve });
        puller.pull_fails(&[], &[file, &format!("arrived with {kind}"), "but the hub announced", "deleted"]);
        assert!(!puller.partial(file).exists());
        mirror.rule(|_, _| Answer::Serve);
        puller.pull(&[]);
        succeed(&mut puller.command("verify", "tiny"));
    }
}

#[test]
fn bytes_that_suffered_between_two_runs_are_fetched_again() {
    let mirror = Mirror::start(repository());
    let puller = Puller::new(&mirror);
    mirror.rule(|path, _| if path == WEIGHTS { Answer::Status(503, "") } else { Answer::Serve });
    puller.pull_fails(&[], &["503"]);
    let config = puller.partial("config.json");
    let mut bytes = std::fs::read(&config).expect("a whole file");
    bytes[3] ^= 1;
    std::fs::write(&config, bytes).expect("write");
    std::fs::write(puller.partial("tokenizer.json"), vec![0; 1 << 20]).expect("write");
    std::fs::write(puller.partial("stray"), "from an older program").expect("write");
    mirror.rule(|_, _| Answer::Serve);
    puller.pull(&[]);
    succeed(&mut puller.command("verify", "tiny"));
}

#[test]
fn wrong_sizes_are_refused() {
    let mirror = Mirror::start(repository());
    let puller = Puller::new(&mirror);
    mirror.rule(|path, _| if path == WEIGHTS { Answer::Longer } else { Answer::Serve });
    puller.pull_fails(&[], &["but sends more"]);
    assert!(!puller.partial(WEIGHTS).exists());
    // A proxy's page in place of the rest costs nothing of what is there.
    mirror.rule(|path, _| if path == WEIGHTS { Answer::Cut(500) } else { Answer::Serve });
    puller.pull_fails(&[], &["was cut at byte 500"]);
    mirror.rule(|_, _| Answer::Other(b"<html>".to_vec()));
    fail(puller.pull_command(&[]).args(["--name", "other"]), &["not the hub's"]);
    mirror.rule(|path, _| if path == WEIGHTS { Answer::Other(b"<html>".to_vec()) } else { Answer::Serve });
    puller.pull_fails(&[], &["but sends 6 bytes"]);
    assert_eq!(length(&puller.partial(WEIGHTS)), 500);
}

#[test]
fn redirects_lead_only_where_the_operator_allows() {
    let (elsewhere, mirror) = (Mirror::start(repository()), Mirror::start(repository()));
    let puller = Puller::new(&mirror);
    let to = |address: String| {
        mirror.rule(move |path, _| match path {
            WEIGHTS => Answer::Redirect(format!("{address}/Owner/Tiny/resolve/{COMMIT}/{WEIGHTS}")),
            _ => Answer::Serve,
        });
    };
    let token = puller.folder.path().join("token");
    std::fs::write(&token, format!("{TOKEN}\n")).expect("write");
    let token = ["--token-file", token.to_str().expect("a path")];

    to(elsewhere.url());
    let remedy = format!("--allow-redirect {}", elsewhere.address);
    puller.pull_fails(&token, &[&elsewhere.url(), "does not belong to", &remedy]);
    assert!(elsewhere.take_seen().is_empty(), "a refused host must not be asked");
    to("http://outside.invalid".to_owned());
    puller.pull_fails(&token, &["http://outside.invalid", "--allow-redirect outside.invalid:80"]);
    to("file://".to_owned());
    puller.pull_fails(&token, &["no http or https URL"]);
    to(String::new());
    puller.pull_fails(&token, &["redirects more than 5 times"]);
    mirror.take_seen();

    to(elsewhere.url());
    let address = elsewhere.address.to_string();
    puller.pull(&[&token[..], &["--allow-redirect", &address]].concat());
    // The control for what follows: the endpoint did see it, each time.
    let at_home = mirror.take_seen();
    assert!(at_home.iter().all(|seen| seen.authorization.as_deref() == Some("Bearer hf_secret")), "{at_home:?}");
    let [request] = &of(WEIGHTS, elsewhere.take_seen())[..] else { panic!("one request") };
    assert_eq!(request.authorization, None);
    succeed(&mut puller.command("verify", "tiny"));
}

#[test]
fn the_endpoint_s_own_redirects_keep_the_token() {
    let mirror = Mirror::start_with(repository(), &[], Some(TOKEN));
    let puller = Puller::new(&mirror);
    puller.pull_fails(&[], &["401", "RepoNotFound", "--token-file"]);
    mirror.rule(|path, nth| match (path, nth) {
        // A renamed repository.
        (path, _) if path.starts_with("/api/models/Owner/") => {
            Answer::Redirect("/api/models/New/Tiny/revision/main?blobs=true".to_owned())
        }
        (WEIGHTS, 0) => Answer::Redirect(format!("/New/Tiny/resolve/{COMMIT}/{WEIGHTS}")),
        _ => Answer::Serve,
    });
    let variables = ["PICTOR_HUB_TOKEN", "HF_TOKEN"];
    for variable in variables {
        let puller = Puller::new(&mirror);
        let mut command = puller.command("pull", "hf:Owner/Tiny@refs/pr/1");
        succeed(command.args(["--retries", "0"]).env("HF_ENDPOINT", &puller.endpoint).env(variable, TOKEN));
        let mut command = puller.command("pull", "hf:Owner/Tiny");
        let wrong = [("HF_TOKEN", "wrong"), ("HF_ENDPOINT", "http://127.0.0.1:9")];
        let own = [("PICTOR_HUB_ENDPOINT", puller.endpoint.as_str()), ("PICTOR_HUB_TOKEN", TOKEN)];
        succeed(command.args(["--retries", "0"]).envs(wrong).envs(own));
    }
}

#[test]
fn evil_names_are_refused() {
    for evil in ["../../escaped", "a\\b"] {
        let mirror = Mirror::start_with(repository(), &[evil], None);
        let puller = Puller::new(&mirror);
        puller.pull_fails(&[], &["is no file of a repository"]);
        assert_eq!(mirror.take_seen().len(), 1, "{evil:?}: nothing but the listing is asked for");
    }
    let mut files = repository();
    let weights = files.remove(WEIGHTS).expect("weights");
    files.insert("model.safetensors.index.json".to_owned(), br#"{"weight_map": {"x": "../x.safetensors"}}"#.to_vec());
    files.insert("x.safetensors".to_owned(), weights);
    let mirror = Mirror::start(files);
    Puller::new(&mirror).pull_fails(&[], &["../x.safetensors", "expected safetensors files beside it"]);
}

#[test]
fn without_safetensors_nothing_is_fetched() {
    let mut files = repository();
    files.remove(WEIGHTS);
    let mirror = Mirror::start(files);
    let puller = Puller::new(&mirror);
    puller.pull_fails(&[], &["pytorch_model.bin", "onnx/model.onnx", "not supported"]);
    assert_eq!(mirror.take_seen().len(), 1);
}

#[test]
fn an_unknown_model_in_shards_is_kept_with_a_warning() {
    let mut files = repository();
    let weights = files.remove(WEIGHTS).expect("weights");
    files.remove("modules.json");
    files.insert("config.json".to_owned(), br#"{"model_type": "of_the_future"}"#.to_vec());
    let index = br#"{"weight_map": {"x": "model-00001-of-00001.safetensors"}}"#;
    files.insert("model.safetensors.index.json".to_owned(), index.to_vec());
    files.insert("model-00001-of-00001.safetensors".to_owned(), weights);
    let mirror = Mirror::start(files);
    let puller = Puller::new(&mirror);
    let report = puller.pull(&["--name", "tiny"]);
    assert_eq!(report["fingerprint"], Value::Null);
    assert!(report["warnings"][0].as_str().expect("a warning").contains("cannot load it"), "{report}");
    assert!(puller.revision().join("model-00001-of-00001.safetensors").exists());
    // It cannot be loaded, but every file was compared.
    let (output, stderr) = run(&mut puller.command("verify", "tiny"));
    assert!(!output.status.success() && !stderr.contains("card.json"), "{stderr}");
    let verified: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(verified["files_checked"], report["files"]);
}

#[test]
fn a_name_means_one_repository() {
    let mirror = Mirror::start(repository());
    let puller = Puller::new(&mirror);
    puller.pull(&[]);
    let card = puller.revision().join("card.json");
    let text = std::fs::read_to_string(&card).expect("a card");
    std::fs::write(&card, text.replace("hf:Owner/Tiny@", "hf:Another/Tiny@")).expect("write");
    fail(&mut puller.pull_command(&[]), &["came from hf:Another/Tiny@"]);
    std::fs::rename(puller.revision(), puller.models().join("tiny/older")).expect("rename");
    fail(&mut puller.pull_command(&[]), &["already holds hf:Another/Tiny@", "--name"]);
    assert_eq!(puller.pull(&["--name", "mine"])["name"], "mine");
}

#[test]
fn bad_arguments_are_bad_usage() {
    let mirror = Mirror::start(repository());
    let puller = Puller::new(&mirror);
    for model in ["hf:../tiny", "hf:Owner/Tiny@../main"] {
        let (output, stderr) = run(&mut puller.command("pull", model));
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("expected hf:OWNER/NAME"), "{stderr}");
    }
    puller.pull_fails(&["--name", "../x"], &["a name is letters"]);
    puller.pull_fails(&["--allow-redirect", "http://x"], &["expected HOST"]);
    puller.pull_fails(&["--token-file", "/nowhere"], &["/nowhere"]);
    assert!(mirror.take_seen().is_empty());
}
