//! What decoding takes in memory, measured in a child process for each file: never more than its header says.

use std::io::Cursor;
use std::process::Command;

use pictor::image::{ImageRule, decode, read_header};
use pictor::types::Error;
use pictor::types::limits::IMAGE_DECODED_BYTES;

const CHILD: &str = "PICTOR_IMAGE_CHILD";

/// Large pictures of formats that take most per pixel, each just below the cap, and how they are made.
fn large(name: &str) -> Vec<u8> {
    let flat = |width: u32, height: u32, bytes: u32| vec![90_u8; (width * height * bytes) as usize];
    match name {
        "png rgba16 8000x8000" => {
            let mut data = Vec::new();
            let mut encoder = png::Encoder::new(&mut data, 8000, 8000);
            encoder.set_color(png::ColorType::Rgba);
            encoder.set_depth(png::BitDepth::Sixteen);
            encoder.set_compression(png::Compression::Fast);
            let mut writer = encoder.write_header().expect("a header");
            writer.write_image_data(&flat(8000, 8000, 8)).expect("written");
            writer.finish().expect("written");
            data
        }
        "jpeg turned 8000x8000" => {
            let mut data = jpeg(8000, 8000, false);
            // Orientation 6, after the start marker.
            let exif = b"\xff\xe1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
            data.splice(2..2, exif.iter().copied());
            data
        }
        "jpeg 11000x9000" => jpeg(11_000, 9_000, false),
        "jpeg progressive 6500x6500" => jpeg(6500, 6500, true),
        "webp 7000x7000" => {
            let mut data = Vec::new();
            let encoder = image_webp::WebPEncoder::new(&mut data);
            encoder.encode(&flat(7000, 7000, 4), 7000, 7000, image_webp::ColorType::Rgba8).expect("encoded");
            data
        }
        "tiff rgba16 5000x5000" => {
            let mut data = Cursor::new(Vec::new());
            let mut encoder = tiff::encoder::TiffEncoder::new(&mut data).expect("an encoder");
            encoder = encoder.with_compression(tiff::encoder::Compression::Lzw);
            let mut image = encoder.new_image::<tiff::encoder::colortype::RGBA16>(5000, 5000).expect("an image");
            image.rows_per_strip(5000).expect("one strip");
            image.write_data(&vec![9000_u16; 5000 * 5000 * 4]).expect("written");
            data.into_inner()
        }
        other => panic!("{other}"),
    }
}

fn jpeg(width: usize, height: usize, is_progressive: bool) -> Vec<u8> {
    let mut compressor = turbojpeg::Compressor::new().expect("a compressor");
    compressor.set_subsamp(turbojpeg::Subsamp::None).expect("set");
    compressor.set_progressive(is_progressive).expect("set");
    let pixels = &vec![90; width * height * 3][..];
    let format = turbojpeg::PixelFormat::RGB;
    compressor
        .compress_to_vec(turbojpeg::Image { pixels, width, pitch: width * 3, height, format })
        .expect("compressed")
}

const LARGE: [&str; 6] = [
    "png rgba16 8000x8000",
    "jpeg 11000x9000",
    "jpeg progressive 6500x6500",
    "jpeg turned 8000x8000",
    "webp 7000x7000",
    "tiff rgba16 5000x5000",
];

#[test]
fn decoding_takes_no_more_than_the_header_says() {
    for name in LARGE {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("picture");
        let data = large(name);
        let header = read_header(&data).expect(name);
        std::fs::write(&path, data).expect("written");
        let output = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "image::usage::decoding_child", "--nocapture"])
            .env(CHILD, &path)
            .output()
            .expect("a child");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let taken = text.lines().find_map(|line| line.strip_prefix("taken ")?.parse::<u64>().ok());
        let taken = taken.unwrap_or_else(|| panic!("{name}: {text}{}", String::from_utf8_lossy(&output.stderr)));
        let mib = |bytes: u64| bytes >> 20;
        println!("{name}: {} MiB taken, {} MiB announced", mib(taken), mib(header.decoded_bytes));
        assert!(header.decoded_bytes <= IMAGE_DECODED_BYTES.cap);
        assert!(taken <= header.decoded_bytes + (8 << 20), "{name}: {} MiB", mib(taken));
    }
}

/// Runs in a child process only.
#[test]
fn decoding_child() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let data = std::fs::read(path).expect("readable");
    let before = peak_bytes();
    let pixels = decode(&data, ImageRule::Pictor).expect("decodes");
    assert!(!pixels.data.is_empty());
    println!("\ntaken {}", peak_bytes() - before);
}

/// The most memory that this process ever had, in bytes.
pub(crate) fn peak_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
}

/// Headers that promise too much are refused before anything is allocated.
#[test]
fn bombs_are_refused_by_their_header() {
    let mut gif = b"GIF89a".to_vec();
    gif.extend([0xff, 0x7f, 0xff, 0x7f, 0, 0, 0]);
    gif.extend([0x2c, 0, 0, 0, 0, 0xff, 0x7f, 0xff, 0x7f, 0, 2, 0, 0x3b]);
    let mut bmp = b"BM".to_vec();
    bmp.extend([0; 8]);
    bmp.extend([54, 0, 0, 0, 40, 0, 0, 0, 0x40, 0x9c, 0, 0, 0x40, 0x9c, 0, 0, 1, 0, 24, 0]);
    bmp.extend([0; 24]);
    let mut jpeg = b"\xff\xd8\xff\xc0\0\x11\x08\x7f\xff\x7f\xff\x03\x01\x22\0\x02\x11\0\x03\x11\0".to_vec();
    jpeg.extend(b"\xff\xda\0\x0c\x03\x01\0\x02\0\x03\0\0\x3f\0\xff\xd9");
    for (name, data) in [("gif", gif), ("bmp", bmp), ("jpeg", jpeg)] {
        for found in [read_header(&data).map(|_| ()), decode(&data, ImageRule::Pictor).map(|_| ())] {
            assert!(matches!(found, Err(Error::LimitExceeded { .. })), "{name}: {found:?}");
        }
    }
}
