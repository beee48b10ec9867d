//! API keys: who may call what.

use std::fmt;
use std::path::Path;

use http::HeaderMap;
use subtle::{Choice, ConstantTimeEq as _};
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt as _};

use super::scopes::{Scope, scope_of};
use super::status::DOMAIN;
use crate::types::{Error, Result};

/// The keys that a server accepts; only their hashes are held. Without any, every call is allowed.
#[derive(Clone, Default)]
pub struct ApiKeys(Vec<([u8; 32], Scope)>);

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeys({} keys)", self.0.len())
    }
}

/// Shorter keys are guessed too easily.
const MIN_KEY_BYTES: usize = 16;

/// Why a call is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Missing,
    Unknown,
    TooSmall { needed: Scope, granted: Scope },
}

impl Refusal {
    /// The stable word for programs.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Missing => "API_KEY_MISSING",
            Self::Unknown => "API_KEY_UNKNOWN",
            Self::TooSmall { .. } => "SCOPE_TOO_SMALL",
        }
    }

    /// What a caller of `path` reads.
    #[must_use]
    pub fn message(self, path: &str) -> String {
        match self {
            Self::Missing => "send the header `authorization: Bearer KEY`".to_owned(),
            Self::Unknown => "this API key is not one of the server's".to_owned(),
            Self::TooSmall { needed, granted } => {
                format!("{path} needs a key of scope {}, this key has {}", needed.name(), granted.name())
            }
        }
    }
}

impl ApiKeys {
    /// Reads a key file: one `SCOPE KEY` a line, SCOPE one of read, write, admin; `#` starts a comment line.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] with the line's number, or if the file cannot be read or holds no key.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::invalid("api-key-file", format!("{}: {error}", path.display())))?;
        let keys = Self::parse(&text)?;
        if keys.0.is_empty() {
            return Err(Error::invalid(
                "api-key-file",
                format!("{} holds no key; write lines like `read KEY`", path.display()),
            ));
        }
        Ok(keys)
    }

    /// Reads the text of a key file. Keys never stand in error messages.
    ///
    /// # Errors
    /// As [`ApiKeys::read`].
    pub fn parse(text: &str) -> Result<Self> {
        let mut keys = Vec::new();
        for (number, line) in
            (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
        {
            let problem = |message: String| Error::invalid("api-key-file", format!("line {number}: {message}"));
            let [scope, key] = line.split_whitespace().collect::<Vec<_>>()[..] else {
                return Err(problem("expected two words, `SCOPE KEY`".to_owned()));
            };
            let scope = Scope::parse(scope)
                .ok_or_else(|| problem(format!("expected the scope read, write or admin, got {scope:?}")))?;
            if key.len() < MIN_KEY_BYTES {
                return Err(problem(format!(
                    "a key has at least {MIN_KEY_BYTES} characters, this one has {}",
                    key.len()
                )));
            }
            keys.push((*blake3::hash(key.as_bytes()).as_bytes(), scope));
        }
        Ok(Self(keys))
    }

    /// True if calls need a key.
    #[must_use]
    pub fn is_required(&self) -> bool {
        !self.0.is_empty()
    }

    /// The scope of the caller's key; the largest if no keys are set.
    ///
    /// # Errors
    /// [`Refusal::Missing`], [`Refusal::Unknown`].
    pub fn granted(&self, headers: &HeaderMap) -> Result<Scope, Refusal> {
        if !self.is_required() {
            return Ok(Scope::Admin);
        }
        let hash = blake3::hash(key_of(headers).ok_or(Refusal::Missing)?);
        let mut granted = None;
        // Every key is compared, each in constant time, so that timing tells nothing about them.
        for (known, scope) in &self.0 {
            let is_match: Choice = known.ct_eq(hash.as_bytes());
            if bool::from(is_match) {
                granted = granted.max(Some(*scope));
            }
        }
        granted.ok_or(Refusal::Unknown)
    }

    /// Allows what needs this scope, or says why not.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn check(&self, needed: Scope, headers: &HeaderMap) -> Result<(), Refusal> {
        let granted = self.granted(headers)?;
        if granted >= needed { Ok(()) } else { Err(Refusal::TooSmall { needed, granted }) }
    }

    /// Allows a call of an RPC by its path, or says why not.
    ///
    /// # Errors
    /// UNAUTHENTICATED without a known key, PERMISSION_DENIED if its scope is too small.
    pub fn authorize(&self, path: &str, headers: &HeaderMap) -> Result<(), Status> {
        if !self.is_required() {
            return Ok(());
        }
        let refuse = |refusal: Refusal| {
            let code = match refusal {
                Refusal::Missing | Refusal::Unknown => tonic::Code::Unauthenticated,
                Refusal::TooSmall { .. } => tonic::Code::PermissionDenied,
            };
            status(code, refusal.reason(), &refusal.message(path))
        };
        let granted = self.granted(headers).map_err(refuse)?;
        match scope_of(path) {
            Some(needed) if granted >= needed => Ok(()),
            Some(needed) => Err(refuse(Refusal::TooSmall { needed, granted })),
            None => Err(status(tonic::Code::Unimplemented, "UNKNOWN_METHOD", &format!("{path} is not served"))),
        }
    }
}

fn key_of(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get(http::header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    bearer.or_else(|| headers.get("x-api-key").map(|value| value.as_bytes()))
}

fn status(code: tonic::Code, reason: &str, message: &str) -> Status {
    Status::with_error_details(
        code,
        message,
        ErrorDetails::with_error_info(reason, DOMAIN, [] as [(String, String); 0]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_opens_what_its_scope_covers() {
        let keys =
            ApiKeys::parse("# ours\nread reading-key-000000\nwrite writing-key-00000\n\nadmin admin-key-0000000\n")
                .expect("keys");
        let check = |key: Option<&str>, path: &str, expected: Option<tonic::Code>| {
            let mut headers = HeaderMap::new();
            if let Some(key) = key {
                headers.insert("authorization", format!("Bearer {key}").parse().expect("a header"));
            }
            assert_eq!(keys.authorize(path, &headers).err().map(|status| status.code()), expected, "{key:?} {path}");
        };
        let (search, upsert, drop) =
            ("/pictor.v1.Search/Search", "/pictor.v1.Items/Upsert", "/pictor.v1.Collections/DropCollection");
        check(None, search, Some(tonic::Code::Unauthenticated));
        check(Some("wrong-key-00000000"), search, Some(tonic::Code::Unauthenticated));
        check(Some("reading-key-000000"), search, None);
        check(Some("reading-key-000000"), upsert, Some(tonic::Code::PermissionDenied));
        check(Some("writing-key-00000"), upsert, None);
        check(Some("writing-key-00000"), search, None);
        check(Some("writing-key-00000"), drop, Some(tonic::Code::PermissionDenied));
        check(Some("admin-key-0000000"), drop, None);
        check(Some("admin-key-0000000"), "/pictor.v1.Nobody/Nothing", Some(tonic::Code::Unimplemented));
        assert!(ApiKeys::default().authorize(drop, &HeaderMap::new()).is_ok());
    }

    #[test]
    fn a_bad_key_file_is_refused_without_showing_keys() {
        for text in ["root sesame-sesame-sesame", "read", "read short", "read two words here"] {
            let error = ApiKeys::parse(text).expect_err(text).to_string();
            assert!(error.contains("line 1") && !error.contains("sesame-"), "{error}");
        }
    }
}
