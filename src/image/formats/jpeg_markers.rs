//! Walks the marker segments of a JPEG file up to its first scan.

use std::borrow::Cow;
use std::ops::Range;

use super::{refused, truncated};
use crate::Result;
use crate::image::orientation::Orientation;

/// What the segments before the first scan say.
#[derive(Debug)]
pub(super) struct Markers {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) orientation: Orientation,
    pub(super) n_components: usize,
    /// Bytes of all coefficients if the decoder has to keep them: progressive files and files of several scans.
    pub(super) coefficient_bytes: u64,
    /// Bytes between segments that belong to none.
    junk: Vec<Range<usize>>,
}

struct Frame {
    width: u32,
    height: u32,
    is_progressive: bool,
    /// Samples, per component, across and down.
    sampling: Vec<(u64, u64)>,
}

impl Markers {
    /// Reads up to the first scan.
    pub(super) fn read(data: &[u8]) -> Result<Self> {
        let mut at = 2;
        let mut junk = Vec::new();
        let mut orientation = None;
        let mut frame: Option<Frame> = None;
        loop {
            let (marker, start, next) = next_marker(data, at)?;
            if start > at {
                junk.push(at..start);
            }
            at = next;
            if matches!(marker, 0x01 | 0xd0..=0xd7) {
                continue;
            }
            if matches!(marker, 0xd8 | 0xd9) {
                return Err(refused("the JPEG file has no picture"));
            }
            let length = usize::from(u16::from_be_bytes([byte(data, at)?, byte(data, at + 1)?]));
            let segment = data.get(at + 2..at + length.max(2)).ok_or_else(|| truncated("JPEG"))?;
            at += length.max(2);
            match marker {
                0xe1 if orientation.is_none() && segment.starts_with(b"Exif\0\0") => {
                    orientation = Some(Orientation::from_exif(segment));
                }
                // Every start-of-frame marker; 0xc4, 0xc8 and 0xcc mean other things.
                0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) && frame.is_none() => {
                    frame = Some(Frame::read(segment, matches!(marker, 0xc2 | 0xc6 | 0xca | 0xce))?);
                }
                0xda => {
                    let frame = frame.ok_or_else(|| refused("the JPEG file has no frame before its first scan"))?;
                    let n_in_scan = usize::from(byte(segment, 0)?);
                    let is_kept = frame.is_progressive || n_in_scan < frame.sampling.len();
                    return Ok(Self {
                        width: frame.width,
                        height: frame.height,
                        orientation: orientation.unwrap_or(Orientation::UPRIGHT),
                        n_components: frame.sampling.len(),
                        coefficient_bytes: if is_kept { frame.coefficient_bytes() } else { 0 },
                        junk,
                    });
                }
                _ => {}
            }
        }
    }

    /// The file without bytes between segments. libjpeg skips them too, but as a warning that hides the next ones.
    pub(super) fn without_junk<'a>(&self, data: &'a [u8]) -> Cow<'a, [u8]> {
        if self.junk.is_empty() {
            return Cow::Borrowed(data);
        }
        let mut kept = Vec::with_capacity(data.len());
        let mut from = 0;
        for junk in &self.junk {
            kept.extend_from_slice(&data[from..junk.start]);
            from = junk.end;
        }
        kept.extend_from_slice(&data[from..]);
        Cow::Owned(kept)
    }
}

impl Frame {
    fn read(segment: &[u8], is_progressive: bool) -> Result<Self> {
        let [_, h1, h0, w1, w0, n_components, components @ ..] = segment else { return Err(truncated("JPEG")) };
        let components = components.chunks_exact(3).take(usize::from(*n_components));
        let sampling: Vec<_> = components.map(|part| (u64::from(part[1] >> 4), u64::from(part[1] & 15))).collect();
        Ok(Self {
            width: u32::from(u16::from_be_bytes([*w1, *w0])),
            height: u32::from(u16::from_be_bytes([*h1, *h0])),
            is_progressive,
            sampling,
        })
    }

    /// Two bytes a coefficient, in whole blocks.
    fn coefficient_bytes(&self) -> u64 {
        let most = |of: fn(&(u64, u64)) -> u64| self.sampling.iter().map(of).max().unwrap_or(1).max(1);
        let (across, down) = (most(|sampling| sampling.0), most(|sampling| sampling.1));
        let n_mcus = u64::from(self.width).div_ceil(8 * across) * u64::from(self.height).div_ceil(8 * down);
        self.sampling.iter().map(|(h, v)| n_mcus * h * v * 64 * 2).sum()
    }
}

/// The next marker at or after `at`: its code, where its segment's lead-in begins, and where its content begins.
fn next_marker(data: &[u8], mut at: usize) -> Result<(u8, usize, usize)> {
    loop {
        while byte(data, at)? != 0xff {
            at += 1;
        }
        let start = at;
        while byte(data, at)? == 0xff {
            at += 1;
        }
        let marker = byte(data, at)?;
        at += 1;
        if marker != 0 {
            return Ok((marker, start, at));
        }
    }
}

fn byte(data: &[u8], at: usize) -> Result<u8> {
    data.get(at).copied().ok_or_else(|| truncated("JPEG"))
}
