//! Pictures through an encoder: decoded on the preparation threads, each sent to the network as soon as it is ready.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::encoder::{EncoderInput, Role};
use super::handle::{EncoderHandle, lost, within};
use super::health::Health;
use super::queue::{Lane, Request, Slots};
use super::worker::panic_message;
use crate::types::vector::UnitVector;
use crate::{Error, Result};

/// Bytes of a prepared picture that one slot of the queue stands for; a text takes one slot, too.
const SLOT_BYTES: usize = 8 << 10;
/// Pictures that one request has in work at once, in two chunks: more would only fill the queue.
const CHUNK_IMAGES: usize = 32;
/// How long a request that is half done waits for room before it looks again.
const ROOM_PAUSE: Duration = Duration::from_millis(5);

/// A picture's vector and hash.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageEmbedding {
    pub vector: Arc<UnitVector>,
    /// Nearly equal pictures differ in few bits ([`crate::image::difference_hash`]).
    pub perceptual_hash: u64,
}

impl EncoderHandle {
    /// Encodes pictures' files, one result each, in order: a bad picture has its own error and harms no other. Documents queue
    /// behind queries; cancel by dropping the future.
    ///
    /// # Errors
    /// `Unsupported` if the encoder takes no pictures, `Overloaded` if the queue has no room, `DeadlineExceeded`.
    pub async fn encode_images(
        &self,
        files: Vec<Bytes>,
        role: Role,
        deadline: Option<Instant>,
    ) -> Result<Vec<Result<ImageEmbedding>>> {
        if !self.info().encodes_image {
            let info = self.info();
            return Err(Error::Unsupported(format!("encoding pictures with {} ({})", info.name, info.architecture)));
        }
        let chunks: Vec<Vec<Bytes>> = files.chunks(CHUNK_IMAGES).map(<[Bytes]>::to_vec).collect();
        let chunk = |(number, files): (usize, Vec<Bytes>)| async move {
            let slots = self.slots_for(files.len(), Lane::of(role), number > 0).await?;
            self.encode_chunk(files, slots, deadline).await
        };
        // Two at a time: one is decoded while the other is in the network.
        let encoded = stream::iter(chunks.into_iter().enumerate()).map(chunk).buffered(2).try_concat();
        within(deadline, encoded).await
    }

    /// Takes room for pictures; a request whose first pictures were accepted waits for the others' room.
    async fn slots_for(&self, n_images: usize, lane: Lane, may_wait: bool) -> Result<Slots> {
        let inner = &self.0;
        let slots_each = inner.preprocessor.image_bytes().div_ceil(SLOT_BYTES).max(1);
        loop {
            match inner.queue.reserve(lane, n_images * slots_each) {
                Err(Error::Overloaded { .. }) if may_wait => tokio::time::sleep(ROOM_PAUSE).await,
                Err(error) => {
                    Health::count(&inner.health.refused, 1);
                    return Err(error);
                }
                Ok(slots) => return Ok(slots),
            }
        }
    }

    async fn encode_chunk(
        &self,
        files: Vec<Bytes>,
        slots: Slots,
        deadline: Option<Instant>,
    ) -> Result<Vec<Result<ImageEmbedding>>> {
        let inner = &self.0;
        let (sender, vectors) = oneshot::channel();
        let lane = slots.lane();
        let request = Request::new(slots, files.len(), deadline, sender);
        let hashes = Arc::new(Mutex::new(vec![0; files.len()]));
        for (position, file) in files.into_iter().enumerate() {
            let (queue, preprocessor, request) = (inner.queue.clone(), inner.preprocessor.clone(), request.clone());
            let hashes = Arc::clone(&hashes);
            inner.pools.of(lane).spawn(move || {
                if !request.is_wanted(Instant::now()) {
                    return;
                }
                let prepared = catch_unwind(AssertUnwindSafe(|| preprocessor.image(&file)))
                    .unwrap_or_else(|panic| Err(Error::Internal(panic_message(&*panic))));
                match prepared {
                    Ok(input) => {
                        if let EncoderInput::Image(image) = &input {
                            hashes.lock()[position] = image.perceptual_hash;
                        }
                        queue.push(&request, [(position, input)]);
                    }
                    Err(error) => request.deliver(position, Err(error)),
                }
            });
        }
        // The pictures hold the request now: if the encoder loses them all, the answer's channel closes.
        drop(request);
        let vectors = vectors.await.map_err(lost)??;
        let hashes = std::mem::take(&mut *hashes.lock());
        let embed = |(vector, perceptual_hash): (Result<UnitVector>, u64)| {
            Ok(ImageEmbedding { vector: Arc::new(vector?), perceptual_hash })
        };
        Ok(vectors.into_iter().zip(hashes).map(embed).collect())
    }
}
