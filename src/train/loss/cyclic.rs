//! Similarities that are the same from both sides and in both modes.

use serde::Deserialize;
use tch::Tensor;

use super::{Term, Views};
use crate::train::piece::Piece;
use crate::{Error, Result};

pub(super) const PIECE: Piece<dyn Term> = Piece {
    name: "cyclic",
    summary: "Makes picture-picture and text-text similarities equal, and picture-text similarities symmetric",
    source: "CyCLIP (arXiv 2205.14459), equations 2 and 3, on cosines",
    build: |settings| {
        let cyclic: Cyclic = settings.read()?;
        settings.within("in_modal", cyclic.in_modal, 0.0, 1e6)?;
        settings.within("cross_modal", cyclic.cross_modal, 0.0, 1e6)?;
        Ok(Box::new(cyclic))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cyclic {
    #[serde(default = "quarter")]
    in_modal: f64,
    #[serde(default = "quarter")]
    cross_modal: f64,
}

fn quarter() -> f64 {
    0.25
}

impl Term for Cyclic {
    fn loss(&self, views: &Views, _scalars: &[Tensor]) -> Result<Tensor> {
        let missing = || Error::invalid("recipe.objective", "cyclic needs pictures and texts; see recipe.views");
        let (images, texts) = views.images.first().zip(views.texts.first()).ok_or_else(missing)?;
        let (kind, batch) = (images.kind(), images.size()[0] as f64);
        let cross = images.matmul(&texts.transpose(0, 1));
        let within = images.matmul(&images.transpose(0, 1)) - texts.matmul(&texts.transpose(0, 1));
        let across = &cross - cross.transpose(0, 1);
        let mean = |difference: &Tensor| difference.square().mean(kind) * batch;
        Ok(mean(&within) * self.in_modal + mean(&across) * self.cross_modal)
    }
}
