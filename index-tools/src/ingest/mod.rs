//! Storing a source's records: read, batch, upload, acknowledge, remember.
//!
//! A reader thread walks the source and loads records; full batches wait in a short channel; the upload keeps a bounded
//! number of them on the wire and resends what was not acknowledged; the ledger turns acknowledgements in any order into one
//! contiguous position; the journal keeps that position so that a killed run goes on where it was.

pub mod backoff;
pub mod batch;
pub mod csv_file;
pub mod folder;
pub mod journal;
pub mod jsonl;
pub mod ledger;
pub mod media;
pub mod object;
pub mod parquet_file;
pub mod progress;
pub mod record;
pub mod rejects;
pub mod row_files;
pub mod session;
pub mod source;
pub mod tar_members;
pub mod upload;
pub mod vectors_file;
pub mod webdataset;
