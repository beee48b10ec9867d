//! Vectors that the index holds already, so that a teacher costs nothing (CLIP-KD, arXiv 2307.12732).

use std::collections::HashMap;

use tch::{Device, Tensor};

use super::{BoundTargets, TargetSource};
use crate::train::data::Corpus;
use crate::train::loss::Targets;
use crate::train::piece::Piece;
use crate::{Error, Result};

pub(super) const PIECE: Piece<dyn TargetSource> = Piece {
    name: "stored",
    summary: "The vectors of the collection's fields",
    source: "own",
    build: |settings| {
        let stored: Stored = settings.read()?;
        if stored.images.is_none() && stored.texts.is_none() {
            return Err(settings.invalid("name a field in images, in texts or in both"));
        }
        Ok(Box::new(stored))
    },
};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    /// The field whose vectors pictures shall have.
    images: Option<String>,
    /// The field whose vectors texts shall have.
    texts: Option<String>,
}

impl TargetSource for Stored {
    fn bind(&self, corpus: &Corpus, device: Device) -> Result<Box<dyn BoundTargets>> {
        let trained: Vec<usize> = corpus.trained().collect();
        let mut space = String::new();
        let mut read = |field: &Option<String>| -> Result<Option<Tensor>> {
            let Some(field) = field else { return Ok(None) };
            let stored = corpus.stored_vectors(field, &trained)?;
            let values: Vec<f32> = stored.vectors.iter().flatten().flatten().copied().collect();
            let n_missing = stored.vectors.iter().filter(|vector| vector.is_none()).count();
            if n_missing > 0 {
                let message =
                    format!("{n_missing} of {} trained items have no vector in field {field:?}", trained.len());
                return Err(Error::FailedPrecondition { reason: "TARGETS_MISSING", message });
            }
            if !space.is_empty() && space != stored.space {
                let message = format!("field {field:?} lies in space {}, the other field in {space}", stored.space);
                return Err(Error::FailedPrecondition { reason: "SPACES_DIFFER", message });
            }
            space = stored.space;
            let shape = [trained.len() as i64, stored.dimension as i64];
            Ok(Some(Tensor::from_slice(&values).view(shape).to_device(device)))
        };
        let (images, texts) = (read(&self.images)?, read(&self.texts)?);
        let rows = trained.iter().enumerate().map(|(row, &number)| (number, row as i64)).collect();
        Ok(Box::new(BoundStored { images, texts, rows, space }))
    }
}

struct BoundStored {
    images: Option<Tensor>,
    texts: Option<Tensor>,
    rows: HashMap<usize, i64>,
    space: String,
}

impl BoundTargets for BoundStored {
    fn targets(&self, examples: &[usize]) -> Result<Targets> {
        let rows: Option<Vec<i64>> = examples.iter().map(|number| self.rows.get(number).copied()).collect();
        let rows = rows.ok_or_else(|| Error::Internal("a step shows an item without target".to_owned()))?;
        let choose = |vectors: &Option<Tensor>| {
            vectors
                .as_ref()
                .map(|vectors| vectors.index_select(0, &Tensor::from_slice(&rows).to_device(vectors.device())))
        };
        Ok(Targets { images: choose(&self.images), texts: choose(&self.texts) })
    }

    fn space(&self) -> &str {
        &self.space
    }
}
