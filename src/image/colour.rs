//! From what files hold to RGB: transparency over white, CMYK, wide samples.

use super::decode::ImageRule;

/// Writes RGB pixels one after the other.
pub(super) struct Rgb<'a> {
    places: std::slice::IterMut<'a, [u8; 3]>,
    rule: ImageRule,
}

impl<'a> Rgb<'a> {
    /// Fills `row` from its start on; a last part of less than a pixel is left as it is.
    pub(super) fn new(row: &'a mut [u8], rule: ImageRule) -> Self {
        Self { places: row.as_chunks_mut::<3>().0.iter_mut(), rule }
    }

    pub(super) fn grey(&mut self, samples: impl Iterator<Item = u8>) {
        for (place, grey) in self.places.by_ref().zip(samples) {
            *place = [grey; 3];
        }
    }

    pub(super) fn rgb(&mut self, pixels: &[[u8; 3]]) {
        for (place, pixel) in self.places.by_ref().zip(pixels) {
            *place = *pixel;
        }
    }

    /// Pixels with transparency: laid over white, or stripped of it under [`ImageRule::Reference`].
    pub(super) fn rgba(&mut self, pixels: impl Iterator<Item = [u8; 4]>) {
        let is_over_white = self.rule == ImageRule::Pictor;
        for (place, [red, green, blue, alpha]) in self.places.by_ref().zip(pixels) {
            *place = [red, green, blue];
            if is_over_white {
                *place = place.map(|value| over_white(value, alpha));
            }
        }
    }
}

/// A value laid over white, as Pillow's `alpha_composite` rounds it.
#[inline(always)]
pub(super) fn over_white(value: u8, alpha: u8) -> u8 {
    let (value, alpha) = (u32::from(value), u32::from(alpha));
    divide_by_255(value * alpha + 255 * (255 - alpha))
}

/// Pillow's conversion: each ink takes its share of what black leaves.
#[inline(always)]
pub(super) fn from_cmyk([cyan, magenta, yellow, black]: [u8; 4]) -> [u8; 3] {
    let light = 255 - black;
    [cyan, magenta, yellow].map(|ink| light.saturating_sub(divide_by_255(u32::from(ink) * u32::from(light))))
}

/// A premultiplied value as it was before, as Pillow rounds it.
#[inline(always)]
pub(super) fn unmultiply(value: u8, alpha: u8) -> u8 {
    match alpha {
        0 => 0,
        _ => (255 * u32::from(value) / u32::from(alpha)).min(255) as u8,
    }
}

/// Divides by 255 and rounds; `value` is at most 255².
#[inline(always)]
fn divide_by_255(value: u32) -> u8 {
    let value = value + 128;
    ((value + (value >> 8)) >> 8) as u8
}

/// The high byte of each big- or native-endian sample, by which wide colours become bytes.
pub(super) fn high_byte(sample: u16) -> u8 {
    (sample >> 8) as u8
}

/// A wide grey sample: its high byte, or under [`ImageRule::Reference`] what Pillow makes of it, which is to cut at 255.
pub(super) fn wide_grey(sample: u16, rule: ImageRule) -> u8 {
    match rule {
        ImageRule::Pictor => high_byte(sample),
        ImageRule::Reference => sample.min(255) as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn division_rounds() {
        for value in 0..=255 * 255_u32 {
            assert_eq!(u32::from(divide_by_255(value)), (2 * value + 255) / 510, "{value}");
        }
    }

    /// Expected values: Pillow 13.
    #[test]
    fn colours_are_as_pillow_makes_them() {
        assert_eq!(from_cmyk([0, 0, 0, 0]), [255; 3]);
        assert_eq!(from_cmyk([10, 128, 255, 100]), [149, 77, 0]);
        assert_eq!(
            [over_white(0, 0), over_white(0, 255), over_white(100, 128), over_white(200, 1)],
            [255, 0, 177, 255]
        );
    }
}
