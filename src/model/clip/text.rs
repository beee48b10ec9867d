//! CLIP's text transformer.

use tch::{Kind, Tensor};

use super::dialect::Dialect;
use crate::Result;
use crate::model::layers::{Attending, LayerNorm, Linear, Shape};
use crate::model::network::{Config, TextBatch, TextTower};
use crate::model::observer::Observer;
use crate::model::transformer::Transformer;
use crate::model::weights::Weights;

/// Tokens, positions → causal transformer → norm → the end-of-text token → projection.
pub(in crate::model) struct ClipText {
    token_embedding: Tensor,
    position_embedding: Tensor,
    transformer: Transformer,
    final_norm: LayerNorm,
    projection: Linear,
    end: EndOfText,
}

/// Which token stands for the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndOfText {
    /// The one with the largest id: OpenAI's rule, and transformers' for configurations that say 2.
    LargestId,
    /// The first with this id.
    First(i64),
}

impl ClipText {
    pub(in crate::model) fn load(
        config: &Config<'_>,
        weights: &Weights<'_>,
        dialect: Dialect,
        dimension: i64,
    ) -> Result<Self> {
        let shape = Shape::read(config, 1e-5, "quick_gelu")?;
        let scope = dialect.text(weights);
        let end = match config.get_or("eos_token_id", 49_407)? {
            2 => EndOfText::LargestId,
            id => EndOfText::First(id),
        };
        let tokens = ["embeddings.token_embedding.weight", "token_embedding.weight"];
        let positions = ["embeddings.position_embedding.weight", "positional_embedding"];
        let n_positions = config.size_or("max_position_embeddings", 77)?;
        Ok(Self {
            token_embedding: dialect.tensor(&scope, tokens, &[config.size("vocab_size")?, shape.width])?,
            position_embedding: dialect.tensor(&scope, positions, &[n_positions, shape.width])?,
            transformer: Transformer::load(
                &scope.child(dialect.name("encoder.layers", "transformer.resblocks")),
                dialect.layer_names(),
                &shape,
            )?,
            final_norm: dialect.norm(&scope, ["final_layer_norm", "ln_final"], &shape)?,
            projection: dialect.text_projection(weights, shape.width, dimension)?,
            end,
        })
    }
}

impl TextTower for ClipText {
    fn embed(&self, texts: &TextBatch, observer: &mut dyn Observer) -> Tensor {
        let (batch, n_tokens) = (texts.ids.size()[0], texts.ids.size()[1]);
        let words = Tensor::embedding(&self.token_embedding, &texts.ids, -1, false, false);
        let states = words + self.position_embedding.narrow(0, 0, n_tokens);
        let states = self.transformer.forward(states, Attending::Causal, observer);
        let ends = match self.end {
            EndOfText::LargestId => texts.ids.argmax(-1, false),
            EndOfText::First(id) => texts.ids.eq(id).to_kind(Kind::Int).argmax(-1, false),
        };
        let width = states.size()[2];
        let ends = ends.view([batch, 1, 1]).expand([batch, 1, width], false);
        // Only the tokens that are kept go through the norm.
        let pooled = self.final_norm.forward(&states.gather(1, &ends, false).squeeze_dim(1));
        self.projection.forward(&pooled).to_kind(Kind::Float)
    }
}
