//! How near a student comes to the model whose space it declares, on items that it did not learn from.

use tch::{Kind, Tensor};

use super::augment::Augmenter;
use super::data::{Corpus, Pictures, Split};
use super::eval::Subject;
use super::recipe::CaptionRole;
use super::student::Student;
use crate::model::card::{Agreement, QueryAgreement};
use crate::model::{Description, ModelFolder, NamedTensors};
use crate::{Error, Result};

/// Queries of each kind, and vectors that they are compared on, at most.
const QUERIES: usize = 1000;
const GALLERY: usize = 2000;
/// Hits that are compared.
const DEPTH: i64 = 10;

/// The model that a run teaches a student to agree with.
pub(super) struct Teacher {
    student: Student,
}

impl Teacher {
    /// Reads the teacher's folder.
    ///
    /// # Errors
    /// `FailedPrecondition` for the folder, with `SPACES_DIFFER` if the student has another dimension, or with `NOTHING_HELD_OUT` if
    /// there is nothing to measure the agreement on.
    pub(super) fn open(folder: &ModelFolder, student: &Student, corpus: &Corpus) -> Result<Self> {
        if held_out(corpus).is_empty() {
            return Err(nothing_held_out(&folder.full_name()));
        }
        let teacher = Student::frozen(folder, student.kind, student.device)?;
        let (found, expected) = (student.description.sides.dimension, teacher.description.sides.dimension);
        if found == expected {
            return Ok(Self { student: teacher });
        }
        let message = format!("{} has {expected} dimensions, the trained model {found}", folder.full_name());
        Err(Error::FailedPrecondition { reason: "SPACES_DIFFER", message })
    }

    /// The space that the teacher writes to.
    pub(super) fn space(&self) -> String {
        self.student.description.space.clone()
    }

    /// Compares the rankings that both give to the corpus: queries are the pictures and texts of the test split, or of the
    /// validation split if there is none.
    ///
    /// # Errors
    /// `FailedPrecondition` with `NOTHING_HELD_OUT`; those of decoding and encoding.
    pub(super) fn agreement(&self, subject: &Subject<'_>, role: CaptionRole, bytes: usize) -> Result<Agreement> {
        let (corpus, own, theirs) = (subject.corpus, subject.description(), &self.student.description);
        let all: Vec<usize> = (0..corpus.examples.len()).collect();
        let has_both = |has: &dyn Fn(&Description) -> bool| has(own) && has(theirs);
        let pictures = has_both(&|model| model.sides.image.is_some()).then(|| with_pictures(corpus, &held_out(corpus)));
        let texts = has_both(&|model| model.sides.text.is_some()).then(|| first_texts(corpus, &held_out(corpus)));
        let (pictures, texts) = (pictures.unwrap_or_default(), texts.unwrap_or_default());
        if pictures.is_empty() && texts.is_empty() {
            return Err(nothing_held_out(&theirs.folder.full_name()));
        }
        let network = self.student.network(&NamedTensors::default(), false)?;
        let size = if theirs.sides.image.is_some() { self.student.image_size()? } else { (1, 1) };
        let augmenter = Augmenter::new(Vec::new(), size)?;
        let preparer = self.student.image_preparer()?;
        let shown = Pictures::new(corpus, self.student.preprocessor(), preparer, augmenter, size, bytes);
        let tensors = NamedTensors::default();
        let teacher = Subject::new(corpus, Some(&shown), &self.student, &network, &tensors);
        let role = role.into();
        let seen = if theirs.sides.image.is_some() { with_pictures(corpus, &all) } else { vec![] };
        let gallery = match seen.is_empty() {
            true => teacher.texts(&first_texts(corpus, &all).into_iter().take(GALLERY).collect::<Vec<_>>(), role)?,
            false => teacher.images(&seen[..seen.len().min(GALLERY)])?,
        };
        let of_pictures = match pictures.is_empty() {
            true => None,
            false => Some(compare(&subject.images(&pictures)?, &teacher.images(&pictures)?, &gallery)),
        };
        let of_texts = match texts.is_empty() {
            true => None,
            false => Some(compare(&subject.texts(&texts, role)?, &teacher.texts(&texts, role)?, &gallery)),
        };
        Ok(Agreement {
            with: theirs.folder.full_name(),
            pictures: of_pictures,
            texts: of_texts,
            gallery: gallery.size()[0] as usize,
        })
    }
}

fn nothing_held_out(teacher: &str) -> Error {
    Error::FailedPrecondition {
        reason: "NOTHING_HELD_OUT",
        message: format!(
            "model.space_of promises to agree with {teacher}; hold items out (split.test) to measure it on"
        ),
    }
}

/// Compares two sets of query vectors, `[queries, dimension]` each, on a gallery.
fn compare(own: &Tensor, theirs: &Tensor, gallery: &Tensor) -> QueryAgreement {
    let cosine = (own * theirs).sum_dim_intlist(-1, false, Kind::Float).mean(Kind::Float).double_value(&[]);
    let depth = DEPTH.min(gallery.size()[0]);
    let first = |queries: &Tensor| queries.matmul(&gallery.transpose(0, 1)).topk(depth, -1, true, true).1;
    let same = first(own).unsqueeze(-1).eq_tensor(&first(theirs).unsqueeze(-2)).sum(Kind::Float).double_value(&[]);
    let queries = own.size()[0] as usize;
    QueryAgreement { queries, overlap_at_10: same / (queries as f64 * depth as f64), cosine }
}

fn held_out(corpus: &Corpus) -> Vec<usize> {
    let of_split = |split| (0..corpus.examples.len()).filter(move |&number| corpus.examples[number].split == split);
    let test: Vec<usize> = of_split(Split::Test).collect();
    let chosen = if test.is_empty() { of_split(Split::Validation).collect() } else { test };
    chosen.into_iter().take(QUERIES).collect()
}

fn with_pictures(corpus: &Corpus, numbers: &[usize]) -> Vec<usize> {
    numbers.iter().copied().filter(|&number| corpus.examples[number].has_picture()).collect()
}

/// Each example's first text.
fn first_texts(corpus: &Corpus, numbers: &[usize]) -> Vec<String> {
    numbers.iter().filter_map(|&number| corpus.examples[number].captions.iter().flatten().next().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlap_counts_the_hits_that_both_have() {
        // Twenty unit vectors in a circle; a query turned by three steps loses three hits on one side.
        let at = |angles: &[f64]| {
            let values: Vec<f32> = angles.iter().flat_map(|angle| [angle.cos() as f32, angle.sin() as f32]).collect();
            Tensor::from_slice(&values).view([angles.len() as i64, 2])
        };
        let step = std::f64::consts::TAU / 20.0;
        let gallery = at(&(0..20).map(|number| f64::from(number) * step).collect::<Vec<_>>());
        let query = |turned: f64| at(&[(0.5 + turned) * step, (7.5 + turned) * step]);
        let same = compare(&query(0.0), &query(0.0), &gallery);
        assert_eq!((same.queries, same.overlap_at_10), (2, 1.0));
        assert!((same.cosine - 1.0).abs() < 1e-6);
        let turned = compare(&query(3.0), &query(0.0), &gallery);
        assert!((turned.overlap_at_10 - 0.7).abs() < 1e-9, "{turned:?}");
        assert!((turned.cosine - (3.0 * step).cos()).abs() < 1e-6, "{turned:?}");
    }
}
