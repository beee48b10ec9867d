//! AdamW against torch's own, and its state through a checkpoint.

use pictor::train::optim::adamw::{AdamW, AdamWSettings, Rate};
use pictor::train::piece::Settings;
use tch::{Kind, Tensor};

use crate::support::root;

fn formula(seed: f64, shape: &[i64]) -> Tensor {
    let n: i64 = shape.iter().product();
    let values: Vec<f64> = (0..n).map(|index| (seed + 0.7 * index as f64).sin()).collect();
    Tensor::from_slice(&values).view(shape)
}

fn optimiser() -> AdamW {
    let table = "lr = 0.01\nbetas = [0.9, 0.98]\nepsilon = 1e-8\nclip_norm = 1.0".parse().expect("TOML");
    let settings = Settings { place: "optimiser".to_owned(), table };
    AdamW::new(AdamWSettings::read(&settings).expect("settings"))
}

/// A matrix that decays and a vector that does not and learns slower, as in `tests/golden/adamw.py`.
struct World {
    matrix: Tensor,
    vector: Tensor,
}

impl World {
    fn new() -> Self {
        let leaf = |tensor: Tensor| tensor.set_requires_grad(true);
        Self { matrix: leaf(formula(1.0, &[3, 4])), vector: leaf(formula(2.0, &[4])) }
    }

    fn step(&mut self, optimiser: &mut AdamW, step: u32) -> f64 {
        let scale = if step == 2 { 0.01 } else { 1.0 };
        let of_matrix = formula(3.0 + f64::from(step), &[3, 4]) * 2.0;
        let of_vector = formula(4.0 + f64::from(step), &[4]) * scale;
        ((&self.matrix * of_matrix).sum(Kind::Double) + (&self.vector * of_vector).sum(Kind::Double)).backward();
        let mut moved = [
            ("matrix", &mut self.matrix, Rate { lr: 0.01, weight_decay: 0.1 }),
            ("vector", &mut self.vector, Rate { lr: 0.005, weight_decay: 0.0 }),
        ];
        optimiser.step(&mut moved).expect("a step")
    }
}

#[test]
fn steps_agree_with_torch() {
    let text = std::fs::read_to_string(root().join("tests/golden/adamw.json")).expect("adamw.json");
    let golden: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let (mut world, mut optimiser) = (World::new(), optimiser());
    for step in 0..5 {
        let norm = world.step(&mut optimiser, step);
        let expected = golden["norms"][step as usize].as_f64().expect("a norm");
        assert!((norm - expected).abs() < 1e-9, "step {step}: norm {norm} and not {expected}");
    }
    let expected: Vec<Vec<f64>> = serde_json::from_value(golden["matrix"].clone()).expect("a matrix");
    for (row, expected) in expected.iter().enumerate() {
        for (column, expected) in expected.iter().enumerate() {
            let found = world.matrix.double_value(&[row as i64, column as i64]);
            assert!((found - expected).abs() < 1e-9, "{found} and not {expected}");
        }
    }
    let expected: Vec<f64> = serde_json::from_value(golden["vector"].clone()).expect("a vector");
    for (place, expected) in expected.iter().enumerate() {
        let found = world.vector.double_value(&[place as i64]);
        assert!((found - expected).abs() < 1e-9, "{found} and not {expected}");
    }
}

#[test]
fn a_state_that_was_written_goes_on_to_the_same_bits() {
    let (mut whole, mut halves) = (World::new(), World::new());
    let (mut one, mut first) = (optimiser(), optimiser());
    for step in 0..4 {
        whole.step(&mut one, step);
    }
    for step in 0..2 {
        halves.step(&mut first, step);
    }
    let (steps, tensors) = first.state();
    let mut second = optimiser();
    second.restore(steps, tensors.into_iter().map(|(name, tensor)| (name, tensor.copy())).collect());
    for step in 2..4 {
        halves.step(&mut second, step);
    }
    assert_eq!(whole.matrix, halves.matrix);
    assert_eq!(whole.vector, halves.vector);
}

#[test]
fn a_gradient_that_is_not_finite_moves_nothing() {
    let (mut world, mut optimiser) = (World::new(), optimiser());
    (&world.matrix * f64::NAN).sum(Kind::Double).backward();
    let before = world.matrix.detach().copy();
    let rate = Rate { lr: 0.01, weight_decay: 0.1 };
    let error = optimiser.step(&mut [("matrix", &mut world.matrix, rate)]).expect_err("a refusal");
    assert_eq!(error.reason(), "LOSS_NOT_FINITE");
    assert_eq!(world.matrix.detach(), before);
}
