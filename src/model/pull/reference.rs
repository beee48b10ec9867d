//! `hf:OWNER/NAME[@REVISION]`: a repository on a hub and a state of it.

use std::fmt;
use std::str::FromStr;

use crate::types::names::check_name;
use crate::{Error, Result};

/// Bytes of an owner's or a repository's name.
const PART_BYTES: usize = 96;

/// Folders in the name of a branch, as in `refs/pr/1`.
const REVISION_PARTS: usize = 8;

/// A repository on a hub and the branch, tag or commit that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    pub owner: String,
    pub name: String,
    pub revision: String,
}

impl Reference {
    /// OWNER/NAME.
    #[must_use]
    pub fn repository(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// The commit, if the revision is one.
    #[must_use]
    pub fn commit(&self) -> Option<&str> {
        is_commit(&self.revision).then_some(self.revision.as_str())
    }

    /// The revision as one segment of a URL's path.
    #[must_use]
    pub(crate) fn revision_segment(&self) -> String {
        self.revision.replace('/', "%2F")
    }

    /// What the model is called in the models folder: `given`, or the repository's name in lower case.
    ///
    /// # Errors
    /// `InvalidArgument` if that is no name.
    pub fn local_name(&self, given: Option<&str>) -> Result<String> {
        let name = given.map_or_else(|| self.name.to_lowercase(), str::to_owned);
        check_name("name", &name)?;
        Ok(name)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf:{}/{}@{}", self.owner, self.name, self.revision)
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fault = |what: &str| {
            Error::invalid("model", format!("{what}; expected hf:OWNER/NAME or hf:OWNER/NAME@REVISION, got {text:?}"))
        };
        let rest = text.strip_prefix("hf:").ok_or_else(|| fault("only models of a hub can be pulled"))?;
        let (repository, revision) = rest.split_once('@').unwrap_or((rest, "main"));
        let (owner, name) = repository.split_once('/').ok_or_else(|| fault("the owner is missing"))?;
        let is_repository = [owner, name].into_iter().all(|part| is_plain(part) && part.len() <= PART_BYTES);
        if !is_repository {
            return Err(fault("owner and name are ASCII letters, digits, '_', '-' and '.'"));
        }
        let n_parts = revision.split('/').count();
        if !revision.split('/').all(is_plain) || n_parts > REVISION_PARTS || revision.len() > 2 * PART_BYTES {
            return Err(fault("the revision is a branch, a tag or a commit"));
        }
        Ok(Self { owner: owner.to_owned(), name: name.to_owned(), revision: revision.to_owned() })
    }
}

/// True for a word that means the same in a URL, in a path and on a terminal.
pub(crate) fn is_plain(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
        && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        && !word.contains("..")
}

/// True for the full name of a commit.
pub(crate) fn is_commit(word: &str) -> bool {
    is_hex(word, 40)
}

/// True for this many lower-case hexadecimal digits.
pub(crate) fn is_hex(word: &str, digits: usize) -> bool {
    word.len() == digits && word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_and_printed() {
        let check = |text: &str, printed: &str| {
            assert_eq!(text.parse::<Reference>().expect(text).to_string(), printed);
        };
        check("hf:BAAI/bge-small-en-v1.5", "hf:BAAI/bge-small-en-v1.5@main");
        check("hf:a/b@v1.0", "hf:a/b@v1.0");
        check("hf:a/b@refs/pr/1", "hf:a/b@refs/pr/1");
        let reference: Reference = "hf:BAAI/Bge@refs/pr/1".parse().expect("a reference");
        assert_eq!(reference.revision_segment(), "refs%2Fpr%2F1");
        assert_eq!(reference.local_name(None).expect("a name"), "bge");
        assert_eq!(reference.local_name(Some("Mine")).expect("a name"), "Mine");
        assert!(reference.local_name(Some("../x")).is_err());
        assert_eq!(reference.commit(), None);
        let commit = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(format!("hf:a/b@{commit}").parse::<Reference>().expect("a commit").commit(), Some(commit));
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "a/b",
            "hf:",
            "hf:a",
            "hf:a/",
            "hf:/b",
            "hf:a/b/c",
            "hf:../b",
            "hf:a/..",
            "hf:a/b..c",
            "hf:a/.b",
            "hf:a/-b",
            "hf:a/b@",
            "hf:a/b@..",
            "hf:a/b@x/../y",
            "hf:a/b@/x",
            "hf:a/b@x//y",
            "hf:a/b@c@d",
            "hf:a/b?x=1",
            "hf:a/b#x",
            "hf:a/b%2e",
            "hf:a\\b/c",
            "hf:a b/c",
            "hf:ä/b",
            "hf:a/b\n",
            "HF:a/b",
            "https://example.org/a/b",
            &format!("hf:a/{}", "b".repeat(97)),
            &format!("hf:a/b@{}", "c/".repeat(9)),
        ] {
            let error = text.parse::<Reference>().expect_err(text);
            assert!(matches!(error, Error::InvalidArgument { .. }), "{text:?}: {error}");
        }
    }
}
