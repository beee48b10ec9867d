//! Each pair by itself: is this the picture of this text or not?

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::{Scalar, Term, Views};
use crate::train::piece::Piece;
use crate::{Error, Result};

pub(super) const PIECE: Piece<dyn Term> = Piece {
    name: "sigmoid",
    summary: "A logistic loss over all pairs of pictures and texts, in chunks",
    source: "SigLIP (arXiv 2303.15343), algorithm 1",
    build: |settings| {
        let sigmoid: Sigmoid = settings.read()?;
        settings.within("scale", sigmoid.scale, 1e-3, 1e3)?;
        settings.within("chunk", sigmoid.chunk as f64, 1.0, 1e6)?;
        if let BiasStart::Number(bias) = sigmoid.bias {
            settings.within("bias", bias, -100.0, 100.0)?;
        }
        Ok(Box::new(sigmoid))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sigmoid {
    #[serde(default = "default_scale")]
    scale: f64,
    #[serde(default)]
    bias: BiasStart,
    /// Texts that are compared at once: memory is in proportion to the batch times this.
    #[serde(default = "default_chunk")]
    chunk: usize,
}

/// Where the bias begins.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum BiasStart {
    Number(f64),
    Word(Neutral),
}

/// At the share of positives in a batch: −ln(batch − 1) − the mean logit. −10, the paper's, needs batches of 15 and more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Neutral {
    Neutral,
}

impl Default for BiasStart {
    fn default() -> Self {
        Self::Word(Neutral::Neutral)
    }
}

fn default_scale() -> f64 {
    10.0
}

fn default_chunk() -> usize {
    1024
}

fn sides(views: &Views) -> Result<(&Tensor, &Tensor)> {
    let missing = || Error::invalid("recipe.objective", "sigmoid needs pictures and texts; see recipe.views");
    views.images.first().zip(views.texts.first()).ok_or_else(missing)
}

impl Term for Sigmoid {
    fn scalars(&self, first: &Views) -> Result<Vec<Scalar>> {
        let (images, texts) = sides(first)?;
        let bias = match self.bias {
            BiasStart::Number(bias) => bias,
            BiasStart::Word(Neutral::Neutral) => {
                let batch = images.size()[0] as f64;
                let mean = images.matmul(&texts.transpose(0, 1)).mean(Kind::Double).double_value(&[]);
                -(batch - 1.0).max(1.0).ln() - self.scale * mean
            }
        };
        Ok(vec![
            Scalar { name: "log_scale", start: self.scale.ln(), low: 0.0_f64.min(self.scale.ln()), high: 1e3_f64.ln() },
            Scalar { name: "bias", start: bias, low: -100.0, high: 100.0 },
        ])
    }

    /// The gradient is computed with the value, chunk by chunk, and attached to it: what autograd would keep of each chunk
    /// would take as much memory as all chunks at once.
    fn loss(&self, views: &Views, scalars: &[Tensor]) -> Result<Tensor> {
        let [log_scale, bias] = scalars else {
            return Err(Error::Internal("sigmoid expects its log_scale and its bias".to_owned()));
        };
        let (images, texts) = sides(views)?;
        let batch = images.size()[0];
        let kind = images.kind();
        let parts = tch::no_grad(|| {
            let scale = log_scale.exp();
            let mut loss = Tensor::zeros([], (kind, images.device()));
            let (mut of_scale, mut of_bias) = (loss.copy(), loss.copy());
            let (mut of_images, mut of_texts) = (images.zeros_like(), Vec::new());
            let rows = Tensor::arange(batch, (Kind::Int64, images.device())).unsqueeze(1);
            for from in (0..batch).step_by(self.chunk) {
                let n = (self.chunk as i64).min(batch - from);
                let chunk = texts.narrow(0, from, n);
                let cosines = images.matmul(&chunk.transpose(0, 1));
                let logits = &cosines * &scale + bias;
                let own = rows.eq_tensor(&rows.narrow(0, from, n).transpose(0, 1));
                let same = views.concepts.unsqueeze(1).eq_tensor(&views.concepts.narrow(0, from, n).unsqueeze(0));
                // Another row of the same concept is neither right nor wrong.
                let counts = own.logical_or(&same.logical_not()).to_kind(kind) / batch as f64;
                let own = own.to_kind(kind);
                // softplus(−x) for a pair that belongs together is softplus(x) − x.
                let softplus = logits.clamp_min(0.0) + (-logits.abs()).exp().log1p();
                loss += ((softplus - &logits * &own) * &counts).sum(kind);
                let slope = (logits.sigmoid() - own) * counts;
                of_images += slope.matmul(&chunk) * &scale;
                of_texts.push(slope.transpose(0, 1).matmul(images) * &scale);
                of_scale += (&slope * &cosines).sum(kind) * &scale;
                of_bias += slope.sum(kind);
            }
            [loss, of_images, Tensor::cat(&of_texts, 0), of_scale, of_bias]
        });
        let [loss, of_images, of_texts, of_scale, of_bias] = parts;
        let carrier =
            (images * of_images).sum(kind) + (texts * of_texts).sum(kind) + log_scale * of_scale + bias * of_bias;
        Ok(loss + &carrier - carrier.detach())
    }
}
