//! Covers a rectangle with a colour.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::chance;
use super::{Augment, Drawing, Picture, PixelStep, Plan};
use crate::train::piece::Piece;

pub(super) const PIECE: Piece<dyn Augment> = Piece {
    name: "erase",
    summary: "Covers a rectangle with a colour",
    source: "Zhong et al., arXiv 1708.04896",
    build: |settings| {
        let read: Erase = settings.read()?;
        chance::check(settings, read.probability)?;
        settings.within("area[0]", f64::from(read.area[0]), 0.0, f64::from(read.area[1]))?;
        settings.within("area[1]", f64::from(read.area[1]), 0.0, 1.0)?;
        Ok(Box::new(read))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Erase {
    #[serde(default = "chance::always")]
    probability: f64,
    /// Least and largest share of the area.
    area: [f32; 2],
}

impl Augment for Erase {
    fn plan(&self, plan: &mut Plan, _drawing: &Drawing, random: &mut ChaCha8Rng) {
        if !chance::happens(self.probability, random) {
            return;
        }
        let area = random.random_range(self.area[0]..=self.area[1]);
        let aspect = chance::around_zero(0.5, random).exp();
        let size = [(area * aspect).sqrt().min(1.0), (area / aspect).sqrt().min(1.0)];
        let place = size.map(|side| random.random::<f32>() * (1.0 - side));
        let colour = [0; 3].map(|_| random.random());
        plan.after_background.push(Box::new(Cover { size, place, colour }));
    }
}

/// Width and height, left and top, as shares of the picture.
struct Cover {
    size: [f32; 2],
    place: [f32; 2],
    colour: [f32; 3],
}

impl PixelStep for Cover {
    fn apply(&self, picture: &mut Picture) {
        let range = |axis: usize, length: usize| {
            let at = |share: f32| ((share * length as f32).round() as usize).min(length);
            at(self.place[axis])..at(self.place[axis] + self.size[axis])
        };
        let (columns, rows) = (range(0, picture.width), range(1, picture.height));
        for row in rows {
            for pixel in &mut picture.pixels[row * picture.width..][columns.clone()] {
                pixel[..3].copy_from_slice(&self.colour);
            }
        }
    }
}
