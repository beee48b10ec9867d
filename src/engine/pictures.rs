//! Previews of stored pictures through the door.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::Engine;
use crate::collection::backend::Selection;
use crate::image::{DecodeBudget, read_header, thumbnail};
use crate::types::limits::THUMBNAILS_IN_WORK;
use crate::types::{Error, MediaInfo, Result};

/// Who may decode now: pictures wait for a turn, and their decoding for its share of the memory.
pub(super) struct Thumbnails {
    turns: Semaphore,
    budget: Arc<DecodeBudget>,
    in_work: AtomicU64,
}

impl Thumbnails {
    pub(super) fn new(threads: usize, budget: Arc<DecodeBudget>) -> Self {
        Self { turns: Semaphore::new(threads.max(1)), budget, in_work: AtomicU64::new(0) }
    }

    /// Counts one more, until the result is dropped.
    fn enter(&self) -> Result<InWork<'_>> {
        let depth = self.in_work.fetch_add(1, Ordering::AcqRel);
        let entered = InWork(&self.in_work);
        if depth < THUMBNAILS_IN_WORK.cap {
            return Ok(entered);
        }
        Err(Error::Overloaded {
            what: "the queue for thumbnails",
            depth,
            capacity: THUMBNAILS_IN_WORK.cap,
            retry_after: Duration::from_secs(1),
        })
    }
}

struct InWork<'a>(&'a AtomicU64);

impl Drop for InWork<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Engine {
    /// Describes one picture of an item.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the collection, the item or the picture.
    pub async fn picture(&self, collection: &str, id: &str, part: usize) -> Result<MediaInfo> {
        let select = Selection { media: true, ..Selection::default() };
        let item = self.get(collection, &[id.to_owned()], select).await?.pop().flatten();
        let mut media = item.ok_or_else(|| not_found("item", id))?.media;
        if part >= media.len() {
            return Err(not_found("picture", &format!("{part} of item {id}")));
        }
        Ok(media.swap_remove(part).info)
    }

    /// Makes a JPEG of one kept picture, upright, over white, its longer side at most `side` pixels.
    ///
    /// # Errors
    /// [`Error::NotFound`], also if the collection keeps no pictures; [`Error::LimitExceeded`] if the item's pictures are more than
    /// one reply may carry; [`Error::Overloaded`], [`Error::DeadlineExceeded`], those of decoding.
    pub async fn thumbnail(
        &self,
        collection: &str,
        id: &str,
        part: usize,
        side: u32,
        deadline: Instant,
    ) -> Result<Vec<u8>> {
        let thumbnails = &self.shared.thumbnails;
        let _in_work = thumbnails.enter()?;
        let turn = tokio::time::timeout_at(deadline.into(), thumbnails.turns.acquire()).await;
        let turn = turn.map_err(|_| Error::DeadlineExceeded { what: "the thumbnail" })?;
        let _turn = turn.map_err(|error| Error::Internal(error.to_string()))?;
        // Read only now: what waits holds no bytes.
        let select = Selection { media_data: true, ..Selection::default() };
        let item = self.get(collection, &[id.to_owned()], select).await?.pop().flatten();
        let media = item.ok_or_else(|| not_found("item", id))?.media;
        let data = media.into_iter().nth(part).and_then(|media| media.data);
        let data = data.ok_or_else(|| not_found("kept picture", &format!("{part} of item {id}")))?;
        let budget = Arc::clone(&thumbnails.budget);
        let make = move || {
            let _share = budget.acquire(DecodeBudget::cost(&read_header(&data)?));
            thumbnail(&data, side)
        };
        tokio::task::spawn_blocking(make).await.map_err(|error| Error::Internal(format!("the thumbnail: {error}")))?
    }
}

fn not_found(kind: &'static str, name: &str) -> Error {
    Error::NotFound { kind, name: name.to_owned() }
}
