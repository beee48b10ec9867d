//! How alike the teacher finds each picture and each text of the batch.

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::{Targets, Term, Views};
use crate::train::piece::Piece;
use crate::{Error, Result};

pub(super) const PIECE: Piece<dyn Term> = Piece {
    name: "relations",
    summary: "The divergence of the batch's similarities from the teacher's, in both directions",
    source: "CLIP-KD (arXiv 2307.12732), contrastive relational distillation",
    build: |settings| {
        let relations: Relations = settings.read()?;
        settings.within("scale", relations.scale, 1e-3, 1e4)?;
        settings.within("teacher_scale", relations.teacher_scale, 1e-3, 1e4)?;
        Ok(Box::new(relations))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Relations {
    /// Multiplies the student's cosines.
    #[serde(default = "default_scale")]
    scale: f64,
    /// Multiplies the teacher's cosines; a large one leaves nothing but the right answers.
    #[serde(default = "default_scale")]
    teacher_scale: f64,
}

fn default_scale() -> f64 {
    1.0 / 0.07
}

/// Pictures and texts of the student and of the teacher.
pub(super) fn both_sides(views: &Views) -> Result<[&Tensor; 4]> {
    let of_student = views.images.first().zip(views.texts.first());
    let of_teacher = match &views.targets {
        Some(Targets { images: Some(images), texts: Some(texts) }) => Some((images, texts)),
        _ => None,
    };
    match (of_student, of_teacher) {
        (Some((images, texts)), Some((teacher_images, teacher_texts))) => {
            Ok([images, texts, teacher_images, teacher_texts])
        }
        _ => {
            let message = "this term needs pictures, texts, and recipe.targets for both";
            Err(Error::invalid("recipe.objective", message))
        }
    }
}

impl Term for Relations {
    fn loss(&self, views: &Views, _scalars: &[Tensor]) -> Result<Tensor> {
        let [images, texts, teacher_images, teacher_texts] = both_sides(views)?;
        let kind = images.kind();
        let student = images.matmul(&texts.transpose(0, 1)) * self.scale;
        let teacher = teacher_images.matmul(&teacher_texts.transpose(0, 1)) * self.teacher_scale;
        Ok((divergence(&student, &teacher, kind)
            + divergence(&student.transpose(0, 1), &teacher.transpose(0, 1), kind))
            / 2.0)
    }
}

/// The mean over rows of KL(teacher ‖ student).
fn divergence(student: &Tensor, teacher: &Tensor, kind: Kind) -> Tensor {
    let (student, teacher) = (student.log_softmax(1, kind), teacher.log_softmax(1, kind));
    (teacher.exp() * (&teacher - student)).sum_dim_intlist([1_i64].as_slice(), false, kind).mean(kind)
}
