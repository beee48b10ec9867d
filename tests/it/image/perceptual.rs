//! Perceptual hashes against Python's imagehash. `tests/golden/perceptual.py` says how.

use pictor::image::{Filter, Pixels, Raster, Window, difference_hash, resize};

use crate::encoder::tower_models::picture;
use crate::support::root;

/// Number, height and width of a picture, and its hash in hexadecimal.
type Case = (usize, u32, u32, String);

fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(root().join("tests/golden/perceptual.json")).expect("perceptual.json");
    serde_json::from_str(&text).expect("JSON")
}

/// Fails when: bits come in another order, grey or the filter are others, or large pictures are reduced by other boxes.
#[test]
fn hashes_are_those_of_imagehash() {
    let cases = cases();
    let wrong: Vec<_> = cases
        .iter()
        .filter(|(number, height, width, hash)| {
            format!("{:016x}", difference_hash(&picture(*number, *height, *width))) != *hash
        })
        .collect();
    assert!(cases.len() >= 40 && wrong.is_empty(), "{} of {}: {wrong:?}", wrong.len(), cases.len());
}

/// A few slow waves, as large things in a photograph.
fn smooth(number: usize, height: u32, width: u32) -> Pixels {
    let random = |at: usize| ((number * 31 + at) as f64 * 12.9898).sin() * 43_758.545_3 % 1.0;
    let mut data = Vec::with_capacity(height as usize * width as usize * 3);
    for row in 0..height {
        for column in 0..width {
            let (x, y) = (f64::from(column) / f64::from(width), f64::from(row) / f64::from(height));
            let wave = |at: usize| {
                let turn = 2.5 * random(4 * at) * x + 2.5 * random(4 * at + 1) * y + random(4 * at + 2);
                (std::f64::consts::TAU * turn).sin()
            };
            let value = 127.5 + 30.0 * (0..4).map(wave).sum::<f64>();
            data.extend([value as u8, (value * 0.9) as u8, (255.0 - value) as u8]);
        }
    }
    Pixels { width, height, data }
}

fn resized(pixels: &Pixels, width: u32, height: u32) -> Pixels {
    let source = Raster::<3> { data: &pixels.data, width: pixels.width, height: pixels.height };
    let data = resize(source, width, height, Filter::Bicubic, Window { left: 0, top: 0, width, height });
    Pixels { width, height, data }
}

/// Fails when: a copy in another size is as far away as another picture.
#[test]
fn copies_are_near_and_others_far() {
    let hashes: Vec<[u64; 3]> = (0..20)
        .map(|number| {
            let original = smooth(number, 96, 120);
            let [small, large] = [(60, 48), (301, 240)].map(|(width, height)| resized(&original, width, height));
            [&original, &small, &large].map(difference_hash)
        })
        .collect();
    let far = |a: u64, b: u64| (a ^ b).count_ones();
    let of_copies = hashes.iter().map(|[first, small, large]| far(*first, *small).max(far(*first, *large))).max();
    let pairs = hashes.iter().enumerate().flat_map(|(at, a)| hashes[..at].iter().map(move |b| far(a[0], b[0])));
    let mut of_others: Vec<u32> = pairs.collect();
    of_others.sort_unstable();
    println!(
        "copies differ in {of_copies:?} bits at most, others in {} at least, {} mostly",
        of_others[0],
        of_others[of_others.len() / 2]
    );
    assert!(of_copies.is_some_and(|bits| bits <= 6) && of_others[of_others.len() / 20] > 12);
}
