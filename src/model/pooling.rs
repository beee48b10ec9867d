//! From the states of a text's tokens to one vector.

use tch::{Kind, Tensor};

/// How tokens become a sentence, as `1_Pooling/config.json` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The first token that takes part.
    Cls,
    /// The mean over all tokens that take part.
    Mean,
}

/// The tokens `[start, end)` of one text that take part in pooling: no prompt that is left out, no padding.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

/// Pools `[batch, tokens, dimension]` into float32 `[batch, dimension]`, one span for each text, none empty.
pub fn pool(states: &Tensor, spans: &[Span], pooling: Pooling) -> Tensor {
    let n_tokens = states.size()[1] as usize;
    let share = |span: &Span, position: usize| match pooling {
        Pooling::Cls => f32::from(u8::from(position == span.start)),
        Pooling::Mean if (span.start..span.end).contains(&position) => 1.0 / (span.end - span.start) as f32,
        Pooling::Mean => 0.0,
    };
    let shares: Vec<f32> =
        spans.iter().flat_map(|span| (0..n_tokens).map(move |position| share(span, position))).collect();
    let shares = Tensor::from_slice(&shares).view([spans.len() as i64, 1, n_tokens as i64]).to_device(states.device());
    shares.bmm(&states.to_kind(Kind::Float)).squeeze_dim(1)
}
