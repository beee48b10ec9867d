//! The file of a segment: a prelude, a header that lists sections, and the sections, each in checksummed blocks.
//!
//! Little-endian. The prelude is `PICTSEG` and a zero byte, the format's number (u32), the header's length (u32) and its CRC-32 (u32);
//! the header follows in postcard's encoding; sections begin at multiples of 4,096 bytes. A file is written aside, brought to the disk
//! and renamed, so that one that is there is whole.

use std::fs::{self, File};
use std::io::{BufWriter, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::fail_point::fail_point;
use crate::{Error, Result};

const MAGIC: [u8; 8] = *b"PICTSEG\0";
pub(super) const FORMAT: u32 = 1;
const PRELUDE: usize = 20;
/// Bytes that one checksum covers.
pub(super) const BLOCK: usize = 1 << 20;
const ALIGNMENT: u64 = 4_096;
/// A header of 100 million nodes has about 1 MiB.
const LONGEST_HEADER: usize = 64 << 20;

/// What a segment is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) dimension: u32,
    pub(super) nodes: u32,
    pub(super) keys: u32,
    pub(super) m: u32,
    /// A node of the highest level; `None` without nodes.
    pub(super) entry: Option<u32>,
    /// Nodes that walks miss.
    pub(super) strays: Vec<u32>,
    pub(super) calibration: super::calibrate::Calibration,
    pub(super) sections: Vec<Section>,
}

/// A part of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) offset: u64,
    pub(super) length: u64,
    /// CRC-32 of each block of [`BLOCK`] bytes.
    pub(super) checksums: Vec<u32>,
}

/// Writes a file whose sections are these bytes.
///
/// # Errors
/// [`Error::Storage`] of the disk; nothing is left under `path` then.
pub(super) fn write(path: &Path, mut header: Header, sections: &[(&str, &[u8])]) -> Result<()> {
    let checksums = |bytes: &[u8]| bytes.chunks(BLOCK).map(crc32fast::hash).collect();
    header.sections = sections
        .iter()
        .map(|(name, bytes)| Section {
            name: (*name).to_owned(),
            offset: 0,
            length: bytes.len() as u64,
            checksums: checksums(bytes),
        })
        .collect();
    // Numbers have a varying length in postcard, so offsets are set again until the header stays as long as it is.
    let mut encoded = encode(&header)?;
    loop {
        let mut offset = (PRELUDE + encoded.len()) as u64 + 64;
        for section in &mut header.sections {
            offset = offset.next_multiple_of(ALIGNMENT);
            section.offset = offset;
            offset += section.length;
        }
        let again = encode(&header)?;
        let fits = again.len() <= encoded.len() + 64;
        encoded = again;
        if fits {
            break;
        }
    }
    let aside = path.with_extension("writing");
    let written = write_aside(&aside, &encoded, &header, sections).and_then(|()| {
        fail_point("segment.written");
        fs::rename(&aside, path)
    });
    let written = written.and_then(|()| match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    });
    written.map_err(|error| {
        drop(fs::remove_file(&aside));
        Error::of_file("write the segment", path, &error)
    })
}

fn write_aside(aside: &Path, encoded: &[u8], header: &Header, sections: &[(&str, &[u8])]) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(aside)?);
    file.write_all(&MAGIC)?;
    for number in [FORMAT, encoded.len() as u32, crc32fast::hash(encoded)] {
        file.write_all(&number.to_le_bytes())?;
    }
    file.write_all(encoded)?;
    for (section, (_, bytes)) in header.sections.iter().zip(sections) {
        file.seek(SeekFrom::Start(section.offset))?;
        file.write_all(bytes)?;
    }
    let file = file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    // Sections without bytes leave no trace, and may be the last.
    let end = header.sections.iter().map(|section| section.offset + section.length).max().unwrap_or(0);
    file.set_len(end.max(file.metadata()?.len()))?;
    file.sync_all()
}

fn encode(header: &Header) -> Result<Vec<u8>> {
    postcard::to_allocvec(header).map_err(|error| Error::Internal(format!("cannot encode a segment's header: {error}")))
}

/// Reads a header and checks that its sections lie within the file.
///
/// # Errors
/// [`Error::Corruption`] that says what was expected and what came.
pub(super) fn read_header(bytes: &[u8]) -> Result<Header> {
    let wrong = |what: String| Error::Corruption(format!("not a whole segment: {what}"));
    let prelude =
        bytes.get(..PRELUDE).ok_or_else(|| wrong(format!("{} bytes, a prelude has {PRELUDE}", bytes.len())))?;
    if prelude[..8] != MAGIC {
        return Err(wrong("it does not begin with PICTSEG".to_owned()));
    }
    let number = |at: usize| u32::from_le_bytes([prelude[at], prelude[at + 1], prelude[at + 2], prelude[at + 3]]);
    let (format, length, checksum) = (number(8), number(12) as usize, number(16));
    if format != FORMAT {
        return Err(wrong(format!("its format is {format}, this version reads {FORMAT}")));
    }
    let encoded = bytes.get(PRELUDE..PRELUDE + length).filter(|_| length <= LONGEST_HEADER);
    let encoded = encoded.ok_or_else(|| wrong(format!("a header of {length} bytes in a file of {}", bytes.len())))?;
    if crc32fast::hash(encoded) != checksum {
        return Err(wrong("its header has another checksum".to_owned()));
    }
    let header: Header =
        postcard::from_bytes(encoded).map_err(|error| wrong(format!("its header cannot be read: {error}")))?;
    for section in &header.sections {
        let end = section.offset.checked_add(section.length).filter(|&end| end <= bytes.len() as u64);
        if end.is_none() || section.checksums.len() != (section.length as usize).div_ceil(BLOCK) {
            let Section { name, offset, length, .. } = section;
            return Err(wrong(format!("{name} has {length} bytes at {offset}, the file ends at {}", bytes.len())));
        }
    }
    Ok(header)
}

/// True if a block has the bytes that were written.
pub(super) fn is_intact(block: &[u8], checksum: u32) -> bool {
    crc32fast::hash(block) == checksum
}
