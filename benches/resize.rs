//! Pillow's resize by our resizer, one thread; `resize.py` runs Pillow on the same pictures.
//!
//! `crop` is the middle square of the shorter side: we compute nothing else, Pillow computes all and cuts.

use std::hint::black_box;
use std::time::Instant;

use pictor::image::{Filter, Raster, Window, resize};

/// Width and height of the input, then of the output.
const SHAPES: [[u32; 4]; 4] =
    [[640, 480, 298, 224], [2000, 1500, 298, 224], [4000, 3000, 512, 384], [128, 96, 298, 224]];
const SECONDS: f64 = 1.0;

/// Noise over a gradient, as in `resize.py`.
fn picture(width: u32, height: u32) -> Vec<u8> {
    let byte = |index: u32| {
        let noise = (index.wrapping_mul(2_654_435_761) >> 16 ^ index).wrapping_mul(2_246_822_519) >> 24;
        (noise / 4 + index / 3 % width * 191 / width) as u8
    };
    (0..width * height * 3).map(byte).collect()
}

fn main() {
    for [width, height, new_width, new_height] in SHAPES {
        let data = picture(width, height);
        let side = new_width.min(new_height);
        let all = Window { left: 0, top: 0, width: new_width, height: new_height };
        let crop = Window { left: (new_width - side) / 2, top: (new_height - side) / 2, width: side, height: side };
        for (filter_name, filter) in
            [("bicubic", Filter::Bicubic), ("bilinear", Filter::Bilinear), ("lanczos", Filter::Lanczos)]
        {
            for (kind, window) in [("all", all), ("crop", crop)] {
                for repeat in 1..=3 {
                    let mut n_done = 0;
                    let mut sum = 0;
                    let started = Instant::now();
                    while started.elapsed().as_secs_f64() < SECONDS {
                        let source = Raster::<3> { data: black_box(&data), width, height };
                        let output = resize(source, new_width, new_height, filter, window);
                        sum = output.iter().map(|&byte| u64::from(byte)).sum();
                        n_done += 1;
                    }
                    let line = serde_json::json!({
                        "bench": "resize", "who": "pictor", "from": [width, height], "to": [new_width, new_height],
                        "filter": filter_name, "kind": kind, "repeat": repeat,
                        "milliseconds": started.elapsed().as_secs_f64() * 1e3 / f64::from(n_done), "sum_of_bytes": sum,
                    });
                    println!("{line}");
                }
            }
        }
    }
}
