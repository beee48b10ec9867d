//! The zip archive around a pickle: its directory, checked as a whole, and the bytes of its entries.
//!
//! Read here and not by a crate because every number of the directory has to be held against the file's length before anything is
//! allocated by it, and because entries must not lie over each other, which general readers do not look at.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use flate2::read::DeflateDecoder;

use super::Refused;

/// Bytes of the directory.
const MAX_DIRECTORY: u64 = 16 << 20;
const MAX_ENTRIES: u64 = 1 << 16;
const MAX_NAME: usize = 256;
/// Bytes of the pickle.
const MAX_PICKLE: u64 = 16 << 20;
/// How many times the file's length all deflated entries together may become; torch itself deflates nothing.
const MAX_INFLATION: u64 = 16;

const END: [u8; 4] = *b"PK\x05\x06";
const END_64: [u8; 4] = *b"PK\x06\x06";
const END_64_LOCATOR: [u8; 4] = *b"PK\x06\x07";
const DIRECTORY_ENTRY: [u8; 4] = *b"PK\x01\x02";
const LOCAL_ENTRY: [u8; 4] = *b"PK\x03\x04";
const END_BYTES: u64 = 22;
const END_64_BYTES: u64 = 56;
const END_64_LOCATOR_BYTES: u64 = 20;
const LOCAL_BYTES: u64 = 30;

/// An archive of torch's, whose directory was read and checked.
#[derive(Debug)]
pub(super) struct Archive {
    file: File,
    /// By name behind the archive's folder.
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    full_name: String,
    is_deflated: bool,
    checksum: u32,
    /// Bytes in the file.
    stored: u64,
    /// Bytes of the content.
    size: u64,
    /// Where the entry's own header begins.
    start: u64,
    /// Where the next entry, or the directory, begins.
    end: u64,
}

impl Archive {
    pub(super) fn open(path: &Path) -> Refused<Self> {
        // Opening a pipe would wait for its other end.
        if !std::fs::metadata(path).map_err(|error| error.to_string())?.is_file() {
            return Err("expected a file".to_owned());
        }
        let file = File::open(path).map_err(|error| error.to_string())?;
        let length = file.metadata().map_err(|error| error.to_string())?.len();
        check_beginning(&file, length)?;
        let Directory { start, bytes, n_entries } = find_directory(&file, length)?;
        let mut entries = read_directory(&bytes, n_entries)?;
        check_places(&mut entries, start)?;
        let folder = archive_folder(&entries)?;
        let mut named = BTreeMap::new();
        for entry in entries {
            // What lies beside the folder is none of torch's.
            let Some(name) = entry.full_name.strip_prefix(&folder).map(str::to_owned) else { continue };
            if named.insert(name.clone(), entry).is_some() {
                return Err(format!("the entry {name:?} is there twice"));
            }
        }
        check_inflation(&named, length)?;
        let archive = Self { file, entries: named };
        match archive.size("byteorder") {
            None => Ok(archive),
            Some(_) if archive.read_small("byteorder", 16)? == b"little" => Ok(archive),
            Some(_) => Err("its numbers are not little-endian; save it again on a little-endian machine".to_owned()),
        }
    }

    /// Bytes of an entry's content, if it is there.
    pub(super) fn size(&self, name: &str) -> Option<u64> {
        self.entries.get(name).map(|entry| entry.size)
    }

    fn read_small(&self, name: &str, most: u64) -> Refused<Vec<u8>> {
        match self.size(name) {
            Some(size) if size > most => Err(format!("{name} has {size} bytes: no more than {most} are read")),
            _ => self.read_entry(name),
        }
    }

    /// An entry's content, compared with its checksum; the pickle is held to a cap of its own.
    pub(super) fn read(&self, name: &str) -> Refused<Vec<u8>> {
        if name.ends_with(".pkl") { self.read_small(name, MAX_PICKLE) } else { self.read_entry(name) }
    }

    fn read_entry(&self, name: &str) -> Refused<Vec<u8>> {
        let entry = self.entries.get(name).ok_or_else(|| format!("{name} is not in the archive"))?;
        let stored = self.stored_bytes(entry).map_err(|message| format!("{name}: {message}"))?;
        let content = if entry.is_deflated { inflate(&stored, entry.size) } else { Ok(stored) };
        let content = content.map_err(|message| format!("{name}: {message}"))?;
        if crc32fast::hash(&content) == entry.checksum {
            return Ok(content);
        }
        Err(format!("{name}: the checksum is wrong: the file is damaged, or was saved with set_crc32_options(False)"))
    }

    fn stored_bytes(&self, entry: &Entry) -> Refused<Vec<u8>> {
        let header = read_at(&self.file, entry.start, LOCAL_BYTES)?;
        if header[..4] != LOCAL_ENTRY {
            return Err("its header is missing".to_owned());
        }
        let (name_bytes, extra_bytes) = (u64::from(u16_at(&header, 26)), u64::from(u16_at(&header, 28)));
        let start = entry.start + LOCAL_BYTES + name_bytes + extra_bytes;
        // The entry's sizes were held against its place, but without what stands before its bytes.
        if start.checked_add(entry.stored).is_none_or(|end| end > entry.end) {
            return Err("it reaches into the next entry".to_owned());
        }
        if read_at(&self.file, entry.start + LOCAL_BYTES, name_bytes)? != entry.full_name.as_bytes() {
            return Err("its header has another name than the directory".to_owned());
        }
        read_at(&self.file, start, entry.stored)
    }
}

/// Says what to do about files that are no zip archives.
fn check_beginning(file: &File, length: u64) -> Refused<()> {
    let first = read_at(file, 0, length.min(4))?;
    if first == LOCAL_ENTRY {
        return Ok(());
    }
    let again = "load it in Python with torch.load(path, weights_only=True) and save that with torch.save, which writes zip archives";
    match first[..] {
        [0x80, 1..=5, ..] => Err(format!("a legacy file, as torch wrote them before 1.6: {again}")),
        _ => Err(format!(
            "expected a zip archive of torch.save, found {length} bytes starting {first:02x?}; if torch reads it, {again}"
        )),
    }
}

/// The directory's bytes.
struct Directory {
    start: u64,
    bytes: Vec<u8>,
    n_entries: u64,
}

fn find_directory(file: &File, length: u64) -> Refused<Directory> {
    // A comment of at most 65,535 bytes may stand behind the end.
    let tail_start = length.saturating_sub(END_BYTES + 65_535);
    let tail = read_at(file, tail_start, length - tail_start)?;
    let is_end = |at: &usize| {
        tail[*at..].starts_with(&END)
            && tail.len() >= at + END_BYTES as usize
            && at + END_BYTES as usize + usize::from(u16_at(&tail, at + 20)) == tail.len()
    };
    let at = (0..tail.len()).rev().find(is_end).ok_or("the zip archive is cut off: its directory is missing")?;
    let end = &tail[at..];
    let mut end_start = tail_start + at as u64;
    let (mut n_entries, mut bytes, mut start) =
        (u64::from(u16_at(end, 10)), u64::from(u32_at(end, 12)), u64::from(u32_at(end, 16)));
    let locator_start = end_start.checked_sub(END_64_LOCATOR_BYTES);
    if let Some(locator) = locator_start.map(|at| read_at(file, at, END_64_LOCATOR_BYTES)).transpose()?
        && locator[..4] == END_64_LOCATOR
    {
        let at = u64_at(&locator, 8);
        if at.checked_add(END_64_BYTES).is_none_or(|end| end > end_start) {
            return Err("the zip archive's end is damaged".to_owned());
        }
        let end = read_at(file, at, END_64_BYTES)?;
        if end[..4] != END_64 {
            return Err("the zip archive's end is damaged".to_owned());
        }
        (n_entries, bytes, start, end_start) = (u64_at(&end, 32), u64_at(&end, 40), u64_at(&end, 48), at);
    }
    if n_entries > MAX_ENTRIES || bytes > MAX_DIRECTORY {
        return Err(format!(
            "its directory of {n_entries} entries in {bytes} bytes is too large: no more than {MAX_ENTRIES} in {MAX_DIRECTORY} are read"
        ));
    }
    if start.checked_add(bytes).is_none_or(|end| end > end_start) {
        return Err("the zip archive's directory is not where its end says".to_owned());
    }
    Ok(Directory { start, bytes: read_at(file, start, bytes)?, n_entries })
}

fn read_directory(bytes: &[u8], n_entries: u64) -> Refused<Vec<Entry>> {
    const HEADER: usize = 46;
    let damaged = || "the zip archive's directory is damaged".to_owned();
    let mut entries = Vec::new();
    let mut rest = bytes;
    for _ in 0..n_entries {
        let header = rest.get(..HEADER).filter(|header| header[..4] == DIRECTORY_ENTRY).ok_or_else(damaged)?;
        let [name, extra, comment] = [28, 30, 32].map(|at| usize::from(u16_at(header, at)));
        let whole = rest.get(..HEADER + name + extra + comment).ok_or_else(damaged)?;
        rest = &rest[whole.len()..];
        let name = check_name(&whole[HEADER..HEADER + name])?;
        let extra = &whole[HEADER + name.len()..whole.len() - comment];
        let mut numbers = [24, 20, 42].map(|at| u64::from(u32_at(header, at)));
        read_long_numbers(extra, &mut numbers).ok_or_else(damaged)?;
        let [size, stored, start] = numbers;
        let (flags, method) = (u16_at(header, 8), u16_at(header, 10));
        if flags & 1 != 0 {
            return Err(format!("{name} is encrypted"));
        }
        let is_deflated = match method {
            0 if size == stored => false,
            0 => return Err(format!("{name} is stored, but {stored} bytes are to be {size}")),
            8 => true,
            _ => return Err(format!("{name} is compressed by method {method}: expected stored or deflated")),
        };
        // A folder of a repacked archive.
        if name.ends_with('/') {
            if size != 0 || stored != 0 {
                return Err(format!("the folder {name} holds {stored} bytes"));
            }
            continue;
        }
        let checksum = u32_at(header, 16);
        entries.push(Entry { full_name: name.to_owned(), is_deflated, checksum, stored, size, start, end: 0 });
    }
    if rest.is_empty() { Ok(entries) } else { Err(damaged()) }
}

/// Names lead nowhere: they are only looked up. Still, one that would lead out of a folder is a sign of harm.
fn check_name(bytes: &[u8]) -> Refused<&str> {
    let name = std::str::from_utf8(bytes).map_err(|_| "an entry's name is not UTF-8".to_owned())?;
    let parts = name.strip_suffix('/').unwrap_or(name);
    let is_plain = name.len() <= MAX_NAME
        && !name.contains(|letter: char| letter == '\\' || letter.is_control())
        && parts.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if is_plain {
        return Ok(name);
    }
    let shown: String = name.chars().take(MAX_NAME).collect();
    Err(format!("the entry's name {shown:?} is refused"))
}

/// Replaces those of size, stored size and start that are all ones by the numbers of the zip64 field.
fn read_long_numbers(mut extra: &[u8], numbers: &mut [u64; 3]) -> Option<()> {
    let is_long = |number: &u64| *number == u64::from(u32::MAX);
    if !numbers.iter().any(is_long) {
        return Some(());
    }
    while let [id_low, id_high, length_low, length_high, rest @ ..] = extra {
        let length = usize::from(u16::from_le_bytes([*length_low, *length_high]));
        let mut field = rest.get(..length)?;
        if u16::from_le_bytes([*id_low, *id_high]) == 1 {
            for number in numbers.iter_mut().filter(|number| is_long(number)) {
                *number = u64::from_le_bytes(*field.first_chunk()?);
                field = &field[8..];
            }
            return Some(());
        }
        extra = &rest[length..];
    }
    None
}

/// Entries lie one behind the other, before the directory.
fn check_places(entries: &mut [Entry], directory: u64) -> Refused<()> {
    entries.sort_by_key(|entry| entry.start);
    let ends: Vec<u64> = entries.iter().skip(1).map(|entry| entry.start).chain([directory]).collect();
    for (entry, end) in entries.iter_mut().zip(ends) {
        entry.end = end;
        let least = LOCAL_BYTES + entry.full_name.len() as u64;
        let needed = entry.stored.checked_add(least).and_then(|bytes| entry.start.checked_add(bytes));
        if needed.is_none_or(|needed| needed > end) {
            return Err(format!("{} reaches into the next entry or the directory", entry.full_name));
        }
    }
    Ok(())
}

fn check_inflation(entries: &BTreeMap<String, Entry>, length: u64) -> Refused<()> {
    let cap = length.saturating_mul(MAX_INFLATION);
    // TorchScript's code is deflated and never read.
    let is_read = |name: &str| name.starts_with("data");
    let mut deflated = entries.iter().filter(|(name, entry)| entry.is_deflated && is_read(name));
    let inflated = deflated.try_fold(0_u64, |sum, (_, entry)| sum.checked_add(entry.size));
    if inflated.is_some_and(|inflated| inflated <= cap) {
        return Ok(());
    }
    Err(format!("its deflated entries would become more than {MAX_INFLATION} times the file's {length} bytes"))
}

/// torch puts everything into one folder: the one that holds the pickle.
fn archive_folder(entries: &[Entry]) -> Refused<String> {
    let folder = |entry: &Entry| {
        let folder = entry.full_name.strip_suffix("data.pkl")?;
        (folder.strip_suffix('/')?.split('/').count() == 1).then(|| folder.to_owned())
    };
    let folders: Vec<String> = entries.iter().filter_map(folder).collect();
    match &folders[..] {
        [folder] => Ok(folder.clone()),
        [] => Err("the zip archive has no NAME/data.pkl: torch did not write it".to_owned()),
        _ => Err(format!("the zip archive has {} pickles named data.pkl: expected one", folders.len())),
    }
}

fn inflate(stored: &[u8], size: u64) -> Refused<Vec<u8>> {
    // Grows with what really comes, so that a size that lies allocates nothing.
    let mut content = Vec::new();
    let mut decoder = DeflateDecoder::new(stored).take(size.saturating_add(1));
    decoder.read_to_end(&mut content).map_err(|error| format!("it cannot be inflated: {error}"))?;
    if content.len() as u64 == size {
        return Ok(content);
    }
    Err(format!("it inflates to {} bytes or more: expected {size}", content.len()))
}

/// `length` bytes from `start` on; callers hold both against the file's length.
fn read_at(file: &File, start: u64, length: u64) -> Refused<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| format!("{length} bytes do not fit into memory"))?];
    file.read_exact_at(&mut bytes, start).map_err(|error| format!("the file is cut off or cannot be read: {error}"))?;
    Ok(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
