//! Finds single entries in the first directory of a TIFF structure, which is also what EXIF is.

/// An entry with one number of 16 or 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) value: u32,
    /// Where the two bytes of a 16-bit value stand.
    pub(super) place: usize,
    pub(super) is_little_endian: bool,
}

/// Finds `tag`. Damaged data has no entries; neither have files of the large variant, BigTIFF.
pub(super) fn find_entry(data: &[u8], tag: u16) -> Option<Entry> {
    let is_little_endian = match data.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes: [u8; 2] = data.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if is_little_endian { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let long = |at: usize| {
        let bytes: [u8; 4] = data.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if is_little_endian { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    let directory = long(4)? as usize;
    let count = usize::from(short(directory)?);
    let entry = (0..count).map(|index| directory + 2 + 12 * index).find(|&entry| short(entry) == Some(tag))?;
    let place = entry + 8;
    let value = match short(entry + 2)? {
        3 => u32::from(short(place)?),
        4 => long(place)?,
        _ => return None,
    };
    Some(Entry { value, place, is_little_endian })
}
