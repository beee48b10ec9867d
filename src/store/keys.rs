//! The key space. All integers are big-endian, so that byte order is numeric order.
//!
//! ```text
//! family       key                                                                    value
//! meta         "format"                                                               decimal number
//!              "server_id"                                                            32 hexadecimal digits
//!              "next_collection_id", "next_job_id"                                    u64
//! collections  "s" collection:u32                                                     schema, JSON
//!              "n" collection:u32                                                     version:u64 next_internal:u64
//!              "a" alias                                                              collection:u32
//! ids          collection:u32 item id                                                 internal:u64
//! items        collection:u32 internal:u64                                            record.rs
//! vectors      collection:u32 field:u32 generation:u32 internal:u64 part:u32          norm:f32 values:f32… (little-endian)
//! media        collection:u32 BLAKE3:32                                               bytes
//! media_refs   collection:u32 BLAKE3:32                                               count:u64, never 0
//! jobs         job id                                                                 jobs.rs
//! payload_indexes  collection:u32 index:u32 entry internal:u64                        nothing; types/payload_index has entries
//! ```
//!
//! Internal ids, collection ids and field ids are never used again. An item's id is unique under its collection because the
//! collection's number has a fixed width.

use crate::types::ItemId;

pub(super) const FORMAT: &[u8] = b"format";
pub(super) const SERVER_ID: &[u8] = b"server_id";
pub(super) const NEXT_COLLECTION_ID: &[u8] = b"next_collection_id";
pub(super) const NEXT_JOB_ID: &[u8] = b"next_job_id";

pub(super) const SCHEMAS: &[u8] = b"s";
pub(super) const ALIASES: &[u8] = b"a";

pub(super) fn schema(collection: u32) -> Vec<u8> {
    join(&[SCHEMAS, &collection.to_be_bytes()])
}

pub(super) fn counters(collection: u32) -> Vec<u8> {
    join(&[b"n", &collection.to_be_bytes()])
}

pub(super) fn alias(name: &str) -> Vec<u8> {
    join(&[ALIASES, name.as_bytes()])
}

/// What every key of a collection starts with, in the families from `ids` to `media_refs`.
pub(super) fn collection(collection: u32) -> Vec<u8> {
    collection.to_be_bytes().to_vec()
}

pub(super) fn id(collection: u32, id: &ItemId) -> Vec<u8> {
    join(&[&collection.to_be_bytes(), id.as_str().as_bytes()])
}

/// The smallest key after this id's.
pub(super) fn after_id(collection: u32, item: &ItemId) -> Vec<u8> {
    let mut key = id(collection, item);
    key.push(0);
    key
}

pub(super) fn item(collection: u32, internal: u64) -> Vec<u8> {
    join(&[&collection.to_be_bytes(), &internal.to_be_bytes()])
}

/// What every vector key of a field starts with.
pub(super) fn field(collection: u32, field: u32) -> Vec<u8> {
    join(&[&collection.to_be_bytes(), &field.to_be_bytes()])
}

/// What every vector key of a field's generation starts with.
pub(super) fn generation(collection: u32, field: u32, generation: u32) -> Vec<u8> {
    join(&[&collection.to_be_bytes(), &field.to_be_bytes(), &generation.to_be_bytes()])
}

pub(super) fn vector(collection: u32, field: u32, generation: u32, internal: u64, part: u32) -> Vec<u8> {
    join(&[
        &collection.to_be_bytes(),
        &field.to_be_bytes(),
        &generation.to_be_bytes(),
        &internal.to_be_bytes(),
        &part.to_be_bytes(),
    ])
}

/// True if two vector keys are of one generation.
pub(super) fn is_of_one_generation(a: &[u8], b: &[u8]) -> bool {
    a.get(..12) == b.get(..12)
}

/// The key of a picture, in `media` and in `media_refs`.
pub(super) fn media(collection: u32, hash: &[u8; 32]) -> Vec<u8> {
    join(&[&collection.to_be_bytes(), hash])
}

/// What every key of a payload index starts with.
pub(super) fn payload_index(collection: u32, index: u32) -> Vec<u8> {
    join(&[&collection.to_be_bytes(), &index.to_be_bytes()])
}

pub(super) fn payload_entry(collection: u32, index: u32, entry: &[u8], internal: u64) -> Vec<u8> {
    join(&[&collection.to_be_bytes(), &index.to_be_bytes(), entry, &internal.to_be_bytes()])
}

/// The smallest key that does not start with `prefix`; `None` if there is none.
pub(super) fn end_of(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// Reads a big-endian number at `position`.
pub(super) fn u32_at(bytes: &[u8], position: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(position..position + 4)?.try_into().ok()?))
}

/// Reads a big-endian number at `position`.
pub(super) fn u64_at(bytes: &[u8], position: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(position..position + 8)?.try_into().ok()?))
}

fn join(pieces: &[&[u8]]) -> Vec<u8> {
    pieces.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item_id(id: &str) -> ItemId {
        ItemId::new(id).expect("a good id")
    }

    #[test]
    fn keys_sort_as_their_meaning() {
        let check = |keys: Vec<Vec<u8>>| assert!(keys.is_sorted(), "{keys:?}");
        check(["a", "a/b", "ab", "b", "é"].iter().map(|text| id(1, &item_id(text))).collect());
        check(vec![id(1, &item_id("z")), id(2, &item_id("a")), id(256, &item_id("a"))]);
        check([0, 1, 255, 256, u64::MAX].iter().map(|&internal| item(7, internal)).collect());
        check(vec![
            vector(1, 1, 1, 9, 0),
            vector(1, 1, 1, 9, 1),
            vector(1, 1, 1, 10, 0),
            vector(1, 1, 2, 0, 0),
            vector(1, 2, 1, 0, 0),
            vector(2, 0, 0, 0, 0),
        ]);
        check(vec![id(1, &item_id("a")), after_id(1, &item_id("a")), id(1, &item_id("a\u{1}"))]);
    }

    #[test]
    fn prefixes_end_after_their_last_key() {
        let check = |prefix: &[u8], expected: Option<&[u8]>| assert_eq!(end_of(prefix).as_deref(), expected);
        check(&[0, 1], Some(&[0, 2]));
        check(&[0, 255], Some(&[1]));
        check(&[255, 255], None);
        check(&[], None);
        assert!(vector(3, 9, u32::MAX, u64::MAX, u32::MAX) < end_of(&field(3, 9)).expect("an end"));
        assert!(item(3, u64::MAX) < end_of(&collection(3)).expect("an end"));
    }

    #[test]
    fn numbers_are_read_back() {
        let key = vector(1, 2, 3, 4, 5);
        let read = (u32_at(&key, 0), u32_at(&key, 4), u32_at(&key, 8), u64_at(&key, 12), u32_at(&key, 20));
        assert_eq!(read, (Some(1), Some(2), Some(3), Some(4), Some(5)));
        assert_eq!(u64_at(&key, 17), None);
        assert!(
            is_of_one_generation(&key, &vector(1, 2, 3, 9, 0)) && !is_of_one_generation(&key, &vector(1, 2, 4, 4, 5))
        );
    }
}
