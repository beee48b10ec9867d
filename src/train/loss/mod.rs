//! What a run minimises: a weighted list of terms over the vectors of one step.
//!
//! Adding a term: one file that exports `PIECE`, its `mod` line, its line in [`ALL`].

mod attributes;
mod colours;
mod composed;
mod cyclic;
mod features;
mod free;
mod interactive;
mod relations;
mod sigmoid;
mod softmax;
mod structure;

use tch::Tensor;

use super::piece::Piece;
use crate::Result;

/// Every term, alphabetic.
pub const ALL: &[&Piece<dyn Term>] = &[
    &attributes::PIECE,
    &colours::PIECE,
    &composed::PIECE,
    &cyclic::PIECE,
    &features::PIECE,
    &interactive::PIECE,
    &relations::PIECE,
    &sigmoid::PIECE,
    &softmax::PIECE,
    &structure::PIECE,
];

/// The vectors of one step. Every row is L2-normalised float32 (float64 in tests of exactness).
pub struct Views {
    /// One `[batch, dimension]` for each view of the pictures; row i shows concept i of the batch in every view.
    pub images: Vec<Tensor>,
    /// One `[batch, dimension]` for each view of the texts.
    pub texts: Vec<Tensor>,
    /// int64 `[batch]`: rows with equal numbers mean the same thing, so neither is a negative of the other.
    pub concepts: Tensor,
    /// Texts of all concepts of the run, not only of the batch.
    pub bank: Option<Bank>,
    /// What a teacher says about the same rows; without gradient.
    pub targets: Option<Targets>,
    /// The rows as composed queries, if the recipe has some: the first pictures are references, the second targets.
    pub composed: Option<ComposedQueries>,
    /// What the pictures show beside their concepts, in the order of the recipe.
    pub attributes: Vec<Attribute>,
    /// The pictures themselves as they are shown, float32 `[batch, 3, height, width]` from 0 to 1 for each view; empty if they were
    /// encoded before the run.
    pub pictures: Vec<Tensor>,
}

/// One attribute of a step's pictures.
pub struct Attribute {
    /// How many values it has.
    pub values: i64,
    /// int64 `[batch]` for each view of the pictures: the value's number, -1 where an item does not say.
    pub images: Vec<Tensor>,
}

impl Attribute {
    /// The same tensors behind new handles.
    #[must_use]
    pub fn shallow_clone(&self) -> Self {
        Self { values: self.values, images: self.images.iter().map(Tensor::shallow_clone).collect() }
    }
}

/// The rows of a step as composed queries.
pub struct ComposedQueries {
    /// `[batch, dimension]`, normalised.
    pub queries: Tensor,
    /// int64 `[batch]`: numbers of the targets, equal where two rows mean the same picture.
    pub targets: Tensor,
    /// Every picture that the run learns from, if the image tower does not change.
    pub gallery: Option<Gallery>,
}

/// Pictures that a composed query is looked for among.
pub struct Gallery {
    /// `[pictures, dimension]`, normalised.
    pub vectors: Tensor,
    /// int64 `[batch]`: each row's target among the pictures.
    pub places: Tensor,
    /// bool `[batch, pictures]`: true for what is neither right nor wrong: a row's reference, what is alike to it or to the target, and
    /// drawings of other domains.
    pub excluded: Tensor,
}

/// One text for each concept of the run.
pub struct Bank {
    /// `[concepts, dimension]`, normalised.
    pub texts: Tensor,
    /// int64 `[concepts]`, in the numbers of [`Views::concepts`].
    pub concepts: Tensor,
}

/// A teacher's vectors for the rows of a batch, `[batch, teacher dimension]`, normalised.
pub struct Targets {
    pub images: Option<Tensor>,
    pub texts: Option<Tensor>,
}

/// A learned number of a term, such as the logarithm of a scale. It never decays.
#[derive(Clone, Debug, PartialEq)]
pub struct Scalar {
    pub name: &'static str,
    pub start: f64,
    /// It is put back between these after each step.
    pub low: f64,
    pub high: f64,
}

/// One term of an objective. Errors are for views that it cannot work with: they say which piece of the recipe is missing.
pub trait Term: Send {
    /// Its learned numbers, in the order in which [`Term::loss`] takes them. `first` holds the first step's vectors, for
    /// starts that depend on the batch.
    ///
    /// # Errors
    /// `InvalidArgument` if the views lack what the term needs.
    fn scalars(&self, _first: &Views) -> Result<Vec<Scalar>> {
        Ok(Vec::new())
    }

    /// The term's value, a scalar with gradient; lower is better.
    ///
    /// # Errors
    /// `InvalidArgument` if the views lack what the term needs.
    fn loss(&self, views: &Views, scalars: &[Tensor]) -> Result<Tensor>;
}
