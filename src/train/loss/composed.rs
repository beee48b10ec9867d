//! Cross-entropy of composed queries over pictures: CLIP4Cir's batch-based classification, the same in both of its stages.

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::{Term, Views};
use crate::train::piece::Piece;
use crate::{Error, Result};

pub(super) const PIECE: Piece<dyn Term> = Piece {
    name: "composed",
    summary: "Cross-entropy from composed queries to their targets, over the batch's targets or all trained pictures",
    source: "CLIP4Cir (arXiv 2308.11485, eq. 1); over all pictures: own",
    build: |settings| {
        let composed: Composed = settings.read()?;
        settings.within("scale", composed.scale, 1e-3, 1e4)?;
        Ok(Box::new(composed))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Composed {
    /// 1 / temperature; fixed.
    #[serde(default = "default_scale")]
    scale: f64,
    #[serde(default)]
    over: Over,
    /// Takes another row's target out of a row's wrong answers if both mean the same picture.
    #[serde(default)]
    mask_same_target: bool,
}

/// What a query is told apart from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Over {
    /// The targets of the batch.
    #[default]
    Batch,
    /// Every trained picture of the target's domain but the reference; for frozen image towers.
    Gallery,
}

fn default_scale() -> f64 {
    100.0
}

/// In the precision of the logits, which torch's shorthand does not keep.
fn cross_entropy(logits: &Tensor, right: &Tensor) -> Tensor {
    logits.log_softmax(-1, logits.kind()).nll_loss(right)
}

impl Term for Composed {
    fn loss(&self, views: &Views, _scalars: &[Tensor]) -> Result<Tensor> {
        let missing = |message: &str| Error::invalid("recipe.objective.composed", message);
        let composed =
            views.composed.as_ref().ok_or_else(|| missing("composed queries come from sampler.kind = \"triplets\""))?;
        if self.over == Over::Gallery {
            let gallery = composed.gallery.as_ref().ok_or_else(|| {
                missing(
                    "over = \"gallery\" takes the vectors of all pictures: freeze the image tower and take out augment",
                )
            })?;
            let logits = composed.queries.matmul(&gallery.vectors.transpose(0, 1)) * self.scale;
            let logits = logits.masked_fill(&gallery.excluded, f64::NEG_INFINITY);
            return Ok(cross_entropy(&logits, &gallery.places));
        }
        let targets = views.images.get(1).ok_or_else(|| missing("views.pictures has to be 2: reference and target"))?;
        let mut logits = composed.queries.matmul(&targets.transpose(0, 1)) * self.scale;
        let n_rows = logits.size()[0];
        if self.mask_same_target {
            let same = composed.targets.unsqueeze(0).eq_tensor(&composed.targets.unsqueeze(1));
            let others = Tensor::eye(n_rows, (Kind::Bool, logits.device())).logical_not();
            logits = logits.masked_fill(&same.logical_and(&others), f64::NEG_INFINITY);
        }
        let rows = Tensor::arange(n_rows, (Kind::Int64, logits.device()));
        Ok(cross_entropy(&logits, &rows))
    }
}
