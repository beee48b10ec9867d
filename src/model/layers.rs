//! The pieces that towers are made of: linear maps, norms, attention, feed-forward layers.

use tch::{Kind, Tensor};

use super::fault::invalid_model;
use super::network::Config;
use super::observer::Observer;
use super::weights::Weights;
use crate::Result;

/// A place in the checkpoint's tree of names.
#[derive(Clone)]
pub(super) struct Scope<'a> {
    pub weights: &'a Weights<'a>,
    path: String,
}

impl<'a> Scope<'a> {
    /// The place whose names all begin with `path`; an empty one is the root.
    pub(super) fn at(weights: &'a Weights<'a>, path: &str) -> Self {
        Self { weights, path: path.to_owned() }
    }

    pub(super) fn child(&self, name: &str) -> Self {
        Self { weights: self.weights, path: self.name(name) }
    }

    pub(super) fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
        self.weights.tensor(&self.name(name), shape)
    }

    pub(super) fn exact(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
        self.weights.exact(&self.name(name), shape)
    }

    pub(super) fn buffer(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
        self.weights.buffer(&self.name(name), shape)
    }

    fn name(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

/// Sizes that every layer of a transformer shares.
pub(super) struct Shape {
    pub width: i64,
    pub n_heads: i64,
    /// Width of the feed-forward layer.
    pub inner: i64,
    pub n_layers: i64,
    /// Added to the variance in layer norms.
    pub epsilon: f64,
    pub activation: Activation,
}

impl Shape {
    /// Reads the entries that Hugging Face's configurations agree on; defaults are what a family leaves out.
    pub(super) fn read(config: &Config<'_>, epsilon: f64, activation: &str) -> Result<Self> {
        let shape = Self {
            width: config.size("hidden_size")?,
            n_heads: config.size("num_attention_heads")?,
            inner: config.size("intermediate_size")?,
            n_layers: config.size("num_hidden_layers")?,
            epsilon: config.get_or("layer_norm_eps", epsilon)?,
            activation: Activation::read(config, activation)?,
        };
        if shape.width % shape.n_heads == 0 {
            return Ok(shape);
        }
        let message = format!("hidden_size {} is not a multiple of num_attention_heads {}", shape.width, shape.n_heads);
        Err(invalid_model(config.path, message))
    }
}

/// The feed-forward layer's non-linearity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activation {
    /// x·Φ(x), with the error function.
    Gelu,
    /// The tanh approximation of GELU.
    GeluTanh,
    /// x·sigmoid(1.702x), OpenAI's.
    QuickGelu,
}

impl Activation {
    fn read(config: &Config<'_>, default: &str) -> Result<Self> {
        let name: String = config.get_or("hidden_act", default.to_owned())?;
        match name.as_str() {
            "gelu" => Ok(Self::Gelu),
            "gelu_pytorch_tanh" => Ok(Self::GeluTanh),
            "quick_gelu" => Ok(Self::QuickGelu),
            _ => {
                let message = format!("hidden_act: expected gelu, gelu_pytorch_tanh or quick_gelu, found {name:?}");
                Err(invalid_model(config.path, message))
            }
        }
    }

    fn apply(self, states: &Tensor) -> Tensor {
        match self {
            Self::Gelu => states.gelu("none"),
            Self::GeluTanh => states.gelu("tanh"),
            Self::QuickGelu => (states * 1.702).sigmoid_() * states,
        }
    }
}

/// y = xWᵀ + b.
pub(super) struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    pub(super) fn load(scope: &Scope<'_>, from: i64, to: i64) -> Result<Self> {
        Ok(Self { weight: scope.tensor("weight", &[to, from])?, bias: Some(scope.tensor("bias", &[to])?) })
    }

    pub(super) fn without_bias(weight: Tensor) -> Self {
        Self { weight, bias: None }
    }

    /// A convolution whose stride is its size, over patches that lie flat: `weight` is `[to, 3, size, size]`.
    pub(super) fn of_patches(scope: &Scope<'_>, to: i64, size: i64, has_bias: bool) -> Result<Self> {
        let weight = scope.tensor("weight", &[to, 3, size, size])?.reshape([to, 3 * size * size]);
        let bias = if has_bias { Some(scope.tensor("bias", &[to])?) } else { None };
        Ok(Self { weight, bias })
    }

    /// Several maps of the same input as one, so that one product gives them all.
    fn stacked(parts: &[Self]) -> Self {
        let weight = Tensor::cat(&parts.iter().map(|part| &part.weight).collect::<Vec<_>>(), 0);
        let biases: Vec<_> = parts.iter().filter_map(|part| part.bias.as_ref()).collect();
        let bias = (biases.len() == parts.len()).then(|| Tensor::cat(&biases, 0));
        Self { weight, bias }
    }

    pub(super) fn forward(&self, states: &Tensor) -> Tensor {
        states.linear(&self.weight, self.bias.as_ref())
    }
}

pub(super) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl LayerNorm {
    pub(super) fn load(scope: &Scope<'_>, shape: &Shape) -> Result<Self> {
        let size = [shape.width];
        Ok(Self { weight: scope.tensor("weight", &size)?, bias: scope.tensor("bias", &size)?, epsilon: shape.epsilon })
    }

    pub(super) fn forward(&self, states: &Tensor) -> Tensor {
        states.layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), self.epsilon, false)
    }
}

/// What a layer's tensors are called in one family's checkpoints.
pub(super) struct LayerNames {
    pub attention_norm: &'static str,
    pub query_key_value: QueryKeyValueNames,
    pub attention_output: &'static str,
    pub inner_norm: &'static str,
    pub inner: &'static str,
    pub output: &'static str,
}

/// Three linear maps, or torch's packed tensors `PREFIXweight` and `PREFIXbias`.
pub(super) enum QueryKeyValueNames {
    Apart([&'static str; 3]),
    Packed(&'static str),
}

/// Hugging Face's names for CLIP and SigLIP.
pub(super) const HUGGING_FACE: LayerNames = LayerNames {
    attention_norm: "layer_norm1",
    query_key_value: QueryKeyValueNames::Apart(["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]),
    attention_output: "self_attn.out_proj",
    inner_norm: "layer_norm2",
    inner: "mlp.fc1",
    output: "mlp.fc2",
};

/// OpenAI's and open_clip's names.
pub(super) const OPEN_AI: LayerNames = LayerNames {
    attention_norm: "ln_1",
    query_key_value: QueryKeyValueNames::Packed("attn.in_proj_"),
    attention_output: "attn.out_proj",
    inner_norm: "ln_2",
    inner: "mlp.c_fc",
    output: "mlp.c_proj",
};

/// Which tokens attend to which.
#[derive(Clone, Copy)]
pub(super) enum Attending<'a> {
    All,
    /// Each to itself and those before it.
    Causal,
    /// Additive, broadcast to `[batch, heads, tokens, tokens]`.
    Masked(&'a Tensor),
}

/// Multi-head self-attention with one product for query, key and value.
pub(super) struct Attention {
    query_key_value: Linear,
    output: Linear,
    n_heads: i64,
}

impl Attention {
    pub(super) fn load(
        scope: &Scope<'_>,
        names: &QueryKeyValueNames,
        output: &str,
        width: i64,
        n_heads: i64,
    ) -> Result<Self> {
        let query_key_value = match names {
            QueryKeyValueNames::Apart(names) => {
                let parts = names.iter().map(|name| Linear::load(&scope.child(name), width, width));
                Linear::stacked(&parts.collect::<Result<Vec<_>>>()?)
            }
            QueryKeyValueNames::Packed(prefix) => Linear {
                weight: scope.tensor(&format!("{prefix}weight"), &[3 * width, width])?,
                bias: Some(scope.tensor(&format!("{prefix}bias"), &[3 * width])?),
            },
        };
        Ok(Self { query_key_value, output: Linear::load(&scope.child(output), width, width)?, n_heads })
    }

    /// Maps `[batch, tokens, width]` to the same shape.
    pub(super) fn forward(
        &self,
        states: &Tensor,
        attending: Attending<'_>,
        layer: usize,
        observer: &mut dyn Observer,
    ) -> Tensor {
        let (batch, n_tokens, width) = (states.size()[0], states.size()[1], states.size()[2]);
        // [3, batch, heads, tokens, head width]
        let split = self
            .query_key_value
            .forward(states)
            .view([batch, n_tokens, 3, self.n_heads, width / self.n_heads])
            .permute([2, 0, 3, 1, 4]);
        let attended = attend(&split.get(0), &split.get(1), &split.get(2), attending, layer, observer);
        self.output.forward(&attended.transpose(1, 2).reshape([batch, n_tokens, width]))
    }
}

/// softmax(qkᵀ/√d + mask)·v over `[batch, heads, tokens, head width]`.
pub(super) fn attend(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    attending: Attending<'_>,
    layer: usize,
    observer: &mut dyn Observer,
) -> Tensor {
    let (mask, is_causal) = match attending {
        Attending::All => (None, false),
        Attending::Causal => (None, true),
        Attending::Masked(mask) => (Some(mask), false),
    };
    if !observer.wants_attention(layer) {
        return Tensor::scaled_dot_product_attention(query, key, value, mask, 0.0, is_causal, None, false);
    }
    // The fused kernel keeps its weights to itself, so they are computed in the open.
    let scale = (query.size()[3] as f64).sqrt().recip();
    let mut scores = query.matmul(&key.transpose(-2, -1)) * scale;
    if let Some(mask) = mask {
        scores += mask;
    }
    if is_causal {
        let n_tokens = scores.size()[3];
        let later = Tensor::ones([n_tokens, n_tokens], (Kind::Bool, scores.device())).triu(1);
        scores = scores.masked_fill(&later, f64::NEG_INFINITY);
    }
    let weights = scores.softmax(-1, Kind::Float);
    observer.attention(layer, &weights);
    weights.to_kind(value.kind()).matmul(value)
}

/// Two linear maps with a non-linearity between them.
pub(super) struct FeedForward {
    inner: Linear,
    output: Linear,
    activation: Activation,
}

impl FeedForward {
    pub(super) fn load(scope: &Scope<'_>, inner: &str, output: &str, shape: &Shape) -> Result<Self> {
        Ok(Self {
            inner: Linear::load(&scope.child(inner), shape.width, shape.inner)?,
            output: Linear::load(&scope.child(output), shape.inner, shape.width)?,
            activation: shape.activation,
        })
    }

    pub(super) fn forward(&self, states: &Tensor) -> Tensor {
        self.output.forward(&self.activation.apply(&self.inner.forward(states)))
    }
}

/// Multi-head attention of one sequence to another.
pub(super) struct CrossAttention {
    query: Linear,
    key_value: Linear,
    output: Linear,
    n_heads: i64,
}

impl CrossAttention {
    /// Three maps and an output map by their names; what comes out has `to` channels.
    pub(super) fn load_apart(scope: &Scope<'_>, names: [&str; 4], width: i64, to: i64, n_heads: i64) -> Result<Self> {
        let [query, key, value, output] = names.map(|name| scope.child(name));
        let key_value = [Linear::load(&key, width, width)?, Linear::load(&value, width, width)?];
        Ok(Self {
            query: Linear::load(&query, width, width)?,
            key_value: Linear::stacked(&key_value),
            output: Linear::load(&output, width, to)?,
            n_heads,
        })
    }

    /// In torch's packed names.
    pub(super) fn load_packed(scope: &Scope<'_>, shape: &Shape) -> Result<Self> {
        let width = shape.width;
        let weight = scope.tensor("in_proj_weight", &[3 * width, width])?;
        let bias = scope.tensor("in_proj_bias", &[3 * width])?;
        let rows = |start: i64, n: i64| Linear {
            weight: weight.narrow(0, start, n).contiguous(),
            bias: Some(bias.narrow(0, start, n).contiguous()),
        };
        Ok(Self {
            query: rows(0, width),
            key_value: rows(width, 2 * width),
            output: Linear::load(&scope.child("out_proj"), width, width)?,
            n_heads: shape.n_heads,
        })
    }

    /// `[batch, queries, width]` attends to `[batch, tokens, width]` and gives `[batch, queries, to]`.
    pub(super) fn forward(&self, queries: &Tensor, states: &Tensor) -> Tensor {
        let (batch, n_queries, width) = (queries.size()[0], queries.size()[1], queries.size()[2]);
        let head = width / self.n_heads;
        let query = self.query.forward(queries).view([batch, n_queries, self.n_heads, head]).transpose(1, 2);
        // [2, batch, heads, tokens, head width]
        let key_value =
            self.key_value.forward(states).view([batch, -1, 2, self.n_heads, head]).permute([2, 0, 3, 1, 4]);
        let (key, value) = (key_value.get(0), key_value.get(1));
        let no_mask: Option<Tensor> = None;
        let attended = Tensor::scaled_dot_product_attention(&query, &key, &value, no_mask, 0.0, false, None, false);
        self.output.forward(&attended.transpose(1, 2).reshape([batch, n_queries, width]))
    }
}
