//! A folder of pictures, read recursively in the order of names. `NAME.txt` beside `NAME.png` is its text `caption`;
//! `NAME.json` is an object with optional keys `id`, `texts`, `vectors` and `payload`, whose other keys go into the payload.
//! Names that start with a point are left out; other files are ignored.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, Result};
use pictor_proto::v1;
use walkdir::{DirEntry, WalkDir};

use super::media::{Root, is_picture, read_file};
use super::object::{Columns, Draft, read_object};
use super::record::{Caps, Place, Reader, Reject, Total, code};

/// Sidecars are texts; a larger one is a mistake.
const SIDECAR_BYTES: u64 = 4 << 20;

/// Reads pictures one by one.
#[derive(Debug)]
pub struct Folder {
    root: Root,
    caps: Caps,
    walk: walkdir::IntoIter,
    total: u64,
    current: Option<Found>,
}

#[derive(Debug)]
enum Found {
    Picture(PathBuf),
    Wrong(Reject),
}

impl Folder {
    /// Starts at the beginning; `total` is from [`survey`].
    ///
    /// # Errors
    /// If the folder cannot be resolved.
    pub fn open(folder: &Path, total: u64, caps: Caps) -> Result<Self> {
        let root = Root::new(folder).with_context(|| format!("cannot open {}", folder.display()))?;
        let walk = walk(&root);
        Ok(Self { root, caps, walk, total, current: None })
    }

    fn draft(&self, picture: &Path, relative: &str) -> Result<Draft, Reject> {
        let mut draft = match self.sidecar(picture, "json")? {
            Some((bytes, name)) => read_object(&bytes, &Columns::default(), false)
                .map_err(|reject| Reject { reason: format!("{name}: {}", reject.reason), ..reject })?,
            None => Draft::default(),
        };
        if !draft.texts.contains_key("caption")
            && let Some((bytes, name)) = self.sidecar(picture, "txt")?
        {
            let text = String::from_utf8(bytes).map_err(|_| Reject::bad(format!("{name} is not UTF-8")))?;
            let text = text.trim();
            if !text.is_empty() {
                draft.texts.insert("caption".to_owned(), v1::TextParts { chunks: vec![text.to_owned()] });
            }
        }
        draft.id.get_or_insert_with(|| relative.to_owned());
        Ok(draft)
    }

    fn sidecar(&self, picture: &Path, ending: &str) -> Result<Option<(Vec<u8>, String)>, Reject> {
        let path = picture.with_extension(ending);
        // A dangling link is a sidecar that is missing, no sidecar is not.
        if path.symlink_metadata().is_err() {
            return Ok(None);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = read_file(&self.root.inside(&path, &name)?, &name, SIDECAR_BYTES)?;
        Ok(Some((bytes, name)))
    }
}

fn walk(root: &Root) -> walkdir::IntoIter {
    WalkDir::new(root.folder()).min_depth(1).sort_by_file_name().into_iter()
}

/// Moves to the next entry that is a record: a picture, or something wrong.
fn next_record(walk: &mut walkdir::IntoIter, root: &Root) -> Option<(Found, String)> {
    loop {
        let entry = match walk.next()? {
            Ok(entry) => entry,
            Err(error) => {
                let path = error.path().unwrap_or_else(|| Path::new("?")).to_string_lossy().into_owned();
                return Some((Found::Wrong(Reject::new(code::UNREADABLE_FILE, error.to_string())), path));
            }
        };
        if entry.file_name().to_string_lossy().starts_with('.') {
            if entry.file_type().is_dir() {
                walk.skip_current_dir();
            }
            continue;
        }
        let shown = entry.path().strip_prefix(root.folder()).unwrap_or(entry.path()).to_string_lossy().into_owned();
        if entry.path_is_symlink() && entry.path().is_dir() {
            // A link to a folder inside would only repeat what the walk sees anyway.
            match root.inside(entry.path(), &shown) {
                Ok(_) => continue,
                Err(reject) => return Some((Found::Wrong(reject), shown)),
            }
        }
        if !entry.file_type().is_dir() && is_picture(&shown) {
            return Some((Found::Picture(entry.into_path()), shown));
        }
    }
}

/// Counts the records and hashes names, sizes and times of all files, so that a changed folder is noticed.
///
/// # Errors
/// If the folder cannot be resolved.
pub fn survey(folder: &Path) -> Result<(u64, String)> {
    let root = Root::new(folder).with_context(|| format!("cannot open {}", folder.display()))?;
    let mut hasher = blake3::Hasher::new();
    for entry in walk(&root).flatten() {
        hash_entry(&mut hasher, &entry);
    }
    let mut records = 0;
    let mut entries = walk(&root);
    while next_record(&mut entries, &root).is_some() {
        records += 1;
    }
    Ok((records, hasher.finalize().to_string()))
}

fn hash_entry(hasher: &mut blake3::Hasher, entry: &DirEntry) {
    hasher.update(entry.path().as_os_str().as_encoded_bytes());
    hasher.update(&[0]);
    if let Ok(metadata) = std::fs::metadata(entry.path())
        && metadata.is_file()
    {
        hasher.update(&metadata.len().to_le_bytes());
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        hasher.update(&modified.unwrap_or_default().as_nanos().to_le_bytes());
    }
}

impl Reader for Folder {
    fn total(&self) -> Total {
        Total::Records(self.total)
    }

    fn advance(&mut self) -> Result<Option<Place>> {
        let Some((found, shown)) = next_record(&mut self.walk, &self.root) else { return Ok(None) };
        self.current = Some(found);
        Ok(Some(Place { text: shown, offset: 0 }))
    }

    fn load(&mut self) -> Result<v1::Item, Reject> {
        let picture = match self.current.take() {
            Some(Found::Picture(path)) => path,
            Some(Found::Wrong(reject)) => return Err(reject),
            None => return Err(Reject::bad("there is no record here")),
        };
        let relative = picture.strip_prefix(self.root.folder()).unwrap_or(&picture);
        let relative = relative.to_str().ok_or_else(|| Reject::bad("the file's name is not UTF-8"))?;
        let draft = self.draft(&picture, relative).map_err(|reject| reject.of(relative))?;
        let id = draft.id.unwrap_or_default();
        let real = self.root.inside(&picture, relative).map_err(|reject| reject.of(&id))?;
        let data = read_file(&real, relative, self.caps.media_bytes).map_err(|reject| reject.of(&id))?;
        let media = v1::Media { data: data.into(), name: relative.to_owned() };
        Ok(v1::Item {
            id,
            payload: draft.payload,
            media: vec![media],
            texts: draft.texts,
            vectors: draft.vectors,
            if_version: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::tests::read_all;
    use super::*;

    #[test]
    fn pictures_come_with_their_sidecars() {
        let outer = tempfile::tempdir().expect("a folder");
        let folder = outer.path().join("source");
        let write = |name: &str, data: &str| {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, data).expect("a file");
        };
        write("b.png", "B");
        write("b.txt", "  a bee \n");
        write("a/x.JPG", "X");
        write("a/x.json", r#"{"id": "ex", "texts": {"t": "u"}, "size": 3}"#);
        write("a/bad.png", "X");
        write("a/bad.json", "[]");
        write("notes.md", "ignored");
        write(".hidden/c.png", "ignored");
        std::fs::write(outer.path().join("secret.png"), "S").expect("a file");
        std::os::unix::fs::symlink("../secret.png", folder.join("link.png")).expect("a link");
        std::os::unix::fs::symlink("..", folder.join("out")).expect("a link");
        let (total, fingerprint) = survey(&folder).expect("a folder");
        assert_eq!(total, 5);
        assert_eq!(survey(&folder).expect("a folder").1, fingerprint);
        let records = read_all(&mut Folder::open(&folder, total, Caps::default()).expect("a folder"));
        let shown: Vec<_> = records.iter().map(|(place, _)| place.text.as_str()).collect();
        assert_eq!(shown, ["a/bad.png", "a/x.JPG", "b.png", "link.png", "out"]);
        assert_eq!(records[0].1.as_ref().map_err(|reject| reject.code.as_str()), Err(code::BAD_RECORD));
        let item = records[1].1.as_ref().expect("an item");
        assert_eq!((item.id.as_str(), item.media[0].name.as_str()), ("ex", "a/x.JPG"));
        assert_eq!(item.texts["t"].chunks, ["u"]);
        assert!(item.payload.contains_key("size"));
        let item = records[2].1.as_ref().expect("an item");
        assert_eq!((item.id.as_str(), &item.media[0].data[..]), ("b.png", &b"B"[..]));
        assert_eq!(item.texts["caption"].chunks, ["a bee"]);
        for record in &records[3..] {
            assert_eq!(record.1.as_ref().map_err(|reject| reject.code.as_str()), Err(code::OUTSIDE_SOURCE));
        }
        write("b.txt", "another");
        assert_ne!(survey(&folder).expect("a folder").1, fingerprint);
    }
}
