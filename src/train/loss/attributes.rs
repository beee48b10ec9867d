//! What a picture shows beside its concept, such as a skin tone, kept in directions that the texts hardly use.

use std::sync::OnceLock;

use serde::Deserialize;
use tch::Tensor;

use super::free::{Fixed, free_directions};
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
    directions: OnceLock<Fixed>,
}

impl Term for Attributes {
    /// Chooses the directions; none of them is learned, so that texts go on meaning what they mean.
    fn scalars(&self, first: &Views) -> Result<Vec<Scalar>> {
        let wanted = first.attributes.iter().map(|attribute| attribute.values).sum();
        let directions = free_directions("attributes", first, 0, wanted)?;
        if first.attributes.is_empty() {
            let message = "attributes needs recipe.corpus.attributes, the payload paths of what pictures show";
            return Err(Error::invalid("recipe.objective", message));
        }
        self.directions.get_or_init(|| Fixed::new(directions));
        Ok(Vec::new())
    }

    /// The mean over attributes and views; within one, over the values that the batch shows, each as heavy as the others.
    fn loss(&self, views: &Views, _scalars: &[Tensor]) -> Result<Tensor> {
        let directions =
            self.directions.get().ok_or_else(|| Error::Internal("no directions were chosen".to_owned()))?.get();
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
