//! How rankings change from one generation to another, against brute force.

use std::collections::BTreeMap;

use pictor_proto::v1;

use crate::fixture::block_on;
use crate::generations::{NAME, POOL, create, dot, ended, reembed, start};

/// The first ten of all items by score, then by id, without the one that asks.
fn nearest(known: &BTreeMap<String, usize>, vectors: &[Vec<f32>], query: usize, asks: Option<&str>) -> Vec<String> {
    let mut scored: Vec<(f32, &String)> = known
        .iter()
        .filter(|(id, _)| asks != Some(id.as_str()))
        .map(|(id, content)| (dot(&vectors[query], &vectors[*content]), id))
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    scored.into_iter().take(10).map(|(_, id)| id.clone()).collect()
}

/// Fails when: a generation is asked with the other's query, the figures are not those of brute force, or a bad parameter passes.
#[test]
fn drift_is_what_brute_force_says() {
    block_on(async {
        let (towers, server, client) = start().await;
        create(&client, v1::MediaOriginals::Keep).await;
        // One item for each picture, so that no two scores are equal.
        let known: BTreeMap<String, usize> = (0..POOL).map(|number| (format!("item-{number:02}"), number)).collect();
        let items = known.iter().map(|(id, content)| towers.item(id, *content)).collect();
        towers.upsert(&client, items).await.expect("stored");
        let job = reembed(&client, "pictor@r2").await.expect("a job");
        let job = ended(&client, &job.id).await;
        println!("{}", job.message);
        assert!(job.message.contains("24 item queries"), "{}", job.message);
        let vectors = [towers.vectors(&client, "r1").await, towers.vectors(&client, "r2").await];

        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("queries.jsonl");
        let lines = (0..6).map(|number| {
            let targets = [format!("item-{:02}", number + 6)];
            serde_json::json!({"item": format!("item-{number:02}"), "targets": targets}).to_string() + "\n"
        });
        std::fs::write(&file, lines.collect::<String>()).expect("write");
        let url = format!("http://{}", server.grpc);
        let drift = |more: &[&str]| {
            let words: Vec<String> =
                ["eval", "drift", NAME].iter().chain(more).map(|word| (*word).to_owned()).collect();
            let url = url.clone();
            // The server answers on this runtime's threads.
            tokio::task::spawn_blocking(move || {
                crate::finetune::run(&url, &words.iter().map(String::as_str).collect::<Vec<_>>())
            })
        };
        let path = file.display().to_string();
        let (lines, code, errors) = drift(&["--queries", &path]).await.expect("run");
        assert_eq!(code, Some(0), "{errors}");
        let found = &lines[0];
        let (mut overlap, mut same_first, mut recall) = (0.0, 0.0, [0.0; 2]);
        for number in 0..6 {
            let (asks, target) = (format!("item-{number:02}"), format!("item-{:02}", number + 6));
            let [before, after] = [0, 1].map(|side| nearest(&known, &vectors[side], number, Some(&asks)));
            overlap += after.iter().filter(|id| before.contains(id)).count() as f64 / 60.0;
            same_first += f64::from(u8::from(before[0] == after[0])) / 6.0;
            for (side, ids) in [&before, &after].into_iter().enumerate() {
                recall[side] += f64::from(u8::from(ids.contains(&target))) / 6.0;
            }
        }
        let close = |name: &str, expected: f64| {
            let value = found["kinds"]["item"][name].as_f64().expect(name);
            assert!((value - expected).abs() < 1e-9, "{name}: {value} for {expected}");
        };
        close("overlap", overlap);
        close("same_first", same_first);
        close("recall_before", recall[0]);
        close("recall_after", recall[1]);
        let whole = |name: &str| found[name].as_f64().expect(name);
        assert_eq!((whole("from"), whole("to"), whole("left_out")), (1.0, 2.0, 0.0));
        assert_eq!(found["changed"].as_array().expect("a list").len(), 6);

        // A generation compared with itself, by a text whose answer nobody knows.
        std::fs::write(&file, "{\"text\": \"a red shoe\"}\n").expect("write");
        let (lines, _, errors) = drift(&["--queries", &path, "--from", "2", "--to", "2"]).await.expect("run");
        assert_eq!(lines[0]["kinds"]["text"]["overlap"], 1.0, "{errors}");
        for (more, expected) in [
            (&["--k", "0"][..], "at least 1"),
            (&["--sample", "10001"], "EVALUATION_QUERIES"),
            (&["--field", "none"], "there is no field"),
            (&["--to", "9"], "there is no generation"),
        ] {
            let (_, code, errors) = drift(more).await.expect("run");
            assert!(code == Some(1) && errors.contains(expected), "{more:?}: {errors}");
        }
        let colour = prost_types::Value { kind: Some(prost_types::value::Kind::BoolValue(true)) };
        let request = |evaluator: &str| v1::EvaluateRequest {
            collection: NAME.to_owned(),
            field: String::new(),
            evaluator: evaluator.to_owned(),
            parameters: Some(prost_types::Struct { fields: [("colour".to_owned(), colour.clone())].into() }),
        };
        for (evaluator, expected) in [("drift", "colour"), ("drifts", "expected one of drift")] {
            let refused = client.training.clone().evaluate(request(evaluator)).await.expect_err(expected);
            assert!(refused.message().contains(expected), "{}", refused.message());
        }
        server.shut_down().await;
    });
}
