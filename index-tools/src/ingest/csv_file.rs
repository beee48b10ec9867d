//! A CSV file with a header (`.tsv`: tabs). Columns named as id, texts and images are these; a cell of any other column goes
//! into the payload under the column's name, as the first of these that it reads as: nothing (empty), `true` or `false`, an
//! int, a double, an RFC 3339 time, else a string. Numbers with leading zeros, such as postcodes, stay strings.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use csv::StringRecord;
use pictor_proto::v1;
use pictor_proto::v1::value::Kind;

use super::jsonl::finish;
use super::media::Root;
use super::object::{Columns, Draft};
use super::record::{Caps, Place, Reader, Reject, Total, code};
use crate::failure::usage;
use crate::json::{parse_timestamp, value};

/// Reads rows one by one.
#[derive(Debug)]
pub struct CsvFile {
    rows: csv::Reader<Guarded>,
    header: StringRecord,
    roles: Vec<Role>,
    root: Root,
    caps: Caps,
    name: String,
    size: u64,
    row: Result<StringRecord, Reject>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Id,
    Text,
    Image,
    Payload,
}

/// An unclosed quote makes the rest of the file one row; this ends it before it fills the memory.
#[derive(Debug)]
struct Guarded {
    file: File,
    since_row: u64,
    cap: u64,
}

impl Read for Guarded {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.since_row > self.cap {
            return Err(std::io::Error::other(format!(
                "a row is longer than {}: is a quote unclosed?",
                crate::units::bytes(self.cap)
            )));
        }
        let read = self.file.read(buffer)?;
        self.since_row += read as u64;
        Ok(read)
    }
}

impl CsvFile {
    /// Reads the header.
    ///
    /// # Errors
    /// If the file cannot be opened or a named column is not in its header.
    pub fn open(path: &Path, columns: &Columns, caps: Caps) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let size = file.metadata()?.len();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let tabs = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("tsv"));
        let mut rows = csv::ReaderBuilder::new()
            .delimiter(if tabs { b'\t' } else { b',' })
            .flexible(true)
            .buffer_capacity(1 << 18)
            .from_reader(Guarded { file, since_row: 0, cap: caps.item_bytes });
        let header = rows.headers().with_context(|| format!("cannot read the header of {name}"))?.clone();
        let roles = roles(&header, columns).with_context(|| format!("the header of {name}"))?;
        let root = Root::new(super::source::folder_of(path))?;
        Ok(Self { rows, header, roles, root, caps, name, size, row: Err(Reject::bad("there is no record here")) })
    }

    fn draft(&self, row: &StringRecord) -> Result<Draft, Reject> {
        let mut draft = Draft::default();
        for ((cell, name), role) in row.iter().zip(&self.header).zip(&self.roles) {
            if cell.is_empty() {
                continue;
            }
            match role {
                Role::Id => draft.id = Some(cell.to_owned()),
                Role::Text => {
                    draft.texts.insert(name.to_owned(), v1::TextParts { chunks: vec![cell.to_owned()] });
                }
                Role::Image => draft.paths.push(cell.to_owned()),
                Role::Payload => {
                    draft.payload.insert(name.to_owned(), value(guess(cell)));
                }
            }
        }
        if row.len() != self.header.len() {
            let reject = Reject::bad(format!("{} cells under {} columns", row.len(), self.header.len()));
            return Err(draft.id.map_or(reject.clone(), |id| reject.of(&id)));
        }
        if draft.id.is_none() && self.roles.contains(&Role::Id) {
            return Err(Reject::new(code::MISSING_ID, "the id is empty"));
        }
        Ok(draft)
    }
}

fn roles(header: &StringRecord, columns: &Columns) -> Result<Vec<Role>> {
    let mut seen = std::collections::HashSet::new();
    if let Some(twice) = header.iter().find(|name| !seen.insert(*name)) {
        bail!("the column {twice:?} stands there twice");
    }
    for named in columns.id.iter().chain(&columns.texts).chain(&columns.images) {
        if !seen.contains(named.as_str()) {
            let names: Vec<_> = header.iter().collect();
            return Err(usage(format!("there is no column {named:?}; there are {}", names.join(", "))));
        }
    }
    let id = columns.id.as_deref().unwrap_or("id");
    let role = |name: &str| {
        if name == id {
            Role::Id
        } else if columns.texts.iter().any(|text| text == name) {
            Role::Text
        } else if columns.images.iter().any(|image| image == name) {
            Role::Image
        } else {
            Role::Payload
        }
    };
    Ok(header.iter().map(role).collect())
}

/// The type that a cell reads as.
fn guess(cell: &str) -> Kind {
    match cell {
        "true" => return Kind::BoolValue(true),
        "false" => return Kind::BoolValue(false),
        _ => {}
    }
    let unsigned = cell.strip_prefix('-').unwrap_or(cell).as_bytes();
    let numeric = unsigned.first().is_some_and(u8::is_ascii_digit)
        && unsigned.last().is_some_and(u8::is_ascii_digit)
        && unsigned.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    let leading_zero = unsigned.len() > 1 && unsigned[0] == b'0' && unsigned[1].is_ascii_digit();
    if numeric && !leading_zero {
        if unsigned.iter().all(u8::is_ascii_digit) {
            if let Ok(int) = cell.parse() {
                return Kind::IntValue(int);
            }
        } else if let Ok(double) = cell.parse::<f64>()
            && double.is_finite()
        {
            return Kind::DoubleValue(double);
        }
    }
    if cell.len() >= 20
        && unsigned.first().is_some_and(u8::is_ascii_digit)
        && let Ok(time) = parse_timestamp(cell)
    {
        return Kind::TimestampValue(time);
    }
    Kind::StringValue(cell.to_owned())
}

impl Reader for CsvFile {
    fn total(&self) -> Total {
        Total::Bytes(self.size)
    }

    fn advance(&mut self) -> Result<Option<Place>> {
        let mut row = StringRecord::new();
        let (line, read) = (self.rows.position().line(), self.rows.read_record(&mut row));
        self.row = match read {
            Ok(false) => return Ok(None),
            Ok(true) => Ok(row.clone()),
            Err(error) => match error.kind() {
                csv::ErrorKind::Utf8 { .. } => Err(Reject::bad("the row is not UTF-8")),
                _ => return Err(error).with_context(|| format!("cannot read {} on", self.name)),
            },
        };
        self.rows.get_mut().since_row = 0;
        let line = row.position().map_or(line, csv::Position::line);
        Ok(Some(Place { text: format!("{}:{line}", self.name), offset: self.rows.position().byte() }))
    }

    fn load(&mut self) -> Result<v1::Item, Reject> {
        let row = std::mem::replace(&mut self.row, Err(Reject::bad("there is no record here")))?;
        finish(self.draft(&row)?, &self.root, &self.caps)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::batch::tests::{read_all, summary};
    use super::*;

    fn open(data: &[u8], columns: &Columns) -> (tempfile::TempDir, Result<CsvFile>) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("items.csv");
        std::fs::write(&path, data).expect("a file");
        std::fs::write(folder.path().join("a.png"), "A").expect("a file");
        let file = CsvFile::open(&path, columns, Caps { item_bytes: 1 << 20, ..Caps::default() });
        (folder, file)
    }

    #[test]
    fn rows_become_items() {
        let columns = Columns { texts: vec!["title".into()], images: vec!["photo".into()], ..Columns::default() };
        let data =
            b"id,title,photo,price,zip\n1,\"a, b\",a.png,2.50,01234\n2,,,,\n,x,,,\n3,y\n4,\xff,,,\n5,z,none.png,,\n";
        let (_folder, file) = open(data, &columns);
        let records = read_all(&mut file.expect("a file"));
        let expected = [
            "items.csv:2 1",
            "items.csv:3 2",
            "items.csv:4 MISSING_ID",
            "items.csv:5 BAD_RECORD",
            "items.csv:6 BAD_RECORD",
            "items.csv:7 MISSING_FILE",
        ];
        assert_eq!(summary(&records), expected);
        let item = records[0].1.as_ref().expect("an item");
        assert_eq!(item.texts["title"].chunks, ["a, b"]);
        assert_eq!(item.media[0].name, "a.png");
        assert_eq!(item.payload["price"], value(Kind::DoubleValue(2.5)));
        assert_eq!(item.payload["zip"], value(Kind::StringValue("01234".into())));
        assert!(records[1].1.as_ref().expect("an item").payload.is_empty());
    }

    #[test]
    fn cells_are_typed() {
        let check = |cell: &str, expected: Kind| assert_eq!(guess(cell), expected, "{cell:?}");
        check("true", Kind::BoolValue(true));
        check("-12", Kind::IntValue(-12));
        check("0", Kind::IntValue(0));
        check("0.5", Kind::DoubleValue(0.5));
        check("1e3", Kind::DoubleValue(1000.0));
        check("9223372036854775808", Kind::StringValue("9223372036854775808".into()));
        check("1e999", Kind::StringValue("1e999".into()));
        for text in ["007", "+1", "1.", ".5", "1-2", "inf", "NaN", "True", "2026-01-31", "-", " 1"] {
            check(text, Kind::StringValue(text.into()));
        }
        assert!(matches!(guess("2026-01-31T12:00:00Z"), Kind::TimestampValue(_)));
    }

    #[test]
    fn wrong_headers_are_named() {
        let columns = Columns { texts: vec!["title".into()], ..Columns::default() };
        let error = open(b"id,name\n", &columns).1.expect_err("no such column");
        assert!(format!("{error:#}").contains("there are id, name"), "{error:#}");
        assert!(open(b"a,a\n", &Columns::default()).1.is_err());
    }

    #[test]
    fn an_unclosed_quote_ends_the_reading() {
        let mut data = b"id\n1\n\"".to_vec();
        data.resize(4 << 20, b'x');
        let (_folder, file) = open(&data, &Columns::default());
        let mut file = file.expect("a file");
        assert!(file.advance().expect("the first row").is_some());
        assert!(format!("{:#}", file.advance().expect_err("too long")).contains("unclosed"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_bytes_are_read_without_panic(data in prop::collection::vec(any::<u8>(), 0..600)) {
            if let (_folder, Ok(mut file)) = open(&data, &Columns::default()) {
                read_all(&mut file);
            }
        }
        #[test]
        fn any_cell_is_typed_without_panic(cell in "[-+.0-9eETZ:]{0,30}|.*") {
            guess(&cell);
        }
    }
}
