//! What happens to one picture, and doing it.

use rand_chacha::ChaCha8Rng;

use super::{ALL, Augment, Drawing};
use crate::Result;
use crate::train::piece::{self, Settings};

/// A map of the plane: `x' = a·x + b·y + c`, `y' = d·x + e·y + f`.
pub type Affine = [f32; 6];
/// A map of colours: each row gives one colour from red, green, blue and 1.
pub type ColourMap = [[f32; 4]; 3];

/// What an augmentation does with neighbouring pixels.
pub trait PixelStep: Send {
    fn apply(&self, picture: &mut Picture);
}

/// What happens to one picture.
pub struct Plan {
    /// From the output's places to the drawing's; both run from −1 to 1.
    pub transform: Affine,
    pub colours: ColourMap,
    /// On the drawing alone, with its transparency.
    pub before_background: Vec<Box<dyn PixelStep>>,
    /// Colours of the background in the top left and the bottom right corner, 0 to 1.
    pub background: [[f32; 3]; 2],
    /// On the opaque picture.
    pub after_background: Vec<Box<dyn PixelStep>>,
}

impl Plan {
    fn new() -> Self {
        Self {
            transform: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            colours: [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]],
            before_background: Vec::new(),
            background: [[1.0; 3]; 2],
            after_background: Vec::new(),
        }
    }

    /// Goes through `inner` on the way from the output to the drawing, before what is planned so far.
    pub fn place(&mut self, inner: Affine) {
        let [a, b, c, d, e, f] = self.transform;
        let [g, h, i, j, k, l] = inner;
        self.transform =
            [a * g + b * j, a * h + b * k, a * i + b * l + c, d * g + e * j, d * h + e * k, d * i + e * l + f];
    }

    /// Maps colours once more.
    pub fn colour(&mut self, next: ColourMap) {
        let before = self.colours;
        let mixed =
            |row: usize, column: usize| (0..3).map(|inner| next[row][inner] * before[inner][column]).sum::<f32>();
        self.colours = [0, 1, 2].map(|row| [mixed(row, 0), mixed(row, 1), mixed(row, 2), mixed(row, 3) + next[row][3]]);
    }
}

/// A picture under way: four numbers a pixel from 0 to 1, colours multiplied by opacity.
pub struct Picture {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<[f32; 4]>,
}

/// A recipe's augmentations.
pub struct Augmenter {
    pieces: Vec<Box<dyn Augment>>,
    width: usize,
    height: usize,
}

impl Augmenter {
    /// Builds the pieces; pictures come out in this size.
    ///
    /// # Errors
    /// `InvalidArgument` for the recipe's place.
    pub fn new(tables: Vec<Settings>, (height, width): (usize, usize)) -> Result<Self> {
        let pieces = tables.into_iter().map(|settings| piece::build(ALL, "kind", settings)).collect::<Result<_>>()?;
        Ok(Self { pieces, width, height })
    }

    /// True if there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Draws one picture: `[3, height, width]` from 0 to 1.
    pub fn draw(&self, drawing: &Drawing, random: &mut ChaCha8Rng, out: &mut Vec<f32>) {
        let mut plan = Plan::new();
        self.pieces.iter().for_each(|piece| piece.plan(&mut plan, drawing, random));
        let mut picture = sample(drawing, plan.transform, self.width, self.height);
        map_colours(&mut picture, &plan.colours);
        plan.before_background.iter().for_each(|step| step.apply(&mut picture));
        lay_over(&mut picture, plan.background);
        plan.after_background.iter().for_each(|step| step.apply(&mut picture));
        for channel in 0..3 {
            out.extend(picture.pixels.iter().map(|pixel| pixel[channel].clamp(0.0, 1.0)));
        }
    }
}

/// Reads the drawing between its pixels; outside of it there is nothing.
fn sample(drawing: &Drawing, [a, b, c, d, e, f]: Affine, width: usize, height: usize) -> Picture {
    let (columns, rows) = (drawing.width as f32, drawing.height as f32);
    let mut pixels = Vec::with_capacity(width * height);
    let texel = |x: i32, y: i32| -> [f32; 4] {
        if x < 0 || y < 0 || x >= drawing.width as i32 || y >= drawing.height as i32 {
            return [0.0; 4];
        }
        let at = 4 * (y as usize * drawing.width + x as usize);
        [0, 1, 2, 3].map(|channel| f32::from(drawing.rgba[at + channel]) / 255.0)
    };
    for row in 0..height {
        let v = (2.0 * row as f32 + 1.0) / height as f32 - 1.0;
        for column in 0..width {
            let u = (2.0 * column as f32 + 1.0) / width as f32 - 1.0;
            let x = (a * u + b * v + c + 1.0) / 2.0 * columns - 0.5;
            let y = (d * u + e * v + f + 1.0) / 2.0 * rows - 0.5;
            let (left, top) = (x.floor(), y.floor());
            let (right_share, bottom_share) = (x - left, y - top);
            let (left, top) = (left as i32, top as i32);
            let corners = [texel(left, top), texel(left + 1, top), texel(left, top + 1), texel(left + 1, top + 1)];
            let mut pixel = [0.0; 4];
            for (channel, value) in pixel.iter_mut().enumerate() {
                let above = corners[0][channel] + (corners[1][channel] - corners[0][channel]) * right_share;
                let below = corners[2][channel] + (corners[3][channel] - corners[2][channel]) * right_share;
                *value = above + (below - above) * bottom_share;
            }
            pixels.push(pixel);
        }
    }
    Picture { width, height, pixels }
}

fn map_colours(picture: &mut Picture, colours: &ColourMap) {
    for pixel in &mut picture.pixels {
        let [red, green, blue, opacity] = *pixel;
        for (value, row) in pixel.iter_mut().zip(colours) {
            // The constant counts as much as the pixel covers.
            *value = (row[0] * red + row[1] * green + row[2] * blue + row[3] * opacity).clamp(0.0, opacity);
        }
    }
}

fn lay_over(picture: &mut Picture, [from, to]: [[f32; 3]; 2]) {
    let (width, height) = (picture.width, picture.height);
    let steps = (width + height).saturating_sub(2).max(1) as f32;
    for (place, pixel) in picture.pixels.iter_mut().enumerate() {
        let way = (place % width + place / width) as f32 / steps;
        let open = 1.0 - pixel[3];
        for channel in 0..3 {
            pixel[channel] += open * (from[channel] + (to[channel] - from[channel]) * way);
        }
        pixel[3] = 1.0;
    }
}
