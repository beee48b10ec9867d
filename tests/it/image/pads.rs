//! Margins before resizing against CLIP4Cir's steps on Pillow and torchvision. `tests/golden/pads.py` says how.

use pictor::image::{ImageConfig, ImagePreparer, ImageRule, Pixels};
use serde_json::{Value, json};

use crate::encoder::tower_models::picture;
use crate::support::root;

/// Number, height and width of a picture, its mode, margins, side, filter, BLAKE3 of the pixels.
type Case = (usize, u32, u32, String, Value, u32, String, String);

#[test]
fn padding_equals_clip4cir_s() {
    let text = std::fs::read_to_string(root().join("tests/golden/pads.json")).expect("pads.json");
    let cases: Vec<Case> = serde_json::from_str(&text).expect("JSON");
    let (mut wrong, mut n_unlike) = (Vec::new(), 0);
    for (number, height, width, mode, pad, side, filter, digest) in &cases {
        let mut pixels = picture(*number, *height, *width);
        if mode == "L" {
            pixels.data = grey(&pixels);
        }
        let prepare = |file: &Value| {
            let config = ImageConfig::from_open_clip(file, *side).expect("readable");
            let preparer = ImagePreparer::new(config, ImageRule::Reference).expect("a fixed size");
            let found = preparer.fit(&pixels);
            assert_eq!((found.height, found.width), (*side, *side));
            blake3::hash(&found.data).to_hex()[..16].to_owned()
        };
        if prepare(&json!({ "interpolation": filter, "pictor_pad": pad })) != *digest {
            wrong.push(format!("{height}×{width} {mode} {pad} {side} {filter}"));
        }
        // Control: without margins another picture comes out.
        n_unlike += usize::from(prepare(&json!({ "interpolation": filter })) != *digest);
    }
    assert_eq!(cases.len(), 480);
    assert!(wrong.is_empty(), "{} of {} differ: {wrong:#?}", wrong.len(), cases.len());
    println!("{} pictures equal, {n_unlike} of them differ without margins", cases.len());
    assert!(n_unlike >= 250, "{n_unlike}");
}

/// Pillow's conversion to mode L, three times.
fn grey(pixels: &Pixels) -> Vec<u8> {
    let luma = |pixel: &[u8; 3]| {
        let [red, green, blue] = pixel.map(u32::from);
        ((red * 19_595 + green * 38_470 + blue * 7_471 + 0x8000) >> 16) as u8
    };
    pixels.data.as_chunks::<3>().0.iter().flat_map(|pixel| [luma(pixel); 3]).collect()
}

/// The margins of a strip of 32,768 pixels would be gigabytes.
#[test]
fn margins_take_no_memory() {
    let file = json!({ "pictor_pad": { "kind": "square" } });
    let config = ImageConfig::from_open_clip(&file, 224).expect("readable");
    let preparer = ImagePreparer::new(config, ImageRule::Pictor).expect("a fixed size");
    let before = super::usage::peak_bytes();
    for (width, height) in [(32_768, 1), (1, 32_768), (32_767, 40)] {
        let found = preparer.fit(&Pixels { width, height, data: vec![255; (width * height * 3) as usize] });
        assert_eq!((found.width, found.height), (224, 224));
        // A line of at most half a pixel, in the middle.
        assert!(found.data.iter().filter(|byte| **byte > 0).count() < 224 * 3 * 6);
    }
    let more = (super::usage::peak_bytes() - before) >> 20;
    assert!(more < 700, "{more} MiB");
}
