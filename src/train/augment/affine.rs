//! Rotates, scales, stretches, slants and shifts.

use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::chance;
use super::{Augment, Drawing, Plan};
use crate::train::piece::Piece;

pub(super) const PIECE: Piece<dyn Augment> = Piece {
    name: "affine",
    summary: "Rotates, scales, stretches, slants and shifts",
    source: "own",
    build: |settings| {
        let read: Affine = settings.read()?;
        chance::check(settings, read.probability)?;
        settings.within("rotation", f64::from(read.rotation), 0.0, 3.2)?;
        settings.within("scale", f64::from(read.scale), 0.0, 2.0)?;
        settings.within("anisotropy", f64::from(read.anisotropy), 0.0, 2.0)?;
        settings.within("shear", f64::from(read.shear), 0.0, 2.0)?;
        settings.within("shift", f64::from(read.shift), 0.0, 2.0)?;
        Ok(Box::new(read))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Affine {
    #[serde(default = "chance::always")]
    probability: f64,
    /// Largest rotation in radians.
    #[serde(default)]
    rotation: f32,
    /// Largest logarithm of the scale.
    #[serde(default)]
    scale: f32,
    /// Largest logarithm of width over height, halved.
    #[serde(default)]
    anisotropy: f32,
    #[serde(default)]
    shear: f32,
    /// Largest shift, in halves of the picture.
    #[serde(default)]
    shift: f32,
}

impl Augment for Affine {
    fn plan(&self, plan: &mut Plan, _drawing: &Drawing, random: &mut ChaCha8Rng) {
        if !chance::happens(self.probability, random) {
            return;
        }
        let angle = chance::around_zero(self.rotation, random);
        let scale = chance::around_zero(self.scale, random);
        let anisotropy = chance::around_zero(self.anisotropy, random);
        let shear = chance::around_zero(self.shear, random);
        let (x, y) = (chance::around_zero(self.shift, random), chance::around_zero(self.shift, random));
        // From the output to the drawing, so that a larger scale is a smaller step.
        let (sine, cosine) = angle.sin_cos();
        let (wide, high) = ((-scale - anisotropy).exp(), (-scale + anisotropy).exp());
        plan.place([wide, 0.0, 0.0, 0.0, high, 0.0]);
        plan.place([1.0, shear, 0.0, 0.0, 1.0, 0.0]);
        plan.place([cosine, sine, 0.0, -sine, cosine, 0.0]);
        plan.place([1.0, 0.0, -x, 0.0, 1.0, -y]);
    }
}
