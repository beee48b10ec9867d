//! The order of the words around a picture: which texts of the bank are near its own text, and how near.

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::{Scalar, Term, Views};
use crate::train::piece::Piece;
use crate::{Error, Result};

pub(super) const PIECE: Piece<dyn Term> = Piece {
    name: "structure",
    summary: "From pictures to the bank of texts, with the own text's similarities to the bank as the target",
    source: "own; soft targets as in distillation (arXiv 1503.02531), the teacher being the frozen text tower",
    build: |settings| {
        let structure: Structure = settings.read()?;
        settings.within("target_scale", structure.target_scale, 1e-3, 1e4)?;
        settings.within("max_scale", structure.max_scale, 1e-3, 1e4)?;
        settings.within("scale", structure.scale, 1e-3, structure.max_scale)?;
        Ok(Box::new(structure))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Structure {
    /// 1 / temperature of the target distribution; the higher, the more it is the own text alone.
    #[serde(default = "default_target_scale")]
    target_scale: f64,
    /// 1 / temperature of the pictures' distribution at the start.
    #[serde(default = "default_target_scale")]
    scale: f64,
    #[serde(default = "default_max_scale")]
    max_scale: f64,
}

fn default_target_scale() -> f64 {
    20.0
}

fn default_max_scale() -> f64 {
    100.0
}

impl Term for Structure {
    fn scalars(&self, _first: &Views) -> Result<Vec<Scalar>> {
        let (low, high) = (0.0_f64.min(self.scale.ln()), self.max_scale.ln());
        Ok(vec![Scalar { name: "log_scale", start: self.scale.ln(), low, high }])
    }

    /// The cross-entropy, mean over rows and views, less the entropy of the targets: 0 where both distributions are equal.
    fn loss(&self, views: &Views, scalars: &[Tensor]) -> Result<Tensor> {
        let [log_scale] = scalars else {
            return Err(Error::Internal("structure expects its log_scale".to_owned()));
        };
        let missing = |what: &str| {
            Error::invalid("recipe.objective", format!("structure needs {what}; see recipe.views and recipe.captions"))
        };
        let bank = views.bank.as_ref().ok_or_else(|| missing("a frozen text tower, whose texts make the bank"))?;
        if views.images.is_empty() {
            return Err(missing("pictures"));
        }
        let columns = bank.texts.transpose(0, 1);
        let kind = bank.texts.kind();
        let targets = tch::no_grad(|| {
            let same = views.concepts.unsqueeze(1).eq_tensor(&bank.concepts.unsqueeze(0));
            let own = bank.texts.index_select(0, &same.to_kind(Kind::Int64).argmax(1, false));
            (own.matmul(&columns) * self.target_scale).log_softmax(1, kind)
        });
        let scale = log_scale.exp();
        let divergence = |images: &Tensor| {
            let found = (images.matmul(&columns) * &scale).log_softmax(1, kind);
            found.kl_div(&targets, tch::Reduction::Sum, true) / images.size()[0] as f64
        };
        let losses: Vec<Tensor> = views.images.iter().map(divergence).collect();
        Ok(Tensor::stack(&losses, 0).mean(kind))
    }
}
