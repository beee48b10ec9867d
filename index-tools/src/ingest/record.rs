//! What readers give: one record after the other, each an item or a reject.

use anyhow::Result;
use pictor_proto::v1;

/// Walks a source. Moving on and loading are apart so that a resumed run skips records without reading their pictures.
pub trait Reader: Send {
    /// How much there is, for the progress bar.
    fn total(&self) -> Total;

    /// Moves to the next record; `None` at the end.
    ///
    /// # Errors
    /// Only if the source as a whole cannot be read on; a bad record is no error here.
    fn advance(&mut self) -> Result<Option<Place>>;

    /// Reads the record that the last [`Reader::advance`] moved to.
    ///
    /// # Errors
    /// The reason why this record cannot be stored.
    fn load(&mut self) -> Result<v1::Item, Reject>;
}

/// The size of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Total {
    Records(u64),
    Bytes(u64),
}

/// Where a record stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// For people: `items.jsonl:17` or a path.
    pub text: String,
    /// Bytes of the source up to this record; 0 if its [`Total`] counts records.
    pub offset: u64,
}

/// Why a record was not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    pub id: Option<String>,
    /// A stable word for programs.
    pub code: String,
    pub reason: String,
}

/// Stable words for rejects found before the server saw the record.
pub mod code {
    /// Not JSON, not UTF-8, a wrong type, a wrong number of columns.
    pub const BAD_RECORD: &str = "BAD_RECORD";
    /// No id and nothing to make one from.
    pub const MISSING_ID: &str = "MISSING_ID";
    /// The record names a picture that is not there.
    pub const MISSING_FILE: &str = "MISSING_FILE";
    /// The file is there but cannot be read.
    pub const UNREADABLE_FILE: &str = "UNREADABLE_FILE";
    /// A path leaves the source's folder.
    pub const OUTSIDE_SOURCE: &str = "OUTSIDE_SOURCE";
    /// Over one of the server's published caps.
    pub const LIMIT_EXCEEDED: &str = "LIMIT_EXCEEDED";
}

impl Reject {
    /// A reject of a record whose id is not known yet.
    pub fn new(code: &str, reason: impl Into<String>) -> Self {
        Self { id: None, code: code.to_owned(), reason: reason.into() }
    }

    /// A malformed record.
    pub fn bad(reason: impl Into<String>) -> Self {
        Self::new(code::BAD_RECORD, reason)
    }

    /// Adds the record's id.
    #[must_use]
    pub fn of(mut self, id: &str) -> Self {
        self.id = Some(id.to_owned());
        self
    }
}

/// The server's caps that are checked before anything is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    pub media_bytes: u64,
    pub item_bytes: u64,
    pub upsert_items: u64,
}

impl Default for Caps {
    /// For a server that publishes none.
    fn default() -> Self {
        Self::published(&std::collections::BTreeMap::new())
    }
}

impl Caps {
    /// Takes the caps that `Admin.GetInfo` publishes.
    #[must_use]
    pub fn published(limits: &std::collections::BTreeMap<String, u64>) -> Self {
        let cap = |name: &str, default: u64| limits.get(name).copied().filter(|cap| *cap > 0).unwrap_or(default);
        // Room for the envelope around an item that fills a message alone.
        let message = cap("MESSAGE_BYTES", 64 << 20);
        Self {
            media_bytes: cap("MEDIA_BYTES", 32 << 20),
            item_bytes: message.saturating_sub(message.min(64 << 10)),
            upsert_items: cap("UPSERT_ITEMS", 10_000),
        }
    }
}
