//! Adds even noise.

use rand::{Rng as _, RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::chance;
use super::{Augment, Drawing, Picture, PixelStep, Plan};
use crate::train::piece::Piece;

pub(super) const PIECE: Piece<dyn Augment> = Piece {
    name: "noise",
    summary: "Adds even noise",
    source: "own",
    build: |settings| {
        let read: Noise = settings.read()?;
        chance::check(settings, read.probability)?;
        settings.within("limit", f64::from(read.limit), 0.0, 1.0)?;
        Ok(Box::new(read))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Noise {
    #[serde(default = "chance::always")]
    probability: f64,
    /// Largest change of a value.
    limit: f32,
}

impl Augment for Noise {
    fn plan(&self, plan: &mut Plan, _drawing: &Drawing, random: &mut ChaCha8Rng) {
        if !chance::happens(self.probability, random) {
            return;
        }
        let (limit, seed) = (random.random::<f32>() * self.limit, random.random());
        plan.after_background.push(Box::new(Grain { limit, seed }));
    }
}

struct Grain {
    limit: f32,
    seed: u64,
}

impl PixelStep for Grain {
    fn apply(&self, picture: &mut Picture) {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        for pixel in &mut picture.pixels {
            // One number gives three values of 10 bits.
            let bits = random.next_u32();
            for (channel, value) in pixel[..3].iter_mut().enumerate() {
                let even = ((bits >> (10 * channel)) & 1023) as f32 / 511.5 - 1.0;
                *value += even * self.limit;
            }
        }
    }
}
