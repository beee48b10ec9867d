//! Pictures of a corpus as networks take them.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rayon::prelude::*;
use tch::{Kind, Tensor};

use super::corpus::Corpus;
use crate::encode::{EncoderInput, Preprocessor};
use crate::image::ImagePreparer;
use crate::train::augment::{Augmenter, Drawing};
use crate::train::random::random_for;
use crate::{Error, Result};

/// Decodes the corpus's pictures, and keeps them while there is room.
pub struct Pictures<'c> {
    pub corpus: &'c Corpus,
    preprocessor: Arc<dyn Preprocessor>,
    height: usize,
    width: usize,
    prepared: Mutex<Kept<Vec<u8>>>,
    augmenter: Augmenter,
    preparer: Option<ImagePreparer>,
    drawings: Mutex<Kept<Drawing>>,
}

/// What is kept, and the bytes that are left for more.
struct Kept<T> {
    by_example: HashMap<usize, Arc<T>>,
    bytes_left: usize,
}

impl<'c> Pictures<'c> {
    /// Pictures for a network of this size, with room to keep `bytes` of them in each of two forms.
    #[must_use]
    pub fn new(
        corpus: &'c Corpus,
        preprocessor: Arc<dyn Preprocessor>,
        preparer: Option<ImagePreparer>,
        augmenter: Augmenter,
        (height, width): (usize, usize),
        bytes: usize,
    ) -> Self {
        let prepared = Mutex::new(Kept { by_example: HashMap::new(), bytes_left: bytes });
        let drawings = Mutex::new(Kept { by_example: HashMap::new(), bytes_left: bytes });
        Self { corpus, preprocessor, height, width, prepared, augmenter, preparer, drawings }
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
    pub fn shown(&self, examples: &[usize], seed: u64, draw: [u64; 2]) -> Result<Tensor> {
        let Some(preparer) = self.preparer.as_ref().filter(|_| !self.augmenter.is_empty()) else {
            return self.prepared(examples);
        };
        let size = 3 * self.height * self.width;
        let pictures: Vec<Vec<f32>> = examples
            .par_iter()
            .enumerate()
            .map(|(place, &number)| {
                let drawing = self.drawing(number, preparer)?;
                let mut random = random_for(seed, "augment", &[draw[0], draw[1], place as u64]);
                let mut picture = Vec::with_capacity(size);
                self.augmenter.draw(&drawing, &mut random, &mut picture);
                Ok(picture)
            })
            .collect::<Result<_>>()?;
        let shape = [examples.len() as i64, 3, self.height as i64, self.width as i64];
        Ok(Tensor::from_slice(&pictures.concat()).view(shape))
    }

    fn drawing(&self, number: usize, preparer: &ImagePreparer) -> Result<Arc<Drawing>> {
        let example = &self.corpus.examples[number];
        keep(&self.drawings, number, || {
            let file = self.corpus.picture(number)?;
            let drawing = Drawing::decode(&file, preparer, example.is_flippable)
                .map_err(|error| error.within(&format!("item {:?}", example.id)))?;
            let bytes = drawing.rgba.len();
            Ok((drawing, bytes))
        })
    }

    fn prepare(&self, number: usize) -> Result<Arc<Vec<u8>>> {
        let example = &self.corpus.examples[number];
        keep(&self.prepared, number, || {
            let file = self.corpus.picture(number)?;
            let input =
                self.preprocessor.image(&file).map_err(|error| error.within(&format!("item {:?}", example.id)))?;
            let EncoderInput::Image(image) = input else {
                return Err(Error::Internal("a picture became a text".to_owned()));
            };
            let bytes = image.pixels.data.len();
            Ok((image.pixels.data, bytes))
        })
    }
}

/// Gives what is kept, or makes it and keeps it if there is room.
fn keep<T>(kept: &Mutex<Kept<T>>, number: usize, make: impl FnOnce() -> Result<(T, usize)>) -> Result<Arc<T>> {
    if let Some(found) = kept.lock().by_example.get(&number) {
        return Ok(Arc::clone(found));
    }
    let (made, bytes) = make()?;
    let made = Arc::new(made);
    let mut kept = kept.lock();
    if kept.bytes_left >= bytes && kept.by_example.insert(number, Arc::clone(&made)).is_none() {
        kept.bytes_left -= bytes;
    }
    Ok(made)
}
