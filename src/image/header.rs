//! Reads a picture's format and size without allocating its pixels, and refuses what is over the caps.

use super::decode::guard;
use super::formats::{Format, Layout};
use crate::types::limits::{IMAGE_DECODED_BYTES, IMAGE_PIXELS, IMAGE_SIDE, MEDIA_BYTES};
use crate::types::{Error, Result};

/// What a picture's header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageHeader {
    pub mime_type: &'static str,
    /// Pixels, before any orientation flag is applied.
    pub width: u32,
    pub height: u32,
    /// What decoding takes at most, in bytes, the pixels included.
    pub decoded_bytes: u64,
}

/// Reads the header of a PNG, JPEG, GIF, WebP, BMP or TIFF file.
///
/// # Errors
/// [`Error::InvalidArgument`] for anything else, a damaged header or an empty picture; [`Error::LimitExceeded`] if the file or
/// the picture is too large.
pub fn read_header(data: &[u8]) -> Result<ImageHeader> {
    let (format, layout) = check(data)?;
    let Layout { width, height, memory, .. } = layout;
    Ok(ImageHeader { mime_type: format.mime_type(), width, height, decoded_bytes: memory })
}

/// The format and layout of a file that is within all caps.
pub(super) fn check(data: &[u8]) -> Result<(Format, Layout)> {
    MEDIA_BYTES.check("media.data", data.len())?;
    let format = Format::guess(data).ok_or_else(|| {
        let found = describe(data);
        Error::invalid("media.data", format!("expected a PNG, JPEG, GIF, WebP, BMP or TIFF file, got {found}"))
    })?;
    let mut layout = guard(format, || format.layout(data))?;
    let (width, height) = (layout.width, layout.height);
    if width == 0 || height == 0 {
        return Err(Error::invalid("media.data", format!("the picture is empty ({width}×{height})")));
    }
    IMAGE_SIDE.check("media.data width", width as usize)?;
    IMAGE_SIDE.check("media.data height", height as usize)?;
    IMAGE_PIXELS.check("media.data pixels", width as usize * height as usize)?;
    if layout.orientation.is_transposed() {
        // Turning needs the picture twice, when what the decoder needed besides is free again.
        let pixels = u64::from(width) * u64::from(height) * 3;
        layout.memory = layout.memory.max(2 * pixels);
    }
    IMAGE_DECODED_BYTES.check("media.data decoded bytes", layout.memory as usize)?;
    Ok((format, layout))
}

fn describe(data: &[u8]) -> String {
    if data.is_empty() {
        return "no bytes".to_owned();
    }
    let start: Vec<String> = data.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{} bytes starting {}", data.len(), start.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_or_refused() {
        let png = |width: u32, height: u32| {
            let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
            bytes.extend(width.to_be_bytes());
            bytes.extend(height.to_be_bytes());
            bytes.extend([8, 6, 0, 0, 0]);
            let checksum = crc32(&bytes[12..]);
            bytes.extend(checksum.to_be_bytes());
            // A file that breaks off is refused, even by its header.
            bytes.extend(b"\0\0\0\0IEND");
            bytes.extend(crc32(b"IEND").to_be_bytes());
            bytes
        };
        let header = read_header(&png(64, 32)).expect("a picture");
        assert_eq!((header.mime_type, header.width, header.height), ("image/png", 64, 32));
        assert!(header.decoded_bytes >= 64 * 32 * 3);
        assert!(matches!(read_header(&png(65_535, 65_535)), Err(Error::LimitExceeded { .. })));
        assert!(matches!(read_header(&png(20_000, 20_000)), Err(Error::LimitExceeded { .. })));
        for bad in [&b""[..], b"hello", b"\x89PNG\r\n\x1a\n", b"<svg xmlns='http://www.w3.org/2000/svg'/>", &png(0, 5)]
        {
            assert!(matches!(read_header(bad), Err(Error::InvalidArgument { .. })), "{bad:?}");
        }
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0_u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
        })
    }
}
