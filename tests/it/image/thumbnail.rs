//! Previews: their size, and that they show the picture.

use pictor::image::{Filter, ImageRule, Raster, Window, decode, resize, thumbnail};

use super::files::mean_difference;
use super::formats::small_files;
use crate::support::test_data;

#[test]
fn thumbnails_show_the_picture_in_small() {
    let Some(path) = test_data("images/orientation/Portrait_6.jpg", "thumbnails_show_the_picture_in_small") else {
        return;
    };
    let data = std::fs::read(path).expect("readable");
    let pixels = decode(&data, ImageRule::Pictor).expect("decodes");
    let small = thumbnail(&data, 256).expect("a thumbnail");
    let shown = decode(&small, ImageRule::Pictor).expect("a JPEG");
    // 1200 × 1800, upright.
    assert_eq!((shown.width, shown.height), (171, 256));
    let source = Raster::<3> { data: &pixels.data, width: pixels.width, height: pixels.height };
    let window = Window { left: 0, top: 0, width: 171, height: 256 };
    let exact = resize(source, 171, 256, Filter::Bicubic, window);
    let difference = mean_difference(&shown.data, &exact);
    assert!(difference < 5.0, "{difference}");
    assert!(small.len() < 40_000, "{} bytes", small.len());
}

#[test]
fn thumbnails_are_never_larger() {
    for file in small_files().iter().filter(|file| file.name != "tiff/jpeg-inside") {
        let check = |side, width, height| {
            let shown = decode(&thumbnail(&file.data, side).expect(&file.name), ImageRule::Pictor).expect("a JPEG");
            let found = (shown.width.max(shown.height), shown.width.min(shown.height));
            assert_eq!(found, (width, height), "{} {side}", file.name);
        };
        check(100, 23, 19);
        check(12, 12, 10);
        check(1, 1, 1);
        assert!(thumbnail(&file.data, 0).is_err());
    }
}
