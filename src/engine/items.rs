//! Writing and reading items through the door.

use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as CURSOR;

use super::Engine;
use crate::collection::backend::{
    Durability, FacetReply, OrderBy, PayloadChange, PayloadWrite, Selection, StoredItem, WriteAck,
};
use crate::ingest::{self, NewItem, UpsertSettings, Upserted};
use crate::types::filter::{Filter, Path};
use crate::types::limits::{FACET_VALUES, FACETS, IDS, REPLY_MEDIA_BYTES, SCROLL_ITEMS};
use crate::types::value::check_payload;
use crate::types::{Error, ItemId, Result};

/// What a delete removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    pub items: u64,
    /// The version of the newest delete; 0 if nothing was removed.
    pub version: u64,
}

/// One page of a scroll.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemPage {
    pub items: Vec<StoredItem>,
    /// Empty at the end.
    pub next_cursor: String,
}

/// Items looked at by one step of a delete by filter.
const DELETE_STEP: usize = 1000;

impl Engine {
    /// Stores items; each answers for itself.
    ///
    /// # Errors
    /// As [`ingest::upsert`], and [`Error::NotFound`] for an unknown collection.
    pub async fn upsert(
        &self,
        collection: &str,
        items: Vec<Result<NewItem>>,
        settings: UpsertSettings,
        deadline: Option<Instant>,
    ) -> Result<Upserted> {
        let backend = self.backend(collection)?;
        ingest::upsert(&backend, self.encoders(), items, settings, deadline).await
    }

    /// Reads items; `None` for an id that is not stored.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`], also if the chosen media are more than one reply may carry.
    pub async fn get(&self, collection: &str, ids: &[String], select: Selection) -> Result<Vec<Option<StoredItem>>> {
        let backend = self.backend(collection)?;
        let ids = check_ids(ids)?;
        if select.media_data {
            let described = backend.get(ids.clone(), Selection { media: true, ..Selection::default() }).await?;
            check_media_bytes(described.iter().flatten())?;
        }
        backend.get(ids, select).await
    }

    /// Removes items by id; unknown ids are ignored.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`], [`Error::InvalidArgument`], whatever the store reports.
    pub async fn delete(&self, collection: &str, ids: &[String], durability: Durability) -> Result<Deleted> {
        let versions = self.backend(collection)?.delete(check_ids(ids)?, None, durability).await?;
        Ok(Deleted {
            items: versions.iter().flatten().count() as u64,
            version: versions.into_iter().flatten().max().unwrap_or(0),
        })
    }

    /// Removes every item that satisfies the filter when its turn comes.
    ///
    /// # Errors
    /// [`Error::DeadlineExceeded`] in the middle: what was deleted stays deleted, and calling again goes on.
    pub async fn delete_by_filter(
        &self,
        collection: &str,
        filter: Filter,
        durability: Durability,
        deadline: Option<Instant>,
    ) -> Result<Deleted> {
        let backend = self.backend(collection)?;
        let mut deleted = Deleted::default();
        let mut after = None;
        loop {
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Err(Error::DeadlineExceeded { what: "deleting by filter" });
            }
            let page = backend.scroll(after, Some(filter.clone()), DELETE_STEP, Selection::default()).await?;
            let ids = page.items.into_iter().map(|item| item.id).collect();
            let versions = backend.delete(ids, Some(filter.clone()), durability).await?;
            deleted.items += versions.iter().flatten().count() as u64;
            deleted.version = versions.into_iter().flatten().max().unwrap_or(0).max(deleted.version);
            after = page.next;
            if after.is_none() {
                return Ok(deleted);
            }
        }
    }

    /// Changes payloads without encoding anything.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`], [`Error::InvalidArgument`], whatever the store reports.
    pub async fn set_payload(
        &self,
        collection: &str,
        ids: &[String],
        change: PayloadChange,
        if_version: Option<u64>,
        durability: Durability,
    ) -> Result<Vec<Result<WriteAck>>> {
        let (PayloadChange::Merge { set: payload, .. } | PayloadChange::Replace(payload)) = &change;
        check_payload(payload)?;
        let change = Arc::new(change);
        let to_write = |id| PayloadWrite { id, change: Arc::clone(&change), if_version };
        self.backend(collection)?.set_payload(check_ids(ids)?.into_iter().map(to_write).collect(), durability).await
    }

    /// Counts items.
    ///
    /// # Errors
    /// [`Error::NotFound`], whatever the store reports.
    pub async fn count(&self, collection: &str, filter: Option<Filter>) -> Result<u64> {
        self.backend(collection)?.count(filter).await
    }

    /// Reads items in the order of their ids, from after `cursor` (the last id of the previous page; empty: the start).
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a limit of 0, [`Error::LimitExceeded`].
    pub async fn scroll(
        &self,
        collection: &str,
        cursor: &str,
        filter: Option<Filter>,
        limit: usize,
        select: Selection,
    ) -> Result<ItemPage> {
        if limit == 0 {
            return Err(Error::invalid("limit", "expected at least 1, got 0"));
        }
        SCROLL_ITEMS.check("limit", limit)?;
        let after =
            if cursor.is_empty() { None } else { Some(ItemId::new(cursor).map_err(|error| error.within("cursor"))?) };
        let backend = self.backend(collection)?;
        if select.media_data {
            let described = Selection { media: true, ..Selection::default() };
            check_media_bytes(&backend.scroll(after.clone(), filter.clone(), limit, described).await?.items)?;
        }
        let page = backend.scroll(after, filter, limit, select).await?;
        Ok(ItemPage { items: page.items, next_cursor: page.next.map(|id| id.to_string()).unwrap_or_default() })
    }

    /// Reads items in the order of a payload value, from after `cursor` (of the previous page; empty: the start).
    ///
    /// # Errors
    /// [`Error::FailedPrecondition`] with `NO_PAYLOAD_INDEX`, [`Error::InvalidArgument`], [`Error::LimitExceeded`].
    pub async fn scroll_by(
        &self,
        collection: &str,
        order: OrderBy,
        cursor: &str,
        filter: Option<Filter>,
        (limit, select): (usize, Selection),
    ) -> Result<ItemPage> {
        SCROLL_ITEMS.check("limit", limit)?;
        let after = match cursor {
            "" => None,
            text => Some(CURSOR.decode(text).map_err(|_| {
                Error::invalid("cursor", "expected what the previous reply gave, of a scroll in the same order")
            })?),
        };
        let backend = self.backend(collection)?;
        if select.media_data {
            let described = Selection { media: true, ..Selection::default() };
            let page = backend.scroll_by(order.clone(), after.clone(), filter.clone(), limit, described).await?;
            check_media_bytes(&page.items)?;
        }
        let page = backend.scroll_by(order, after, filter, limit, select).await?;
        Ok(ItemPage { items: page.items, next_cursor: page.next.map(|next| CURSOR.encode(next)).unwrap_or_default() })
    }

    /// Counts items by the values at payload paths, among those that satisfy a filter.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::InvalidArgument`], [`Error::LimitExceeded`].
    pub async fn facets(
        &self,
        collection: &str,
        paths: Vec<Path>,
        filter: Option<Filter>,
        limit: usize,
    ) -> Result<FacetReply> {
        if paths.is_empty() {
            return Err(Error::invalid("paths", "name at least one payload path"));
        }
        FACETS.check("paths", paths.len())?;
        FACET_VALUES.check("limit", limit)?;
        self.backend(collection)?.facets(paths, filter, limit).await
    }
}

fn check_ids(ids: &[String]) -> Result<Vec<ItemId>> {
    IDS.check("ids", ids.len())?;
    (0..)
        .zip(ids)
        .map(|(position, id)| ItemId::new(id).map_err(|error| error.within(&format!("ids[{position}]"))))
        .collect()
}

fn check_media_bytes<'a>(items: impl IntoIterator<Item = &'a StoredItem>) -> Result<()> {
    let bytes: u64 = items.into_iter().flat_map(|item| &item.media).map(|media| media.info.bytes).sum();
    REPLY_MEDIA_BYTES.check("media of the reply (ask for fewer items)", usize::try_from(bytes).unwrap_or(usize::MAX))
}
