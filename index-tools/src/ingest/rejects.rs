//! The list of rejected records, as JSON lines.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;

/// How many rejects are shown when no file takes them.
const SHOWN: u64 = 10;

/// One rejected record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RejectLine {
    /// Null if the record was too broken to have one.
    pub id: Option<String>,
    /// The record's number in the source, from 1.
    pub position: u64,
    /// Where to look: `items.jsonl:17` or a path.
    #[serde(rename = "source")]
    pub place: String,
    /// A stable word for programs.
    pub code: String,
    pub reason: String,
}

/// Where rejects go: to `--rejects FILE`, or the first few to stderr.
#[derive(Debug)]
pub struct Rejects {
    file: Option<(File, PathBuf)>,
    bytes: u64,
    shown: u64,
    unsynced: bool,
}

impl Rejects {
    /// Opens the file and cuts it to `keep` bytes, those that an earlier part of this run has accounted for. A file shorter
    /// than that is not the earlier part's; it is started anew.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn open(path: Option<&Path>, keep: u64) -> Result<Self> {
        let Some(path) = path else { return Ok(Self { file: None, bytes: 0, shown: 0, unsynced: false }) };
        let open = || -> std::io::Result<(File, u64)> {
            let mut file = File::options().create(true).write(true).truncate(false).open(path)?;
            let keep = if file.metadata()?.len() < keep { 0 } else { keep };
            file.set_len(keep)?;
            file.seek(SeekFrom::Start(keep))?;
            Ok((file, keep))
        };
        let (file, bytes) = open().with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { file: Some((file, path.to_owned())), bytes, shown: 0, unsynced: false })
    }

    /// Takes rejects in the order of the source.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&mut self, lines: &[RejectLine], mut show: impl FnMut(&str)) -> Result<()> {
        let Some((file, path)) = &mut self.file else {
            for line in lines {
                self.shown += 1;
                if self.shown <= SHOWN {
                    show(&format!("rejected {}: {} ({})", line.place, line.reason, line.code));
                } else if self.shown == SHOWN + 1 {
                    show("more records were rejected; --rejects FILE lists all");
                }
            }
            return Ok(());
        };
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line)?;
            text.push(b'\n');
        }
        file.write_all(&text).with_context(|| format!("cannot write {}", path.display()))?;
        self.bytes += text.len() as u64;
        self.unsynced |= !text.is_empty();
        Ok(())
    }

    /// Makes what was written last, and says how long the file is.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn sync(&mut self) -> Result<u64> {
        if let Some((file, path)) = &self.file
            && self.unsynced
        {
            file.sync_data().with_context(|| format!("cannot write {}", path.display()))?;
            self.unsynced = false;
        }
        Ok(self.bytes)
    }
}
