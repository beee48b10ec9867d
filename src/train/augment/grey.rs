//! Takes the colours away.

use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::chance;
use super::{Augment, Drawing, Plan};
use crate::train::piece::Piece;

pub(super) const PIECE: Piece<dyn Augment> = Piece {
    name: "grey",
    summary: "Takes the colours away",
    source: "ITU-R BT.601 luma",
    build: |settings| {
        let read: Grey = settings.read()?;
        chance::check(settings, read.probability)?;
        Ok(Box::new(read))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grey {
    #[serde(default = "chance::always")]
    probability: f64,
}

impl Augment for Grey {
    fn plan(&self, plan: &mut Plan, _drawing: &Drawing, random: &mut ChaCha8Rng) {
        if !chance::happens(self.probability, random) {
            return;
        }
        towards_grey(plan, 0.0);
    }
}

/// Keeps a share of what a colour has beside its grey; more than 1 makes it stronger.
pub(super) fn towards_grey(plan: &mut Plan, share: f32) {
    let luma = [0.299, 0.587, 0.114];
    let entry = |row: usize, column: usize| luma[column] * (1.0 - share) + if row == column { share } else { 0.0 };
    plan.colour([0, 1, 2].map(|row| [entry(row, 0), entry(row, 1), entry(row, 2), 0.0]));
}
