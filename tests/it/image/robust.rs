//! Truncated, altered and random files: refused or decoded, never more.

use std::time::{Duration, Instant};

use pictor::image::{ImageRule, decode, read_header};
use pictor::types::Error;

use super::formats::small_files;
use crate::random::{Random, seed};
use crate::support::is_verify;

/// A file cut at any byte is refused, or it lost nothing that counts.
#[test]
fn truncated_files_are_refused() {
    let (mut n_refused, mut n_harmless) = (0, 0);
    for file in small_files() {
        let whole = decode(&file.data, ImageRule::Pictor);
        for length in 0..file.data.len() {
            match decode(&file.data[..length], ImageRule::Pictor) {
                Err(Error::InvalidArgument { field, .. }) if field == "media.data" => n_refused += 1,
                Err(Error::LimitExceeded { .. }) => n_refused += 1,
                Err(other) => panic!("{} cut at {length}: {other}", file.name),
                found @ Ok(_) => {
                    assert_eq!(found, whole, "{} cut at {length} of {}", file.name, file.data.len());
                    n_harmless += 1;
                }
            }
        }
    }
    println!("cut files: {n_refused} refused, {n_harmless} without loss");
    assert!(n_harmless * 20 < n_refused);
}

/// Altered files give a picture or a typed error, and the header's check accepts whatever decodes.
#[test]
fn altered_files_never_panic() {
    let mut random = Random::new(seed("altered pictures"));
    let n_rounds = if is_verify() { 2000 } else { 60 };
    let (mut n_decoded, mut n_refused) = (0, 0);
    for file in small_files() {
        for _ in 0..n_rounds {
            let mut data = file.data.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(data.len());
                match random.below(4) {
                    0 => data[at] = random.next() as u8,
                    1 => data[at] ^= 1 << random.below(8),
                    2 => data[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
                    _ => {
                        data.remove(at);
                    }
                }
            }
            let header = read_header(&data);
            match decode(&data, ImageRule::Pictor) {
                Ok(pixels) => {
                    assert_eq!(pixels.data.len(), pixels.width as usize * pixels.height as usize * 3);
                    assert!(header.is_ok(), "{}: decoded, but {header:?}", file.name);
                    n_decoded += 1;
                }
                Err(Error::InvalidArgument { .. } | Error::LimitExceeded { .. }) => n_refused += 1,
                Err(other) => panic!("{}: {other}", file.name),
            }
        }
    }
    println!("altered files: {n_decoded} decoded, {n_refused} refused");
    assert!(n_decoded > 0 && n_refused > 0);
}

#[test]
fn random_bytes_never_panic() {
    let mut random = Random::new(seed("random pictures"));
    let starts: [&[u8]; 8] = [
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"GIF89a",
        b"RIFF\xff\0\0\0WEBPVP8X",
        b"BM",
        b"II*\0\x08\0\0\0",
        b"MM\0*\0\0\0\x08",
        b"",
    ];
    for round in 0..if is_verify() { 200_000 } else { 5_000 } {
        let mut data = starts[round % starts.len()].to_vec();
        data.extend((0..random.below(200)).map(|_| random.next() as u8));
        let found = decode(&data, ImageRule::Pictor);
        let is_typed = matches!(found, Ok(_) | Err(Error::InvalidArgument { .. } | Error::LimitExceeded { .. }));
        assert!(is_typed, "{found:?} for {data:02x?}");
    }
}

/// A PNG of 8-bit grey around compressed picture data.
fn png_file(width: u32, height: u32, picture: &[u8]) -> Vec<u8> {
    let mut data = b"\x89PNG\r\n\x1a\n".to_vec();
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 0, 0, 0, 0]].concat();
    for (name, content) in [(b"IHDR", &header[..]), (b"IDAT", picture), (b"IEND", b"")] {
        data.extend((content.len() as u32).to_be_bytes());
        let start = data.len();
        data.extend(name);
        data.extend(content);
        let crc = !data[start..].iter().fold(!0_u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
        });
        data.extend(crc.to_be_bytes());
    }
    data
}

#[test]
fn a_png_with_a_wrong_sum_is_refused() {
    // One stored block of two bytes, no filter and the grey 7; then the Adler-32 of both.
    let good = [0x78, 0x01, 1, 2, 0, 0xfd, 0xff, 0, 7, 0, 9, 0, 8];
    assert_eq!(decode(&png_file(1, 1, &good), ImageRule::Pictor).expect("a picture").data, [7; 3]);
    for position in 9..13 {
        let mut bad = good;
        bad[position] ^= 1;
        let found = decode(&png_file(1, 1, &bad), ImageRule::Pictor);
        assert!(matches!(found, Err(Error::InvalidArgument { .. })), "{position}: {found:?}");
    }
    // The chunk's own sum.
    let mut bad = png_file(1, 1, &good);
    let at = bad.len() - 12 - 5;
    bad[at] ^= 1;
    assert!(decode(&bad, ImageRule::Pictor).is_err());
}

/// Picture data that goes on for 400 MB after the last row.
#[test]
fn a_png_that_does_not_end_is_answered_soon() {
    let mut data = Vec::new();
    let mut encoder = png::Encoder::new(&mut data, 20_000, 20_000);
    encoder.set_color(png::ColorType::Grayscale);
    let mut writer = encoder.write_header().expect("a header");
    writer.write_image_data(&vec![0; 400_000_000]).expect("written");
    writer.finish().expect("written");
    let mut chunks = Vec::new();
    let mut at = 8;
    while at < data.len() {
        let length = u32::from_be_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]]) as usize;
        if &data[at + 4..at + 8] == b"IDAT" {
            chunks.extend_from_slice(&data[at + 8..at + 8 + length]);
        }
        at += 12 + length;
    }
    let bomb = png_file(20_000, 1, &chunks);
    let started = Instant::now();
    let outcome = decode(&bomb, ImageRule::Pictor).map(|pixels| pixels.height);
    let took = started.elapsed();
    println!("a PNG of {} bytes that does not end: {outcome:?} after {took:?}", bomb.len());
    assert!(took < Duration::from_secs(1), "{took:?}");
}
