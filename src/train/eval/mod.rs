//! What a model can do, measured on items that it did not learn from.
//!
//! Adding an evaluator: one file that exports `PIECE`, its `mod` line, its line in [`ALL`].

pub mod comparison;
mod composed;
mod metrics;
mod retrieval;

use std::cell::RefCell;
use std::collections::HashMap;

use tch::Tensor;

use super::data::{Corpus, Pictures};
use super::piece::Piece;
use super::student::{Student, normalise};
use crate::Result;
use crate::encode::Role;
use crate::model::{Description, NamedTensors, Network};

/// Every evaluator, alphabetic.
pub const ALL: &[&Piece<dyn Evaluator>] = &[&composed::PIECE, &retrieval::PIECE];

/// Pictures that go through a network at once.
const PICTURES_AT_ONCE: usize = 128;

/// Measures a model.
pub trait Evaluator: Send {
    /// What its figures are called in front of the dot.
    fn name(&self) -> &str;

    /// True if it is for the end of a run only, such as a test split that nothing may be chosen by.
    fn is_for_the_end(&self) -> bool;

    /// # Errors
    /// `InvalidArgument` for its settings on this corpus; those of encoding.
    fn measure(&self, subject: &Subject<'_>) -> Result<Measured>;
}

/// What an evaluator found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// Values by name; higher is better but for ranks and counts.
    pub figures: Vec<(String, f64)>,
    /// The rank of the first right answer to each query, from 1, by the query's name: for comparisons in pairs.
    pub ranks: Vec<(String, usize)>,
    /// Queries that the run learns from, in part or in whole.
    pub trained_queries: usize,
    /// Files for the run's folder, by name: answers in the form that a benchmark's server takes.
    pub files: Vec<(String, String)>,
}

/// The model that is measured, and what its corpus shows.
pub struct Subject<'a> {
    pub corpus: &'a Corpus,
    pictures: Option<&'a Pictures<'a>>,
    student: &'a Student,
    network: &'a Network,
    tensors: &'a NamedTensors,
    images: RefCell<HashMap<usize, Tensor>>,
}

impl<'a> Subject<'a> {
    #[must_use]
    pub fn new(
        corpus: &'a Corpus,
        pictures: Option<&'a Pictures<'a>>,
        student: &'a Student,
        network: &'a Network,
        tensors: &'a NamedTensors,
    ) -> Self {
        Self { corpus, pictures, student, network, tensors, images: RefCell::default() }
    }

    /// What the model's folder says.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.student.description
    }

    /// Vectors of examples' pictures, normalised float32 `[examples, dimension]`; each is computed once.
    ///
    /// # Errors
    /// Those of decoding and encoding.
    pub fn images(&self, examples: &[usize]) -> Result<Tensor> {
        self.raw_images(examples).map(|vectors| normalise(&vectors))
    }

    /// Vectors of examples' pictures as the model gives them, not normalised.
    ///
    /// # Errors
    /// Those of decoding and encoding.
    pub fn raw_images(&self, examples: &[usize]) -> Result<Tensor> {
        let _no_gradients = tch::no_grad_guard();
        let missing: Vec<usize> = {
            let known = self.images.borrow();
            let mut missing: Vec<usize> =
                examples.iter().copied().filter(|number| !known.contains_key(number)).collect();
            missing.sort_unstable();
            missing.dedup();
            missing
        };
        let Some(pictures) = self.pictures else { return self.student.image_size().map(|_| Tensor::new()) };
        for chunk in missing.chunks(PICTURES_AT_ONCE) {
            let vectors = self.student.embed_images(
                self.network,
                &pictures.prepared(chunk)?,
                &mut crate::model::observer::Unobserved,
            )?;
            let mut known = self.images.borrow_mut();
            for (row, &number) in chunk.iter().enumerate() {
                known.insert(number, vectors.get(row as i64));
            }
        }
        let known = self.images.borrow();
        let rows: Vec<&Tensor> = examples.iter().map(|number| &known[number]).collect();
        Ok(Tensor::stack(&rows, 0))
    }

    /// Vectors of texts, in the same form.
    ///
    /// # Errors
    /// Those of encoding.
    pub fn texts(&self, texts: &[String], role: Role) -> Result<Tensor> {
        self.raw_texts(texts, role).map(|vectors| normalise(&vectors))
    }

    /// Vectors of texts as the model gives them, not normalised.
    ///
    /// # Errors
    /// Those of encoding.
    pub fn raw_texts(&self, texts: &[String], role: Role) -> Result<Tensor> {
        self.student.embed_all_texts(self.network, texts, role)
    }

    /// Composes queries of pictures and texts, both `[queries, dimension]` as the model gives them: normalised.
    ///
    /// # Errors
    /// `Internal` if a tensor is missing.
    pub fn compose(&self, images: &Tensor, texts: &Tensor) -> Result<Tensor> {
        self.student.compose(self.tensors, images, texts, None)
    }

    /// The same through a combiner whose weights are new; `None` without a combiner.
    ///
    /// # Errors
    /// `Internal` if a tensor is missing.
    pub fn compose_untrained(&self, images: &Tensor, texts: &Tensor) -> Result<Option<Tensor>> {
        self.student.compose_untrained(images, texts)
    }
}
