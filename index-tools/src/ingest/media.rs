//! Reading picture files, and keeping paths inside the source's folder.

use std::fs;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use pictor_proto::v1;

use super::record::{Caps, Reject, code};
use crate::units;

/// Endings of files that are pictures, in lower case.
const EXTENSIONS: [&str; 8] = ["png", "jpg", "jpeg", "gif", "webp", "bmp", "tif", "tiff"];

/// True if the name ends like a picture's.
#[must_use]
pub fn is_picture(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, ending)| EXTENSIONS.contains(&ending.to_ascii_lowercase().as_str()))
}

/// A folder that no path of a record may leave.
#[derive(Clone, Debug)]
pub struct Root(PathBuf);

impl Root {
    /// Takes a folder that exists.
    ///
    /// # Errors
    /// If it cannot be resolved.
    pub fn new(folder: &Path) -> std::io::Result<Self> {
        Ok(Self(folder.canonicalize()?))
    }

    /// The folder itself, without links.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Resolves a relative path of a record; links are followed as long as they stay inside.
    ///
    /// # Errors
    /// If the path is absolute, climbs, leads out through a link, or names nothing.
    pub fn resolve(&self, path: &str) -> Result<PathBuf, Reject> {
        let outside = |why: &str| Reject::new(code::OUTSIDE_SOURCE, format!("{path:?} {why}"));
        let relative = Path::new(path);
        if path.is_empty() || path.contains('\0') {
            return Err(Reject::bad(format!("{path:?} is not a path")));
        }
        for component in relative.components() {
            match component {
                Component::Normal(_) | Component::CurDir => {}
                Component::ParentDir => return Err(outside("climbs out with ..")),
                Component::RootDir | Component::Prefix(_) => return Err(outside("is absolute")),
            }
        }
        self.inside(&self.0.join(relative), path)
    }

    /// Accepts a path below the folder if it still is below it after following links.
    ///
    /// # Errors
    /// If it is not there or leads out.
    pub fn inside(&self, path: &Path, shown: &str) -> Result<PathBuf, Reject> {
        let real = path.canonicalize().map_err(|error| missing(shown, &error))?;
        if real.starts_with(&self.0) {
            return Ok(real);
        }
        Err(Reject::new(code::OUTSIDE_SOURCE, format!("{shown:?} is a link that leads out of the source")))
    }
}

fn missing(shown: &str, error: &std::io::Error) -> Reject {
    let code = if error.kind() == std::io::ErrorKind::NotFound { code::MISSING_FILE } else { code::UNREADABLE_FILE };
    Reject::new(code, format!("{shown:?}: {error}"))
}

/// Reads a whole file of at most `cap` bytes.
///
/// # Errors
/// If it is no plain file, too large or unreadable.
pub fn read_file(path: &Path, shown: &str, cap: u64) -> Result<Vec<u8>, Reject> {
    let metadata = fs::metadata(path).map_err(|error| missing(shown, &error))?;
    if !metadata.is_file() {
        return Err(Reject::new(code::UNREADABLE_FILE, format!("{shown:?} is not a plain file")));
    }
    let too_large = |size: u64| {
        let (size, cap) = (units::bytes(size), units::bytes(cap));
        Reject::new(code::LIMIT_EXCEEDED, format!("{shown:?} has {size}, over the cap of {cap}"))
    };
    if metadata.len() > cap {
        return Err(too_large(metadata.len()));
    }
    let mut data = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    fs::File::open(path)
        .and_then(|file| file.take(cap + 1).read_to_end(&mut data))
        .map_err(|error| missing(shown, &error))?;
    if data.len() as u64 > cap {
        return Err(too_large(data.len() as u64));
    }
    Ok(data)
}

/// Reads a picture that a record names by a relative path.
///
/// # Errors
/// As [`Root::resolve`] and [`read_file`].
pub fn read_picture(root: &Root, path: &str, caps: &Caps) -> Result<v1::Media, Reject> {
    let data = read_file(&root.resolve(path)?, path, caps.media_bytes)?;
    Ok(v1::Media { data: Bytes::from(data), name: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        let outer = tempfile::tempdir().expect("a folder");
        let folder = outer.path().join("source");
        fs::create_dir_all(folder.join("sub")).expect("a folder");
        fs::write(outer.path().join("secret"), "x").expect("a file");
        fs::write(folder.join("sub/a.png"), "x").expect("a file");
        std::os::unix::fs::symlink(outer.path().join("secret"), folder.join("out.png")).expect("a link");
        std::os::unix::fs::symlink("sub/a.png", folder.join("in.png")).expect("a link");
        let root = Root::new(&folder).expect("a folder");
        let code = |path: &str| root.resolve(path).map_err(|reject| reject.code).err();
        assert_eq!(code("sub/a.png"), None);
        assert_eq!(code("./in.png"), None);
        let secret = outer.path().join("secret");
        for path in ["../secret", "sub/../../secret", "out.png", secret.to_str().expect("UTF-8")] {
            assert_eq!(code(path).as_deref(), Some(code::OUTSIDE_SOURCE), "{path}");
        }
        assert_eq!(code("none.png").as_deref(), Some(code::MISSING_FILE));
        assert_eq!(code("").as_deref(), Some(code::BAD_RECORD));
        assert_eq!(code("a\0b").as_deref(), Some(code::BAD_RECORD));
    }

    #[test]
    fn large_files_and_devices_are_rejected() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a");
        fs::write(&file, [0; 100]).expect("a file");
        assert_eq!(read_file(&file, "a", 100).map(|data| data.len()), Ok(100));
        assert_eq!(read_file(&file, "a", 99).map_err(|reject| reject.code), Err(code::LIMIT_EXCEEDED.to_owned()));
        let device = read_file(Path::new("/dev/zero"), "zero", 99).map_err(|reject| reject.code);
        assert_eq!(device, Err(code::UNREADABLE_FILE.to_owned()));
    }

    #[test]
    fn pictures_are_known_by_their_ending() {
        assert!(is_picture("a/b.PNG") && is_picture("x.y.jpeg"));
        assert!(!is_picture("png") && !is_picture("a.txt") && !is_picture(""));
    }
}
