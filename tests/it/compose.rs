//! Composers: the Combiner against torch, and composed queries through the server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pictor::compose::{CombinerNetwork, Composers, Part};
use pictor::model::combiner::{CombinerConfig, CombinerFeatures, MODEL_TYPE};
use pictor::types::PartKind;
use pictor::types::vector::UnitVector;
use pictor_proto::client::Client;
use pictor_proto::v1;
use pictor_proto::v1::query_part::Content;
use serde_json::Value;

use crate::encoder::tiny::{NamedTensor, serialize};
use crate::fixture::block_on;
use crate::generations::{NAME, dot, start};
use crate::support::root;

pub(crate) fn golden() -> Value {
    let text = std::fs::read_to_string(root().join("tests/golden/combiner.json")).expect("combiner.json");
    serde_json::from_str(&text).expect("JSON")
}

pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).expect("numbers")
}

/// As in `tests/golden/combiner.py`.
pub(crate) fn formula(seed: f64, n: usize, scale: f64) -> Vec<f64> {
    (0..n).map(|index| scale * (seed + 0.7 * index as f64).sin()).collect()
}

fn config(
    [dimension, projection_dim, hidden_dim]: [usize; 3],
    space: &str,
    features: CombinerFeatures,
) -> CombinerConfig {
    let (model_type, encoder) = (MODEL_TYPE.to_owned(), "some@r1".to_owned());
    CombinerConfig { model_type, dimension, projection_dim, hidden_dim, space: space.to_owned(), encoder, features }
}

fn tensors(sizes: [usize; 3]) -> Vec<NamedTensor> {
    let shapes: BTreeMap<String, Vec<i64>> = config(sizes, "", CombinerFeatures::Raw).shapes().into_iter().collect();
    let tensor = |(number, (name, shape)): (usize, (String, Vec<i64>))| {
        let shape: Vec<usize> = shape.into_iter().map(|size| size as usize).collect();
        let values = formula(number as f64 + 1.0, shape.iter().product(), 0.5);
        (name, shape, values.into_iter().map(|value| value as f32).collect())
    };
    shapes.into_iter().enumerate().map(tensor).collect()
}

/// Writes a Combiner with the formula's weights as NAME@r1.
pub(crate) fn write(models: &Path, name: &str, space: &str, sizes: [usize; 3], features: CombinerFeatures) -> PathBuf {
    let folder = models.join(name).join("r1");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(models.join(name).join("current"), "r1\n").expect("written");
    let json = serde_json::to_string(&config(sizes, space, features)).expect("JSON");
    std::fs::write(folder.join("config.json"), json).expect("written");
    std::fs::write(folder.join("model.safetensors"), serialize(&tensors(sizes))).expect("written");
    folder
}

/// One row of a formula's matrix.
fn row(seed: f64, scale: f64, row: usize, dimension: usize) -> Vec<f32> {
    formula(seed, 5 * dimension, scale)[row * dimension..][..dimension].iter().map(|value| *value as f32).collect()
}

fn close(found: &[f32], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((f64::from(*found) - expected).abs() < 1e-5, "{what}: {found} and not {expected}");
    }
}

/// Fails when: text and picture change places, the share multiplies the other one, or an activation is missing.
#[test]
fn the_combiner_agrees_with_torch() {
    let (folder, golden) = (tempfile::tempdir().expect("a folder"), golden());
    let path = write(folder.path(), "mine", "s:6", [6, 8, 10], CombinerFeatures::Raw);
    let network = CombinerNetwork::read(&path, 1 << 20).expect("a network");
    let composers = Composers::open(folder.path(), 1 << 20);
    let bound = composers.bind("combiner", "s:6", 6).expect("the only one of the space");
    assert_eq!(bound.name, "combiner:model=mine@r1");
    let (composed, lambdas) = (numbers(&golden["composed"]), numbers(&golden["lambdas"]));
    for number in 0..5 {
        let (image, text) = (row(100.0, 2.0, number, 6), row(200.0, 1.5, number, 6));
        let (joined, lambda) = network.forward(&image, &text);
        let expected = &composed[number * 6..][..6];
        close(&UnitVector::normalise(joined).expect("a direction").values, expected, "forward");
        close(&[lambda], &lambdas[number..=number], "lambda");
        // The same through the composer, which gets unit vectors and their lengths, in any order.
        let part = |values: &[f32], kind| Part {
            vector: UnitVector::normalise(values.to_vec()).expect("a direction"),
            kind,
            weight: 1.0,
        };
        let found =
            bound.composer.compose(&[part(&text, PartKind::Text), part(&image, PartKind::Media)]).expect("composed");
        close(&found.vector, expected, "composer");
        close(&found.lambdas, &lambdas[number..=number], "composer's lambda");
        // The sum at the encoders' lengths is the first stage's query.
        let sum = composers.bind("sum:normalise=raw", "s:6", 6).expect("sum");
        let found =
            sum.composer.compose(&[part(&image, PartKind::Media), part(&text, PartKind::Text)]).expect("composed");
        close(&found.vector, &numbers(&golden["sum"])[number * 6..][..6], "raw sum");
    }
}

#[test]
fn what_a_combiner_cannot_join_is_refused_with_what_it_can() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "mine", "s:6", [6, 8, 10], CombinerFeatures::Unit);
    let composers = Composers::open(folder.path(), 1 << 20);
    let part = |kind, weight| Part::unit(vec![0.6, 0.8, 0.0, 0.0, 0.0, 0.0], kind, weight);
    let check = |parts: &[Part], expected: &str| {
        let bound = composers.bind("combiner", "s:6", 6).expect("bound");
        let error = bound.composer.check(parts).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(&[part(PartKind::Text, 1.0), part(PartKind::Text, 1.0)], "got 0 and 2");
    check(&[part(PartKind::Media, 1.0), part(PartKind::Media, 1.0), part(PartKind::Text, 1.0)], "got 2 and 1");
    check(&[part(PartKind::Media, 1.0), part(PartKind::Text, -1.0)], "got 1 and 0");
    check(&[part(PartKind::Media, 0.5), part(PartKind::Text, 1.0)], "their weight is 1; got 0.5");
    let refused = |text: &str, space: &str, dimension: usize, expected: &str| {
        let error = composers.bind(text, space, dimension).map(|bound| bound.name.clone()).expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    };
    refused("combiner", "other:6", 6, "train one");
    refused("combiner:model=mine", "other:6", 6, "trained in space s:6");
    refused("combiner:model=nobody", "s:6", 6, "mine@r1");
    refused("combiner:model=../mine", "s:6", 6, "a name is letters");
    refused("combiner:colour=red", "s:6", 6, "combiner has model");
    refused("blend", "s:6", 6, "there are combiner, slerp, sum");
    refused("sum:normalise=sometimes", "s:6", 6, "expected unit or raw");
    write(folder.path(), "yours", "s:6", [6, 8, 10], CombinerFeatures::Unit);
    let fresh = Composers::open(folder.path(), 1 << 20);
    let error = fresh.bind("combiner", "s:6", 6).map(|bound| bound.name.clone()).expect_err("two").to_string();
    assert!(error.contains("combiner:model=mine") && error.contains("yours"), "{error}");
}

#[test]
fn a_damaged_combiner_is_refused_by_the_tensors_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let check = |change: &dyn Fn(&Path), expected: &str| {
        let path = write(folder.path(), "mine", "s:6", [6, 8, 10], CombinerFeatures::Raw);
        change(&path);
        let error =
            CombinerNetwork::read(&path, 1 << 20).map(|network| network.bytes()).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    let weights = |change: fn(&mut Vec<NamedTensor>)| {
        move |path: &Path| {
            let mut all = tensors([6, 8, 10]);
            change(&mut all);
            std::fs::write(path.join("model.safetensors"), serialize(&all)).expect("written");
        }
    };
    check(&weights(|all| all.retain(|(name, ..)| name != "output_layer.bias")), "output_layer.bias");
    check(&weights(|all| all[5].2[0] = f32::NAN), "dynamic_scalar.3.weight holds numbers that are not finite");
    check(&weights(|all| all[1].1.reverse()), "combiner_layer.weight: expected the shape [10, 16]");
    check(&|path| std::fs::write(path.join("model.safetensors"), b"no").expect("written"), "model.safetensors");
    check(&|path| std::fs::write(path.join("config.json"), b"{}").expect("written"), "config.json");
    let path = write(folder.path(), "mine", "s:6", [6, 8, 10], CombinerFeatures::Raw);
    let error = CombinerNetwork::read(&path, 100).map(|network| network.bytes()).expect_err("too large").to_string();
    assert!(error.contains("composers may take 100"), "{error}");
}

fn part(content: Content, weight: Option<f32>) -> v1::QueryPart {
    v1::QueryPart { content: Some(content), weight }
}

async fn search(
    client: &Client,
    composer: &str,
    parts: Vec<v1::QueryPart>,
) -> Result<v1::SearchResponse, tonic::Status> {
    let request = v1::SearchRequest {
        collection: NAME.to_owned(),
        parts,
        composer: composer.to_owned(),
        limit: 60,
        select: Some(v1::ItemSelection { vectors: true, ..Default::default() }),
        ..Default::default()
    };
    Ok(client.search.clone().search(request).await?.into_inner())
}

/// The vector of a text or a picture with its length.
async fn embed(client: &Client, encoder: &str, input: v1::embed_input::Content) -> (Vec<f32>, f32) {
    let inputs = vec![v1::EmbedInput { content: Some(input) }];
    let request = v1::EmbedRequest { encoder: encoder.to_owned(), inputs, role: v1::EncodeRole::Query as i32 };
    let reply = client.encoders.clone().embed(request).await.expect("embedded").into_inner();
    match reply.results.into_iter().next().and_then(|result| result.outcome) {
        Some(v1::embed_result::Outcome::Embedding(embedding)) => (embedding.values, embedding.norm),
        other => panic!("no vector: {other:?}"),
    }
}

/// Fails when: a stored picture or a text goes in without its length, a share is not reported, the generation's composer is not used,
/// or a composer folder is taken for an encoder.
#[test]
fn composed_queries_are_answered_by_the_combiner_of_the_space() {
    block_on(async {
        let (towers, server, client) = start().await;
        towers.fill(&client, 40).await;
        let request = v1::GetEncoderRequest { encoder: "pictor@r1".to_owned() };
        let encoder = client.encoders.clone().get_encoder(request).await.expect("it").into_inner().encoder.expect("it");
        let d = encoder.dimension as usize;
        let folder = write(towers.models(), "joiner", &encoder.space, [d, d, 2 * d], CombinerFeatures::Raw);
        write(towers.models(), "stranger", "0123456789abcdef:4", [4, 4, 8], CombinerFeatures::Raw);
        let network = CombinerNetwork::read(&folder, 1 << 24).expect("a network");

        let item = |weight| part(Content::ItemId("item-00003".to_owned()), weight);
        let text = |words: &str, weight| part(Content::Text(words.to_owned()), weight);
        let reply = search(&client, "combiner", vec![item(None), text("a red shoe", None)]).await.expect("hits");
        assert_eq!(reply.composer, "combiner:model=joiner@r1");
        assert_eq!(reply.weights, [1.0, 1.0]);
        assert!(reply.hits.iter().all(|hit| hit.id != "item-00003"), "the reference is left out");

        let raw = |(values, norm): (Vec<f32>, f32)| values.iter().map(|value| value * norm).collect::<Vec<f32>>();
        let input = v1::embed_input::Content::Image(towers.pool[3].clone().into());
        let picture = raw(embed(&client, "pictor@r1", input).await);
        let words = raw(embed(&client, "pictor@r1", v1::embed_input::Content::Text("a red shoe".to_owned())).await);
        let (joined, lambda) = network.forward(&picture, &words);
        let query = UnitVector::normalise(joined).expect("a direction").values;
        assert!((reply.lambdas[0] - lambda).abs() < 1e-4, "{:?} and not {lambda}", reply.lambdas);
        assert!(!reply.hits.is_empty());
        for hit in &reply.hits {
            let item = hit.item.as_ref().expect("an item");
            let stored = item.vectors.first().expect("a vector");
            let expected = dot(&query, &stored.values);
            assert!((hit.score - expected).abs() < 1e-4, "{} and not {expected}", hit.score);
        }

        // As the generation's own composer: used without a name, and what it cannot join is joined by the default.
        let set = v1::SetComposerRequest {
            collection: NAME.to_owned(),
            field: "image".to_owned(),
            generation: 0,
            composer: "combiner".to_owned(),
        };
        let set = client.training.clone().set_composer(set).await.expect("set").into_inner();
        assert_eq!(set.composer, "combiner:model=joiner@r1");
        let again = search(&client, "", vec![item(None), text("a red shoe", None)]).await.expect("hits");
        assert_eq!((again.composer.as_str(), &again.hits), ("combiner:model=joiner@r1", &reply.hits));
        let texts = search(&client, "", vec![text("a shoe", None), text("red", Some(0.5))]).await.expect("hits");
        assert_eq!(texts.composer, "sum");
        // Two changes after each other and something to keep away from.
        let three = vec![item(None), text("a red shoe", None), text("with laces", None), text("leather", Some(-0.3))];
        let three = search(&client, "combiner", three).await.expect("hits");
        assert_eq!((three.lambdas.len(), three.weights.len()), (2, 4));

        for (composer, parts, expected) in [
            ("combiner", vec![item(Some(0.5)), text("red", None)], "their weight is 1"),
            ("combiner", vec![text("a", None), text("b", None)], "combiner joins one picture"),
            ("combiner:model=stranger", vec![item(None), text("red", None)], "trained in space 0123456789abcdef:4"),
            ("sum", vec![item(None), item(Some(-1.0))], "cancel each other out"),
        ] {
            let refused = search(&client, composer, parts).await.expect_err(expected);
            assert!(refused.message().contains(expected), "{}", refused.message());
        }
        // Without its network a generation still answers what needs none, and says what is missing for the rest.
        write(towers.models(), "leaver", &encoder.space, [d, d, 2 * d], CombinerFeatures::Raw);
        let set = v1::SetComposerRequest {
            collection: NAME.to_owned(),
            field: "image".to_owned(),
            generation: 0,
            composer: "combiner:model=leaver".to_owned(),
        };
        client.training.clone().set_composer(set).await.expect("set");
        std::fs::remove_dir_all(towers.models().join("leaver")).expect("removed");
        assert_eq!(search(&client, "", vec![item(None)]).await.expect("hits").hits.len(), 39);
        let refused = search(&client, "", vec![item(None), text("red", None)]).await.expect_err("gone");
        assert!(refused.message().contains("leaver@r1"), "{}", refused.message());
        let listed =
            client.encoders.clone().list_encoders(v1::ListEncodersRequest {}).await.expect("listed").into_inner();
        let names: Vec<_> = listed.encoders.iter().map(|encoder| encoder.name.as_str()).collect();
        assert!(names.iter().all(|name| *name == "pictor"), "{names:?}");
        server.shut_down().await;
    });
}
