//! How often an augmentation happens.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use crate::Result;
use crate::train::piece::Settings;

/// Checks a `probability`.
pub(super) fn check(settings: &Settings, probability: f64) -> Result<()> {
    settings.within("probability", probability, 0.0, 1.0)
}

pub(super) fn always() -> f64 {
    1.0
}

/// True as often as `probability` says; always uses one number of the generator.
pub(super) fn happens(probability: f64, random: &mut ChaCha8Rng) -> bool {
    random.random::<f64>() < probability
}

/// Evenly between −limit and limit.
pub(super) fn around_zero(limit: f32, random: &mut ChaCha8Rng) -> f32 {
    (random.random::<f32>() * 2.0 - 1.0) * limit
}
