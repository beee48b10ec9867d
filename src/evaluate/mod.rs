//! Measuring what is served: a field of a collection, with its index and encoders, as searches see it.
//!
//! Adding an evaluator: one file with a type that is one, its `mod` line, its line in [`ALL`].

pub mod drift;
mod queries;
mod rankings;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::collection::CollectionBackend;
use crate::encode::EncoderRegistry;
use crate::{Error, Result};

pub use queries::{Query, QueryContent, sample};
pub use rankings::{Drift, compare};

/// Every evaluator, alphabetic.
pub const ALL: &[&dyn FieldEvaluator] = &[&drift::DriftEvaluator];

/// A field that is measured.
pub struct Field<'a> {
    pub backend: Arc<dyn CollectionBackend>,
    pub encoders: &'a EncoderRegistry,
    pub name: String,
    /// True once the measuring should end early.
    pub should_stop: &'a (dyn Fn() -> bool + Sync),
}

/// Measures a field.
#[async_trait]
pub trait FieldEvaluator: Send + Sync {
    fn name(&self) -> &'static str;

    /// One sentence.
    fn summary(&self) -> &'static str;

    /// Accepts the parameters before a job is queued.
    ///
    /// # Errors
    /// `InvalidArgument` naming the parameter.
    fn check(&self, parameters: &Map<String, Value>) -> Result<()>;

    /// Measures; `None` if it ended early.
    ///
    /// # Errors
    /// `InvalidArgument` for parameters that do not fit the field, those of store and encoders.
    async fn measure(&self, field: &Field<'_>, parameters: &Map<String, Value>) -> Result<Option<Measured>>;
}

/// What an evaluator found.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// One sentence for people.
    pub summary: String,
    pub result: Value,
}

/// The evaluator of this name.
///
/// # Errors
/// `InvalidArgument` naming those that there are.
pub fn find(name: &str) -> Result<&'static dyn FieldEvaluator> {
    let found = ALL.iter().find(|evaluator| evaluator.name() == name);
    found.copied().ok_or_else(|| {
        let known: Vec<_> = ALL.iter().map(|evaluator| evaluator.name()).collect();
        Error::invalid("evaluator", format!("expected one of {}, got {name:?}", known.join(", ")))
    })
}
