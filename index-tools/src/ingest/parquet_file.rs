//! A Parquet file: a row is an item, as an object of JSONL is: the columns `id`, `texts`, `vectors`, `payload` and those that are named have
//! their meaning, others go into the payload.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use pictor_proto::v1;
use serde_json::{Map, Value};

use super::jsonl::finish;
use super::media::Root;
use super::object::{Columns, from_object};
use super::record::{Caps, Place, Reader, Reject, Total};

/// Reads rows one by one.
pub struct ParquetFile {
    rows: RowIter<'static>,
    row: Option<Row>,
    columns: Columns,
    root: Root,
    caps: Caps,
    name: String,
    total: u64,
    read: u64,
}

impl ParquetFile {
    /// Starts at the first row.
    ///
    /// # Errors
    /// If it cannot be opened, is no Parquet file, or lacks a named column.
    pub fn open(path: &Path, columns: Columns, caps: Caps) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let reader = guarded(|| SerializedFileReader::new(file))
            .with_context(|| format!("{} is no Parquet file", path.display()))?;
        let metadata = reader.metadata().file_metadata();
        let names: Vec<String> = metadata.schema().get_fields().iter().map(|field| field.name().to_owned()).collect();
        if let Some(missing) = columns.named().find(|name| !names.contains(name)) {
            let names = names.join(", ");
            return Err(crate::failure::usage(format!("there is no column {missing:?}; the file has {names}")));
        }
        let total = u64::try_from(metadata.num_rows()).unwrap_or(0);
        let root = Root::new(super::source::folder_of(path))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { rows: reader.into_iter(), row: None, columns, root, caps, name, total, read: 0 })
    }
}

impl Reader for ParquetFile {
    fn total(&self) -> Total {
        Total::Records(self.total)
    }

    fn advance(&mut self) -> Result<Option<Place>> {
        let rows = &mut self.rows;
        self.row = guarded(|| rows.next().transpose()).with_context(|| format!("cannot read {} on", self.name))?;
        if self.row.is_none() {
            return Ok(None);
        }
        self.read += 1;
        Ok(Some(Place { text: format!("{}:{}", self.name, self.read - 1), offset: 0 }))
    }

    fn load(&mut self) -> Result<v1::Item, Reject> {
        let Some(row) = &self.row else { return Err(Reject::bad("there is no row")) };
        let mut object = Map::new();
        for (name, field) in row.get_column_iter() {
            // What is absent is not null.
            if *field != Field::Null {
                let value = to_json(field).map_err(|why| Reject::bad(format!("column {name:?}: {why}")))?;
                object.insert(name.clone(), value);
            }
        }
        finish(from_object(object, &self.columns, true)?, &self.root, &self.caps)
    }
}

/// The library gives up with a panic on some damaged files.
fn guarded<T>(work: impl FnOnce() -> parquet::errors::Result<T>) -> Result<T> {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    Ok(outcome.map_err(|_| anyhow::anyhow!("it is damaged"))??)
}

/// Times become what payloads of JSONL hold: RFC 3339 texts under one key.
fn to_json(field: &Field) -> Result<Value, String> {
    let time = |nanoseconds: i128| {
        let time = jiff::Timestamp::from_nanosecond(nanoseconds).map_err(|error| error.to_string())?;
        Ok(serde_json::json!({ crate::json::TIMESTAMP_KEY: time.to_string() }))
    };
    let double = |value: f64| {
        serde_json::Number::from_f64(value).map(Value::Number).ok_or_else(|| format!("{value} is no number of JSON"))
    };
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(value) => (*value).into(),
        Field::Byte(value) => (*value).into(),
        Field::Short(value) => (*value).into(),
        Field::Int(value) => (*value).into(),
        Field::Long(value) => (*value).into(),
        Field::UByte(value) => (*value).into(),
        Field::UShort(value) => (*value).into(),
        Field::UInt(value) => (*value).into(),
        Field::ULong(value) => (*value).into(),
        Field::Float16(value) => double(value.to_f64())?,
        Field::Float(value) => double(f64::from(*value))?,
        Field::Double(value) => double(*value)?,
        Field::Str(value) => value.clone().into(),
        Field::Date(days) => return time(i128::from(*days) * 86_400_000_000_000),
        Field::TimestampMillis(value) => return time(i128::from(*value) * 1_000_000),
        Field::TimestampMicros(value) => return time(i128::from(*value) * 1_000),
        Field::ListInternal(list) => list.elements().iter().map(to_json).collect::<Result<_, _>>()?,
        Field::Group(row) => {
            let members = row.get_column_iter().filter(|(_, field)| **field != Field::Null);
            Value::Object(
                members.map(|(name, field)| Ok((name.clone(), to_json(field)?))).collect::<Result<_, String>>()?,
            )
        }
        other => return Err(format!("{other} is of a kind that payloads do not hold")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::payload_to_json;

    fn columns() -> Columns {
        Columns { texts: vec!["title".into()], vectors: vec!["embedding".into()], ..Columns::default() }
    }

    /// Files that pyarrow wrote: `tests/golden/parquet_items.py`.
    #[test]
    fn rows_of_every_compression_become_items() {
        for compression in ["snappy", "zstd", "none", "gzip", "lz4"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/{compression}.parquet"));
            let mut file = ParquetFile::open(&path, columns(), Caps::default()).expect("a file");
            assert_eq!(file.total(), Total::Records(3));
            let mut found = Vec::new();
            while let Some(place) = file.advance().expect("rows") {
                let item = file.load().expect("an item");
                let vector = item.vectors["embedding"].vectors[0].values.clone();
                let payload = Value::from(payload_to_json(&item.payload)).to_string();
                let title = item.texts.get("title").map_or("", |texts| &texts.chunks[0]).to_owned();
                found.push((place.text, item.id, title, vector, payload));
            }
            let rest = r#""seen":{"$timestamp":"2026-11-27T15:04:05Z"},"shop":{"open":true,"town":"Bern"}"#;
            let expected = |number: u32, id: &str, title: &str, vector: [f32; 2], before: &str, after: &str| {
                let payload = format!("{{{before}{rest}{after}}}");
                (format!("{compression}.parquet:{number}"), id.to_owned(), title.to_owned(), vector.to_vec(), payload)
            };
            let expected = [
                expected(0, "a", "one", [1.0, 0.5], r#""n":1,"price":1.5,"#, r#","tags":["x","y"]"#),
                expected(1, "b", "", [0.25, -2.0], r#""n":1099511627776,"price":2.25,"#, r#","tags":[]"#),
                expected(2, "c", "three", [3.0, 4.0], r#""price":0.0,"#, ""),
            ];
            assert_eq!(found, expected, "{compression}");
        }
    }

    #[test]
    fn other_files_and_missing_columns_are_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.parquet");
        std::fs::write(&path, "PAR1 no").expect("a file");
        let said = |outcome: Result<ParquetFile>| outcome.map(drop).map_err(|error| format!("{error:#}"));
        let error = said(ParquetFile::open(&path, Columns::default(), Caps::default())).expect_err("no file");
        assert!(error.contains("no Parquet file"), "{error}");
        let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/snappy.parquet");
        let columns = Columns { images: vec!["photo".into()], ..Columns::default() };
        let error = said(ParquetFile::open(&whole, columns, Caps::default())).expect_err("no such column");
        assert!(error.contains("\"photo\"") && error.contains("embedding"), "{error}");
        // A file that was cut or changed is an error or other rows, and never a panic.
        let bytes = std::fs::read(&whole).expect("a file");
        for at in (0..bytes.len()).step_by(7) {
            let mut changed = bytes.clone();
            changed[at] ^= 0x41;
            for bytes in [&bytes[..at], &changed[..]] {
                std::fs::write(&path, bytes).expect("a file");
                let Ok(mut file) = ParquetFile::open(&path, Columns::default(), Caps::default()) else { continue };
                for _ in 0..10 {
                    match file.advance() {
                        Ok(Some(_)) => drop(file.load()),
                        _ => break,
                    }
                }
            }
        }
    }
}
