//! A disk without a battery: what of a folder would be left after a power cut.
//!
//! Of a file, what it held when it was last flushed is left, or nothing; of a folder, the names that it had when it was last flushed itself. That
//! is the strictest that POSIX allows: file systems in use keep more. A record of what was flushed lies in a shadow folder, by inode and time
//! of birth, so that a new file on an old inode has nothing of the old one.
//!
//! Part of two programs: the library notes what is flushed, the test says what is left.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Where the record of a file or folder lies.
fn record(shadow: &Path, about: &fs::Metadata) -> PathBuf {
    let born = about.created().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    shadow.join(format!("{}-{}", about.ino(), born.map_or(0, |time| time.as_nanos())))
}

/// Notes what a file holds, or which names a folder has, as flushed.
pub(crate) fn note_flushed(shadow: &Path, path: &Path) -> io::Result<()> {
    let about = fs::metadata(path)?;
    let target = record(shadow, &about);
    let writing = target.with_extension(format!("{:?}", std::thread::current().id()));
    if about.is_dir() {
        let mut listing = String::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // What goes away meanwhile was not flushed.
            let Ok(about) = entry.metadata() else { continue };
            let kind = if about.is_dir() { 'd' } else { 'f' };
            let key = record(Path::new(""), &about);
            listing += &format!("{kind} {} {}\n", key.display(), entry.file_name().to_string_lossy());
        }
        fs::write(&writing, listing)?;
    } else {
        fs::copy(path, &writing)?;
    }
    fs::rename(writing, target)
}

/// Notes everything below a folder as flushed, such as before a process starts.
pub(crate) fn note_all_flushed(shadow: &Path, folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { note_all_flushed(shadow, &path)? } else { note_flushed(shadow, &path)? }
    }
    note_flushed(shadow, folder)
}

/// Writes what is left of a folder after a power cut into a new one.
pub(crate) fn cut_power(shadow: &Path, folder: &Path, left: &Path) -> io::Result<()> {
    restore(shadow, &record(shadow, &fs::metadata(folder)?), left)
}

fn restore(shadow: &Path, listing: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    // A folder that was never flushed has no names.
    for line in fs::read_to_string(listing).unwrap_or_default().lines() {
        let mut words = line.splitn(3, ' ');
        let (Some(kind), Some(key), Some(name)) = (words.next(), words.next(), words.next()) else { continue };
        let (record, to) = (shadow.join(key), to.join(name));
        match kind {
            "d" => restore(shadow, &record, &to)?,
            _ if record.exists() => drop(fs::copy(record, to)?),
            // A name without content.
            _ => fs::write(to, [])?,
        }
    }
    Ok(())
}
