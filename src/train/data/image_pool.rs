//! Pictures of a run whose image tower does not change and that shows them as they are: encoded once, before the first step.

use tch::{Device, Kind, Tensor};

use crate::{Error, Result};

/// Examples that are encoded at once.
const AT_ONCE: usize = 128;

/// Vectors of pictures, as the encoder gives them.
pub struct ImagePool {
    /// float32 `[pictures, dimension]`, not normalised.
    vectors: Tensor,
    /// Each example's row.
    rows: Vec<Option<i64>>,
    /// The example of each row.
    examples: Vec<usize>,
}

impl ImagePool {
    /// Encodes the pictures of `examples`, which are distinct numbers below `n_examples`.
    ///
    /// # Errors
    /// What `encode` says; it gives float32 `[examples, dimension]`.
    pub fn new(
        examples: Vec<usize>,
        n_examples: usize,
        device: Device,
        encode: &mut dyn FnMut(&[usize]) -> Result<Tensor>,
    ) -> Result<Self> {
        let mut rows = vec![None; n_examples];
        for (row, &example) in examples.iter().enumerate() {
            rows[example] = Some(row as i64);
        }
        let parts = examples.chunks(AT_ONCE).map(&mut *encode).collect::<Result<Vec<_>>>()?;
        let vectors = match parts.is_empty() {
            true => Tensor::zeros([0, 0], (Kind::Float, device)),
            false => Tensor::cat(&parts, 0),
        };
        Ok(Self { vectors, rows, examples })
    }

    /// The vectors of examples, float32 `[examples, dimension]`.
    ///
    /// # Errors
    /// `Internal` for an example that was not encoded.
    pub fn vectors(&self, examples: &[usize]) -> Result<Tensor> {
        let rows = examples.iter().map(|&example| self.rows.get(example).copied().flatten());
        let rows: Option<Vec<i64>> = rows.collect();
        let rows = rows.ok_or_else(|| Error::Internal("a step shows a picture that was not encoded".to_owned()))?;
        Ok(self.vectors.index_select(0, &Tensor::from_slice(&rows).to_device(self.vectors.device())))
    }

    /// All vectors, and the example of each row.
    pub fn all(&self) -> (&Tensor, &[usize]) {
        (&self.vectors, &self.examples)
    }
}
