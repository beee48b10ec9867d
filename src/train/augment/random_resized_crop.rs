//! Shows a part of the picture, brought to the whole size.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::chance;
use super::{Augment, Drawing, Plan};
use crate::train::piece::Piece;

pub(super) const PIECE: Piece<dyn Augment> = Piece {
    name: "random-resized-crop",
    summary: "Shows a part of the picture, brought to the whole size",
    source: "Szegedy et al., arXiv 1409.4842, as in torchvision",
    build: |settings| {
        let read: RandomResizedCrop = settings.read()?;
        chance::check(settings, read.probability)?;
        settings.within("area[0]", f64::from(read.area[0]), 1e-3, f64::from(read.area[1]))?;
        settings.within("area[1]", f64::from(read.area[1]), 1e-3, 1.0)?;
        settings.within("aspect", f64::from(read.aspect), 0.0, 2.0)?;
        Ok(Box::new(read))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RandomResizedCrop {
    #[serde(default = "chance::always")]
    probability: f64,
    /// Least and largest share of the area.
    area: [f32; 2],
    /// Largest logarithm of width over height.
    #[serde(default)]
    aspect: f32,
}

impl Augment for RandomResizedCrop {
    fn plan(&self, plan: &mut Plan, _drawing: &Drawing, random: &mut ChaCha8Rng) {
        if !chance::happens(self.probability, random) {
            return;
        }
        let area = random.random_range(self.area[0]..=self.area[1]);
        let aspect = chance::around_zero(self.aspect, random) / 2.0;
        let (width, height) = ((area.sqrt() * aspect.exp()).min(1.0), (area.sqrt() * (-aspect).exp()).min(1.0));
        let (x, y) = (chance::around_zero(1.0 - width, random), chance::around_zero(1.0 - height, random));
        plan.place([width, 0.0, x, 0.0, height, y]);
    }
}
