//! Puts a colour, or a change from one to another, behind transparent pictures.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::chance;
use super::{Augment, Drawing, Plan};
use crate::train::piece::Piece;

pub(super) const PIECE: Piece<dyn Augment> = Piece {
    name: "background",
    summary: "Puts a colour, or a change from one to another, behind transparent pictures",
    source: "own",
    build: |settings| {
        let read: Background = settings.read()?;
        chance::check(settings, read.probability)?;
        settings.within("gradient", read.gradient, 0.0, 1.0)?;
        Ok(Box::new(read))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Background {
    #[serde(default = "chance::always")]
    probability: f64,
    /// How often two colours are drawn instead of one.
    #[serde(default)]
    gradient: f64,
}

impl Augment for Background {
    fn plan(&self, plan: &mut Plan, _drawing: &Drawing, random: &mut ChaCha8Rng) {
        if !chance::happens(self.probability, random) {
            return;
        }
        let mut colour = || [0; 3].map(|_| random.random::<f32>());
        let (from, to) = (colour(), colour());
        plan.background = if chance::happens(self.gradient, random) { [from, to] } else { [from, from] };
    }
}
