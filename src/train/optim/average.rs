//! Means of weights: over the steps of a run, and with the weights that it started from.

use tch::Tensor;

use crate::model::NamedTensors;

/// A copy that no later step changes.
#[must_use]
pub fn copy(tensors: &NamedTensors) -> NamedTensors {
    let copy = |tensor: &Tensor| tensor.detach().copy();
    NamedTensors {
        parameters: tensors.parameters.iter().map(|(name, tensor)| (name.clone(), copy(tensor))).collect(),
        buffers: tensors.buffers.iter().map(|(name, tensor)| (name.clone(), copy(tensor))).collect(),
        folders: tensors.folders.clone(),
    }
}

/// Moves `mean` towards `now`: `mean = decay · mean + (1 − decay) · now`, buffers too. In the first steps the decay is
/// `(1 + step) / (10 + step)` if that is lower, so that the mean does not remember the start.
pub fn follow(mean: &mut NamedTensors, now: &NamedTensors, decay: f64, step: u64) {
    let decay = decay.min((1 + step) as f64 / (10 + step) as f64);
    mix(mean, now, 1.0 - decay);
}

/// `(1 − share) · into + share · other`, in place (WiSE-FT, arXiv 2109.01903, equation 1). Names must be equal.
pub fn mix(into: &mut NamedTensors, other: &NamedTensors, share: f64) {
    let _no_gradients = tch::no_grad_guard();
    let pairs = |into: &mut std::collections::BTreeMap<String, Tensor>,
                 other: &std::collections::BTreeMap<String, Tensor>| {
        for (name, tensor) in into.iter_mut() {
            if let Some(other) = other.get(name) {
                let _ = tensor.lerp_(other, share);
            }
        }
    };
    pairs(&mut into.parameters, &other.parameters);
    pairs(&mut into.buffers, &other.buffers);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensors(value: f64) -> NamedTensors {
        let one = [("a".to_owned(), Tensor::from_slice(&[value]))];
        NamedTensors { parameters: one.into(), ..NamedTensors::default() }
    }

    fn value(tensors: &NamedTensors) -> f64 {
        tensors.parameters["a"].double_value(&[0])
    }

    #[test]
    fn the_mean_over_steps_agrees_with_its_closed_form() {
        let mut mean = tensors(1.0);
        for step in 100..200 {
            follow(&mut mean, &tensors(3.0), 0.5_f64.powf(0.05), step);
        }
        // 3 − 2 · decay^100, as the cap (1 + step) / (10 + step) is not lower than the decay from step 252 on only.
        let expected = 3.0
            - 2.0
                * (100..200)
                    .map(|step| 0.5_f64.powf(0.05).min((1 + step) as f64 / (10 + step) as f64))
                    .product::<f64>();
        assert!((value(&mean) - expected).abs() < 1e-12, "{}", value(&mean));
    }

    #[test]
    fn a_mean_with_the_start_lies_between() {
        for (share, expected) in [(0.0, 1.0), (0.25, 1.5), (1.0, 3.0)] {
            let mut start = tensors(1.0);
            mix(&mut start, &tensors(3.0), share);
            assert!((value(&start) - expected).abs() < 1e-12);
        }
    }
}
