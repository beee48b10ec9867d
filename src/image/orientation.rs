//! Which way up a picture was taken: the EXIF tag, and turning the pixels accordingly.

use super::directory::find_entry;

/// EXIF's orientation, 1 to 8; 1 is upright.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Orientation(u8);

impl Orientation {
    pub(super) const UPRIGHT: Self = Self(1);
    const TAG: u16 = 0x0112;

    /// Values that EXIF does not have mean upright.
    pub(super) fn from_value(value: u32) -> Self {
        match value {
            1..=8 => Self(value as u8),
            _ => Self::UPRIGHT,
        }
    }

    /// Reads the tag from EXIF data, with or without the `Exif` mark before it. Damaged data means upright.
    pub(super) fn from_exif(data: &[u8]) -> Self {
        let data = data.strip_prefix(b"Exif\0\0").unwrap_or(data);
        find_entry(data, Self::TAG).map_or(Self::UPRIGHT, |entry| Self::from_value(entry.value))
    }

    /// True if width and height change places.
    pub(super) fn is_transposed(self) -> bool {
        self.0 >= 5
    }

    /// Turns `data`, RGB of `width` × `height`, upright; gives it with its new width and height.
    pub(super) fn apply(self, mut data: Vec<u8>, width: u32, height: u32) -> (Vec<u8>, u32, u32) {
        let row = width as usize * 3;
        match self.0 {
            2 => data.chunks_exact_mut(row).for_each(mirror),
            3 => mirror(&mut data),
            4 => flip(&mut data, row),
            5..=8 => {
                let turned = transpose(&data, width as usize, height as usize, self.0);
                return (turned, height, width);
            }
            _ => {}
        }
        (data, width, height)
    }
}

/// Left and right change places within one row, or a whole picture is turned by half.
fn mirror(pixels: &mut [u8]) {
    pixels.as_chunks_mut::<3>().0.reverse();
}

/// Top and bottom change places.
fn flip(data: &mut [u8], row: usize) {
    let middle = data.len() / row / 2 * row;
    let (top, rest) = data.split_at_mut(middle);
    for (upper, lower) in top.chunks_exact_mut(row).zip(rest.rchunks_exact_mut(row)) {
        upper.swap_with_slice(lower);
    }
}

/// The orientations that lay rows along columns, in blocks, so that both sides stay in the cache.
fn transpose(data: &[u8], width: usize, height: usize, orientation: u8) -> Vec<u8> {
    const BLOCK: usize = 64;
    let mut turned = vec![0; data.len()];
    let pixels = data.as_chunks::<3>().0;
    let places = turned.as_chunks_mut::<3>().0;
    for top in (0..height).step_by(BLOCK) {
        for left in (0..width).step_by(BLOCK) {
            for y in top..height.min(top + BLOCK) {
                // The new picture has `height` columns and `width` rows.
                let column = if matches!(orientation, 6 | 7) { height - 1 - y } else { y };
                for x in left..width.min(left + BLOCK) {
                    let row = if matches!(orientation, 7 | 8) { width - 1 - x } else { x };
                    places[row * height + column] = pixels[y * width + x];
                }
            }
        }
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns the 3 × 2 picture `abc / def` and gives its rows.
    fn turned(orientation: u32) -> String {
        let data = b"abcdef".iter().flat_map(|&byte| [byte; 3]).collect();
        let (data, width, _) = Orientation::from_value(orientation).apply(data, 3, 2);
        let letters: Vec<u8> = data.chunks_exact(3).map(|pixel| pixel[0]).collect();
        let rows: Vec<String> =
            letters.chunks(width as usize).map(|row| String::from_utf8_lossy(row).into_owned()).collect();
        rows.join("/")
    }

    /// Expected values: Pillow's `ImageOps.exif_transpose`.
    #[test]
    fn every_orientation_is_turned_upright() {
        let expected = ["abc/def", "cba/fed", "fed/cba", "def/abc", "ad/be/cf", "da/eb/fc", "fc/eb/da", "cf/be/ad"];
        for (orientation, rows) in (1..).zip(expected) {
            assert_eq!(turned(orientation), rows, "orientation {orientation}");
        }
        assert_eq!((turned(0), turned(9)), ("abc/def".into(), "abc/def".into()));
    }

    #[test]
    fn the_tag_is_found_or_upright() {
        let little = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0";
        let big = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0";
        assert_eq!(Orientation::from_exif(little), Orientation(6));
        assert_eq!(Orientation::from_exif(big), Orientation(8));
        for length in 0..20 {
            assert_eq!(Orientation::from_exif(&little[..length.min(18)]), Orientation::UPRIGHT);
        }
        assert_eq!(Orientation::from_exif(b"II*\0\xff\xff\xff\xff"), Orientation::UPRIGHT);
    }
}
