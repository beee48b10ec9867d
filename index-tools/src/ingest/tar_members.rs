//! The members of a plain tar archive: names and places, without their contents.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use anyhow::{Context as _, Result, bail, ensure};
use tar::{EntryType, Header};

const BLOCK: u64 = 512;
/// GNU long names and pax records are small; a larger one is an attack or damage.
const EXTENSION_BYTES: u64 = 1 << 20;

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: Vec<u8>,
    pub kind: MemberKind,
    /// Where its contents start.
    pub position: u64,
    pub size: u64,
}

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberKind {
    File,
    Link,
    /// Folders, devices and the like.
    Other,
}

/// Reads headers from the archive's start to its end.
#[derive(Debug)]
pub struct Members {
    archive: BufReader<File>,
    size: u64,
    next: u64,
}

impl Members {
    /// Starts at the first header.
    ///
    /// # Errors
    /// If the file cannot be read or is compressed.
    pub fn open(file: File) -> Result<Self> {
        let size = file.metadata()?.len();
        let mut archive = BufReader::with_capacity(64 << 10, file);
        let mut magic = [0; 2];
        if archive.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b] {
            bail!("the archive is compressed; unpack it to a plain .tar first");
        }
        archive.rewind()?;
        Ok(Self { archive, size, next: 0 })
    }

    /// Bytes of the archive.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The next member with its long name, if it has one; `None` at the end.
    ///
    /// # Errors
    /// If the archive is damaged; it cannot be read on then.
    pub fn advance(&mut self) -> Result<Option<Member>> {
        let mut long_name = None;
        let mut pax_size = None;
        loop {
            let header_at = self.next;
            let Some(header) = self.header().with_context(|| format!("damaged archive at byte {header_at}"))? else {
                return Ok(None);
            };
            let entry_type = header.entry_type();
            let plain_size = header.entry_size().with_context(|| format!("damaged archive at byte {header_at}"))?;
            let size = pax_size.filter(|_| !is_extension(entry_type)).unwrap_or(plain_size);
            let position = header_at + BLOCK;
            let end = position.checked_add(size).filter(|end| *end <= self.size);
            let end = end.with_context(|| format!("the archive is cut off: the member at byte {header_at} goes on"))?;
            // The last block may lack its padding.
            self.next = end.div_ceil(BLOCK) * BLOCK;
            if is_extension(entry_type) {
                ensure!(size <= EXTENSION_BYTES, "damaged archive at byte {header_at}: an extension of {size} bytes");
                let mut data = vec![0; usize::try_from(size)?];
                self.read_at(position, &mut data)?;
                if entry_type == EntryType::GNULongName {
                    data.truncate(data.iter().position(|byte| *byte == 0).unwrap_or(data.len()));
                    long_name = Some(data);
                } else if entry_type == EntryType::XHeader {
                    for extension in tar::PaxExtensions::new(&data).flatten() {
                        match extension.key_bytes() {
                            b"path" => long_name = Some(extension.value_bytes().to_vec()),
                            b"size" => pax_size = extension.value().ok().and_then(|text| text.parse().ok()),
                            _ => {}
                        }
                    }
                }
                continue;
            }
            let kind = match entry_type {
                EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => MemberKind::File,
                EntryType::Symlink | EntryType::Link => MemberKind::Link,
                _ => MemberKind::Other,
            };
            ensure!(entry_type != EntryType::GNUSparse, "sparse members are not supported (at byte {header_at})");
            let name = long_name.unwrap_or_else(|| header.path_bytes().into_owned());
            return Ok(Some(Member { name, kind, position, size }));
        }
    }

    /// The header at the next position; `None` at the end: a zero block or the end of the file.
    fn header(&mut self) -> Result<Option<Header>> {
        if self.next >= self.size {
            return Ok(None);
        }
        ensure!(self.size - self.next >= BLOCK, "the archive is cut off");
        let mut block = [0; BLOCK as usize];
        self.read_at(self.next, &mut block)?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block).clone();
        // The checksum counts its own eight bytes as spaces.
        let sum: u32 = block.iter().enumerate().map(|(at, byte)| sum_byte(at, *byte)).sum();
        ensure!(header.cksum().ok() == Some(sum), "this is not a tar header");
        Ok(Some(header))
    }

    /// Fills the buffer from a place in the archive.
    ///
    /// # Errors
    /// If there is less than that.
    pub fn read_at(&mut self, position: u64, buffer: &mut [u8]) -> Result<()> {
        let here = self.archive.stream_position()?;
        match i64::try_from(position).ok().zip(i64::try_from(here).ok()) {
            // Keeps the buffer where it can.
            Some((position, here)) => self.archive.seek_relative(position - here)?,
            None => drop(self.archive.seek(SeekFrom::Start(position))?),
        }
        self.archive.read_exact(buffer)?;
        Ok(())
    }
}

fn sum_byte(at: usize, byte: u8) -> u32 {
    if (148..156).contains(&at) { u32::from(b' ') } else { u32::from(byte) }
}

const fn is_extension(entry_type: EntryType) -> bool {
    matches!(
        entry_type,
        EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader | EntryType::XGlobalHeader
    )
}
