//! Vectors that a record names by file and row: `{"file": "vec.safetensors", "rows": [17]}`.

use std::collections::HashMap;

use pictor_proto::v1;
use serde_json::Value;

use super::media::Root;
use super::record::{Reject, code};
use crate::row_file::RowReader;

/// Rows of a file, as a record names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowsOfFile {
    file: String,
    rows: Vec<u64>,
}

impl RowsOfFile {
    /// Reads the reference.
    ///
    /// # Errors
    /// What was expected.
    pub fn read(value: &Value) -> Result<Self, &'static str> {
        const EXPECTED: &str = "expected {\"file\": NAME, \"rows\": [NUMBER, …]}";
        let file = value["file"].as_str().ok_or(EXPECTED)?.to_owned();
        let rows = value["rows"].as_array().ok_or(EXPECTED)?;
        let rows = rows.iter().map(|row| row.as_u64().ok_or(EXPECTED)).collect::<Result<_, _>>()?;
        Ok(Self { file, rows })
    }
}

/// The files that were opened.
#[derive(Debug, Default)]
pub struct RowFiles(HashMap<String, RowReader>);

impl RowFiles {
    /// Reads the vectors that a record names.
    ///
    /// # Errors
    /// If a file lies outside the source's folder, is not there, or has no such row.
    pub fn vectors(&mut self, root: &Root, named: &RowsOfFile) -> Result<v1::VectorParts, Reject> {
        if !self.0.contains_key(&named.file) {
            let path = root.resolve(&named.file)?;
            let reader = RowReader::open(&path);
            let reader = reader.map_err(|error| Reject::new(code::UNREADABLE_FILE, format!("{error:#}")))?;
            self.0.insert(named.file.clone(), reader);
        }
        let reader = &self.0[&named.file];
        let row = |&row: &u64| match reader.row(row) {
            Ok(values) => Ok(v1::Vector { values }),
            Err(error) => Err(Reject::new(code::UNREADABLE_FILE, format!("{}: {error:#}", named.file))),
        };
        Ok(v1::VectorParts { vectors: named.rows.iter().map(row).collect::<Result<_, _>>()? })
    }
}
