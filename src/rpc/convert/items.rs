//! Items, writes and reads.

use std::collections::BTreeMap;

use pictor_proto::v1;

use super::values::{micros, part_to_proto, payload_from_proto, payload_to_proto};
use crate::collection::backend::{
    Durability, Indexing, PartVector, Selection, StoredItem, StoredMedia, UpsertMode, WriteAck, WriteOutcome,
};
use crate::ingest::{NewItem, NewMedia, Upserted};
use crate::rpc::status::to_item_error;
use crate::types::Result;

pub(in crate::rpc) fn item_from_proto(item: v1::Item) -> Result<NewItem> {
    Ok(NewItem {
        id: item.id,
        payload: payload_from_proto(item.payload)?,
        media: item.media.into_iter().map(|media| NewMedia { data: media.data, name: media.name }).collect(),
        texts: item.texts.into_iter().map(|(name, texts)| (name, texts.chunks)).collect(),
        vectors: item
            .vectors
            .into_iter()
            .map(|(field, vectors)| (field, vectors.vectors.into_iter().map(|vector| vector.values).collect()))
            .collect(),
        if_version: item.if_version,
    })
}

pub(in crate::rpc) fn mode_from_proto(mode: v1::UpsertMode) -> UpsertMode {
    match mode {
        v1::UpsertMode::Unspecified | v1::UpsertMode::Upsert => UpsertMode::Upsert,
        v1::UpsertMode::Insert => UpsertMode::Insert,
        v1::UpsertMode::Update => UpsertMode::Update,
    }
}

pub(in crate::rpc) fn durability_from_proto(durability: v1::Durability) -> Durability {
    match durability {
        v1::Durability::Unspecified | v1::Durability::Sync => Durability::Sync,
        v1::Durability::Async => Durability::Async,
    }
}

pub(in crate::rpc) fn indexing_from_proto(indexing: v1::Indexing) -> Indexing {
    match indexing {
        v1::Indexing::Unspecified | v1::Indexing::AtOnce => Indexing::AtOnce,
        v1::Indexing::Deferred => Indexing::Deferred,
    }
}

pub(in crate::rpc) fn result_to_proto(id: String, result: Result<WriteAck>) -> v1::UpsertResult {
    match result {
        Ok(ack) => {
            let outcome = match ack.outcome {
                WriteOutcome::Created => v1::WriteOutcome::Created,
                WriteOutcome::Updated => v1::WriteOutcome::Updated,
                WriteOutcome::Unchanged => v1::WriteOutcome::Unchanged,
            };
            v1::UpsertResult { id, version: ack.version, outcome: outcome as i32, error: None }
        }
        Err(error) => v1::UpsertResult { id, version: 0, outcome: 0, error: Some(to_item_error(&error)) },
    }
}

pub(in crate::rpc) fn upserted_to_proto(
    ids: Vec<String>,
    upserted: Upserted,
    indexing: Indexing,
) -> v1::UpsertResponse {
    let timings = upserted.timings;
    v1::UpsertResponse {
        results: ids.into_iter().zip(upserted.results).map(|(id, result)| result_to_proto(id, result)).collect(),
        timings: Some(v1::WriteTimings {
            encode_us: micros(timings.encode),
            store_us: micros(timings.store),
            total_us: micros(timings.total),
            encoded_parts: timings.encoded_parts,
        }),
        indexing_deferred: indexing == Indexing::Deferred,
    }
}

/// Payloads are returned unless the caller says otherwise.
pub(in crate::rpc) fn selection_from_proto(select: Option<v1::ItemSelection>) -> Selection {
    let Some(select) = select else { return Selection::PAYLOAD };
    Selection {
        payload: select.payload.unwrap_or(true),
        texts: select.texts,
        media: select.media || select.media_data,
        media_data: select.media_data,
        vectors: select.vectors,
    }
}

pub(in crate::rpc) fn stored_to_proto(item: StoredItem) -> v1::StoredItem {
    v1::StoredItem {
        id: item.id.to_string(),
        version: item.version,
        payload: payload_to_proto(item.payload),
        media: item.media.into_iter().map(media_to_proto).collect(),
        texts: item
            .texts
            .into_iter()
            .map(|(name, chunks)| (name, v1::TextParts { chunks }))
            .collect::<BTreeMap<_, _>>(),
        vectors: item.vectors.into_iter().map(vector_to_proto).collect(),
    }
}

fn media_to_proto(media: StoredMedia) -> v1::StoredMedia {
    v1::StoredMedia {
        hash: blake3::Hash::from_bytes(media.info.hash).to_hex().to_string(),
        name: media.info.name,
        mime_type: media.info.mime_type,
        bytes: media.info.bytes,
        width: media.info.width,
        height: media.info.height,
        data: media.data.unwrap_or_default(),
        perceptual_hash: media.info.perceptual_hash,
    }
}

fn vector_to_proto(vector: PartVector) -> v1::StoredVector {
    v1::StoredVector {
        field: vector.field,
        generation: vector.generation,
        part: Some(part_to_proto(vector.part)),
        values: vector.vector.values,
        norm: vector.vector.norm,
    }
}
