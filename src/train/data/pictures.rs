//! Pictures of a corpus as networks take them.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rayon::prelude::*;
use tch::{Kind, Tensor};

use super::corpus::Corpus;
use crate::Error;
use crate::Result;
use crate::encode::{EncoderInput, Preprocessor};

/// Decodes the corpus's pictures, and keeps them while there is room.
pub struct Pictures<'c> {
    pub corpus: &'c Corpus,
    preprocessor: Arc<dyn Preprocessor>,
    height: usize,
    width: usize,
    prepared: Mutex<Kept<Vec<u8>>>,
}

/// What is kept, and the bytes that are left for more.
struct Kept<T> {
    by_example: HashMap<usize, Arc<T>>,
    bytes_left: usize,
}

impl<'c> Pictures<'c> {
    /// Pictures for a network of this size, with room to keep `bytes` of them.
    #[must_use]
    pub fn new(corpus: &'c Corpus, preprocessor: Arc<dyn Preprocessor>, size: (usize, usize), bytes: usize) -> Self {
        let kept = Kept { by_example: HashMap::new(), bytes_left: bytes };
        Self { corpus, preprocessor, height: size.0, width: size.1, prepared: Mutex::new(kept) }
    }

    /// Examples' pictures as the model's own preprocessing has them: float32 `[examples, 3, height, width]` from 0 to 1.
    ///
    /// # Errors
    /// Those of the store and of decoding, naming the item.
    pub fn prepared(&self, examples: &[usize]) -> Result<Tensor> {
        let pictures: Vec<Arc<Vec<u8>>> =
            examples.par_iter().map(|&number| self.prepare(number)).collect::<Result<_>>()?;
        let mut bytes = Vec::with_capacity(examples.len() * self.height * self.width * 3);
        pictures.iter().for_each(|picture| bytes.extend_from_slice(picture));
        let shape = [examples.len() as i64, self.height as i64, self.width as i64, 3];
        Ok(Tensor::from_data_size(&bytes, &shape, Kind::Uint8).permute([0, 3, 1, 2]).to_kind(Kind::Float) / 255.0)
    }

    /// Examples' pictures as a step shows them, in the same form; `draw` numbers the drawing, so that the same one gives the
    /// same pictures.
    ///
    /// # Errors
    /// As [`Pictures::prepared`].
    pub fn shown(&self, examples: &[usize], _seed: u64, _draw: [u64; 2]) -> Result<Tensor> {
        self.prepared(examples)
    }

    fn prepare(&self, number: usize) -> Result<Arc<Vec<u8>>> {
        if let Some(kept) = self.prepared.lock().by_example.get(&number) {
            return Ok(Arc::clone(kept));
        }
        let file = self.corpus.picture(number)?;
        let example = &self.corpus.examples[number];
        let input = self.preprocessor.image(&file).map_err(|error| error.within(&format!("item {:?}", example.id)))?;
        let EncoderInput::Image(image) = input else {
            return Err(Error::Internal("a picture became a text".to_owned()));
        };
        let picture = Arc::new(image.pixels.data);
        let mut kept = self.prepared.lock();
        if kept.bytes_left >= picture.len() && kept.by_example.insert(number, Arc::clone(&picture)).is_none() {
            kept.bytes_left -= picture.len();
        }
        Ok(picture)
    }
}
