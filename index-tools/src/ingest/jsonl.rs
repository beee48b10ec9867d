//! A JSON object a line: `id`, `texts`, `media` or `image` (paths beside the file), `payload`, `vectors`; other keys go into
//! the payload. Empty lines are no records.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use pictor_proto::v1;

use super::media::{Root, read_picture};
use super::object::{Columns, Draft, read_object};
use super::record::{Caps, Place, Reader, Reject, Total, code};
use super::row_files::RowFiles;
use crate::units;

/// Reads lines one by one.
#[derive(Debug)]
pub struct Jsonl {
    lines: BufReader<File>,
    root: Root,
    row_files: RowFiles,
    columns: Columns,
    caps: Caps,
    name: String,
    size: u64,
    offset: u64,
    line_number: u64,
    line: Vec<u8>,
    too_long: bool,
}

impl Jsonl {
    /// Starts at the first line.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(path: &Path, columns: Columns, caps: Caps) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let root = Root::new(super::source::folder_of(path))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let size = file.metadata()?.len();
        let lines = BufReader::with_capacity(1 << 18, file);
        Ok(Self {
            lines,
            root,
            row_files: RowFiles::default(),
            columns,
            caps,
            name,
            size,
            offset: 0,
            line_number: 0,
            line: Vec::new(),
            too_long: false,
        })
    }

    /// Reads the next line without its end; keeps no more than the cap of it. False at the end of the file.
    fn read_line(&mut self) -> Result<bool> {
        self.line.clear();
        let cap = self.caps.item_bytes;
        let read = self.lines.by_ref().take(cap + 1).read_until(b'\n', &mut self.line)? as u64;
        self.offset += read;
        self.line_number += 1;
        self.too_long = read > cap && self.line.last() != Some(&b'\n');
        if self.too_long {
            self.line = Vec::new();
            self.offset += self.lines.skip_until(b'\n')? as u64;
        }
        Ok(read > 0)
    }
}

impl Reader for Jsonl {
    fn total(&self) -> Total {
        Total::Bytes(self.size)
    }

    fn advance(&mut self) -> Result<Option<Place>> {
        loop {
            if !self.read_line().with_context(|| format!("cannot read {} on", self.name))? {
                return Ok(None);
            }
            if self.line_number == 1 && self.line.starts_with(b"\xef\xbb\xbf") {
                self.line.drain(..3);
            }
            if self.too_long || !self.line.trim_ascii().is_empty() {
                let text = format!("{}:{}", self.name, self.line_number);
                return Ok(Some(Place { text, offset: self.offset }));
            }
        }
    }

    fn load(&mut self) -> Result<v1::Item, Reject> {
        if self.too_long {
            let cap = units::bytes(self.caps.item_bytes);
            return Err(Reject::new(code::LIMIT_EXCEEDED, format!("the line is longer than {cap}")));
        }
        let mut draft = read_object(&self.line, &self.columns, true)?;
        let rows = std::mem::take(&mut draft.rows);
        let mut item = finish(draft, &self.root, &self.caps)?;
        for (field, named) in rows {
            let vectors = self.row_files.vectors(&self.root, &named).map_err(|reject| reject.of(&item.id))?;
            item.vectors.insert(field, vectors);
        }
        Ok(item)
    }
}

/// Reads the pictures that a draft names, and settles its id.
///
/// # Errors
/// If there is no id, or a picture cannot be had.
pub fn finish(draft: Draft, root: &Root, caps: &Caps) -> Result<v1::Item, Reject> {
    let Some(id) = draft.id.or_else(|| draft.paths.first().cloned()) else {
        return Err(Reject::new(code::MISSING_ID, "there is no id and no picture to name the item after"));
    };
    if !draft.rows.is_empty() {
        return Err(Reject::bad("vectors are named by file and row in JSONL only").of(&id));
    }
    let mut media = Vec::new();
    let mut bytes = 0;
    for path in &draft.paths {
        let picture = read_picture(root, path, caps).map_err(|reject| reject.of(&id))?;
        bytes += picture.data.len() as u64;
        if bytes > caps.item_bytes {
            // Before the next picture is read: a line may name thousands.
            let reason = format!("its pictures are over the cap of {} for one item", units::bytes(caps.item_bytes));
            return Err(Reject::new(code::LIMIT_EXCEEDED, reason).of(&id));
        }
        media.push(picture);
    }
    Ok(v1::Item { id, payload: draft.payload, media, texts: draft.texts, vectors: draft.vectors, if_version: None })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::batch::tests::{read_all, summary};
    use super::*;

    fn records(data: &[u8], caps: Caps) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("items.jsonl");
        std::fs::write(&path, data).expect("a file");
        std::fs::write(folder.path().join("a.png"), "A").expect("a file");
        summary(&read_all(&mut Jsonl::open(&path, Columns::default(), caps).expect("a file")))
    }

    #[test]
    fn bad_lines_harm_no_others() {
        let data = "\u{feff}{\"id\":\"1\"}\r\n\n  \n{\n{\"image\":\"a.png\"}\n{\"id\":\"2\",\"image\":\"b.png\"}\n\
                    {\"id\":\"3\",\"media\":\"../x\"}\n{}\n\u{feff}{\"id\":\"4\"}\n{\"id\":\"5\"}";
        let expected = [
            "items.jsonl:1 1",
            "items.jsonl:4 BAD_RECORD",
            "items.jsonl:5 a.png",
            "items.jsonl:6 MISSING_FILE",
            "items.jsonl:7 OUTSIDE_SOURCE",
            "items.jsonl:8 MISSING_ID",
            "items.jsonl:9 BAD_RECORD",
            "items.jsonl:10 5",
        ];
        assert_eq!(records(data.as_bytes(), Caps::default()), expected);
    }

    #[test]
    fn long_lines_are_rejected_unread() {
        let caps = Caps { item_bytes: 12, ..Caps::default() };
        let data = b"{\"id\":\"123\"}\n{\"id\":\"1234\"}\n{\"id\":\"5\"}\n";
        let expected = ["items.jsonl:1 123", "items.jsonl:2 LIMIT_EXCEEDED", "items.jsonl:3 5"];
        assert_eq!(records(data, caps), expected);
    }

    #[test]
    fn pictures_are_read_only_up_to_the_cap() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("a.png"), [0; 1000]).expect("a file");
        let root = Root::new(folder.path()).expect("a folder");
        let caps = Caps { item_bytes: 3000, ..Caps::default() };
        let item = |count| finish(Draft { paths: vec!["a.png".into(); count], ..Draft::default() }, &root, &caps);
        assert_eq!(item(3).map(|item| item.media.len()), Ok(3));
        assert_eq!(item(4).map_err(|reject| reject.code), Err(code::LIMIT_EXCEEDED.to_owned()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_bytes_are_read_without_panic(data in prop::collection::vec(any::<u8>(), 0..600)) {
            records(&data, Caps::default());
        }
        #[test]
        fn any_json_like_text_is_read_without_panic(data in "([\\[\\]{}\":,0-9eE.\\-\\n]|id|texts|media|null){0,60}") {
            records(data.as_bytes(), Caps::default());
        }
    }
}
