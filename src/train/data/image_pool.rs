//! Pictures of a run whose image tower does not change and that shows them as they are: encoded once, before the first step.

use tch::{Device, Kind, Tensor};

use crate::train::loss::Gallery;
use crate::train::student::normalise;
use crate::{Error, Result};

use super::corpus::Corpus;

/// Examples that are encoded at once.
const AT_ONCE: usize = 128;

/// Vectors of pictures, as the encoder gives them.
pub struct ImagePool {
    /// float32 `[pictures, dimension]`, not normalised.
    vectors: Tensor,
    unit: Tensor,
    /// Each example's row.
    rows: Vec<Option<i64>>,
    /// int64 `[pictures]`: whose drawing each is, and a number that pictures share which are alike to the byte.
    domains: Tensor,
    pictures: Tensor,
}

impl ImagePool {
    /// Encodes the pictures of `examples`, which are distinct numbers of the corpus.
    ///
    /// # Errors
    /// What `encode` says; it gives float32 `[examples, dimension]`.
    pub fn new(
        examples: &[usize],
        corpus: &Corpus,
        device: Device,
        encode: &mut dyn FnMut(&[usize]) -> Result<Tensor>,
    ) -> Result<Self> {
        let mut rows = vec![None; corpus.examples.len()];
        for (row, &example) in examples.iter().enumerate() {
            rows[example] = Some(row as i64);
        }
        let parts = examples.chunks(AT_ONCE).map(&mut *encode).collect::<Result<Vec<_>>>()?;
        let vectors = match parts.is_empty() {
            true => Tensor::zeros([0, 0], (Kind::Float, device)),
            false => Tensor::cat(&parts, 0),
        };
        let numbers = |numbers: Vec<usize>| {
            let numbers: Vec<i64> = numbers.into_iter().map(|number| number as i64).collect();
            Tensor::from_slice(&numbers).to_device(device)
        };
        Ok(Self {
            unit: normalise(&vectors),
            vectors,
            rows,
            domains: numbers(examples.iter().map(|&example| corpus.examples[example].domain).collect()),
            pictures: numbers(corpus.picture_numbers(examples)),
        })
    }

    /// The vectors of examples, float32 `[examples, dimension]`.
    ///
    /// # Errors
    /// `Internal` for an example that was not encoded.
    pub fn vectors(&self, examples: &[usize]) -> Result<Tensor> {
        Ok(self.vectors.index_select(0, &self.places(examples)?))
    }

    fn places(&self, examples: &[usize]) -> Result<Tensor> {
        let rows = examples.iter().map(|&example| self.rows.get(example).copied().flatten());
        let rows: Option<Vec<i64>> = rows.collect();
        let rows = rows.ok_or_else(|| Error::Internal("a step shows a picture that was not encoded".to_owned()))?;
        Ok(Tensor::from_slice(&rows).to_device(self.vectors.device()))
    }

    /// All pictures as what composed queries are told apart from: no wrong answers are a query's reference, what is alike to it or to
    /// the target, and drawings of other domains than the target's.
    ///
    /// # Errors
    /// `Internal` for an example that was not encoded.
    pub fn gallery(&self, references: &[usize], targets: &[usize]) -> Result<Gallery> {
        let (references, places) = (self.places(references)?, self.places(targets)?);
        let differs = |of: &Tensor, rows: &Tensor| of.unsqueeze(0).ne_tensor(&of.index_select(0, rows).unsqueeze(1));
        let is_wrong = differs(&self.pictures, &references)
            .logical_and(&differs(&self.pictures, &places))
            .logical_and(&differs(&self.domains, &places).logical_not());
        let all = Tensor::arange(self.pictures.size()[0], (Kind::Int64, self.pictures.device()));
        let is_right = all.unsqueeze(0).eq_tensor(&places.unsqueeze(1));
        let excluded = is_wrong.logical_or(&is_right).logical_not();
        Ok(Gallery { vectors: self.unit.shallow_clone(), places, excluded })
    }
}
