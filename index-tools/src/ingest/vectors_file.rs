//! Files of nothing but vectors: NumPy's `.npy` of two axes, and `.fvecs`, whose rows are a little-endian u32 length and as many float32. A row's
//! number, from 0, is its item's id.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use npyz::{DType, NpyFile, Order, TypeChar};
use pictor_proto::v1;

use super::record::{Place, Reader, Reject, Total};
use crate::failure::usage;

/// A row is not longer than any server takes.
const LONGEST: usize = 1 << 20;

/// Reads rows one by one.
pub struct VectorsFile {
    rows: Box<dyn Rows>,
    name: String,
    field: String,
    total: Total,
    /// Rows that were moved to, and bytes of the source before the next.
    read: u64,
    offset: u64,
    row: Vec<f32>,
}

/// One form of file.
trait Rows: Send {
    /// Reads the next row into `row`; gives its bytes in the file, 0 at the end.
    fn next(&mut self, row: &mut Vec<f32>) -> Result<u64>;
}

impl VectorsFile {
    /// Starts at the first row of an `.npy` file; every row becomes a vector of `fields`' one field.
    ///
    /// # Errors
    /// If it cannot be opened, is no matrix of floats, or not exactly one field is named.
    pub fn open_npy(path: &Path, fields: &[String]) -> Result<Self> {
        let file = NpyFile::new(BufReader::with_capacity(1 << 20, open(path)?));
        let file = file.with_context(|| format!("{} is no .npy file", path.display()))?;
        let [n_rows, width] = file.shape()[..] else {
            bail!("{} has {} axes, expected two: rows and numbers", path.display(), file.shape().len());
        };
        if file.order() == Order::Fortran {
            bail!("{} is stored by columns; save numpy.ascontiguousarray(…) instead", path.display());
        }
        let DType::Plain(kind) = file.dtype() else { bail!("{} holds records, expected numbers", path.display()) };
        let width = usize::try_from(width).unwrap_or(usize::MAX);
        let rows: Box<dyn Rows> = match (kind.type_char(), kind.size_field()) {
            _ if width > LONGEST => bail!("{}: rows of {width} numbers are too long", path.display()),
            (TypeChar::Float, 2) => Box::new(Npy {
                values: Box::new(file.data::<half::f16>()?.map(|value| Ok(value?.to_f32()))),
                width,
                bytes: 2,
            }),
            (TypeChar::Float, 4) => Box::new(Npy { values: Box::new(file.data::<f32>()?), width, bytes: 4 }),
            (TypeChar::Float, 8) => {
                Box::new(Npy { values: Box::new(file.data::<f64>()?.map(|value| Ok(value? as f32))), width, bytes: 8 })
            }
            _ => bail!("{} holds {kind}, expected float16, float32 or float64", path.display()),
        };
        Self::new(path, rows, fields, Total::Records(n_rows))
    }

    /// As [`VectorsFile::open_npy`], of an `.fvecs` file.
    ///
    /// # Errors
    /// If it cannot be opened, or not exactly one field is named.
    pub fn open_fvecs(path: &Path, fields: &[String]) -> Result<Self> {
        let file = open(path)?;
        let total = Total::Bytes(file.metadata()?.len());
        Self::new(path, Box::new(Fvecs(BufReader::with_capacity(1 << 20, file))), fields, total)
    }

    fn new(path: &Path, rows: Box<dyn Rows>, fields: &[String], total: Total) -> Result<Self> {
        let [field] = fields else {
            return Err(usage("name the field that the vectors are for with --vector-columns FIELD"));
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { rows, name, field: field.clone(), total, read: 0, offset: 0, row: Vec::new() })
    }
}

impl Reader for VectorsFile {
    fn total(&self) -> Total {
        self.total
    }

    fn advance(&mut self) -> Result<Option<Place>> {
        let bytes = self.rows.next(&mut self.row).with_context(|| format!("row {} of {}", self.read, self.name))?;
        if bytes == 0 {
            return Ok(None);
        }
        self.read += 1;
        let place = Place { text: format!("{}:{}", self.name, self.read - 1), offset: self.offset };
        if matches!(self.total, Total::Bytes(_)) {
            self.offset += bytes;
        }
        Ok(Some(place))
    }

    fn load(&mut self) -> Result<v1::Item, Reject> {
        let vectors = v1::VectorParts { vectors: vec![v1::Vector { values: self.row.clone() }] };
        let id = (self.read - 1).to_string();
        Ok(v1::Item { id, vectors: [(self.field.clone(), vectors)].into(), ..v1::Item::default() })
    }
}

struct Npy {
    values: Box<dyn Iterator<Item = std::io::Result<f32>> + Send>,
    width: usize,
    /// Of one number.
    bytes: usize,
}

impl Rows for Npy {
    fn next(&mut self, row: &mut Vec<f32>) -> Result<u64> {
        row.clear();
        for value in self.values.by_ref().take(self.width) {
            row.push(value?);
        }
        match row.len() {
            0 => Ok(0),
            found if found < self.width => bail!("the file ends within it"),
            _ => Ok((self.width * self.bytes) as u64),
        }
    }
}

struct Fvecs(BufReader<File>);

impl Rows for Fvecs {
    fn next(&mut self, row: &mut Vec<f32>) -> Result<u64> {
        row.clear();
        let mut length = [0; 4];
        match self.0.read(&mut length[..1])? {
            0 => return Ok(0),
            _ => self.0.read_exact(&mut length[1..]).context("the file ends within its length")?,
        }
        let length = u32::from_le_bytes(length) as usize;
        if length == 0 || length > LONGEST {
            bail!("a length of {length} numbers, expected 1 to {LONGEST}; is it an .fvecs file?");
        }
        let mut bytes = vec![0; 4 * length];
        self.0.read_exact(&mut bytes).context("the file ends within it")?;
        row.extend(bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])));
        Ok((4 + bytes.len()) as u64)
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("cannot open {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids with their vectors, or what is wrong.
    fn read(opened: Result<VectorsFile>) -> Result<Vec<(String, Vec<f32>)>, String> {
        let mut file = opened.map_err(|error| format!("{error:#}"))?;
        let mut found = Vec::new();
        while file.advance().map_err(|error| format!("{error:#}"))?.is_some() {
            let item = file.load().map_err(|reject| reject.reason)?;
            found.push((item.id, item.vectors["vec"].vectors[0].values.clone()));
        }
        Ok(found)
    }

    /// A file as NumPy writes it.
    fn npy(description: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{description}', 'fortran_order': False, 'shape': {shape}, }}");
        let header = format!("{header:<117}\n");
        [b"\x93NUMPY\x01\x00".as_slice(), &(header.len() as u16).to_le_bytes(), header.as_bytes(), data].concat()
    }

    #[test]
    fn rows_become_items() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("v");
        let fields = ["vec".to_owned()];
        let expected = vec![("0".to_owned(), vec![1.0, 2.0, 0.5]), ("1".to_owned(), vec![-4.0, 0.0, 8.0])];
        let values = [1.0, 2.0, 0.5, -4.0, 0.0, 8.0_f32];
        let bytes_of = |width: usize| -> Vec<u8> {
            let number = |value: &f32| match width {
                2 => half::f16::from_f32(*value).to_le_bytes().to_vec(),
                4 => value.to_le_bytes().to_vec(),
                _ => f64::from(*value).to_le_bytes().to_vec(),
            };
            values.iter().flat_map(number).collect()
        };
        for width in [2, 4, 8] {
            std::fs::write(&path, npy(&format!("<f{width}"), "(2, 3)", &bytes_of(width))).expect("a file");
            assert_eq!(read(VectorsFile::open_npy(&path, &fields)), Ok(expected.clone()), "float{}", 8 * width);
        }
        let rows: Vec<u8> = bytes_of(4).chunks(12).flat_map(|row| [&3_u32.to_le_bytes(), row].concat()).collect();
        std::fs::write(&path, &rows).expect("a file");
        assert_eq!(read(VectorsFile::open_fvecs(&path, &fields)), Ok(expected));
        assert!(read(VectorsFile::open_fvecs(&path, &[])).expect_err("no field").contains("--vector-columns"));

        let check = |name: &str, bytes: &[u8], expected: &str| {
            std::fs::write(&path, bytes).expect("a file");
            let found = match name {
                "npy" => read(VectorsFile::open_npy(&path, &fields)),
                _ => read(VectorsFile::open_fvecs(&path, &fields)),
            };
            let error = found.expect_err(expected);
            assert!(error.contains(expected), "{error}");
        };
        check("npy", b"no such file", "no .npy file");
        check("npy", &npy("<f4", "(6,)", &bytes_of(4)), "axes");
        check("npy", &npy("<i4", "(2, 3)", &bytes_of(4)), "expected float16");
        check("npy", &npy("<f4", "(2, 3)", &bytes_of(4)[..20]), "row 1");
        check("fvecs", &rows[..rows.len() - 1], "row 1 of v: the file ends");
        check("fvecs", &[0, 0, 0, 0], "length of 0");
        check("fvecs", &[255, 255, 255, 255], "is it an .fvecs file");
        check("fvecs", &[3, 0], "within its length");
    }
}
