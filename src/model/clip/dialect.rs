//! The two families of tensor names that CLIP's checkpoints have.

use tch::Tensor;

use crate::Result;
use crate::model::layers::{HUGGING_FACE, LayerNames, LayerNorm, Linear, OPEN_AI, Scope, Shape};
use crate::model::weights::Weights;

/// What a checkpoint was wrapped in when it was saved.
const WRAPPERS: &[&str] = &["", "module.", "clip.", "model."];

/// Who named the tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::model) enum Dialect {
    /// `vision_model.…`, `text_model.…`; projections as linear maps.
    HuggingFace { wrapper: &'static str },
    /// `visual.…`, text at the root or below `text.`; projections multiply from the right.
    OpenAi { wrapper: &'static str, text: &'static str },
}

impl Dialect {
    /// Finds the dialect of a whole CLIP by its token embeddings.
    ///
    /// # Errors
    /// `FailedPrecondition` if it is neither.
    pub(in crate::model) fn of(weights: &Weights<'_>) -> Result<Self> {
        for &wrapper in WRAPPERS {
            if weights.has(&format!("{wrapper}text_model.embeddings.token_embedding.weight")) {
                return Ok(Self::HuggingFace { wrapper });
            }
            for text in ["", "text."] {
                if weights.has(&format!("{wrapper}{text}token_embedding.weight")) {
                    return Ok(Self::OpenAi { wrapper, text });
                }
            }
        }
        // Names the tensor that is missing.
        weights
            .prefix_of("text_model.embeddings.token_embedding.weight", WRAPPERS)
            .map(|wrapper| Self::HuggingFace { wrapper })
    }

    pub(super) fn layer_names(self) -> &'static LayerNames {
        match self {
            Self::HuggingFace { .. } => &HUGGING_FACE,
            Self::OpenAi { .. } => &OPEN_AI,
        }
    }

    /// Chooses between the two dialects' names.
    pub(super) fn name(self, hugging_face: &'static str, open_ai: &'static str) -> &'static str {
        match self {
            Self::HuggingFace { .. } => hugging_face,
            Self::OpenAi { .. } => open_ai,
        }
    }

    /// The place of the image tower's tensors.
    pub(super) fn vision<'a>(self, weights: &'a Weights<'_>) -> Scope<'a> {
        let (Self::HuggingFace { wrapper } | Self::OpenAi { wrapper, .. }) = self;
        Scope::at(weights, &format!("{wrapper}{}", self.name("vision_model", "visual")))
    }

    /// The place of the text tower's tensors.
    pub(super) fn text<'a>(self, weights: &'a Weights<'_>) -> Scope<'a> {
        match self {
            Self::HuggingFace { wrapper } => Scope::at(weights, &format!("{wrapper}text_model")),
            Self::OpenAi { wrapper, text } => Scope::at(weights, format!("{wrapper}{text}").trim_end_matches('.')),
        }
    }

    /// The image tower's projection `[width] → [dimension]`.
    pub(super) fn visual_projection(self, weights: &Weights<'_>, width: i64, dimension: i64) -> Result<Linear> {
        match self {
            Self::HuggingFace { wrapper } => weights
                .tensor(&format!("{wrapper}visual_projection.weight"), &[dimension, width])
                .map(Linear::without_bias),
            Self::OpenAi { .. } => {
                let projection = self.vision(weights).tensor("proj", &[width, dimension])?;
                Ok(Linear::without_bias(projection.tr().contiguous()))
            }
        }
    }

    /// The text tower's projection.
    pub(super) fn text_projection(self, weights: &Weights<'_>, width: i64, dimension: i64) -> Result<Linear> {
        match self {
            Self::HuggingFace { wrapper } => weights
                .tensor(&format!("{wrapper}text_projection.weight"), &[dimension, width])
                .map(Linear::without_bias),
            Self::OpenAi { .. } => {
                let projection = self.text(weights).tensor("text_projection", &[width, dimension])?;
                Ok(Linear::without_bias(projection.tr().contiguous()))
            }
        }
    }

    pub(super) fn norm(self, scope: &Scope<'_>, names: [&'static str; 2], shape: &Shape) -> Result<LayerNorm> {
        LayerNorm::load(&scope.child(self.name(names[0], names[1])), shape)
    }

    pub(super) fn tensor(self, scope: &Scope<'_>, names: [&'static str; 2], shape: &[i64]) -> Result<Tensor> {
        scope.tensor(self.name(names[0], names[1]), shape)
    }
}
