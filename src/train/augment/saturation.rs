//! Moves colours from or towards their grey.

use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::chance;
use super::{Augment, Drawing, Plan};
use crate::train::piece::Piece;

pub(super) const PIECE: Piece<dyn Augment> = Piece {
    name: "saturation",
    summary: "Moves colours from or towards their grey",
    source: "own",
    build: |settings| {
        let read: Saturation = settings.read()?;
        chance::check(settings, read.probability)?;
        settings.within("limit", f64::from(read.limit), 0.0, 3.0)?;
        Ok(Box::new(read))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Saturation {
    #[serde(default = "chance::always")]
    probability: f64,
    /// Largest logarithm of the factor.
    limit: f32,
}

impl Augment for Saturation {
    fn plan(&self, plan: &mut Plan, _drawing: &Drawing, random: &mut ChaCha8Rng) {
        if !chance::happens(self.probability, random) {
            return;
        }
        super::grey::towards_grey(plan, chance::around_zero(self.limit, random).exp());
    }
}
