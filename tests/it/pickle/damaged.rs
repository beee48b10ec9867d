//! Archives that are cut, altered or bombs, and golden files with single bits changed.

use super::builder::{End, Entry, Pickle, archive, zip, zip_with};
use super::golden;
use super::hostile::Case;
use crate::random::Random;

/// A tensor and its storage.
fn honest() -> Vec<Entry> {
    let pickle = Pickle::new().raw(b"}").text("a").tensor("0", 4, 0, &[4], &[1]).raw(b"s").end();
    vec![
        Entry::new("x/data.pkl", &pickle),
        Entry::new("x/byteorder", b"little"),
        Entry::new("x/data/0", &[7; 16]),
        Entry::new("x/version", b"3\n"),
    ]
}

/// The honest archive with one entry changed.
fn changed(number: usize, change: impl FnOnce(&mut Entry)) -> Vec<u8> {
    let mut entries = honest();
    change(&mut entries[number]);
    zip(&entries)
}

fn with(entry: Entry) -> Vec<u8> {
    let mut entries = honest();
    entries.push(entry);
    zip(&entries)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![Case::bounded("the honest archive", zip(&honest()))];
    cases.extend(entries());
    cases.extend(directories());
    cases.extend(bombs());
    cases.extend(others());
    cases.extend(cut_files());
    cases.extend(altered_files());
    cases
}

fn entries() -> Vec<Case> {
    let refused = Case::refused;
    let named = |name: &[u8]| {
        let entry = Entry { name: name.to_vec(), content: b"?".to_vec(), ..Entry::default() };
        (format!("an entry called {:?}", String::from_utf8_lossy(name)), with(entry))
    };
    let mut cases = vec![
        refused("a wrong checksum of the pickle", changed(0, |entry| entry.checksum = Some(1)), "checksum"),
        refused("a wrong checksum of a storage", changed(2, |entry| entry.checksum = Some(1)), "checksum"),
        refused(
            "a storage that is altered",
            changed(2, |entry| entry.checksum = Some(crc32fast::hash(&[8; 16]))),
            "checksum",
        ),
        refused("an encrypted entry", changed(2, |entry| entry.flags = 1), "encrypted"),
        refused("an entry by bzip2", changed(2, |entry| entry.method = 12), "method 12"),
        refused("an entry by method 99", changed(2, |entry| entry.method = 99), "method 99"),
        refused("a stored entry of another size", changed(2, |entry| entry.size = Some(17)), "stored"),
        refused(
            "an entry of 4 GiB",
            changed(2, |entry| (entry.stored, entry.size) = (Some(u32::MAX - 1), None)),
            "reaches",
        ),
        refused("an entry that reaches into the next", changed(2, |entry| entry.stored = Some(60)), "reaches"),
        refused("an entry behind the file", changed(2, |entry| entry.start = Some(1 << 30)), "reaches"),
        refused("an entry over another", changed(2, |entry| entry.start = Some(0)), ""),
        refused("an entry in the middle of another", changed(3, |entry| entry.start = Some(9)), ""),
        refused(
            "an entry with another name of its own",
            changed(2, |entry| entry.local_name = Some(b"x/data/1".to_vec())),
            "another name",
        ),
        refused("an entry that is deflated nonsense", changed(2, |entry| entry.method = 8), "inflate"),
        refused(
            "a zip64 field that is cut off",
            changed(2, |entry| {
                (entry.size, entry.stored, entry.extra) = (Some(u32::MAX), Some(u32::MAX), vec![1, 0, 8, 0, 1]);
            }),
            "damaged",
        ),
        refused(
            "a zip64 field of 2^63 bytes",
            changed(2, |entry| {
                let mut extra = vec![1, 0, 16, 0];
                extra.extend([0, 0, 0, 0, 0, 0, 0, 0x80].repeat(2));
                (entry.size, entry.stored, entry.extra) = (Some(u32::MAX), Some(u32::MAX), extra);
            }),
            "reaches",
        ),
        refused("no zip64 field where there must be one", changed(2, |entry| entry.start = Some(u32::MAX)), "damaged"),
        refused("two entries of one name", with(Entry::new("x/data/0", &[8; 16])), "twice"),
        refused("two pickles", with(Entry::new("y/data.pkl", b"\x80\x02N.")), "2 pickles"),
        refused("a folder with content", with(Entry::new("x/code/", b"content")), "folder"),
        refused("big-endian numbers", changed(1, |entry| entry.content = b"big".to_vec()), "little-endian"),
        refused("a byte order of 1 MB", changed(1, |entry| entry.content = vec![b'l'; 1 << 20]), "are read"),
        refused("no pickle", zip(&honest()[1..]), "data.pkl"),
        refused("a pickle two folders down", changed(0, |entry| entry.name = b"x/y/data.pkl".to_vec()), "data.pkl"),
        refused("a pickle at the root", changed(0, |entry| entry.name = b"data.pkl".to_vec()), "data.pkl"),
        refused(
            "a pickle that is not there",
            changed(2, |entry| entry.name = b"x/data/1".to_vec()),
            "not in the archive",
        ),
    ];
    for name in [
        &b"../x"[..],
        b"/etc/passwd",
        b"x/../y",
        b"x//y",
        b"x\\y",
        b"x/./y",
        b"x\0y",
        b"x\ny",
        b"\xff\xfe",
        b"",
        &[b'n'; 300],
    ] {
        let (name, file) = named(name);
        cases.push(Case::refused(name, file, "name"));
    }
    cases
}

fn directories() -> Vec<Case> {
    let ends = |name: &str, end: End, word: &str| Case::refused(name, zip_with(&honest(), end), word);
    let mut cases = vec![
        ends("more entries than there are", End { n_entries: Some(5), ..End::default() }, "damaged"),
        ends("fewer entries than there are", End { n_entries: Some(3), ..End::default() }, "damaged"),
        ends("65,535 entries", End { n_entries: Some(65_535), ..End::default() }, "damaged"),
        ends("a directory of 4 GiB", End { bytes: Some(u32::MAX), ..End::default() }, "too large"),
        ends("a directory of 15 MiB", End { bytes: Some(15 << 20), ..End::default() }, "not where"),
        ends("a directory behind the file", End { start: Some(1 << 30), ..End::default() }, "not where"),
        ends("a directory that begins too late", End { start: Some(300), ..End::default() }, ""),
        ends("a directory at the beginning", End { start: Some(0), ..End::default() }, ""),
    ];
    // Ends of zip64 that lie: entries, bytes, start; and where the end itself is.
    for (name, numbers, at) in [
        ("2^63 entries", [1 << 63, 100, 0], None),
        ("2^63 bytes of directory", [4, 1 << 63, 0], None),
        ("a directory at 2^63", [4, 100, 1 << 63], None),
        ("an end at 2^64", [4, 100, 0], Some(u64::MAX)),
        ("an end at the beginning", [4, 100, 0], Some(0)),
    ] {
        let mut file = zip(&honest());
        let end = file.split_off(file.len() - 22);
        let here = file.len() as u64;
        file.extend(b"PK\x06\x06");
        file.extend(44_u64.to_le_bytes());
        file.extend([0; 20]);
        for number in numbers {
            file.extend(u64::to_le_bytes(number));
        }
        file.extend(b"PK\x06\x07\0\0\0\0");
        file.extend(at.unwrap_or(here).to_le_bytes());
        file.extend([1, 0, 0, 0]);
        file.extend(end);
        cases.push(Case::refused(format!("zip64: {name}"), file, ""));
    }
    cases
}

/// Deflated entries that become large.
fn bombs() -> Vec<Case> {
    let zeros = vec![0; 64 << 20];
    let bomb = Entry::deflated("x/data/0", &zeros);
    let of = |entry: Entry, n: i64| {
        let pickle = Pickle::new().tensor("0", n, 0, &[n], &[1]).end();
        zip(&[Entry::new("x/data.pkl", &pickle), entry])
    };
    let pickle_bomb =
        Entry::deflated("x/data.pkl", &b"\x80\x02".iter().copied().chain(vec![b'N'; 17 << 20]).collect::<Vec<_>>());
    vec![
        Case::refused("64 MiB of zeros in a storage", of(bomb.clone(), 16 << 20), "times the file"),
        Case::refused("64 MiB of zeros that say 16 bytes", of(Entry { size: Some(16), ..bomb.clone() }, 4), "inflates"),
        Case::refused(
            "16 bytes that say 4 GiB",
            of(Entry { size: Some(u32::MAX - 1), ..Entry::deflated("x/data/0", &[0; 16]) }, 4),
            "times the file",
        ),
        Case::refused(
            "16 bytes that say 20",
            of(Entry { size: Some(20), ..Entry::deflated("x/data/0", &[0; 16]) }, 5),
            "inflates",
        ),
        Case::refused("a pickle of 17 MiB", zip(&[pickle_bomb]), ""),
        Case::bounded("an honest deflated storage", of(Entry::deflated("x/data/0", &[5; 64]), 16)),
    ]
}

/// Files that are something else.
fn others() -> Vec<Case> {
    let refused = |name: &str, file: &[u8], word: &str| Case::refused(name, file.to_vec(), word);
    let mut tar = vec![0; 1024];
    tar[257..262].copy_from_slice(b"ustar");
    vec![
        refused("an empty file", b"", "zip archive"),
        refused("three bytes", b"PK\x03", "zip archive"),
        refused("four bytes", b"PK\x03\x04", "cut off"),
        refused("a legacy file", &golden::bytes("checkpoint.legacy.pt"), "legacy"),
        refused("a pickle alone", &Pickle::new().global("os", "system").end(), "legacy"),
        refused("a tar archive", &tar, "zip archive"),
        refused("a safetensors file", b"\x02\0\0\0\0\0\0\0{}", "zip archive"),
        refused("an empty zip archive", b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "zip archive"),
        refused("text", b"import os; os.system('echo harm')", "zip archive"),
        refused("nothing but zeros", &[0; 100_000], "zip archive"),
    ]
}

fn cut_files() -> Vec<Case> {
    let mut cases = Vec::new();
    let file = golden::bytes("checkpoint.pt");
    for length in (0..file.len()).step_by(97) {
        cases.push(Case::refused(format!("checkpoint.pt cut at {length}"), file[..length].to_vec(), ""));
    }
    let pickle = golden_pickle();
    for length in (0..pickle.len()).step_by(61) {
        cases.push(Case::refused(format!("its pickle cut at {length}"), rebuilt(&pickle[..length]), ""));
    }
    cases
}

/// Single bits and bytes changed, in the file and, with a right checksum, in its pickle.
fn altered_files() -> Vec<Case> {
    let mut random = Random::new(20_451);
    let (file, pickle) = (golden::bytes("checkpoint.pt"), golden_pickle());
    let mut cases = Vec::new();
    for number in 0..300 {
        let (mut file, mut pickle) = (file.clone(), pickle.clone());
        for bytes in [&mut file, &mut pickle] {
            for _ in 0..=random.below(2) {
                let at = random.below(bytes.len());
                match random.below(3) {
                    0 => bytes[at] ^= 1 << random.below(8),
                    1 => bytes[at] = random.next() as u8,
                    _ => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
                }
            }
        }
        cases.push(Case::bounded(format!("checkpoint.pt altered, {number}"), file));
        cases.push(Case::bounded(format!("its pickle altered, {number}"), rebuilt(&pickle)));
    }
    cases
}

/// The pickle in checkpoint.pt, which torch stores as the first entry.
fn golden_pickle() -> Vec<u8> {
    let file = golden::bytes("checkpoint.pt");
    let start = file.windows(2).position(|bytes| bytes == [0x80, 2]).expect("a pickle");
    let end = start + file[start..].windows(5).position(|bytes| bytes == b".PK\x07\x08").expect("its end") + 1;
    file[start..end].to_vec()
}

/// An archive of this pickle and the storages that checkpoint.pt's names, all zeros.
fn rebuilt(pickle: &[u8]) -> Vec<u8> {
    let file = golden::bytes("checkpoint.pt");
    let mut storages = Vec::new();
    for key in 0..32 {
        let name = format!("checkpoint/data/{key}");
        // The directory has the content's size and the name's length before the name.
        let is_listed = |at: &usize| {
            file[*at..].starts_with(name.as_bytes())
                && file[at - 46..].starts_with(b"PK\x01\x02")
                && usize::from(file[at - 18]) == name.len()
        };
        let Some(at) = (46..file.len()).find(is_listed) else { continue };
        let size = u32::from_le_bytes(file[at - 22..at - 18].try_into().expect("four bytes"));
        storages.push((key.to_string(), vec![0; size as usize]));
    }
    let storages: Vec<(&str, &[u8])> = storages.iter().map(|(key, bytes)| (key.as_str(), &bytes[..])).collect();
    archive(pickle, &storages)
}

#[test]
fn the_rebuilt_archive_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rebuilt.pt");
    std::fs::write(&path, rebuilt(&golden_pickle())).expect("written");
    let file = pictor::model::pickle::TorchFile::open(&path).expect("readable");
    assert_eq!(file.tensors(file.root()).expect("readable").len(), 24);
}
