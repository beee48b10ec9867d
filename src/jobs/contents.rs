//! What an encoder makes of stored items.

use std::sync::Arc;

use bytes::Bytes;

use crate::collection::backend::StoredItem;
use crate::collection::schema::FieldSource;
use crate::encode::{EncoderHandle, Role, patiently};
use crate::types::vector::UnitVector;
use crate::types::{ItemId, PartRef};
use crate::{Error, Result};

/// Contents in one request: enough for a network's batch, few enough for a small queue.
const AT_ONCE: usize = 64;

/// The vectors of the parts that a field takes, for each item in order. Waits while the encoder has no room: others go first.
///
/// # Errors
/// `FailedPrecondition` naming the item whose content is not kept or cannot be encoded; the encoder's errors.
pub(super) async fn encode_items(
    encoder: &EncoderHandle,
    field: &str,
    source: &FieldSource,
    items: &[StoredItem],
) -> Result<Vec<Vec<(PartRef, UnitVector)>>> {
    let of_item = |(place, item): (usize, &'_ StoredItem)| {
        let taken = item.parts.iter().map(|(part, _)| part).filter(|part| source.takes(field, part)).cloned();
        taken.map(move |part| (place, part)).collect::<Vec<_>>()
    };
    let parts: Vec<(usize, PartRef)> = items.iter().enumerate().flat_map(of_item).collect();
    let mut made = vec![Vec::new(); items.len()];
    for chunk in parts.chunks(AT_ONCE) {
        let item_of = |(place, part): &(usize, PartRef)| (&items[*place], part.clone());
        let chunk_items: Vec<(&StoredItem, PartRef)> = chunk.iter().map(item_of).collect();
        let vectors = match source {
            FieldSource::Text { .. } => encode_texts(encoder, &chunk_items).await?,
            FieldSource::Media { .. } | FieldSource::Vector { .. } => encode_pictures(encoder, &chunk_items).await?,
        };
        for ((place, part), vector) in chunk.iter().zip(vectors) {
            let vector = vector.map_err(|error| cannot_encode(&items[*place].id, &error))?;
            made[*place].push((part.clone(), vector.as_ref().clone()));
        }
    }
    Ok(made)
}

type Encoded = Vec<Result<Arc<UnitVector>>>;

async fn encode_texts(encoder: &EncoderHandle, parts: &[(&StoredItem, PartRef)]) -> Result<Encoded> {
    let content = |(item, part): &(&StoredItem, PartRef)| {
        let text = item.texts.get(&part.name).and_then(|chunks| chunks.get(part.index as usize));
        text.cloned().ok_or_else(|| Error::Corruption(format!("{part:?} of item {} has no text", item.id)))
    };
    let contents: Vec<String> = parts.iter().map(content).collect::<Result<_>>()?;
    let made = patiently(|| encoder.encode_texts(contents.clone(), Role::Document, None)).await?;
    Ok(made.into_iter().map(|made| Ok(made.vector)).collect())
}

async fn encode_pictures(encoder: &EncoderHandle, parts: &[(&StoredItem, PartRef)]) -> Result<Encoded> {
    let content = |(item, part): &(&StoredItem, PartRef)| {
        let data = item.media.get(part.index as usize).and_then(|media| media.data.clone());
        data.ok_or_else(|| Error::FailedPrecondition {
            reason: "WITHOUT_ORIGINALS",
            message: format!("item {}: the bytes of {part:?} are not kept", item.id),
        })
    };
    let contents: Vec<Bytes> = parts.iter().map(content).collect::<Result<_>>()?;
    let made = patiently(|| encoder.encode_images(contents.clone(), Role::Document, None)).await?;
    Ok(made.into_iter().map(|made| Ok(made?.vector)).collect())
}

fn cannot_encode(id: &ItemId, error: &Error) -> Error {
    Error::FailedPrecondition { reason: "ITEM_CANNOT_BE_ENCODED", message: format!("item {id}: {error}") }
}
