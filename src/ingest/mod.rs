//! Writing items: check, find what is stored already, encode the rest, store.

mod item;
mod upsert;

pub use item::{NewItem, NewMedia};
pub use upsert::{UpsertSettings, Upserted, WriteTimings, upsert};
