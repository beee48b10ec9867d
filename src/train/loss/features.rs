//! The teacher's own vectors: a student that reaches them writes to the teacher's space.

use serde::Deserialize;
use tch::Tensor;

use super::{Term, Views};
use crate::train::piece::Piece;
use crate::{Error, Result};

pub(super) const PIECE: Piece<dyn Term> = Piece {
    name: "features",
    summary: "The mean square difference from the teacher's vectors; a usual weight is 2000",
    source: "CLIP-KD (arXiv 2307.12732), feature distillation",
    build: |settings| settings.read::<Features>().map(|features| Box::new(features) as Box<dyn Term>),
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Features {}

impl Term for Features {
    fn loss(&self, views: &Views, _scalars: &[Tensor]) -> Result<Tensor> {
        let missing = || Error::invalid("recipe.objective", "features needs recipe.targets for what the views show");
        let targets = views.targets.as_ref().ok_or_else(missing)?;
        let mut sum: Option<Tensor> = None;
        for (students, teacher) in [(&views.images, &targets.images), (&views.texts, &targets.texts)] {
            let (Some(student), Some(teacher)) = (students.first(), teacher) else { continue };
            let (found, expected) = (student.size()[1], teacher.size()[1]);
            if found != expected {
                let message =
                    format!("the student has {found} dimensions, its targets {expected}; features needs equal ones");
                return Err(Error::invalid("recipe.objective", message));
            }
            let part = student.mse_loss(teacher, tch::Reduction::Mean);
            sum = Some(match sum {
                Some(sum) => sum + part,
                None => part,
            });
        }
        sum.ok_or_else(missing)
    }
}
