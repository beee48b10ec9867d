//! Turns colours into their opposites.

use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::chance;
use super::{Augment, Drawing, Plan};
use crate::train::piece::Piece;

pub(super) const PIECE: Piece<dyn Augment> = Piece {
    name: "invert",
    summary: "Turns colours into their opposites",
    source: "own",
    build: |settings| {
        let read: Invert = settings.read()?;
        chance::check(settings, read.probability)?;
        Ok(Box::new(read))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Invert {
    #[serde(default = "chance::always")]
    probability: f64,
}

impl Augment for Invert {
    fn plan(&self, plan: &mut Plan, _drawing: &Drawing, random: &mut ChaCha8Rng) {
        if !chance::happens(self.probability, random) {
            return;
        }
        plan.colour([[-1.0, 0.0, 0.0, 1.0], [0.0, -1.0, 0.0, 1.0], [0.0, 0.0, -1.0, 1.0]]);
    }
}
