//! Cross-entropy over similarities: InfoNCE between pictures and texts, pictures and pictures, or pictures and all texts.

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::{Scalar, Term, Views};
use crate::train::piece::Piece;
use crate::{Error, Result};

pub(super) const PIECE: Piece<dyn Term> = Piece {
    name: "softmax",
    summary: "Cross-entropy over similarities, in both directions, with a learned scale",
    source: "InfoNCE as in CLIP (arXiv 2103.00020); several positives as in SupCon (arXiv 2004.11362)",
    build: |settings| {
        let softmax: Softmax = settings.read()?;
        settings.within("max_scale", softmax.max_scale, 1e-3, 1e4)?;
        settings.within("scale", softmax.scale, 1e-3, softmax.max_scale)?;
        settings.within("positive_above", softmax.positive_above.unwrap_or(1.0), -1.0, 1.0)?;
        Ok(Box::new(softmax))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Softmax {
    pair: Pair,
    /// 1 / temperature at the start.
    #[serde(default = "default_scale")]
    scale: f64,
    #[serde(default = "default_max_scale")]
    max_scale: f64,
    /// Texts whose cosine is above this mean the same.
    positive_above: Option<f64>,
    #[serde(default)]
    positives: Positives,
    /// Weight of the direction from the second to the first, beside 1 for the other; both are divided by their sum.
    #[serde(default = "one")]
    backwards: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Pair {
    ImagesTexts,
    /// Between the views of the pictures.
    ImagesImages,
    /// From pictures to one text for each concept of the run; there is no way back.
    ImagesBank,
    /// Between the views of the texts.
    TextsTexts,
}

/// What other columns of a row's concept are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Positives {
    /// Left out.
    #[default]
    Mask,
    /// Each a positive: minus the mean of their log-probabilities.
    Mean,
    /// Any will do: minus the logarithm of their summed probability.
    Sum,
}

fn default_scale() -> f64 {
    1.0 / 0.07
}

fn default_max_scale() -> f64 {
    100.0
}

fn one() -> f64 {
    1.0
}

impl Term for Softmax {
    fn scalars(&self, _first: &Views) -> Result<Vec<Scalar>> {
        let (low, high) = (0.0_f64.min(self.scale.ln()), self.max_scale.ln());
        Ok(vec![Scalar { name: "log_scale", start: self.scale.ln(), low, high }])
    }

    fn loss(&self, views: &Views, scalars: &[Tensor]) -> Result<Tensor> {
        let [log_scale] = scalars else {
            return Err(Error::Internal("softmax expects its log_scale".to_owned()));
        };
        let missing = |what: &str| {
            let message = format!("pair {:?} needs {what}; see recipe.views and recipe.captions", self.pair);
            Error::invalid("recipe.objective", message)
        };
        let scale = log_scale.exp();
        let same = views.concepts.unsqueeze(1).eq_tensor(&views.concepts.unsqueeze(0));
        let mut losses = Vec::new();
        match self.pair {
            Pair::ImagesTexts => {
                if views.images.is_empty() || views.texts.is_empty() {
                    return Err(missing("pictures and texts"));
                }
                for number in 0..views.images.len().max(views.texts.len()) {
                    let images = &views.images[number % views.images.len()];
                    let texts = &views.texts[number % views.texts.len()];
                    let same = same.logical_or(&self.alike(texts, texts, &same));
                    losses.push(self.both_ways(images, texts, &scale, &same));
                }
            }
            Pair::ImagesImages | Pair::TextsTexts => {
                let (all, what) = match self.pair {
                    Pair::ImagesImages => (&views.images, "two views of the pictures"),
                    _ => (&views.texts, "two views of the texts"),
                };
                for (number, first) in all.iter().enumerate() {
                    losses.extend(all[number + 1..].iter().map(|second| self.both_ways(first, second, &scale, &same)));
                }
                if losses.is_empty() {
                    return Err(missing(what));
                }
            }
            Pair::ImagesBank => {
                let bank =
                    views.bank.as_ref().ok_or_else(|| missing("a frozen text tower, whose texts make the bank"))?;
                if views.images.is_empty() {
                    return Err(missing("pictures"));
                }
                let same = views.concepts.unsqueeze(1).eq_tensor(&bank.concepts.unsqueeze(0));
                let own = same.to_kind(Kind::Int64).argmax(1, false);
                let same = same.logical_or(&self.alike(&bank.texts.index_select(0, &own), &bank.texts, &same));
                let texts = bank.texts.transpose(0, 1);
                let loss = |images: &Tensor| self.one_way(&(images.matmul(&texts) * &scale), &same, &own);
                losses.extend(views.images.iter().map(loss));
            }
        }
        Ok(Tensor::stack(&losses, 0).mean(losses[0].kind()))
    }
}

impl Softmax {
    /// True where two texts say the same by their cosine; nowhere without `positive_above`.
    fn alike(&self, rows: &Tensor, columns: &Tensor, like: &Tensor) -> Tensor {
        match self.positive_above {
            Some(above) => tch::no_grad(|| rows.matmul(&columns.transpose(0, 1)).gt(above)),
            None => like.zeros_like(),
        }
    }

    fn both_ways(&self, rows: &Tensor, columns: &Tensor, scale: &Tensor, same: &Tensor) -> Tensor {
        let logits = rows.matmul(&columns.transpose(0, 1)) * scale;
        let own = Tensor::arange(logits.size()[0], (Kind::Int64, logits.device()));
        let forwards = self.one_way(&logits, same, &own);
        if self.backwards == 0.0 {
            return forwards;
        }
        let backwards = self.one_way(&logits.transpose(0, 1), &same.transpose(0, 1), &own);
        (forwards + backwards * self.backwards) / (1.0 + self.backwards)
    }

    /// The mean over rows. `same` says which columns mean what the row means, `own` which column is the row's.
    fn one_way(&self, logits: &Tensor, same: &Tensor, own: &Tensor) -> Tensor {
        let kind = logits.kind();
        match self.positives {
            Positives::Mask => {
                let others = same.scatter_value(1, &own.unsqueeze(1), 0);
                let logits = logits.masked_fill(&others, f64::NEG_INFINITY);
                logits.cross_entropy_loss::<Tensor>(own, None, tch::Reduction::Mean, -100, 0.0)
            }
            Positives::Mean => {
                let share = same.to_kind(kind) / same.to_kind(kind).sum_dim_intlist([1_i64].as_slice(), true, kind);
                -(logits.log_softmax(1, kind) * share).sum_dim_intlist([1_i64].as_slice(), false, kind).mean(kind)
            }
            Positives::Sum => {
                let positive = logits.masked_fill(&same.logical_not(), f64::NEG_INFINITY);
                (logits.logsumexp([1_i64].as_slice(), false) - positive.logsumexp([1_i64].as_slice(), false)).mean(kind)
            }
        }
    }
}
