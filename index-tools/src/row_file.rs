//! A safetensors file with one matrix of float32, `vectors`: written row by row, and read at any row.

use std::fs::File;
use std::io::{BufWriter, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

/// The name of the matrix.
const TENSOR: &str = "vectors";
/// Room for the header, which is known at the end only; what is left is filled with spaces, as the format allows.
const HEADER: usize = 248;
/// No header of a file that is read is longer.
const LONGEST_HEADER: u64 = 1 << 20;

/// Writes a file.
#[derive(Debug)]
pub struct RowWriter {
    out: BufWriter<File>,
    width: usize,
    rows: u64,
}

impl RowWriter {
    /// Creates the file, for rows of this many numbers.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn create(path: &Path, width: usize) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        out.write_all(&[b' '; 8 + HEADER])?;
        Ok(Self { out, width, rows: 0 })
    }

    /// Adds a row and gives its number, from 0.
    ///
    /// # Errors
    /// If it has another length, or the file cannot be written.
    pub fn push(&mut self, row: impl ExactSizeIterator<Item = f32>) -> Result<u64> {
        ensure!(row.len() == self.width, "a row of {} numbers among rows of {}", row.len(), self.width);
        for value in row {
            self.out.write_all(&value.to_le_bytes())?;
        }
        self.rows += 1;
        Ok(self.rows - 1)
    }

    /// Writes the header.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn finish(mut self) -> Result<()> {
        let bytes = self.rows * self.width as u64 * 4;
        let tensor = json!({"dtype": "F32", "shape": [self.rows, self.width], "data_offsets": [0, bytes]});
        let header = format!("{:<HEADER$}", json!({ TENSOR: tensor }).to_string());
        ensure!(header.len() == HEADER, "the header is too long");
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&(HEADER as u64).to_le_bytes())?;
        self.out.write_all(header.as_bytes())?;
        self.out.flush()?;
        Ok(())
    }
}

/// A file that rows are read from.
#[derive(Debug)]
pub struct RowReader {
    file: File,
    at: u64,
    rows: u64,
    width: usize,
}

impl RowReader {
    /// Opens a file and checks that it is whole.
    ///
    /// # Errors
    /// If it cannot be read or holds no such matrix.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Self::read_header(file).with_context(|| format!("{} is no file of vectors", path.display()))
    }

    fn read_header(file: File) -> Result<Self> {
        let length = file.metadata()?.len();
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, 0).context("it has no header")?;
        let header_length = u64::from_le_bytes(bytes);
        ensure!(header_length <= LONGEST_HEADER && header_length + 8 <= length, "its header is longer than it may be");
        let mut header = vec![0; header_length as usize];
        file.read_exact_at(&mut header, 8)?;
        let header: Value = serde_json::from_slice(&header).context("its header is no JSON")?;
        let tensor = &header[TENSOR];
        let number = |value: &Value| value.as_u64().with_context(|| format!("its header says {tensor}"));
        let (rows, width) = (number(&tensor["shape"][0])?, number(&tensor["shape"][1])?);
        let (from, to) = (number(&tensor["data_offsets"][0])?, number(&tensor["data_offsets"][1])?);
        if tensor["dtype"] != "F32" || tensor["shape"].as_array().map(Vec::len) != Some(2) || width == 0 {
            bail!("expected a matrix {TENSOR:?} of F32, its header says {tensor}");
        }
        let bytes = rows.checked_mul(width).and_then(|numbers| numbers.checked_mul(4));
        let at = 8 + header_length + from.min(length);
        let is_whole = to.checked_sub(from) == bytes && bytes.is_some_and(|bytes| bytes <= length.saturating_sub(at));
        ensure!(is_whole, "it is shorter than its header says");
        Ok(Self { file, at, rows, width: usize::try_from(width)? })
    }

    /// Reads a row.
    ///
    /// # Errors
    /// If there is no such row or the file cannot be read.
    pub fn row(&self, row: u64) -> Result<Vec<f32>> {
        ensure!(row < self.rows, "there is no row {row}, the file has {}", self.rows);
        let length = 4 * self.width;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, self.at + row * length as u64)?;
        Ok(bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("v.safetensors");
        let mut writer = RowWriter::create(&path, 3).expect("a file");
        assert_eq!(writer.push([1.0, -2.5, 0.1].into_iter()).expect("a row"), 0);
        assert_eq!(writer.push([4.0, f32::MIN_POSITIVE, 6.0].into_iter()).expect("a row"), 1);
        assert!(writer.push([1.0].into_iter()).is_err());
        writer.finish().expect("a header");
        let reader = RowReader::open(&path).expect("a file");
        assert_eq!(reader.row(1).expect("a row"), [4.0, f32::MIN_POSITIVE, 6.0]);
        assert_eq!(reader.row(0).expect("a row"), [1.0, -2.5, 0.1]);
        assert!(reader.row(2).is_err());
        // Cut or changed anywhere in its header: an error or the same shape, and never a panic.
        let bytes = std::fs::read(&path).expect("a file");
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x11;
            std::fs::write(&path, changed).expect("a file");
            if let Ok(reader) = RowReader::open(&path) {
                drop(reader.row(1));
            }
            std::fs::write(&path, &bytes[..at]).expect("a file");
            assert!(RowReader::open(&path).is_err(), "{at} bytes");
        }
    }
}
