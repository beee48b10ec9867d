//! The student's pictures among the teacher's texts, and the other way round.

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::relations::both_sides;
use super::{Scalar, Term, Views};
use crate::train::piece::Piece;
use crate::{Error, Result};

pub(super) const PIECE: Piece<dyn Term> = Piece {
    name: "interactive",
    summary: "Cross-entropy of the student's vectors against the teacher's of the other mode",
    source: "CLIP-KD (arXiv 2307.12732), interactive contrastive learning, with exp(log_scale)",
    build: |settings| {
        let interactive: Interactive = settings.read()?;
        settings.within("scale", interactive.scale, 1e-3, 100.0)?;
        Ok(Box::new(interactive))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Interactive {
    #[serde(default = "default_scale")]
    scale: f64,
}

fn default_scale() -> f64 {
    1.0 / 0.07
}

impl Term for Interactive {
    fn scalars(&self, _first: &Views) -> Result<Vec<Scalar>> {
        let start = self.scale.ln();
        Ok(vec![Scalar { name: "log_scale", start, low: 0.0_f64.min(start), high: 100.0_f64.ln() }])
    }

    fn loss(&self, views: &Views, scalars: &[Tensor]) -> Result<Tensor> {
        let [log_scale] = scalars else {
            return Err(Error::Internal("interactive expects its log_scale".to_owned()));
        };
        let [images, texts, teacher_images, teacher_texts] = both_sides(views)?;
        let own = Tensor::arange(images.size()[0], (Kind::Int64, images.device()));
        let same = views.concepts.unsqueeze(1).eq_tensor(&views.concepts.unsqueeze(0));
        let others = same.scatter_value(1, &own.unsqueeze(1), 0);
        let way = |student: &Tensor, teacher: &Tensor| {
            let logits = student.matmul(&teacher.transpose(0, 1)) * log_scale.exp();
            let logits = logits.masked_fill(&others, f64::NEG_INFINITY);
            logits.cross_entropy_loss::<Tensor>(&own, None, tch::Reduction::Mean, -100, 0.0)
        };
        Ok((way(images, teacher_texts) + way(texts, teacher_images)) / 2.0)
    }
}
