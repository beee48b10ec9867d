//! The column families, each with its reason.

use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, Options};

/// Names a column family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Meta,
    Collections,
    Ids,
    Items,
    Vectors,
    Media,
    MediaRefs,
    Jobs,
    PayloadIndexes,
}

/// How a column family is laid out on the disk.
pub(super) struct Definition {
    pub(super) family: Family,
    pub(super) name: &'static str,
    pub(super) compression: DBCompressionType,
    /// Values of at least this many bytes live in blob files, so that compaction does not copy them; `None`: never.
    pub(super) blobs_from: Option<u64>,
    /// Keeps a Bloom filter for reads of single keys that are often absent.
    pub(super) bloom: bool,
}

/// Every column family.
pub(super) const ALL: [Definition; 9] = [
    // Format number, server id, next ids: a handful of keys that must be readable before anything else is understood.
    Definition {
        family: Family::Meta,
        name: "meta",
        compression: DBCompressionType::None,
        blobs_from: None,
        bloom: false,
    },
    // Schemas and aliases as JSON, so that they can be read without this program; one counter record for each collection.
    Definition {
        family: Family::Collections,
        name: "collections",
        compression: DBCompressionType::None,
        blobs_from: None,
        bloom: false,
    },
    // Item ids in their order: scrolls walk it, upserts probe it for ids that are mostly new, hence the Bloom filter.
    Definition { family: Family::Ids, name: "ids", compression: DBCompressionType::Lz4, blobs_from: None, bloom: true },
    // Payloads, texts and descriptions: compressible; read one by one after a search, or in whole for a filter.
    Definition {
        family: Family::Items,
        name: "items",
        compression: DBCompressionType::Lz4,
        blobs_from: None,
        bloom: true,
    },
    // Floats do not compress. Apart from the items, so that a filter's scan does not read them.
    Definition {
        family: Family::Vectors,
        name: "vectors",
        compression: DBCompressionType::None,
        blobs_from: None,
        bloom: false,
    },
    // Pictures are compressed already and large: blob files, so that compaction does not rewrite them.
    Definition {
        family: Family::Media,
        name: "media",
        compression: DBCompressionType::None,
        blobs_from: Some(4096),
        bloom: true,
    },
    // How many items use a picture; apart from the bytes, so that counting does not rewrite them.
    Definition {
        family: Family::MediaRefs,
        name: "media_refs",
        compression: DBCompressionType::None,
        blobs_from: None,
        bloom: true,
    },
    // The job table.
    Definition {
        family: Family::Jobs,
        name: "jobs",
        compression: DBCompressionType::Lz4,
        blobs_from: None,
        bloom: false,
    },
    // Nothing but keys, in the order of the values: read in whole when a collection is opened.
    Definition {
        family: Family::PayloadIndexes,
        name: "payload_indexes",
        compression: DBCompressionType::Lz4,
        blobs_from: None,
        bloom: false,
    },
];

impl Family {
    pub(super) fn definition(self) -> &'static Definition {
        let definition = ALL.iter().find(|definition| definition.family == self);
        definition.expect("every family stands in the table")
    }

    pub(super) fn name(self) -> &'static str {
        self.definition().name
    }
}

/// RocksDB's options of one column family. `write_buffer` is in bytes.
pub(super) fn options(definition: &Definition, cache: &Cache, write_buffer: usize) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    // Index and filter blocks count against the cache, so that memory has one bound.
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    blocks.set_format_version(5);
    if definition.bloom {
        blocks.set_bloom_filter(10.0, false);
    }
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(definition.compression);
    options.set_write_buffer_size(write_buffer);
    // Every changed item leaves a deleted key behind, because internal ids are never used again; scans would step over all of
    // them until a compaction happens to come by.
    options.add_compact_on_deletion_collector_factory(4096, 2048, 0.5);
    if let Some(bytes) = definition.blobs_from {
        options.set_enable_blob_files(true);
        options.set_min_blob_size(bytes);
        options.set_blob_compression_type(DBCompressionType::None);
        options.set_enable_blob_gc(true);
        options.set_blob_gc_age_cutoff(0.25);
        options.set_blob_gc_force_threshold(0.5);
        options.set_blob_cache(cache);
    }
    options
}
