//! Blurs.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::chance;
use super::{Augment, Drawing, Picture, PixelStep, Plan};
use crate::train::piece::Piece;

pub(super) const PIECE: Piece<dyn Augment> = Piece {
    name: "blur",
    summary: "Blurs",
    source: "own",
    build: |settings| {
        let read: Blur = settings.read()?;
        chance::check(settings, read.probability)?;
        settings.within("deviation", f64::from(read.deviation), 0.0, 32.0)?;
        Ok(Box::new(read))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Blur {
    #[serde(default = "chance::always")]
    probability: f64,
    /// Largest deviation in pixels of the output.
    deviation: f32,
}

impl Augment for Blur {
    fn plan(&self, plan: &mut Plan, _drawing: &Drawing, random: &mut ChaCha8Rng) {
        if !chance::happens(self.probability, random) {
            return;
        }
        let deviation = random.random::<f32>() * self.deviation;
        plan.after_background.push(Box::new(Gauss(deviation)));
    }
}

struct Gauss(f32);

impl PixelStep for Gauss {
    fn apply(&self, picture: &mut Picture) {
        let radius = (2.5 * self.0).ceil() as isize;
        if radius == 0 {
            return;
        }
        let weights: Vec<f32> = (-radius..=radius).map(|x| (-0.5 * (x as f32 / self.0).powi(2)).exp()).collect();
        let sum: f32 = weights.iter().sum();
        let (width, height) = (picture.width as isize, picture.height as isize);
        for is_row in [true, false] {
            let source = picture.pixels.clone();
            for (place, pixel) in picture.pixels.iter_mut().enumerate() {
                let (x, y) = (place as isize % width, place as isize / width);
                let mut mean = [0.0; 3];
                for (weight, step) in weights.iter().zip(-radius..) {
                    let (x, y) = if is_row { (x + step, y) } else { (x, y + step) };
                    // The border goes on outside.
                    let near = &source[(y.clamp(0, height - 1) * width + x.clamp(0, width - 1)) as usize];
                    mean.iter_mut().zip(near).for_each(|(mean, value)| *mean += weight / sum * value);
                }
                pixel[..3].copy_from_slice(&mean);
            }
        }
    }
}
