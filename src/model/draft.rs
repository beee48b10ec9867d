//! A new revision that is made here: gathered in a hidden folder, made to last, named by its fingerprint.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::card::{self, Card};
use super::fault::cannot_write;
use super::fingerprint::hash_file;
use super::folder::CURRENT;
use super::pull::publish::{publish, set_current};
use super::{ModelFolder, files};
use crate::store::unique_id;
use crate::types::names::check_name;
use crate::{Error, Result};

/// Digits of the fingerprint in a revision's name.
const REVISION_DIGITS: usize = 12;

/// A folder that nobody finds until it is published; it goes when it is dropped before.
#[derive(Debug)]
pub struct Draft {
    models_dir: PathBuf,
    path: PathBuf,
}

impl Draft {
    /// An empty folder inside the models folder.
    ///
    /// # Errors
    /// `Storage` or `StorageFull`.
    pub fn create(models_dir: &Path) -> Result<Self> {
        let path = models_dir.join(format!(".new-{}", unique_id()));
        fs::create_dir_all(&path).map_err(|error| cannot_write(&path, &error))?;
        Ok(Self { models_dir: models_dir.to_owned(), path })
    }

    /// Where its files go.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder as a model's, to be read before it is published.
    #[must_use]
    pub fn folder(&self, name: &str) -> ModelFolder {
        ModelFolder { name: name.to_owned(), revision: "new".to_owned(), path: self.path.clone() }
    }

    /// BLAKE3 of every file by its path, for the card.
    ///
    /// # Errors
    /// `FailedPrecondition` if a file cannot be read.
    pub fn hashes(&self) -> Result<BTreeMap<String, String>> {
        let hash = |path: String| {
            let hash = blake3::Hash::from(hash_file(&self.path.join(&path))?);
            Ok((path, hash.to_hex().to_string()))
        };
        files::list(&self.path)?.into_keys().filter(|path| path != card::FILE).map(hash).collect()
    }

    /// Makes the folder last and gives it its name, `t` and the fingerprint's first digits: the same result is the same
    /// revision. `current` is set if the model had none.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that is none; `AlreadyExists` if another model has the revision's name; `Storage`,
    /// `StorageFull`.
    pub fn publish(self, name: &str, fingerprint: &str, card: &Card) -> Result<ModelFolder> {
        check_name("name", name)?;
        let digits = fingerprint.get(..REVISION_DIGITS).unwrap_or(fingerprint);
        let revision = format!("t{digits}");
        let model = self.models_dir.join(name);
        let path = model.join(&revision);
        fs::create_dir_all(&model).map_err(|error| cannot_write(&model, &error))?;
        if path.exists() {
            if Card::read(&path)?.fingerprint != card.fingerprint {
                return Err(Error::AlreadyExists { kind: "model revision", name: format!("{name}@{revision}") });
            }
        } else {
            for file in files::list(&self.path)?.into_keys() {
                let file = self.path.join(file);
                File::open(&file).and_then(|file| file.sync_all()).map_err(|error| cannot_write(&file, &error))?;
            }
            publish(&self.path, &path, card)?;
        }
        if !model.join(CURRENT).exists() {
            set_current(&model, &revision)?;
        }
        Ok(ModelFolder { name: name.to_owned(), revision, path })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Published, it is not there any more; left over, it would be found by nobody.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_appears_whole_once_or_goes() {
        let models = tempfile::tempdir().expect("a folder");
        let draft = |content: &str| {
            let draft = Draft::create(models.path()).expect("a draft");
            fs::create_dir(draft.path().join("inner")).expect("a folder");
            fs::write(draft.path().join("inner/file"), content).expect("written");
            let card = Card {
                fingerprint: Some(content.to_owned()),
                files: draft.hashes().expect("hashes"),
                ..Card::default()
            };
            (draft, card)
        };
        let one = "0123456789abcdef";
        let (first, card) = draft(one);
        assert_eq!(card.files["inner/file"], blake3::hash(one.as_bytes()).to_hex().to_string());
        let published = first.publish("m", one, &card).expect("published");
        assert_eq!(published.full_name(), "m@t0123456789ab");
        assert_eq!(Card::read(&published.path).expect("a card"), card);
        let (again, card) = draft(one);
        assert_eq!(again.publish("m", one, &card).expect("there already"), published);
        // Twelve digits that are alike by chance.
        let (other, card) = draft("0123456789abXXXX");
        assert!(matches!(other.publish("m", "0123456789abXXXX", &card), Err(Error::AlreadyExists { .. })));
        let (next, card) = draft("fedcba9876543210");
        next.publish("m", "fedcba9876543210", &card).expect("published");
        assert_eq!(fs::read_to_string(models.path().join("m/current")).expect("current"), "t0123456789ab\n");
        let (nameless, card) = draft("x");
        assert!(matches!(nameless.publish("../m", "x", &card), Err(Error::InvalidArgument { .. })));
        let left: Vec<_> =
            fs::read_dir(models.path()).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect();
        assert_eq!(left, ["m"]);
    }
}
