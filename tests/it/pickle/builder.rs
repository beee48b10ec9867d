//! Writes pickles and zip archives opcode by opcode and field by field, so that each of them can lie.

/// A pickle in the making.
#[derive(Clone, Debug)]
pub(super) struct Pickle(pub(super) Vec<u8>);

impl Pickle {
    pub(super) fn new() -> Self {
        Self(vec![0x80, 2])
    }

    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    pub(super) fn times(self, n: usize, bytes: &[u8]) -> Self {
        self.raw(&bytes.repeat(n))
    }

    pub(super) fn text(self, text: &str) -> Self {
        self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
    }

    /// LONG1 of eight bytes.
    pub(super) fn int(self, number: i64) -> Self {
        self.raw(&[0x8a, 8]).raw(&number.to_le_bytes())
    }

    pub(super) fn global(self, module: &str, name: &str) -> Self {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }

    pub(super) fn ints(self, numbers: &[i64]) -> Self {
        numbers.iter().fold(self.raw(b"("), |pickle, number| pickle.int(*number)).raw(b"t")
    }

    /// The persistent id of a storage.
    pub(super) fn storage(self, class: &str, key: &str, n: i64) -> Self {
        self.raw(b"(").text("storage").global("torch", class).text(key).text("cpu").int(n).raw(b"tQ")
    }

    /// A call of `_rebuild_tensor_v2`.
    pub(super) fn tensor(self, key: &str, n: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Self {
        self.tensor_of(
            |pickle| pickle.storage("FloatStorage", key, n),
            |pickle| pickle.int(offset),
            |pickle| pickle.ints(shape).ints(strides),
        )
    }

    pub(super) fn tensor_of(
        self,
        storage: impl FnOnce(Self) -> Self,
        offset: impl FnOnce(Self) -> Self,
        sizes: impl FnOnce(Self) -> Self,
    ) -> Self {
        let pickle = self.global("torch._utils", "_rebuild_tensor_v2").raw(b"(");
        let pickle = sizes(offset(storage(pickle)));
        pickle.raw(b"\x89").global("collections", "OrderedDict").raw(b")RtR")
    }

    /// Ends the pickle.
    pub(super) fn end(self) -> Vec<u8> {
        self.raw(b".").0
    }
}

/// An entry of an archive; what is `None` is as it must be.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) local_name: Option<Vec<u8>>,
    /// As it stands in the file.
    pub(super) content: Vec<u8>,
    pub(super) method: u16,
    pub(super) flags: u16,
    pub(super) checksum: Option<u32>,
    pub(super) size: Option<u32>,
    pub(super) stored: Option<u32>,
    pub(super) start: Option<u32>,
    pub(super) extra: Vec<u8>,
}

impl Entry {
    pub(super) fn new(name: &str, content: &[u8]) -> Self {
        Self { name: name.as_bytes().to_vec(), content: content.to_vec(), ..Self::default() }
    }

    pub(super) fn deflated(name: &str, content: &[u8]) -> Self {
        use std::io::Write as _;
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(content).expect("deflated");
        Self {
            name: name.as_bytes().to_vec(),
            content: encoder.finish().expect("deflated"),
            method: 8,
            checksum: Some(crc32fast::hash(content)),
            size: Some(content.len() as u32),
            ..Self::default()
        }
    }
}

/// What the archive's end says; what is `None` is as it must be.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct End {
    pub(super) n_entries: Option<u16>,
    pub(super) bytes: Option<u32>,
    pub(super) start: Option<u32>,
}

pub(super) fn zip(entries: &[Entry]) -> Vec<u8> {
    zip_with(entries, End::default())
}

pub(super) fn zip_with(entries: &[Entry], end: End) -> Vec<u8> {
    let mut file = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        let start = entry.start.unwrap_or(file.len() as u32);
        let checksum = entry.checksum.unwrap_or_else(|| crc32fast::hash(&entry.content));
        let stored = entry.stored.unwrap_or(entry.content.len() as u32);
        let size = entry.size.unwrap_or(stored);
        let local_name = entry.local_name.as_ref().unwrap_or(&entry.name);
        let mut common = Vec::new();
        for number in [20, entry.flags, entry.method, 0, 0] {
            common.extend(number.to_le_bytes());
        }
        for number in [checksum, stored, size] {
            common.extend(number.to_le_bytes());
        }
        file.extend(b"PK\x03\x04");
        file.extend(&common);
        file.extend((local_name.len() as u16).to_le_bytes());
        file.extend([0, 0]);
        file.extend(local_name);
        file.extend(&entry.content);
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(&common);
        directory.extend((entry.name.len() as u16).to_le_bytes());
        directory.extend((entry.extra.len() as u16).to_le_bytes());
        directory.extend([0; 10]);
        directory.extend(start.to_le_bytes());
        directory.extend(&entry.name);
        directory.extend(&entry.extra);
    }
    let n_entries = end.n_entries.unwrap_or(entries.len() as u16);
    let (bytes, start) = (end.bytes.unwrap_or(directory.len() as u32), end.start.unwrap_or(file.len() as u32));
    file.extend(directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend(n_entries.to_le_bytes());
    file.extend(n_entries.to_le_bytes());
    file.extend(bytes.to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0, 0]);
    file
}

/// An archive as torch lays it out: a pickle and the bytes of its storages.
pub(super) fn archive(pickle: &[u8], storages: &[(&str, &[u8])]) -> Vec<u8> {
    let mut entries = vec![Entry::new("x/data.pkl", pickle), Entry::new("x/byteorder", b"little")];
    entries.extend(storages.iter().map(|(key, bytes)| Entry::new(&format!("x/data/{key}"), bytes)));
    zip(&entries)
}
