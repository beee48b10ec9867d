//! Items that end by themselves.

use super::LocalCollection;
use super::moment::Inner;
use crate::collection::Expiry;
use crate::collection::backend::Durability;
use crate::collection::schema::CollectionSchema;
use crate::types::{ItemId, Timestamp};
use crate::{Error, Result};

impl LocalCollection {
    /// Says when items end.
    pub(in crate::collection) fn set_expiry(&self, expiry: Option<Expiry>) -> Result<()> {
        let inner = &self.inner;
        let _writer = inner.lock_writer()?;
        let mut schema = CollectionSchema::clone(&inner.schema());
        if let Some(missing) = expiry.as_ref().filter(|expiry| !expiry.has_index(&schema)) {
            return Err(Error::FailedPrecondition {
                reason: "NO_PAYLOAD_INDEX",
                message: format!(
                    "to find what has ended by {path} takes a complete time index of it; create one with CreatePayloadIndex or \
                     `pictor index create {name} {path} --kind time`",
                    path = missing.path,
                    name = schema.name
                ),
            });
        }
        schema.expiry = expiry;
        inner.change_schema(schema, |_| (), |_| ())
    }
}

impl Inner {
    /// Removes up to `limit` items that have ended; gives how many.
    pub(super) fn expire(&self, now: Timestamp, limit: usize) -> Result<u64> {
        let schema = self.schema();
        let Some(filter) = schema.expiry.as_ref().and_then(|expiry| expiry.filter(now)) else { return Ok(0) };
        let ids: Vec<ItemId> = {
            let state = self.state.read();
            let ended = state.payloads.resolve(&schema, &filter).items.unwrap_or_default();
            ended.iter().take(limit).filter_map(|internal| state.names.get(&internal).cloned()).collect()
        };
        if ids.is_empty() {
            return Ok(0);
        }
        // What a power loss brings back ends once more. Payloads are asked again: an item's time may have changed meanwhile.
        let deleted = self.delete(ids, Some(&filter), Durability::Async)?;
        Ok(deleted.into_iter().flatten().count() as u64)
    }
}
