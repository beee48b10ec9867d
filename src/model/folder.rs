//! Where models lie: `MODELS_DIR/NAME/REVISION/`, with `NAME/current` naming the revision that a bare NAME means.

use std::path::{Path, PathBuf};

use crate::types::names::check_name;
use crate::{Error, Result};

/// The file that names a model's current revision.
pub(crate) const CURRENT: &str = "current";

/// One revision of one model on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFolder {
    pub name: String,
    pub revision: String,
    pub path: PathBuf,
}

impl ModelFolder {
    /// NAME@REVISION.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}@{}", self.name, self.revision)
    }

    /// Opens a folder that was named by its path: a revision's, or a model's with a `current` file.
    ///
    /// # Errors
    /// `NotFound` if it is no folder, `InvalidArgument` if its `current` file is damaged.
    pub fn at(path: &Path) -> Result<Self> {
        let path = path
            .canonicalize()
            .ok()
            .filter(|path| path.is_dir())
            .ok_or_else(|| Error::NotFound { kind: "model folder", name: path.display().to_string() })?;
        let part = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(revision) = current_revision(&path)? {
            return Ok(Self { name: part(&path), path: path.join(&revision), revision });
        }
        let name = path.parent().map(part).unwrap_or_default();
        Ok(Self { name, revision: part(&path), path })
    }
}

/// Splits `NAME` or `NAME@REVISION` and checks both.
///
/// # Errors
/// `InvalidArgument` for the field `encoder`; a path is no name.
pub fn parse_name(encoder: &str) -> Result<(&str, Option<&str>)> {
    let (name, revision) = match encoder.split_once('@') {
        Some((name, revision)) => (name, Some(revision)),
        None => (encoder, None),
    };
    check_name("encoder", name)?;
    revision.map_or(Ok(()), |revision| check_name("encoder", revision))?;
    Ok((name, revision))
}

/// Finds `NAME` or `NAME@REVISION` below the models folder.
///
/// # Errors
/// `InvalidArgument` for a name that is none, `NotFound` listing what is there.
pub fn resolve(models_dir: &Path, encoder: &str) -> Result<ModelFolder> {
    let (name, revision) = parse_name(encoder)?;
    let model = models_dir.join(name);
    let revision = match revision {
        Some(revision) => Some(revision.to_owned()),
        None => current_revision(&model)?,
    };
    match revision {
        Some(revision) if model.join(&revision).is_dir() => {
            Ok(ModelFolder { name: name.to_owned(), path: model.join(&revision), revision })
        }
        _ => {
            let known: Vec<_> = list(models_dir)?.iter().map(ModelFolder::full_name).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Err(Error::NotFound { kind: "encoder", name: format!("{encoder} (there are: {known})") })
        }
    }
}

/// Every revision of every model, sorted; a folder that does not exist holds none.
///
/// # Errors
/// `Unavailable` if the folder cannot be read.
pub fn list(models_dir: &Path) -> Result<Vec<ModelFolder>> {
    let mut models = Vec::new();
    for name in folders_in(models_dir)? {
        models.extend(list_revisions(&models_dir.join(&name), &name)?);
    }
    Ok(models)
}

/// Every revision in a model's folder, sorted.
///
/// # Errors
/// `Unavailable` if the folder cannot be read.
pub fn list_revisions(model: &Path, name: &str) -> Result<Vec<ModelFolder>> {
    let revisions = folders_in(model)?.into_iter();
    Ok(revisions.map(|revision| ModelFolder { name: name.to_owned(), path: model.join(&revision), revision }).collect())
}

/// The revision that a model's `current` file names.
///
/// # Errors
/// `InvalidArgument` if it holds no name.
pub fn current_revision(model: &Path) -> Result<Option<String>> {
    let Ok(text) = std::fs::read_to_string(model.join(CURRENT)) else { return Ok(None) };
    let revision = text.trim();
    check_name("current", revision)?;
    Ok(Some(revision.to_owned()))
}

/// The names of a folder's folders that models and revisions may have, sorted; temporary ones begin with a dot.
fn folders_in(folder: &Path) -> Result<Vec<String>> {
    let failed = |error: &std::io::Error| Error::Unavailable {
        what: format!("the models folder {}", folder.display()),
        message: error.to_string(),
        retry_after: std::time::Duration::from_secs(10),
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(&error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| failed(&error))?;
        if let Ok(name) = entry.file_name().into_string()
            && check_name("", &name).is_ok()
            && entry.path().is_dir()
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_resolve_and_paths_do_not() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let models = folder.path().join("models");
        for revision in ["r1", "r2", ".r3.new"] {
            std::fs::create_dir_all(models.join("mini").join(revision)).expect("create");
        }
        std::fs::create_dir_all(folder.path().join("secret").join("r1")).expect("create");
        std::fs::write(models.join("mini/current"), "r2\n").expect("write");
        let names = |models: &[ModelFolder]| models.iter().map(ModelFolder::full_name).collect::<Vec<_>>();

        assert_eq!(names(&list(&models).expect("list")), ["mini@r1", "mini@r2"]);
        assert_eq!(resolve(&models, "mini").expect("mini").full_name(), "mini@r2");
        assert_eq!(resolve(&models, "mini@r1").expect("mini@r1").path, models.join("mini/r1"));
        assert_eq!(ModelFolder::at(&models.join("mini")).expect("at").full_name(), "mini@r2");
        assert_eq!(ModelFolder::at(&models.join("mini/r1")).expect("at").full_name(), "mini@r1");
        for missing in ["mini@r9", "other"] {
            let error = resolve(&models, missing).expect_err(missing);
            assert!(matches!(&error, Error::NotFound { kind: "encoder", name } if name.contains("mini@r1")), "{error}");
        }
        for bad in [
            "",
            "../secret@r1",
            "mini@../../secret/r1",
            "mini@",
            "@r1",
            "mini@r1@r2",
            "/etc",
            "mini/r1",
            ".",
            "mini@.r3.new",
        ] {
            assert!(matches!(resolve(&models, bad), Err(Error::InvalidArgument { .. })), "{bad:?}");
        }
        std::fs::write(models.join("mini/current"), "../../secret/r1").expect("write");
        assert!(matches!(resolve(&models, "mini"), Err(Error::InvalidArgument { .. })));
        assert!(list(&folder.path().join("absent")).expect("list").is_empty());
    }
}
