//! A webdataset archive: a plain tar in which neighbouring members with the same name up to the first point after the last
//! slash are one record. Members that end like pictures are its media, in the archive's order; `KEY.txt` is its text
//! `caption`, `KEY.NAME.txt` its text NAME; `KEY.json` is an object as in folders. Other members are ignored.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result};
use pictor_proto::v1;

use super::media::is_picture;
use super::object::{Columns, Draft, read_object};
use super::record::{Caps, Place, Reader, Reject, Total, code};
use super::tar_members::{Member, MemberKind, Members};
use crate::units;

/// Members of one record; an archive without keys must not fill the memory.
const MEMBERS_PER_RECORD: usize = 8192;

/// Reads records one by one.
#[derive(Debug)]
pub struct Webdataset {
    members: Members,
    columns: Columns,
    caps: Caps,
    name: String,
    /// The first member of the next record.
    ahead: Option<Member>,
    current: Vec<Member>,
    dropped_members: usize,
}

impl Webdataset {
    /// Starts at the first member.
    ///
    /// # Errors
    /// If the file cannot be opened or is compressed.
    pub fn open(path: &Path, columns: Columns, caps: Caps) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let members = Members::open(file).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { members, columns, caps, name, ahead: None, current: Vec::new(), dropped_members: 0 })
    }

    fn next_member(&mut self) -> Result<Option<Member>> {
        loop {
            match self.members.advance().with_context(|| format!("cannot read {} on", self.name))? {
                Some(member) if member.kind == MemberKind::Other || key(&member.name).is_none() => {}
                other => return Ok(other),
            }
        }
    }

    fn read(&mut self, member: &Member, shown: &str, cap: u64) -> Result<Vec<u8>, Reject> {
        if member.size > cap {
            let (size, cap) = (units::bytes(member.size), units::bytes(cap));
            return Err(Reject::new(code::LIMIT_EXCEEDED, format!("{shown:?} has {size}, over the cap of {cap}")));
        }
        let mut data = vec![0; usize::try_from(member.size).unwrap_or_default()];
        self.members
            .read_at(member.position, &mut data)
            .map_err(|error| Reject::new(code::UNREADABLE_FILE, format!("{shown:?}: {error:#}")))?;
        Ok(data)
    }

    fn item(&mut self, key: &str, members: &[Member]) -> Result<v1::Item, Reject> {
        let mut draft = Draft::default();
        let mut captions = Vec::new();
        let mut media = Vec::new();
        for member in members {
            let name = str::from_utf8(&member.name).map_err(|_| Reject::bad("a member's name is not UTF-8"))?;
            if member.kind == MemberKind::Link {
                return Err(Reject::new(code::OUTSIDE_SOURCE, format!("{name:?} is a link; links are not followed")));
            }
            let ending = name.get(key.len() + 1..).unwrap_or_default();
            if is_picture(name) {
                let data = self.read(member, name, self.caps.media_bytes)?;
                media.push(v1::Media { data: data.into(), name: name.to_owned() });
            } else if ending == "json" {
                let data = self.read(member, name, self.caps.item_bytes)?;
                draft = read_object(&data, &self.columns, false)
                    .map_err(|reject| Reject { reason: format!("{name}: {}", reject.reason), ..reject })?;
            } else if ending == "txt" || ending.ends_with(".txt") {
                let text_name = ending.strip_suffix(".txt").unwrap_or("caption").to_owned();
                let data = self.read(member, name, self.caps.item_bytes)?;
                let text = String::from_utf8(data).map_err(|_| Reject::bad(format!("{name:?} is not UTF-8")))?;
                captions.push((text_name, text.trim().to_owned()));
            }
        }
        for (name, text) in captions.into_iter().filter(|(_, text)| !text.is_empty()) {
            draft.texts.entry(name).or_insert_with(|| v1::TextParts { chunks: vec![text] });
        }
        Ok(v1::Item {
            id: draft.id.unwrap_or_else(|| key.to_owned()),
            payload: draft.payload,
            media,
            texts: draft.texts,
            vectors: draft.vectors,
            if_version: None,
        })
    }
}

/// The name up to the first point of its last component; `None` if nothing stands there.
fn key(name: &[u8]) -> Option<&[u8]> {
    let start = name.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let point = name[start..].iter().position(|byte| *byte == b'.')?;
    (point > 0).then(|| &name[..start + point])
}

impl Reader for Webdataset {
    fn total(&self) -> Total {
        Total::Bytes(self.members.size())
    }

    fn advance(&mut self) -> Result<Option<Place>> {
        self.current.clear();
        self.dropped_members = 0;
        let first = match self.ahead.take() {
            Some(member) => Some(member),
            None => self.next_member()?,
        };
        let Some(first) = first else { return Ok(None) };
        let record_key = key(&first.name).unwrap_or_default().to_owned();
        let text = format!("{}:{}", self.name, String::from_utf8_lossy(&record_key));
        let mut offset = first.position + first.size;
        self.current.push(first);
        while let Some(member) = self.next_member()? {
            if key(&member.name) != Some(&record_key[..]) {
                self.ahead = Some(member);
                break;
            }
            offset = member.position + member.size;
            if self.current.len() < MEMBERS_PER_RECORD {
                self.current.push(member);
            } else {
                self.dropped_members += 1;
            }
        }
        Ok(Some(Place { text, offset }))
    }

    fn load(&mut self) -> Result<v1::Item, Reject> {
        let members = std::mem::take(&mut self.current);
        let record_key = members.first().and_then(|member| key(&member.name)).unwrap_or_default();
        let record_key = str::from_utf8(record_key).map_err(|_| Reject::bad("a member's name is not UTF-8"))?;
        if record_key.starts_with('/') || record_key.split('/').any(|component| component == "..") {
            let reason = format!("the member's name {record_key:?} leads out of the archive");
            return Err(Reject::new(code::OUTSIDE_SOURCE, reason).of(record_key));
        }
        if self.dropped_members > 0 {
            let reason = format!("the record has over {MEMBERS_PER_RECORD} members");
            return Err(Reject::new(code::LIMIT_EXCEEDED, reason).of(record_key));
        }
        let total: u64 = members.iter().map(|member| member.size).fold(0, u64::saturating_add);
        if total > self.caps.item_bytes {
            let (total, cap) = (units::bytes(total), units::bytes(self.caps.item_bytes));
            let reason = format!("the record has {total}, over the cap of {cap}");
            return Err(Reject::new(code::LIMIT_EXCEEDED, reason).of(record_key));
        }
        self.item(record_key, &members).map_err(|reject| match reject.id {
            Some(_) => reject,
            None => reject.of(record_key),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::batch::tests::{read_all, summary};
    use super::*;

    fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, data) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(data.len() as u64);
            header.set_mode(0o644);
            if name.contains("..") || name.starts_with('/') {
                // The builder refuses such names, so they are written into the header by hand.
                header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
                header.set_cksum();
                builder.append(&header, *data).expect("in memory");
            } else {
                builder.append_data(&mut header, name, *data).expect("in memory");
            }
        }
        builder.into_inner().expect("in memory")
    }

    fn read(data: &[u8]) -> Result<Vec<(Place, Result<v1::Item, Reject>)>> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.tar");
        std::fs::write(&path, data).expect("a file");
        let mut reader = Webdataset::open(&path, Columns::default(), Caps { media_bytes: 100, ..Caps::default() })?;
        let mut records = Vec::new();
        while let Some(place) = reader.advance()? {
            records.push((place, reader.load()));
        }
        Ok(records)
    }

    #[test]
    fn neighbours_with_one_key_are_one_record() {
        let long = format!("{}/x.png", "d".repeat(200));
        let data = archive(&[
            ("s/1.0.png", b"A"),
            ("s/1.1.png", b"B"),
            ("s/1.txt", b" one \n"),
            ("s/1.title.txt", b"t"),
            ("s/1.json", br#"{"n": 1}"#),
            ("s/1.cls", b"ignored"),
            ("s/2.jpg", b"C"),
            ("s/2.json", b"{"),
            ("s/.hidden", b"ignored"),
            ("s/3.jpg", &[0; 101]),
            ("../4.jpg", b"D"),
            (&long, b"E"),
            ("5.json", br#"{"id": "five"}"#),
        ]);
        let records = read(&data).expect("an archive");
        let shown = summary(&records);
        assert_eq!(
            shown[..4],
            ["a.tar:s/1 s/1", "a.tar:s/2 BAD_RECORD", "a.tar:s/3 LIMIT_EXCEEDED", "a.tar:../4 OUTSIDE_SOURCE"]
        );
        assert_eq!(shown[4], format!("a.tar:{0} {0}", long.trim_end_matches(".png")));
        assert_eq!(shown[5..], ["a.tar:5 five"]);
        let item = records[0].1.as_ref().expect("an item");
        assert_eq!(item.media.iter().map(|media| &media.data[..]).collect::<Vec<_>>(), [b"A", b"B"]);
        assert_eq!(item.texts["caption"].chunks, ["one"]);
        assert_eq!(item.texts["title"].chunks, ["t"]);
        assert!(item.payload.contains_key("n"));
    }

    #[test]
    fn damaged_archives_are_named() {
        let data = archive(&[("1.png", b"A"), ("2.png", &[1; 90])]);
        assert_eq!(read(&data[..data.len() - 1024]).expect("no end marker is needed").len(), 2);
        assert_eq!(read(&data[..1024 + 512 + 90]).expect("no padding is needed").len(), 2);
        for length in [100, 1024 + 100, 1024 + 512 + 50] {
            let error = format!("{:#}", read(&data[..length]).expect_err("cut off"));
            assert!(error.contains("cut off"), "{error}");
        }
        let mut wrong = data.clone();
        wrong[1030] ^= 1;
        assert!(format!("{:#}", read(&wrong).expect_err("damaged")).contains("not a tar header"));
        assert!(format!("{:#}", read(&[0x1f, 0x8b, 0, 0]).expect_err("compressed")).contains("compressed"));
        assert_eq!(read(b"").expect("empty").len(), 0);
        let mut folder = read_all_nothing();
        assert!(read_all(&mut folder).is_empty());
    }

    fn read_all_nothing() -> impl Reader {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("empty.tar");
        std::fs::write(&path, archive(&[])).expect("a file");
        Webdataset::open(&path, Columns::default(), Caps::default()).expect("an archive")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_bytes_are_read_without_panic(data in prop::collection::vec(any::<u8>(), 0..2000)) {
            drop(read(&data));
        }
        #[test]
        fn damage_is_survived(at in 0_usize..4096, byte in any::<u8>()) {
            let mut data = archive(&[("1.png", b"A"), (&format!("{}.json", "k".repeat(150)), b"{}"), ("2.txt", b"t")]);
            let at = at % data.len();
            data[at] = byte;
            // The checksum covers headers, so some damage to them is made to look whole.
            let block = at / 512 * 512;
            let mut header = tar::Header::from_byte_slice(&data[block..block + 512]).clone();
            header.set_cksum();
            drop(read(&data));
            data[block..block + 512].copy_from_slice(header.as_bytes());
            drop(read(&data));
        }
        #[test]
        fn any_name_has_a_key_or_none(name in prop::collection::vec(any::<u8>(), 0..20)) {
            if let Some(key) = key(&name) {
                prop_assert!(name.starts_with(key) && !key.is_empty());
            }
        }
    }
}
