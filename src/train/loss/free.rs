//! Directions of a space that its texts hardly use.

use tch::{Kind, Tensor};

use super::Views;
use crate::{Error, Result};

/// A tensor that nobody changes; `Tensor` itself is not `Sync`.
pub(super) struct Fixed(std::sync::Mutex<Tensor>);

impl Fixed {
    pub(super) fn new(tensor: Tensor) -> Self {
        Self(std::sync::Mutex::new(tensor))
    }

    pub(super) fn get(&self) -> Tensor {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).shallow_clone()
    }
}

/// The `wanted` directions that the texts of the bank use least, after the first `skipped`: `[dimension, wanted]`, orthonormal columns, the
/// same on every machine.
///
/// # Errors
/// `InvalidArgument` with `term` in its words if no text is encoded before the run, or if more than half of the dimensions would be taken.
pub(super) fn free_directions(term: &str, first: &Views, skipped: i64, wanted: i64) -> Result<Tensor> {
    let bank = first.bank.as_ref().ok_or_else(|| {
        let message =
            format!("{term} needs a frozen text tower, whose texts say which directions are free; see recipe.captions");
        Error::invalid("recipe.objective", message)
    })?;
    let dimension = bank.texts.size()[1];
    if (skipped + wanted) * 2 > dimension {
        let message = format!("{term} needs {wanted} directions after {skipped}; at most half of {dimension} are free");
        return Err(Error::invalid("recipe.objective", message));
    }
    let texts = bank.texts.to_kind(Kind::Double);
    // Eigenvectors come in the order of their eigenvalues, the least first.
    let (_, vectors) = texts.transpose(0, 1).matmul(&texts).linalg_eigh("L");
    let free = vectors.narrow(1, skipped, wanted);
    // An eigenvector has no sign of its own; its largest number shall be positive, on every machine.
    let largest = free.gather(0, &free.abs().argmax(0, true), false);
    Ok((free * largest.sign()).to_kind(bank.texts.kind()))
}
