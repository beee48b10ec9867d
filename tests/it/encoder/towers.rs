//! Every dual encoder against transformers 5.23.0 and open_clip 3.3.0 (`make golden` recomputes the references).

use pictor::encode::torch::EncoderPlan;
use pictor::encode::{Encoder, EncoderInput, Role};
use pictor::model::Precision;
use pictor::types::vector::UnitVector;

use super::tower_models::{TOWERS, Tower, towers_json};
use super::{cosine, golden_folder, rows, settings};

/// The smallest cosine between vectors of the same position.
fn worst(found: &[UnitVector], expected: &[Vec<f32>]) -> f64 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(found, expected)| cosine(&found.values, expected)).fold(1.0, f64::min)
}

fn reference(name: &str, kind: &str) -> Vec<Vec<f32>> {
    rows(&golden_folder().join("towers.safetensors"), &format!("{name}.{kind}"))
}

fn texts() -> Vec<String> {
    serde_json::from_value(towers_json()["texts"].clone()).expect("texts")
}

fn encode(encoder: &mut dyn Encoder, inputs: &[EncoderInput]) -> Vec<UnitVector> {
    encoder.encode(&inputs.iter().collect::<Vec<_>>()).expect("encode")
}

fn encode_alone(encoder: &mut dyn Encoder, inputs: &[EncoderInput]) -> Vec<UnitVector> {
    inputs.iter().flat_map(|input| encode(encoder, std::slice::from_ref(input))).collect()
}

/// Fails when a layer, a pooling, a projection, a position or the padding differs from the reference.
fn check(name: &str, precision: Precision, least: f64, least_invariance: f64) {
    let tower = Tower::new(name);
    let plan = EncoderPlan::read(&tower.folder, &settings(precision)).expect("plan");
    let mut encoder = plan.load().expect("load");
    let images = tower.prepared(0..3, 10);
    let texts: Vec<EncoderInput> =
        texts().iter().map(|text| plan.preprocessor().text(text, Role::Document).expect("tokens")).collect();
    for (kind, inputs) in [("images", &images), ("texts", &texts)] {
        let expected = reference(name, kind);
        let alone = encode_alone(&mut encoder, inputs);
        let together = encode(&mut encoder, inputs);
        let alone_values: Vec<_> = alone.iter().map(|vector| vector.values.clone()).collect();
        for (what, found, least) in [
            ("alone", worst(&alone, &expected), least),
            ("batched", worst(&together, &expected), least),
            ("batched and alone", worst(&together, &alone_values), least_invariance),
        ] {
            println!("{name} {precision:?} {kind} {what}: worst cosine {found:.8}");
            assert!(found >= least, "{name} {precision:?} {kind} {what}: worst cosine {found:.8}, expected {least}");
        }
        // Lengths before normalisation count, too: the sum of two towers' vectors is one way to compose a query.
        for (vector, expected) in together.iter().zip(&expected) {
            let norm = expected.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
            let relative = (f64::from(vector.norm) / norm - 1.0).abs();
            let is_unit = kind == "texts" && name == "pictor";
            assert!(
                is_unit || relative < if precision == Precision::F32 { 1e-4 } else { 0.03 },
                "{name} {kind}: {relative}"
            );
        }
        // Control: the same vectors in another order must fail.
        let mut rotated = together;
        rotated.rotate_left(1);
        assert!(worst(&rotated, &expected) < least, "{name} {kind}");
    }
    // A batch of both kinds is taken apart and put together again.
    let mixed = [images[1].clone(), texts[1].clone(), images[0].clone()];
    let expected = [&reference(name, "images")[1], &reference(name, "texts")[1], &reference(name, "images")[0]];
    assert!(worst(&encode(&mut encoder, &mixed), &expected.map(Clone::clone)) >= least);
}

#[test]
fn towers_agree_in_f32() {
    TOWERS.iter().for_each(|name| check(name, Precision::F32, 0.99999, 1.0 - 1e-5));
}

#[test]
fn towers_agree_in_bf16() {
    TOWERS.iter().for_each(|name| check(name, Precision::Bf16, 0.999, 0.999));
}
