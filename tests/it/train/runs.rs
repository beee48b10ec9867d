//! Whole runs on small models: they learn, they can be taken up again, and what they write is a model.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pictor::encode::EncodeSettings;
use pictor::encode::offline::{EmbedRequest, embed};
use pictor::model::{DeviceChoice, folder};
use pictor::train::progress::{Line, lines};
use pictor::train::trainer::{Outcome, train};

use super::world::World;

/// The loss of each line, as bits.
fn losses(run: &Path) -> Vec<(u64, u64)> {
    let is_train = |line: &Line| line.kind == "train";
    let lines = lines(run).expect("metrics").into_iter().filter(is_train);
    lines.map(|line| (line.step, line.values["loss"].to_bits())).collect()
}

#[test]
fn every_kind_of_model_learns_its_items() {
    for model in ["clip", "pictor", "siglip", "chinese_clip", "vit_and_bert", "open_clip"] {
        let world = World::new(model, 24);
        let finished = world.finish(world.recipe(60, |_| {}), "run");
        let lines = lines(&world.run("run")).expect("metrics");
        let before = lines.iter().find(|line| line.kind == "eval" && line.step == 0).expect("a first measurement");
        let (before, after) = (before.values["all.R@1"], finished.metrics["all.R@1"]);
        assert!(after >= before + 0.5, "{model}: R@1 from {before} to {after}");
        // The model that was written embeds as any other, and the start is as it was.
        let written = folder::resolve(world.tower.models(), &finished.model).expect("the new revision");
        let texts = world.folder.path().join("texts");
        std::fs::write(&texts, "red shoe\n").expect("write");
        let out = world.folder.path().join("out.safetensors");
        let request = |model: &Path| EmbedRequest {
            model: model.to_owned(),
            texts_from: Some(texts.clone()),
            out: out.clone(),
            settings: EncodeSettings { device: DeviceChoice::Cpu, ..EncodeSettings::default() },
            ..EmbedRequest::default()
        };
        let new = embed(&request(&written.path)).expect("the new model embeds");
        let old = embed(&request(&world.tower.folder.path)).expect("the start embeds");
        assert_ne!(new.fingerprint, old.fingerprint);
        assert!(written.path.join("card.json").exists());
    }
}

/// Asked to stop at every fifth second step, a run goes on from its checkpoint and ends with the same bits.
#[test]
fn a_run_that_was_stopped_ends_as_if_it_had_not_been() {
    let world = World::new("pictor", 24);
    let with_mean = |recipe: &mut toml::Table| {
        recipe.insert("ema".to_owned(), toml::Value::Table([("decay".to_owned(), 0.9.into())].into_iter().collect()));
        let stop = [("metric".to_owned(), "all.R@1".into())].into_iter().collect();
        recipe.insert("stop".to_owned(), toml::Value::Table(stop));
    };
    let recipe = world.recipe(30, with_mean);
    let whole = world.finish(recipe.clone(), "whole");
    let mut n_stops = 0;
    let finished = loop {
        // A stop is asked for as soon as the run has taken a step.
        let stop = AtomicBool::new(false);
        let request = world.request(recipe.clone(), "stopped");
        let outcome = std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let first = losses(&world.run("stopped")).len();
                let deadline = Instant::now() + Duration::from_secs(60);
                while n_stops < 3 && losses(&world.run("stopped")).len() <= first && Instant::now() < deadline {
                    std::thread::sleep(Duration::from_millis(2));
                }
                stop.store(n_stops < 3, Ordering::Relaxed);
            });
            let outcome = train(&request, &stop).expect("a run");
            asking.join().expect("the asking thread");
            outcome
        });
        match outcome {
            Outcome::Stopped => n_stops += 1,
            Outcome::Finished(finished) => break finished,
        }
    };
    assert!(n_stops > 0, "the run was never stopped");
    assert_eq!(finished, whole);
    assert_eq!(losses(&world.run("stopped")), losses(&world.run("whole")));
}

#[test]
fn a_term_of_weight_nothing_changes_nothing() {
    let world = World::new("pictor", 16);
    let with = |weight: f64| {
        world.recipe(12, |recipe| {
            let term = format!("term = \"softmax\"\npair = \"images-texts\"\npositives = \"sum\"\nweight = {weight:?}");
            let terms = recipe["objective"].as_array_mut().expect("terms");
            terms.push(toml::Value::Table(term.parse().expect("TOML")));
        })
    };
    let plain = world.finish(world.recipe(12, |_| {}), "plain").model;
    assert_eq!(world.finish(with(0.0), "nothing").model, plain);
    assert_ne!(world.finish(with(1.0), "something").model, plain);
}

/// The loss sees all rows whatever number of parts they go through the network in.
#[test]
fn parts_give_the_gradients_of_the_whole() {
    let world = World::new("clip", 24);
    let norms = |parts: i64| {
        let recipe = world.recipe(10, |recipe| {
            let run = recipe["run"].as_table_mut().expect("a table");
            run.insert("parts".to_owned(), parts.into());
        });
        let run = format!("parts-{parts}");
        world.finish(recipe, &run);
        let line =
            lines(&world.run(&run)).expect("metrics").into_iter().find(|line| line.kind == "train").expect("a line");
        (line.values["gradient_norm"], line.values["loss"])
    };
    let whole = norms(1);
    for parts in [2, 3, 8] {
        let (norm, loss) = norms(parts);
        assert!((norm / whole.0 - 1.0).abs() < 1e-3, "{parts} parts: gradient {norm} and not {}", whole.0);
        assert!((loss / whole.1 - 1.0).abs() < 1e-4, "{parts} parts: loss {loss} and not {}", whole.1);
    }
}

#[test]
fn frozen_towers_keep_their_bytes_and_mistakes_are_named() {
    let world = World::new("pictor", 16);
    let frozen = world.recipe(8, |recipe| {
        let rules = "rules = [{ match = \"text/.*\", frozen = true }, { match = \"vision/.*\" }]";
        let rules: toml::Table = rules.parse().expect("TOML");
        recipe.insert("parameters".to_owned(), rules["rules"].clone());
    });
    let finished = world.finish(frozen.clone(), "frozen");
    let written = folder::resolve(world.tower.models(), &finished.model).expect("the new revision");
    let bytes = |folder: &Path, file: &str| std::fs::read(folder.join(file)).expect(file);
    let start = &world.tower.folder.path;
    assert!(bytes(&written.path, "text/model.safetensors") == bytes(start, "text/model.safetensors"));
    assert!(bytes(&written.path, "vision/model.safetensors") != bytes(start, "vision/model.safetensors"));

    let refused = |recipe: String, run: &str, expected: &str| {
        let error = train(&world.request(recipe, run), &AtomicBool::new(false)).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused(world.recipe(9, |_| {}), "frozen", "another recipe");
    refused(frozen.replace("\"vision/.*\"", "\"vision/embeddings.*\""), "a", "matched by no rule");
    refused(frozen.replace("things", "nothing"), "b", "nothing");
    refused(frozen.replace("\"all\"", "\"all\"\nunknown = 1"), "c", "unknown");
}

/// The process of a run, as the command line starts it.
fn start(world: &World, recipe: &Path, run: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_pictor-server"))
        .args(["train", "--device", "cpu", "--threads", "2", "--memory", "1073741824", "--recipe"])
        .arg(recipe)
        .arg("--data-dir")
        .arg(world.folder.path().join("data"))
        .arg("--models-dir")
        .arg(world.tower.models())
        .arg("--run")
        .arg(world.run(run))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the process of a run")
}

/// Killed again and again, a run ends with the bits of one that never was; asked to stop, it exits with 75.
#[test]
fn a_run_that_is_killed_goes_on_to_the_same_end() {
    let world = World::new("pictor", 24);
    let recipe = world.folder.path().join("recipe.toml");
    std::fs::write(&recipe, world.recipe(40, |_| {})).expect("write");
    let status = start(&world, &recipe, "whole").wait().expect("an end");
    assert!(status.success(), "{status}");
    let mut kills = Vec::new();
    for signal in [libc::SIGKILL, libc::SIGTERM, libc::SIGKILL] {
        let first = losses(&world.run("killed")).len();
        let mut child = start(&world, &recipe, "killed");
        let deadline = Instant::now() + Duration::from_secs(60);
        while losses(&world.run("killed")).len() <= first && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        // SAFETY: `kill` takes numbers only, and the child has not been waited for, so the number is still its own.
        let sent = unsafe { libc::kill(child.id().cast_signed(), signal) };
        assert_eq!(sent, 0, "the child is there");
        let status = child.wait().expect("an end");
        kills.push((status.signal(), status.code()));
    }
    assert_eq!(kills[0], (Some(libc::SIGKILL), None));
    assert!(kills[1] == (None, Some(75)) || kills[1] == (None, Some(0)), "{kills:?}");
    let status = start(&world, &recipe, "killed").wait().expect("an end");
    assert!(status.success(), "{status}");
    let result = |run: &str| std::fs::read_to_string(world.run(run).join("result.json")).expect("a result");
    assert_eq!(result("killed"), result("whole"));
    assert_eq!(losses(&world.run("killed")), losses(&world.run("whole")));
}

#[test]
fn a_run_that_fails_says_why() {
    let world = World::new("pictor", 16);
    let recipe = world.folder.path().join("recipe.toml");
    std::fs::write(&recipe, world.recipe(5, |_| {}).replace("things", "nothing")).expect("write");
    let status = start(&world, &recipe, "run").wait().expect("an end");
    assert_eq!(status.code(), Some(1));
    let error = std::fs::read_to_string(world.run("run").join("error.json")).expect("an error");
    let error: serde_json::Value = serde_json::from_str(&error).expect("JSON");
    assert_eq!(error["reason"], "NOT_FOUND");
}
