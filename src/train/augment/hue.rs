//! Turns colours around the grey axis.

use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::chance;
use super::{Augment, Drawing, Plan};
use crate::train::piece::Piece;

pub(super) const PIECE: Piece<dyn Augment> = Piece {
    name: "hue",
    summary: "Turns colours around the grey axis",
    source: "own",
    build: |settings| {
        let read: Hue = settings.read()?;
        chance::check(settings, read.probability)?;
        settings.within("radians", f64::from(read.radians), 0.0, 3.2)?;
        Ok(Box::new(read))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hue {
    #[serde(default = "chance::always")]
    probability: f64,
    /// Largest turn in radians.
    radians: f32,
}

impl Augment for Hue {
    fn plan(&self, plan: &mut Plan, _drawing: &Drawing, random: &mut ChaCha8Rng) {
        if !chance::happens(self.probability, random) {
            return;
        }
        let (sine, cosine) = chance::around_zero(self.radians, random).sin_cos();
        // A rotation around (1, 1, 1) / sqrt(3) (Rodrigues' formula).
        let third = (1.0 - cosine) / 3.0;
        let side = sine / 3.0_f32.sqrt();
        let (on, next, last) = (cosine + third, third - side, third + side);
        plan.colour([[on, next, last, 0.0], [last, on, next, 0.0], [next, last, on, 0.0]]);
    }
}
