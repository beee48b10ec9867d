//! Turns records into items as read.

use std::sync::Arc;

use super::moment::Inner;
use crate::collection::backend::{PartVector, Selection, StoredItem, StoredMedia};
use crate::collection::schema::CollectionSchema;
use crate::store::{ItemRecord, RecordHead, Snapshot, VectorSlot};
use crate::types::limits::REPLY_MEDIA_BYTES;
use crate::{Error, Result};

impl Inner {
    /// Reads what is selected of each item; snapshot and schema are of one moment.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] if the media do not fit into a reply; [`Error::Corruption`] if something listed is missing.
    pub(super) fn hydrate(
        &self,
        snapshot: &Snapshot<'_>,
        schema: &CollectionSchema,
        records: Vec<(u64, impl Into<Arc<ItemRecord>>)>,
        select: Selection,
    ) -> Result<Vec<StoredItem>> {
        let records: Vec<(u64, Arc<ItemRecord>)> =
            records.into_iter().map(|(internal, record)| (internal, record.into())).collect();
        let mut vectors = match select.vectors {
            true => self.read_vectors(snapshot, schema, &records)?,
            false => vec![Vec::new(); records.len()],
        }
        .into_iter();
        let mut media_bytes = 0;
        let mut items = Vec::with_capacity(records.len());
        for (_, record) in records {
            let record = taken(record, select);
            let mut media = Vec::new();
            if select.media || select.media_data {
                for stored in record.media {
                    let mut data = None;
                    if select.media_data && stored.is_kept {
                        let bytes = snapshot.media(self.id, &stored.info.hash)?.ok_or_else(|| {
                            Error::Corruption(format!(
                                "item {} has lost the bytes of {}",
                                record.head.id, stored.info.name
                            ))
                        })?;
                        media_bytes += bytes.len();
                        REPLY_MEDIA_BYTES.check("the reply's media_data", media_bytes)?;
                        data = Some(bytes);
                    }
                    media.push(StoredMedia { info: stored.info, data });
                }
            }
            items.push(StoredItem {
                id: record.head.id,
                version: record.head.version,
                payload: if select.payload { record.head.payload } else { Default::default() },
                media,
                texts: if select.texts { record.texts } else { Default::default() },
                parts: record.parts,
                vectors: vectors.next().unwrap_or_default(),
            });
        }
        Ok(items)
    }

    /// The vectors of every live generation, item by item.
    fn read_vectors(
        &self,
        snapshot: &Snapshot<'_>,
        schema: &CollectionSchema,
        records: &[(u64, Arc<ItemRecord>)],
    ) -> Result<Vec<Vec<PartVector>>> {
        let live = |slot: &VectorSlot| schema.field_of(slot.field, slot.generation);
        let slots: Vec<(u64, VectorSlot)> = records
            .iter()
            .flat_map(|(internal, record)| record.vectors.iter().map(|slot| (*internal, *slot)))
            .filter(|(_, slot)| live(slot).is_some())
            .collect();
        let mut stored = snapshot.vectors(self.id, &slots)?.into_iter();
        let mut items = Vec::with_capacity(records.len());
        for (_, record) in records {
            let mut vectors = Vec::new();
            for slot in &record.vectors {
                let Some(field) = live(slot) else { continue };
                let vector = stored.next().flatten();
                let part = record.parts.get(slot.part as usize);
                let (Some(vector), Some((part, _))) = (vector, part) else {
                    return Err(Error::Corruption(format!(
                        "item {} has lost its vector of part {} in field {}",
                        record.head.id, slot.part, field.name
                    )));
                };
                vectors.push(PartVector {
                    field: field.name.clone(),
                    generation: slot.generation,
                    part: part.clone(),
                    vector,
                });
            }
            items.push(vectors);
        }
        Ok(items)
    }
}

/// The record itself if nobody else has it, else a copy of what is selected.
fn taken(record: Arc<ItemRecord>, select: Selection) -> ItemRecord {
    Arc::try_unwrap(record).unwrap_or_else(|shared| ItemRecord {
        head: RecordHead {
            id: shared.head.id.clone(),
            version: shared.head.version,
            payload: if select.payload { shared.head.payload.clone() } else { Default::default() },
        },
        media: if select.media || select.media_data { shared.media.clone() } else { Vec::new() },
        texts: if select.texts { shared.texts.clone() } else { Default::default() },
        parts: shared.parts.clone(),
        vectors: Vec::new(),
    })
}
