//! AdamW (Loshchilov and Hutter, arXiv 1711.05101) over named parameters; its state can be written down and read again.

use std::collections::BTreeMap;

use serde::Deserialize;
use tch::{Kind, Tensor};

use crate::train::piece::Settings;
use crate::{Error, Result};

/// A recipe's `[optimiser]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamWSettings {
    /// The highest learning rate of the schedule.
    pub lr: f64,
    #[serde(default = "default_betas")]
    pub betas: [f64; 2],
    #[serde(default = "default_epsilon")]
    pub epsilon: f64,
    /// Decoupled; parameters with fewer than two dimensions never decay.
    #[serde(default)]
    pub weight_decay: f64,
    /// The largest norm of all gradients together.
    pub clip_norm: Option<f64>,
}

fn default_betas() -> [f64; 2] {
    [0.9, 0.98]
}

fn default_epsilon() -> f64 {
    1e-8
}

impl AdamWSettings {
    /// Reads the recipe's table.
    ///
    /// # Errors
    /// `InvalidArgument` for the key.
    pub fn read(settings: &Settings) -> Result<Self> {
        let read: Self = settings.read()?;
        settings.within("lr", read.lr, 0.0, 1e3)?;
        settings.within("betas[0]", read.betas[0], 0.0, 1.0 - 1e-9)?;
        settings.within("betas[1]", read.betas[1], 0.0, 1.0 - 1e-9)?;
        settings.within("epsilon", read.epsilon, 1e-30, 1.0)?;
        settings.within("weight_decay", read.weight_decay, 0.0, 1e3)?;
        settings.within("clip_norm", read.clip_norm.unwrap_or(1.0), 1e-9, 1e9)?;
        Ok(read)
    }
}

/// What one parameter does with the run's learning rate and decay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    pub lr: f64,
    pub weight_decay: f64,
}

/// The two moments of each parameter and the number of steps taken.
pub struct AdamW {
    settings: AdamWSettings,
    moments: BTreeMap<String, [Tensor; 2]>,
    steps: u64,
}

impl AdamW {
    #[must_use]
    pub fn new(settings: AdamWSettings) -> Self {
        Self { settings, moments: BTreeMap::new(), steps: 0 }
    }

    /// Moves each parameter by its gradient, which is taken away; one without gradient stays. Gives the norm of all gradients
    /// before clipping.
    ///
    /// # Errors
    /// `FailedPrecondition` with reason `LOSS_NOT_FINITE` if a gradient is not finite; nothing has moved then.
    pub fn step(&mut self, parameters: &mut [(&str, &mut Tensor, Rate)]) -> Result<f64> {
        let _no_gradients = tch::no_grad_guard();
        let mut with_gradients: Vec<(&str, &mut Tensor, Rate, Tensor)> = Vec::with_capacity(parameters.len());
        for (name, parameter, rate) in parameters {
            let gradient = parameter.grad();
            if gradient.defined() {
                with_gradients.push((*name, &mut **parameter, *rate, gradient));
            }
        }
        let norms: Vec<Tensor> = with_gradients.iter().map(|(.., gradient)| gradient.norm()).collect();
        let norm = match norms.is_empty() {
            true => 0.0,
            false => Tensor::stack(&norms, 0).to_kind(Kind::Double).norm().double_value(&[]),
        };
        if !norm.is_finite() {
            return Err(Error::FailedPrecondition {
                reason: "LOSS_NOT_FINITE",
                message: "a gradient is not finite: lower optimiser.lr, or set optimiser.clip_norm".to_owned(),
            });
        }
        self.steps += 1;
        let [beta1, beta2] = self.settings.betas;
        let corrections = [1.0 - beta1.powf(self.steps as f64), 1.0 - beta2.powf(self.steps as f64)];
        let shrink = self.settings.clip_norm.map_or(1.0, |limit| (limit / (norm + 1e-6)).min(1.0));
        for (name, parameter, rate, mut gradient) in with_gradients {
            if shrink < 1.0 {
                let _ = gradient.g_mul_scalar_(shrink);
            }
            let start = || [parameter.zeros_like(), parameter.zeros_like()];
            if !self.moments.contains_key(name) {
                self.moments.insert(name.to_owned(), start());
            }
            let Some([first, second]) = self.moments.get_mut(name) else { continue };
            let _ = first.lerp_(&gradient, 1.0 - beta1);
            let _ = second.lerp_(&gradient.square(), 1.0 - beta2);
            let deviation = (&*second / corrections[1]).sqrt() + self.settings.epsilon;
            let _ = parameter.g_mul_scalar_(1.0 - rate.lr * rate.weight_decay);
            let mut change = &*first / deviation;
            let _ = change.g_mul_scalar_(rate.lr / corrections[0]);
            let _ = parameter.g_sub_(&change);
            parameter.zero_grad();
        }
        Ok(norm)
    }

    #[must_use]
    pub fn settings(&self) -> &AdamWSettings {
        &self.settings
    }

    /// Steps taken, and the moments by name: `first/NAME` and `second/NAME`.
    #[must_use]
    pub fn state(&self) -> (u64, BTreeMap<String, Tensor>) {
        let tensors = self.moments.iter().flat_map(|(name, [first, second])| {
            [(format!("first/{name}"), first.shallow_clone()), (format!("second/{name}"), second.shallow_clone())]
        });
        (self.steps, tensors.collect())
    }

    /// Goes on from [`AdamW::state`].
    pub fn restore(&mut self, steps: u64, mut tensors: BTreeMap<String, Tensor>) {
        self.steps = steps;
        let names: Vec<String> =
            tensors.keys().filter_map(|name| name.strip_prefix("first/").map(str::to_owned)).collect();
        self.moments = names
            .into_iter()
            .filter_map(|name| {
                let first = tensors.remove(&format!("first/{name}"))?;
                let second = tensors.remove(&format!("second/{name}"))?;
                Some((name, [first, second]))
            })
            .collect();
    }
}
