//! Stretches brightness around the middle and shifts it.

use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::chance;
use super::{Augment, Drawing, Plan};
use crate::train::piece::Piece;

pub(super) const PIECE: Piece<dyn Augment> = Piece {
    name: "contrast",
    summary: "Stretches brightness around the middle and shifts it",
    source: "own",
    build: |settings| {
        let read: Contrast = settings.read()?;
        chance::check(settings, read.probability)?;
        settings.within("limit", f64::from(read.limit), 0.0, 3.0)?;
        settings.within("brightness", f64::from(read.brightness), 0.0, 1.0)?;
        Ok(Box::new(read))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Contrast {
    #[serde(default = "chance::always")]
    probability: f64,
    /// Largest logarithm of the factor.
    #[serde(default)]
    limit: f32,
    /// Largest shift, 0 to 1.
    #[serde(default)]
    brightness: f32,
}

impl Augment for Contrast {
    fn plan(&self, plan: &mut Plan, _drawing: &Drawing, random: &mut ChaCha8Rng) {
        if !chance::happens(self.probability, random) {
            return;
        }
        let factor = chance::around_zero(self.limit, random).exp();
        let shift = 0.5 - 0.5 * factor + chance::around_zero(self.brightness, random);
        plan.colour([[factor, 0.0, 0.0, shift], [0.0, factor, 0.0, shift], [0.0, 0.0, factor, shift]]);
    }
}
