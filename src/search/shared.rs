//! Pictures that are encoded once for all queries of a batch, and for all stages of a query.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::encode::{EncoderHandle, Role};
use crate::types::vector::UnitVector;
use crate::types::{Error, Result};

/// An encoder's fingerprint and a file's BLAKE3.
type Key = (String, [u8; 32]);

/// The vectors of pictures that the queries of one call name. Cheap to clone.
#[derive(Clone, Default)]
pub struct EncodedPictures {
    vectors: Arc<Mutex<HashMap<Key, Arc<OnceCell<UnitVector>>>>>,
}

impl EncodedPictures {
    /// Encodes a picture, or waits for the query that does; one that failed is tried again.
    ///
    /// # Errors
    /// The encoder's.
    pub(super) async fn get(
        &self,
        handle: &EncoderHandle,
        file: &Bytes,
        deadline: Option<Instant>,
    ) -> Result<UnitVector> {
        let key = (handle.info().fingerprint.clone(), *blake3::hash(file).as_bytes());
        let cell = Arc::clone(self.vectors.lock().entry(key).or_default());
        let encode = || async {
            let embedding = handle.encode_images(vec![file.clone()], Role::Query, deadline).await?.pop();
            let embedding = embedding.ok_or_else(|| Error::Internal("a query without a vector".to_owned()))??;
            Ok((*embedding.vector).clone())
        };
        cell.get_or_try_init(encode).await.cloned()
    }
}
