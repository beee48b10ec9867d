//! OpenAI's ResNets as CLIP's image tower against open_clip 3.3.0: small ones, RN50 and RN50x4. `tests/golden/resnets.py` says how.

use std::cell::RefCell;

use pictor::encode::Encoder;
use pictor::encode::torch::EncoderPlan;
use pictor::image::ImageRule;
use pictor::model::observer::Unobserved;
use pictor::model::{Description, NamedTensors, Precision, Source};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use super::tower_models::{Tower, weight};
use super::{cosine, golden_folder, rows, settings};

/// As in the towers' formula, but variances are positive, and what a layer adds is small.
fn scaled(name: &str, shape: &[usize]) -> Vec<f32> {
    let mut values = weight(name, shape);
    if name.ends_with("running_var") {
        values.iter_mut().for_each(|value| *value = (1.0 + 0.25 * f64::from(*value)) as f32);
    } else if name.ends_with("bn3.weight") {
        values.iter_mut().for_each(|value| *value *= 0.25);
    }
    values
}

fn tower(name: &str) -> Tower {
    let text = std::fs::read_to_string(golden_folder().join("resnets.json")).expect("resnets.json");
    let json: Value = serde_json::from_str(&text).expect("JSON");
    Tower::of(name, json["models"][name].clone(), scaled)
}

fn difference(vectors: &[Vec<f32>]) -> Vec<f32> {
    vectors[0].iter().zip(&vectors[1]).map(|(one, other)| one - other).collect()
}

fn check(name: &str, precision: Precision, least: f64, least_of_difference: f64) {
    let tower = tower(name);
    let plan = EncoderPlan::read(&tower.folder, &settings(precision)).expect("plan");
    let mut encoder = plan.load().expect("load");
    let inputs = tower.prepared(0..2, 10);
    let found = encoder.encode(&inputs.iter().collect::<Vec<_>>()).expect("encode");
    let expected = rows(&golden_folder().join("resnets.safetensors"), &format!("{name}.images"));
    // Not normalised: lengths count, too.
    let found: Vec<Vec<f32>> =
        found.iter().map(|vector| vector.values.iter().map(|value| value * vector.norm).collect()).collect();
    let worst = found.iter().zip(&expected).map(|(found, expected)| cosine(found, expected)).fold(1.0, f64::min);
    // All pictures' vectors lie near each other with such weights, so what tells them apart is compared, too.
    let of_difference = cosine(&difference(&found), &difference(&expected));
    let norm = |vector: &[f32]| vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    let of_length = (norm(&difference(&found)) / norm(&difference(&expected)) - 1.0).abs();
    println!(
        "{name} {precision:?}: worst cosine {worst:.8}, of the difference {of_difference:.8}, its length {of_length:.6} off"
    );
    assert!(worst >= least && of_difference >= least_of_difference, "{name} {precision:?}: {worst} {of_difference}");
    // In half precision the difference is mostly rounding.
    assert!(precision != Precision::F32 || of_length <= 1e-3, "{name}: {of_length}");
}

#[test]
fn small_resnets_agree() {
    for name in ["small", "odd"] {
        check(name, Precision::F32, 0.99999, 0.9999);
        check(name, Precision::Bf16, 0.999, 0.9);
    }
}

#[test]
fn rn50_agrees() {
    check("RN50", Precision::F32, 0.99999, 0.9999);
}

#[test]
fn rn50x4_agrees() {
    check("RN50x4", Precision::F32, 0.99999, 0.9999);
}

/// Built from live parameters it computes the same, and while it trains, gradients reach every tensor of the image tower and its
/// norms count.
#[test]
fn a_resnet_is_trained_like_other_towers() {
    let tower = tower("small");
    let description = Description::read(&tower.folder, ImageRule::Pictor).expect("readable");
    let build = |source: &Source<'_>| {
        (description.architecture.load)(&description.layout, &description.sides, source).expect("a network")
    };
    let pixels = (Tensor::arange(2 * 3 * 64 * 64, (Kind::Float, Device::Cpu)) * 0.37).sin().view([2, 3, 64, 64]);
    let embed = |source: &Source<'_>| build(source).image.expect("an image tower").embed(&pixels, &mut Unobserved);
    let from_files = tch::no_grad(|| embed(&Source::files(Kind::Float, Device::Cpu)));
    let kept = RefCell::new(NamedTensors::default());
    tch::no_grad(|| drop(build(&Source::start(Device::Cpu, 1, &kept))));
    let mut tensors = kept.into_inner();
    let live = tch::no_grad(|| embed(&Source::live(&tensors, Kind::Float, Device::Cpu, false)));
    assert!(f64::try_from((from_files - live).abs().max()).expect("a number") < 1e-5);
    let counted = tensors.buffers["visual.bn1.running_mean"].copy();
    for tensor in tensors.parameters.values_mut() {
        *tensor = tensor.set_requires_grad(true);
    }
    let loss = embed(&Source::live(&tensors, Kind::Float, Device::Cpu, true)).square().sum(Kind::Float);
    loss.backward();
    let mut n_learning = 0;
    for (name, tensor) in tensors.parameters.iter().filter(|(name, _)| name.starts_with("visual.")) {
        let gradient = tensor.grad();
        assert!(gradient.defined(), "{name} gets no gradient");
        // A bias of the keys changes no attention.
        assert!(
            name.ends_with("k_proj.bias") || f64::try_from(gradient.abs().max()).expect("a number") > 0.0,
            "{name}"
        );
        n_learning += 1;
    }
    assert_eq!(n_learning, tensors.parameters.keys().filter(|name| name.starts_with("visual.")).count());
    assert!(n_learning > 60, "{n_learning}");
    let moved = &tensors.buffers["visual.bn1.running_mean"] - counted;
    assert!(f64::try_from(moved.abs().max()).expect("a number") > 0.0, "the norms do not count");
}
