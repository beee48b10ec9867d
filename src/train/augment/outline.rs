//! Draws edges dark, over the drawing or instead of it.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::chance;
use super::{Augment, Drawing, Picture, PixelStep, Plan};
use crate::train::piece::Piece;

pub(super) const PIECE: Piece<dyn Augment> = Piece {
    name: "outline",
    summary: "Draws edges dark, over the drawing or instead of it",
    source: "own",
    build: |settings| {
        let read: Outline = settings.read()?;
        chance::check(settings, read.probability)?;
        settings.within("only", read.only, 0.0, 1.0)?;
        Ok(Box::new(read))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Outline {
    #[serde(default = "chance::always")]
    probability: f64,
    /// How often only the edges stay.
    #[serde(default)]
    only: f64,
}

impl Augment for Outline {
    fn plan(&self, plan: &mut Plan, _drawing: &Drawing, random: &mut ChaCha8Rng) {
        if !chance::happens(self.probability, random) {
            return;
        }
        let only = chance::happens(self.only, random);
        let (darkness, threshold) = (0.6 + 0.4 * random.random::<f32>(), 0.1 + 0.25 * random.random::<f32>());
        let is_thick = random.random();
        plan.before_background.push(Box::new(Edges { only, darkness, threshold, is_thick }));
    }
}

struct Edges {
    only: bool,
    darkness: f32,
    threshold: f32,
    is_thick: bool,
}

impl PixelStep for Edges {
    fn apply(&self, picture: &mut Picture) {
        let (width, height) = (picture.width, picture.height);
        // Brightness and opacity both make edges; colours are multiplied by opacity already.
        let light: Vec<f32> = picture
            .pixels
            .iter()
            .map(|[red, green, blue, opacity]| (red + green + blue) / 3.0 - 1.5 * opacity)
            .collect();
        let at = |x: usize, y: usize| light[y.min(height - 1) * width + x.min(width - 1)];
        let mut edges = vec![0.0_f32; light.len()];
        for y in 0..height {
            for x in 0..width {
                let change = (at(x + 1, y) - at(x, y)).abs().max((at(x, y + 1) - at(x, y)).abs());
                edges[y * width + x] = ((change - self.threshold) / self.threshold).clamp(0.0, 1.0);
            }
        }
        let thin = edges.clone();
        if self.is_thick {
            for y in 0..height {
                for x in 0..width {
                    let right = thin[y * width + (x + 1).min(width - 1)];
                    let below = thin[(y + 1).min(height - 1) * width + x];
                    edges[y * width + x] = thin[y * width + x].max(right).max(below);
                }
            }
        }
        for (pixel, edge) in picture.pixels.iter_mut().zip(edges) {
            let ink = edge * self.darkness;
            if self.only {
                *pixel = [0.0, 0.0, 0.0, ink];
            } else {
                pixel[..3].iter_mut().for_each(|value| *value *= 1.0 - ink);
                pixel[3] += (1.0 - pixel[3]) * ink;
            }
        }
    }
}
