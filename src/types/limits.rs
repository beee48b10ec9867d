//! Every cap on what a caller can ask for. `Admin.GetInfo` publishes [`ALL`].

use super::{Error, Result};

/// A named upper bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub name: &'static str,
    pub cap: u64,
}

impl Limit {
    /// Accepts `found` if it is within the cap.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] naming `what`.
    pub fn check(&self, what: &str, found: usize) -> Result<()> {
        let found = found as u64;
        if found <= self.cap {
            return Ok(());
        }
        Err(Error::LimitExceeded { what: what.to_owned(), name: self.name, cap: self.cap, found })
    }

    /// The cap as a length.
    #[must_use]
    pub const fn get(&self) -> usize {
        self.cap as usize
    }
}

macro_rules! limits {
    ($($(#[$doc:meta])* $constant:ident = $cap:expr;)*) => {
        $($(#[$doc])* pub const $constant: Limit = Limit { name: stringify!($constant), cap: $cap };)*
        /// Every limit, in the order of this file.
        pub const ALL: &[Limit] = &[$($constant),*];
    };
}

limits! {
    /// Bytes of one gRPC message, either way.
    MESSAGE_BYTES = 64 << 20;
    /// Bytes of an item's id.
    ID_BYTES = 512;
    /// Bytes of a collection's, field's, alias's or text's name.
    NAME_BYTES = 128;
    /// Bytes of an item's payload as stored.
    PAYLOAD_BYTES = 64 << 10;
    /// Nesting of lists and maps in a payload.
    PAYLOAD_DEPTH = 8;
    /// Media, text chunks and own vectors of one item.
    PARTS_PER_ITEM = 4096;
    /// Bytes of one text chunk; encoders cut at their own token limit.
    TEXT_BYTES = 1 << 20;
    /// Bytes of one media file.
    MEDIA_BYTES = 32 << 20;
    /// Width or height of a picture in pixels.
    IMAGE_SIDE = 32_768;
    /// Width times height of a picture.
    IMAGE_PIXELS = 100_000_000;
    /// Bytes that decoding one picture may take; progressive JPEGs and animations take more per pixel.
    IMAGE_DECODED_BYTES = 384 << 20;
    /// Numbers in a vector.
    DIMENSION = 16_384;
    /// Fields of a collection.
    FIELDS = 64;
    /// Generations of a field; each is written until it is dropped.
    GENERATIONS = 4;
    /// Indexes on a collection's payloads.
    PAYLOAD_INDEXES = 64;
    /// Collections of a server.
    COLLECTIONS = 10_000;
    /// Items of one upsert.
    UPSERT_ITEMS = 10_000;
    /// Ids of one get, delete or set-payload.
    IDS = 10_000;
    /// Hits of one search, with the offset.
    SEARCH_WINDOW = 10_000;
    /// Candidates that a search compares with each other or with examples.
    COMPARED_CANDIDATES = 2_000;
    /// Parts of one query.
    QUERY_PARTS = 64;
    /// Payload paths whose values one call counts.
    FACETS = 64;
    /// Values of one path that one call counts.
    FACET_VALUES = 10_000;
    /// Queries of one evaluation.
    EVALUATION_QUERIES = 10_000;
    /// Requests of one search batch.
    SEARCH_BATCH = 256;
    /// Items of one scroll reply.
    SCROLL_ITEMS = 10_000;
    /// Inputs of one embed call.
    EMBED_INPUTS = 4096;
    /// Nesting of a filter.
    FILTER_DEPTH = 32;
    /// Nodes and list values of a filter.
    FILTER_NODES = 4096;
    /// Bytes of a filter in text form.
    FILTER_BYTES = 64 << 10;
    /// Bytes of stored media that one get, scroll or search reply may carry.
    REPLY_MEDIA_BYTES = 48 << 20;
    /// Calls that one connection may have open.
    STREAMS_PER_CONNECTION = 256;
    /// Batches of one upsert stream that may be in work.
    STREAM_BATCHES_IN_FLIGHT = 4;
    /// Bytes of one HTTP request's body; a picture of `MEDIA_BYTES` fits, also in base64.
    HTTP_BODY_BYTES = 48 << 20;
    /// Bytes of the bodies of all HTTP requests that are in work.
    HTTP_BODIES_BYTES = 256 << 20;
    /// Milliseconds that an HTTP call may take.
    HTTP_CALL_MS = 60_000;
    /// Thumbnails that may be in work or wait.
    THUMBNAILS_IN_WORK = 512;
}
