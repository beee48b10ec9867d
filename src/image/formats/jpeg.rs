//! JPEG through libjpeg-turbo, with the settings that Pillow uses: accurate DCT, smooth chroma.

use turbojpeg::{Colorspace, Compressor, Decompressor, Image, PixelFormat, Subsamp};

use super::jpeg_markers::Markers;
use super::{Layout, damaged, refused};
use crate::image::colour::from_cmyk;
use crate::{Error, Result};

/// More scans than any encoder writes; each costs a pass over the whole picture.
const MAX_SCANS: u32 = 64;

pub(super) fn layout(data: &[u8]) -> Result<Layout> {
    let markers = Markers::read(data)?;
    let bytes_per_pixel = if markers.n_components == 4 { 4 } else { 3 };
    let mut layout = Layout::new(markers.width, markers.height, bytes_per_pixel);
    layout.memory += markers.coefficient_bytes + data.len() as u64;
    layout.orientation = markers.orientation;
    Ok(layout)
}

/// Decodes to RGB. A warning of libjpeg is an error: the data is truncated or damaged.
pub(super) fn decode(data: &[u8], layout: &Layout) -> Result<Vec<u8>> {
    let data = &*Markers::read(data)?.without_junk(data);
    let mut decompressor = Decompressor::new().map_err(internal)?;
    decompressor.set_scan_limit(MAX_SCANS).map_err(internal)?;
    let header = decompressor.read_header(data).map_err(|error| fault(&error))?;
    let (width, height) = (layout.width as usize, layout.height as usize);
    if (header.width, header.height) != (width, height) {
        return Err(refused("the JPEG file contradicts itself about its size"));
    }
    let is_cmyk = matches!(header.colorspace, Colorspace::CMYK | Colorspace::YCCK);
    let format = if is_cmyk { PixelFormat::CMYK } else { PixelFormat::RGB };
    let pitch = width * format.size();
    let mut pixels = vec![0; pitch * height];
    let image = Image { pixels: &mut pixels[..], width, pitch, height, format };
    decompressor.decompress(data, image).map_err(|error| fault(&error))?;
    if is_cmyk {
        // In place, because the rest of the buffer is never read again. JPEG stores inks inverted, as Adobe does.
        for index in 0..width * height {
            let inks = [0, 1, 2, 3].map(|ink| 255 - pixels[4 * index + ink]);
            pixels[3 * index..3 * index + 3].copy_from_slice(&from_cmyk(inks));
        }
        pixels.truncate(3 * width * height);
    }
    Ok(pixels)
}

/// Encodes RGB, chroma halved along both axes.
pub(in crate::image) fn encode(pixels: &[u8], width: u32, height: u32, quality: i32) -> Result<Vec<u8>> {
    let (width, height) = (width as usize, height as usize);
    let mut compressor = Compressor::new().map_err(internal)?;
    compressor.set_quality(quality).map_err(internal)?;
    compressor.set_subsamp(Subsamp::Sub2x2).map_err(internal)?;
    let image = Image { pixels, width, pitch: width * 3, height, format: PixelFormat::RGB };
    compressor.compress_to_vec(image).map_err(internal)
}

fn fault(error: &turbojpeg::Error) -> Error {
    let message = error.to_string();
    damaged("JPEG", message.trim_start_matches("TurboJPEG error: "))
}

#[expect(clippy::needless_pass_by_value, reason = "handed to map_err")]
fn internal(error: turbojpeg::Error) -> Error {
    Error::Internal(format!("libjpeg-turbo: {error}"))
}
