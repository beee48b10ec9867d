//! BERT (Devlin et al., arXiv 1810.04805) as Hugging Face publishes it: post-norm, absolute positions, erf GELU. Its sentence encoders:
//! MiniLM, BGE, E5, mxbai, arctic. Names equal checkpoint keys; a leading `bert.` is tolerated; the pooler is ignored.

use tch::{Kind, Tensor};

use super::fault::invalid_model;
use super::network::{Architecture, Config, TextNetwork};
use super::weights::Weights;
use crate::Result;

pub const ARCHITECTURE: Architecture = Architecture {
    model_type: "bert",
    summary: "BERT-family sentence encoders: MiniLM, BGE, E5, mxbai, arctic",
    load: |config, weights| Ok(Box::new(Bert::load(config, weights)?)),
};

struct Bert {
    word_embeddings: Tensor,
    /// Position embeddings plus the embedding of token type 0, the only type that single texts have.
    position_embeddings: Tensor,
    embeddings_norm: LayerNorm,
    layers: Vec<Layer>,
    dimension: i64,
    max_positions: i64,
}

impl Bert {
    fn load(config: &Config<'_>, weights: &Weights) -> Result<Self> {
        config.expect("hidden_act", "gelu")?;
        config.expect("position_embedding_type", "absolute")?;
        let dimension = config.size("hidden_size")?;
        let n_heads = config.size("num_attention_heads")?;
        if dimension % n_heads != 0 {
            let message = format!("hidden_size {dimension} is not a multiple of num_attention_heads {n_heads}");
            return Err(invalid_model(config.path, message));
        }
        let max_positions = config.size("max_position_embeddings")?;
        let shape = Shape {
            dimension,
            n_heads,
            inner: config.size("intermediate_size")?,
            epsilon: config.get_or("layer_norm_eps", 1e-12)?,
        };
        let prefix = if weights.has("bert.embeddings.word_embeddings.weight") { "bert." } else { "" };
        let embeddings = Scope { weights, path: format!("{prefix}embeddings") };
        let positions = embeddings.tensor("position_embeddings.weight", &[max_positions, dimension])?;
        let types =
            embeddings.tensor("token_type_embeddings.weight", &[config.get_or("type_vocab_size", 2)?, dimension])?;
        Ok(Self {
            word_embeddings: embeddings.tensor("word_embeddings.weight", &[config.size("vocab_size")?, dimension])?,
            position_embeddings: (positions.to_kind(Kind::Float) + types.get(0).to_kind(Kind::Float))
                .to_kind(weights.kind()),
            embeddings_norm: LayerNorm::load(&embeddings.child("LayerNorm"), &shape)?,
            layers: (0..config.size("num_hidden_layers")?)
                .map(|layer| Layer::load(&Scope { weights, path: format!("{prefix}encoder.layer.{layer}") }, &shape))
                .collect::<Result<_>>()?,
            dimension,
            max_positions,
        })
    }
}

impl TextNetwork for Bert {
    fn dimension(&self) -> usize {
        self.dimension as usize
    }

    fn max_positions(&self) -> usize {
        self.max_positions as usize
    }

    fn token_states(&self, ids: &Tensor, mask: Option<&Tensor>) -> Tensor {
        let n_tokens = ids.size()[1];
        let words = Tensor::embedding(&self.word_embeddings, ids, -1, false, false);
        let embedded = words + self.position_embeddings.narrow(0, 0, n_tokens);
        let embedded = self.embeddings_norm.forward(&embedded);
        self.layers.iter().fold(embedded, |states, layer| layer.forward(&states, mask))
    }
}

/// Sizes that every layer shares.
struct Shape {
    dimension: i64,
    n_heads: i64,
    /// Width of the feed-forward layer.
    inner: i64,
    /// Added to the variance in layer norms.
    epsilon: f64,
}

/// A place in the checkpoint's tree of names.
struct Scope<'a> {
    weights: &'a Weights,
    path: String,
}

impl<'a> Scope<'a> {
    fn child(&self, name: &str) -> Scope<'a> {
        Scope { weights: self.weights, path: format!("{}.{name}", self.path) }
    }

    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
        self.weights.tensor(&format!("{}.{name}", self.path), shape)
    }
}

struct Layer {
    /// `attention.self.{query,key,value}` stacked, so that one product gives all three.
    query_key_value: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
    n_heads: i64,
}

impl Layer {
    fn load(scope: &Scope<'_>, shape: &Shape) -> Result<Self> {
        let &Shape { dimension, n_heads, inner, .. } = shape;
        let attention = scope.child("attention.self");
        let parts = ["query", "key", "value"].map(|name| Linear::load(&attention.child(name), dimension, dimension));
        let [query, key, value] = parts;
        let (query, key, value) = (query?, key?, value?);
        Ok(Self {
            query_key_value: Linear {
                weight: Tensor::cat(&[&query.weight, &key.weight, &value.weight], 0),
                bias: Tensor::cat(&[&query.bias, &key.bias, &value.bias], 0),
            },
            attention_output: Linear::load(&scope.child("attention.output.dense"), dimension, dimension)?,
            attention_norm: LayerNorm::load(&scope.child("attention.output.LayerNorm"), shape)?,
            intermediate: Linear::load(&scope.child("intermediate.dense"), dimension, inner)?,
            output: Linear::load(&scope.child("output.dense"), inner, dimension)?,
            output_norm: LayerNorm::load(&scope.child("output.LayerNorm"), shape)?,
            n_heads,
        })
    }

    fn forward(&self, states: &Tensor, mask: Option<&Tensor>) -> Tensor {
        let attended = self.attention_output.forward(&self.attend(states, mask));
        let states = self.attention_norm.forward(&(attended + states));
        let inner = self.intermediate.forward(&states).gelu("none");
        self.output_norm.forward(&(self.output.forward(&inner) + &states))
    }

    fn attend(&self, states: &Tensor, mask: Option<&Tensor>) -> Tensor {
        let (batch, n_tokens, dimension) = (states.size()[0], states.size()[1], states.size()[2]);
        // [3, batch, heads, tokens, head width]
        let split = self
            .query_key_value
            .forward(states)
            .view([batch, n_tokens, 3, self.n_heads, dimension / self.n_heads])
            .permute([2, 0, 3, 1, 4]);
        let (query, key, value) = (split.get(0), split.get(1), split.get(2));
        Tensor::scaled_dot_product_attention(&query, &key, &value, mask, 0.0, false, None, false)
            .transpose(1, 2)
            .reshape([batch, n_tokens, dimension])
    }
}

struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    fn load(scope: &Scope<'_>, from: i64, to: i64) -> Result<Self> {
        Ok(Self { weight: scope.tensor("weight", &[to, from])?, bias: scope.tensor("bias", &[to])? })
    }

    fn forward(&self, states: &Tensor) -> Tensor {
        states.linear(&self.weight, Some(&self.bias))
    }
}

struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl LayerNorm {
    fn load(scope: &Scope<'_>, shape: &Shape) -> Result<Self> {
        let size = [shape.dimension];
        Ok(Self { weight: scope.tensor("weight", &size)?, bias: scope.tensor("bias", &size)?, epsilon: shape.epsilon })
    }

    fn forward(&self, states: &Tensor) -> Tensor {
        states.layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), self.epsilon, false)
    }
}
