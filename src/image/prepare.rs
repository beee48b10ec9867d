//! From a file to the pixels that a model takes.

use super::config::{CropRounding, CropRule, ImageConfig, ResizeRule};
use super::decode::{ImageRule, Pixels, decode};
use super::pad::Margin;
use super::resize::{Raster, Window, resize_padded};
use crate::{Error, Result};

/// Decodes, resizes and crops for one model. Its outputs all have one size.
#[derive(Clone, Debug, PartialEq)]
pub struct ImagePreparer {
    config: ImageConfig,
    rule: ImageRule,
    height: u32,
    width: u32,
}

impl ImagePreparer {
    /// A preparer for a configuration.
    ///
    /// # Errors
    /// `FailedPrecondition` if the configuration is out of range; `Unsupported` if it gives each picture its own size.
    pub fn new(config: ImageConfig, rule: ImageRule) -> Result<Self> {
        config.check()?;
        let Some((height, width)) = config.output_size() else {
            return Err(Error::Unsupported(format!(
                "image preprocessing with the resize rule {:?} and no crop, which gives every picture its own size,",
                config.resize
            )));
        };
        Ok(Self { config, rule, height, width })
    }

    #[must_use]
    pub fn config(&self) -> &ImageConfig {
        &self.config
    }

    #[must_use]
    pub fn rule(&self) -> ImageRule {
        self.rule
    }

    /// Height and width of every output.
    #[must_use]
    pub fn output_size(&self) -> (u32, u32) {
        (self.height, self.width)
    }

    /// Decodes a file and brings it to [`ImagePreparer::output_size`]. The values are not normalised yet.
    ///
    /// # Errors
    /// As [`decode`].
    pub fn prepare(&self, data: &[u8]) -> Result<Pixels> {
        Ok(self.fit(&decode(data, self.rule)?))
    }

    /// Brings decoded pixels to [`ImagePreparer::output_size`].
    #[must_use]
    pub fn fit(&self, pixels: &Pixels) -> Pixels {
        let margin = self.config.pad.map_or(Margin::NONE, |pad| pad.margin(pixels.width, pixels.height));
        let padded = (pixels.width + 2 * margin.across, pixels.height + 2 * margin.down);
        let (width, height) = resized(self.config.resize, padded.0, padded.1);
        let crop = self.config.crop;
        let [across, down] = [(width, self.width), (height, self.height)].map(|(has, wants)| cut(crop, has, wants));
        let window = Window { left: across.from, top: down.from, width: across.length, height: down.length };
        let source = Raster::<3> { data: &pixels.data, width: pixels.width, height: pixels.height };
        let cropped = resize_padded(source, margin, width, height, self.config.filter, window);
        if (window.width, window.height) == (self.width, self.height) {
            return Pixels { width: self.width, height: self.height, data: cropped };
        }
        let mut data = vec![0; self.width as usize * self.height as usize * 3];
        let rows = data.chunks_exact_mut(self.width as usize * 3).skip(down.to as usize);
        for (row, line) in rows.zip(cropped.chunks_exact(window.width as usize * 3)) {
            row[across.to as usize * 3..][..line.len()].copy_from_slice(line);
        }
        Pixels { width: self.width, height: self.height, data }
    }
}

/// The size that a picture of `width` × `height` is brought to.
fn resized(rule: ResizeRule, width: u32, height: u32) -> (u32, u32) {
    let (short, long) = (u64::from(width.min(height)), u64::from(width.max(height)));
    let (short, long) = match rule {
        ResizeRule::None => return (width, height),
        ResizeRule::Exact { height, width } => return (width, height),
        ResizeRule::Shortest(length) => (u64::from(length), u64::from(length) * long / short),
        ResizeRule::Longest(length) => {
            let shorter = (short as f64 / (long as f64 / f64::from(length))).round_ties_even();
            ((shorter as u64).max(1), u64::from(length))
        }
    };
    // At most 2048 · 32,768.
    let (short, long) = (short as u32, long as u32);
    if width <= height { (short, long) } else { (long, short) }
}

/// What a crop takes along one axis: `length` pixels starting at `from`, which stand at `to` in the output.
#[derive(Debug, PartialEq, Eq)]
struct Cut {
    from: u32,
    to: u32,
    length: u32,
}

fn cut(crop: Option<CropRule>, has: u32, wants: u32) -> Cut {
    let is_half_even = crop.is_some_and(|crop| crop.rounding == CropRounding::HalfEven);
    match has.checked_sub(wants) {
        Some(surplus) => {
            let from = if is_half_even { (f64::from(surplus) / 2.0).round_ties_even() as u32 } else { surplus / 2 };
            Cut { from, to: 0, length: wants }
        }
        None => {
            let missing = wants - has;
            Cut { from: 0, to: if is_half_even { missing / 2 } else { missing.div_ceil(2) }, length: has }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values: `int(size * long / short)` in Python.
    #[test]
    fn the_longer_side_is_rounded_down() {
        let check = |rule, from: (u32, u32), to| assert_eq!(resized(rule, from.0, from.1), to, "{rule:?} {from:?}");
        check(ResizeRule::Shortest(224), (640, 480), (298, 224));
        check(ResizeRule::Shortest(224), (480, 640), (224, 298));
        check(ResizeRule::Shortest(224), (500, 375), (298, 224));
        check(ResizeRule::Shortest(224), (224, 224), (224, 224));
        check(ResizeRule::Shortest(224), (32_768, 1), (7_340_032, 224));
        check(ResizeRule::Longest(224), (640, 480), (224, 168));
        check(ResizeRule::Longest(224), (1, 32_768), (1, 224));
        check(ResizeRule::Exact { height: 3, width: 5 }, (640, 480), (5, 3));
    }

    /// Expected values: `(size - crop) // 2` of Hugging Face, `round((size - crop) / 2)` of torchvision, and their padding.
    #[test]
    fn crops_are_centred_as_each_family_rounds() {
        let check = |has: u32, wants: u32, floor: (u32, u32), half_even: (u32, u32)| {
            for (rounding, (from, to)) in [(CropRounding::Floor, floor), (CropRounding::HalfEven, half_even)] {
                let crop = CropRule { height: wants, width: wants, rounding };
                let length = has.min(wants);
                assert_eq!(cut(Some(crop), has, wants), Cut { from, to, length }, "{has} {wants} {rounding:?}");
            }
        };
        check(299, 224, (37, 0), (38, 0));
        check(297, 224, (36, 0), (36, 0));
        check(298, 224, (37, 0), (37, 0));
        check(224, 224, (0, 0), (0, 0));
        check(3, 6, (0, 2), (0, 1));
        check(4, 6, (0, 1), (0, 1));
    }

    #[test]
    fn a_size_must_be_fixed() {
        let open = ImageConfig { crop: None, ..ImageConfig::CLIP };
        assert!(matches!(ImagePreparer::new(open, ImageRule::Pictor), Err(Error::Unsupported(_))));
        let absurd = ImageConfig { resize: ResizeRule::Shortest(0), ..ImageConfig::CLIP };
        assert!(matches!(ImagePreparer::new(absurd, ImageRule::Pictor), Err(Error::FailedPrecondition { .. })));
        let preparer = ImagePreparer::new(ImageConfig::SIGLIP, ImageRule::Pictor).expect("a fixed size");
        assert_eq!(preparer.output_size(), (224, 224));
    }

    #[test]
    fn small_pictures_are_padded_with_black() {
        let crop = CropRule { height: 4, width: 4, rounding: CropRounding::Floor };
        let config = ImageConfig { resize: ResizeRule::None, crop: Some(crop), ..ImageConfig::CLIP };
        let preparer = ImagePreparer::new(config, ImageRule::Pictor).expect("a fixed size");
        let white = Pixels { width: 1, height: 6, data: vec![255; 18] };
        let columns: Vec<u8> = preparer.fit(&white).data.chunks_exact(3).map(|pixel| pixel[0]).collect();
        assert_eq!(columns, [[0, 0, 255, 0]; 4].concat());
    }
}
