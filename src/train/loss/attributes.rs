//! What a picture shows beside its concept, such as a skin tone, kept in directions that the texts hardly use.

use std::sync::OnceLock;

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::{Attribute, Scalar, Term, Views};
use crate::train::piece::Piece;
use crate::{Error, Result};

pub(super) const PIECE: Piece<dyn Term> = Piece {
    name: "attributes",
    summary: "A direction for each value of each attribute, and a softmax over the values of one",
    source: "own; the balanced cross-entropy is that of Cui et al. (arXiv 1901.05555) with equal classes",
    build: |settings| {
        let settings_read: Settings = settings.read()?;
        settings.within("scale", settings_read.scale, 1e-3, 1e4)?;
        Ok(Box::new(Attributes { scale: settings_read.scale, directions: OnceLock::new() }))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// 1 / temperature: a value is told apart by about 5 / scale of a vector's length.
    #[serde(default = "default_scale")]
    scale: f64,
}

fn default_scale() -> f64 {
    20.0
}

struct Attributes {
    scale: f64,
    /// `[dimension, values]`, orthonormal columns: the values of the first attribute, then those of the second, …
    directions: OnceLock<Directions>,
}

/// A tensor that nobody changes; `Tensor` itself is not `Sync`.
struct Directions(std::sync::Mutex<Tensor>);

impl Term for Attributes {
    /// Chooses the directions; none of them is learned, so that texts go on meaning what they mean.
    fn scalars(&self, first: &Views) -> Result<Vec<Scalar>> {
        let missing = |what: &str| Error::invalid("recipe.objective", format!("attributes needs {what}"));
        let bank = first.bank.as_ref().ok_or_else(|| {
            missing("a frozen text tower, whose texts say which directions are free; see recipe.captions")
        })?;
        if first.attributes.is_empty() {
            return Err(missing("recipe.corpus.attributes, the payload paths of what pictures show"));
        }
        let (wanted, dimension) = (first.attributes.iter().map(|a| a.values).sum::<i64>(), bank.texts.size()[1]);
        if wanted * 2 > dimension {
            let message =
                format!("the attributes have {wanted} values; at most half of {dimension} dimensions are free");
            return Err(Error::invalid("recipe.corpus.attributes", message));
        }
        let texts = bank.texts.to_kind(Kind::Double);
        // Eigenvectors come in the order of their eigenvalues, the least first.
        let (_, vectors) = texts.transpose(0, 1).matmul(&texts).linalg_eigh("L");
        let free = vectors.narrow(1, 0, wanted);
        // An eigenvector has no sign of its own; its largest number shall be positive, on every machine.
        let largest = free.gather(0, &free.abs().argmax(0, true), false);
        let free = (free * largest.sign()).to_kind(bank.texts.kind());
        self.directions.get_or_init(|| Directions(std::sync::Mutex::new(free)));
        Ok(Vec::new())
    }

    /// The mean over attributes and views; within one, over the values that the batch shows, each as heavy as the others.
    fn loss(&self, views: &Views, _scalars: &[Tensor]) -> Result<Tensor> {
        let directions =
            self.directions.get().ok_or_else(|| Error::Internal("no directions were chosen".to_owned()))?;
        let directions = directions.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).shallow_clone();
        let (mut losses, mut first) = (Vec::new(), 0);
        for attribute in &views.attributes {
            let columns = directions.narrow(1, first, attribute.values);
            first += attribute.values;
            for (images, labels) in views.images.iter().zip(&attribute.images) {
                losses.extend(self.balanced(&images.matmul(&columns), labels, attribute));
            }
        }
        match losses.is_empty() {
            true => {
                Ok(views.images.first().map_or_else(|| Tensor::from(0.0_f32), |images| images.sum(images.kind()) * 0.0))
            }
            false => Ok(Tensor::stack(&losses, 0).mean(losses[0].kind())),
        }
    }
}

impl Attributes {
    /// Cross-entropy, mean over the values that occur of the means over their rows; `None` if no row says a value.
    fn balanced(&self, cosines: &Tensor, labels: &Tensor, attribute: &Attribute) -> Option<Tensor> {
        let is_known = labels.ge(0);
        let labels = labels.masked_select(&is_known);
        if labels.size()[0] == 0 {
            return None;
        }
        let rows = cosines.index_select(0, &is_known.nonzero().squeeze_dim(1));
        let counts = labels.bincount::<Tensor>(None, attribute.values).to_kind(rows.kind());
        let n_values = counts.gt(0).sum(rows.kind());
        let weights = (counts * n_values).reciprocal().index_select(0, &labels);
        let entropies = -(rows * self.scale).log_softmax(1, cosines.kind()).gather(1, &labels.unsqueeze(1), false);
        Some((entropies.squeeze_dim(1) * weights).sum(cosines.kind()))
    }
}
