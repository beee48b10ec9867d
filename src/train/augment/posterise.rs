//! Leaves few levels of each colour.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::chance;
use super::{Augment, Drawing, Picture, PixelStep, Plan};
use crate::train::piece::Piece;

pub(super) const PIECE: Piece<dyn Augment> = Piece {
    name: "posterise",
    summary: "Leaves few levels of each colour",
    source: "own",
    build: |settings| {
        let read: Posterise = settings.read()?;
        chance::check(settings, read.probability)?;
        settings.within("levels[0]", f64::from(read.levels[0]), 2.0, f64::from(read.levels[1]))?;
        Ok(Box::new(read))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Posterise {
    #[serde(default = "chance::always")]
    probability: f64,
    /// Fewest and most levels.
    levels: [u8; 2],
}

impl Augment for Posterise {
    fn plan(&self, plan: &mut Plan, _drawing: &Drawing, random: &mut ChaCha8Rng) {
        if !chance::happens(self.probability, random) {
            return;
        }
        let levels = f32::from(random.random_range(self.levels[0]..=self.levels[1])) - 1.0;
        plan.after_background.push(Box::new(Levels(levels)));
    }
}

struct Levels(f32);

impl PixelStep for Levels {
    fn apply(&self, picture: &mut Picture) {
        for value in picture.pixels.iter_mut().flat_map(|pixel| &mut pixel[..3]) {
            *value = (*value * self.0).round() / self.0;
        }
    }
}
