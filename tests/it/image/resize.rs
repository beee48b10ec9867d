//! Our resizer against Pillow's, byte by byte. `tests/golden/resize.py` describes the pictures and the sizes.

use std::collections::BTreeMap;

use pictor::image::{Filter, Raster, Window, resize};

use crate::support::root;

#[derive(serde::Deserialize)]
struct Golden {
    digests: BTreeMap<String, String>,
}

/// The picture that `resize.py` makes by the same formula.
fn picture(width: u32, height: u32, channels: u32) -> Vec<u8> {
    let byte = |index: u32| {
        let noise = index.wrapping_mul(2_654_435_761) >> 16;
        let noise = (noise ^ index).wrapping_mul(2_246_822_519) >> 24;
        let slope = index / channels % width * 255 / width;
        if index % 5 == 0 { (noise & 1) * 255 } else { (noise + slope) / 2 }
    };
    (0..width * height * channels).map(|index| byte(index) as u8).collect()
}

fn filter(name: &str) -> Filter {
    serde_json::from_value(serde_json::Value::from(name)).expect("a filter")
}

fn size(text: &str) -> (u32, u32) {
    let (width, height) = text.split_once('x').expect("two numbers");
    (width.parse().expect("a number"), height.parse().expect("a number"))
}

fn resize_of(channels: u32, data: &[u8], from: (u32, u32), to: (u32, u32), filter: Filter, window: Window) -> Vec<u8> {
    let (width, height) = from;
    match channels {
        1 => resize::<1>(Raster { data, width, height }, to.0, to.1, filter, window),
        _ => resize::<3>(Raster { data, width, height }, to.0, to.1, filter, window),
    }
}

fn whole(size: (u32, u32)) -> Window {
    Window { left: 0, top: 0, width: size.0, height: size.1 }
}

#[test]
fn resize_equals_pillow() {
    let text = std::fs::read_to_string(root().join("tests/golden/resize.json")).expect("resize.json");
    let golden: Golden = serde_json::from_str(&text).expect("JSON");
    let mut wrong = Vec::new();
    for (case, digest) in &golden.digests {
        let words: Vec<&str> = case.split(' ').collect();
        let (from, to) = (size(words[0]), size(words[1]));
        let channels = if words[2] == "L" { 1 } else { 3 };
        let data = picture(from.0, from.1, channels);
        let output = resize_of(channels, &data, from, to, filter(words[3]), whole(to));
        if blake3::hash(&output).to_hex()[..16] != **digest {
            wrong.push(case);
        }
    }
    assert_eq!(golden.digests.len(), 600, "60 size pairs, 2 modes, 5 filters");
    assert!(wrong.is_empty(), "{} of {} differ: {wrong:?}", wrong.len(), golden.digests.len());
}

#[test]
fn a_window_is_cut_from_the_whole() {
    for (from, to) in
        [((300, 200), (150, 100)), ((40, 30), (200, 150)), ((64, 64), (64, 100)), ((5000, 2), (560_000, 224))]
    {
        let data = picture(from.0, from.1, 3);
        for (_, filter) in Filter::ALL {
            let width = to.0.min(2000);
            let all = resize_of(3, &data, from, to, filter, Window { width, ..whole(to) });
            for (left, top, columns, rows) in
                [(0, 0, 1, 1), (width - 1, to.1 - 1, 1, 1), (13, 17, 40, 41), (7, 3, 0, 5)]
            {
                let window = Window { left, top, width: columns, height: rows };
                let cut: Vec<u8> = (top..top + rows)
                    .flat_map(|y| &all[((y * width + left) * 3) as usize..][..(columns * 3) as usize])
                    .copied()
                    .collect();
                assert!(resize_of(3, &data, from, to, filter, window) == cut, "{from:?} {to:?} {filter:?} {window:?}");
            }
        }
    }
}
