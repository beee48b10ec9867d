//! Mirrors left and right what means the same mirrored.

use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::chance;
use super::{Augment, Drawing, Plan};
use crate::train::piece::Piece;

pub(super) const PIECE: Piece<dyn Augment> = Piece {
    name: "flip",
    summary: "Mirrors left and right what means the same mirrored",
    source: "own",
    build: |settings| {
        let read: Flip = settings.read()?;
        chance::check(settings, read.probability)?;
        Ok(Box::new(read))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Flip {
    #[serde(default = "chance::always")]
    probability: f64,
}

impl Augment for Flip {
    fn plan(&self, plan: &mut Plan, drawing: &Drawing, random: &mut ChaCha8Rng) {
        if !chance::happens(self.probability, random) {
            return;
        }
        if drawing.is_flippable {
            plan.place([-1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        }
    }
}
