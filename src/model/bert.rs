//! BERT (Devlin et al., arXiv 1810.04805) as Hugging Face publishes it: post-norm, absolute positions, erf GELU. Its sentence encoders:
//! MiniLM, BGE, E5, mxbai, arctic. Names equal checkpoint keys; a leading `bert.` is tolerated; the pooler is ignored.

use tch::{Kind, Tensor};

use super::layers::{Attending, Attention, FeedForward, LayerNorm, Linear, QueryKeyValueNames, Scope, Shape};
use super::network::{Architecture, Config, Network, TextBatch, TextTower, TokenNetwork};
use super::observer::Observer;
use super::sides::{Padding, Sides, TextSide};
use super::weights::Weights;
use crate::Result;
use crate::text::Cleaning;

pub const ARCHITECTURE: Architecture = Architecture {
    model_type: "bert",
    summary: "BERT-family sentence encoders: MiniLM, BGE, E5, mxbai, arctic",
    describe: |layout| {
        let sentence = layout.expect_sentence()?;
        let config = layout.config();
        let positions = config.size("max_position_embeddings")? as usize;
        let text = TextSide {
            tokenizer: layout.tokenizer(),
            vocabulary_size: config.size("vocab_size")? as usize,
            max_tokens: sentence.max_tokens.map_or(positions, |limit| limit.min(positions)),
            padding: Padding::Masked,
            cleaning: if sentence.lower_case { Cleaning::LowerCase } else { Cleaning::None },
            sentence: Some(sentence.clone()),
        };
        let mut deciding_files = layout.weights_files()?;
        deciding_files.push(text.tokenizer.clone());
        let dimension = config.size("hidden_size")? as usize;
        Ok(Sides { dimension, text: Some(text), image: None, deciding_files })
    },
    load: |layout, _, source| {
        let weights = layout.weights(source)?;
        let prefix = if weights.has("bert.embeddings.word_embeddings.weight") { "bert" } else { "" };
        let network = Bert::load(&layout.config(), &Scope::at(&weights, prefix))?;
        Ok(Network::of_sentences(Box::new(network), layout.expect_sentence()?.pooling))
    },
};

/// The network without anything around it.
pub(super) struct Bert {
    word_embeddings: Tensor,
    /// Position embeddings plus the embedding of token type 0, the only type that single texts have.
    position_embeddings: Tensor,
    embeddings_norm: LayerNorm,
    layers: Vec<Layer>,
}

impl Bert {
    pub(super) fn load(config: &Config<'_>, scope: &Scope<'_>) -> Result<Self> {
        config.expect("position_embedding_type", "absolute")?;
        let shape = Shape::read(config, 1e-12, "gelu")?;
        let embeddings = scope.child("embeddings");
        let size = |rows: i64| [rows, shape.width];
        let positions =
            embeddings.tensor("position_embeddings.weight", &size(config.size("max_position_embeddings")?))?;
        let types = embeddings.tensor("token_type_embeddings.weight", &size(config.get_or("type_vocab_size", 2)?))?;
        Ok(Self {
            word_embeddings: embeddings.tensor("word_embeddings.weight", &size(config.size("vocab_size")?))?,
            position_embeddings: (positions.to_kind(Kind::Float) + types.get(0).to_kind(Kind::Float))
                .to_kind(scope.weights.kind()),
            embeddings_norm: LayerNorm::load(&embeddings.child("LayerNorm"), &shape)?,
            layers: (0..shape.n_layers)
                .map(|layer| Layer::load(&scope.child(&format!("encoder.layer.{layer}")), &shape))
                .collect::<Result<_>>()?,
        })
    }
}

impl TokenNetwork for Bert {
    fn token_states(&self, ids: &Tensor, mask: Option<&Tensor>, observer: &mut dyn Observer) -> Tensor {
        let n_tokens = ids.size()[1];
        let words = Tensor::embedding(&self.word_embeddings, ids, -1, false, false);
        let embedded = words + self.position_embeddings.narrow(0, 0, n_tokens);
        let embedded = self.embeddings_norm.forward(&embedded);
        let attending = mask.map_or(Attending::All, Attending::Masked);
        self.layers.iter().enumerate().fold(embedded, |states, (number, layer)| {
            let states = layer.forward(&states, attending, number, observer);
            observer.states(number, &states);
            states
        })
    }
}

/// A post-norm layer.
struct Layer {
    attention: Attention,
    attention_norm: LayerNorm,
    feed_forward: FeedForward,
    output_norm: LayerNorm,
}

impl Layer {
    fn load(scope: &Scope<'_>, shape: &Shape) -> Result<Self> {
        let names = QueryKeyValueNames::Apart(["attention.self.query", "attention.self.key", "attention.self.value"]);
        Ok(Self {
            attention: Attention::load(scope, &names, "attention.output.dense", shape.width, shape.n_heads)?,
            attention_norm: LayerNorm::load(&scope.child("attention.output.LayerNorm"), shape)?,
            feed_forward: FeedForward::load(scope, "intermediate.dense", "output.dense", shape)?,
            output_norm: LayerNorm::load(&scope.child("output.LayerNorm"), shape)?,
        })
    }

    fn forward(&self, states: &Tensor, attending: Attending<'_>, number: usize, observer: &mut dyn Observer) -> Tensor {
        let attended = self.attention.forward(states, attending, number, observer);
        let states = self.attention_norm.forward(&(attended + states));
        self.output_norm.forward(&(self.feed_forward.forward(&states) + &states))
    }
}

/// A BERT that stands for a text by its first token, as the text tower of a dual encoder.
pub(super) struct FirstTokenTower {
    bert: Bert,
    /// BERT's own pooler: a linear map and tanh.
    pooler: Option<Linear>,
    projection: Linear,
}

impl FirstTokenTower {
    /// Loads the network below `path` and the tensor `text_projection.weight` beside it.
    pub(super) fn load(
        config: &Config<'_>,
        weights: &Weights<'_>,
        path: &str,
        has_pooler: bool,
        dimension: i64,
    ) -> Result<Self> {
        let width = config.size("hidden_size")?;
        let scope = Scope::at(weights, path);
        let pooler = has_pooler.then(|| Linear::load(&scope.child("pooler.dense"), width, width)).transpose()?;
        Ok(Self {
            bert: Bert::load(config, &scope)?,
            pooler,
            projection: Linear::without_bias(weights.tensor("text_projection.weight", &[dimension, width])?),
        })
    }
}

impl TextTower for FirstTokenTower {
    fn embed(&self, texts: &TextBatch, observer: &mut dyn Observer) -> Tensor {
        let first = self.bert.token_states(&texts.ids, texts.mask.as_ref(), observer).select(1, 0);
        let pooled = match &self.pooler {
            Some(pooler) => pooler.forward(&first).tanh(),
            None => first,
        };
        self.projection.forward(&pooled).to_kind(Kind::Float)
    }
}

/// How texts are prepared for [`FirstTokenTower`].
pub(super) fn first_token_side(
    config: &Config<'_>,
    tokenizer: std::path::PathBuf,
    max_tokens: usize,
) -> Result<TextSide> {
    Ok(TextSide {
        tokenizer,
        vocabulary_size: config.size("vocab_size")? as usize,
        max_tokens: max_tokens.min(config.size("max_position_embeddings")? as usize),
        padding: Padding::Masked,
        cleaning: Cleaning::None,
        sentence: None,
    })
}
