//! SigLIP (Zhai et al., arXiv 2303.15343) and SigLIP 2 at fixed resolution (arXiv 2502.14786), in Hugging Face's names.

use tch::{Kind, Tensor};

use super::layers::{Attending, CrossAttention, FeedForward, HUGGING_FACE, LayerNorm, Linear, Scope, Shape};
use super::layout::Layout;
use super::network::{Architecture, Config, ImageTower, Network, TextBatch, TextTower};
use super::observer::Observer;
use super::patches::{Grid, fit_positions, keep_patches, trained_positions};
use super::sides::{ImageSide, Padding, Sides, TextSide};
use super::transformer::Transformer;
use crate::Result;
use crate::image::ImageConfig;
use crate::text::Cleaning;

pub const ARCHITECTURE: Architecture = Architecture {
    model_type: "siglip",
    summary: "SigLIP and SigLIP 2 at fixed resolution",
    describe,
    load: |layout, sides, source| {
        let config = layout.config();
        let weights = layout.weights(source)?;
        let wrapper = weights.prefix_of("text_model.embeddings.token_embedding.weight", &["", "module.", "model."])?;
        let text = SiglipText::load(
            &config.section("text_config")?,
            &Scope::at(&weights, &format!("{wrapper}text_model")),
            sides.dimension as i64,
        )?;
        let mut network = Network { text: Some(Box::new(text)), image: None };
        if let Some(image) = &sides.image {
            let scope = Scope::at(&weights, &format!("{wrapper}vision_model"));
            let vision = SiglipVision::load(&config.section("vision_config")?, &scope, &image.config)?;
            network.image = Some(Box::new(vision));
        }
        Ok(network)
    },
};

fn describe(layout: &Layout) -> Result<Sides> {
    let config = layout.config();
    let (text, vision) = (config.section("text_config")?, config.section("vision_config")?);
    let max_tokens = text.size_or("max_position_embeddings", 64)? as usize;
    let side = TextSide {
        tokenizer: layout.tokenizer(),
        vocabulary_size: text.size_or("vocab_size", 32_000)? as usize,
        max_tokens,
        padding: Padding::Full { id: padding_id(layout, &text)? },
        cleaning: cleaning(layout)?,
        sentence: None,
    };
    let image = layout.image_config(&ImageConfig::SIGLIP, vision.size_or("image_size", 224)?)?;
    let n_tokens = Grid::new(&vision, &image)?.n_patches() as usize;
    let mut deciding_files = layout.weights_files()?;
    deciding_files.push(side.tokenizer.clone());
    Ok(Sides {
        // The image tower has no projection.
        dimension: vision.size_or("hidden_size", 768)? as usize,
        text: Some(side),
        image: Some(ImageSide::new(image, n_tokens)?),
        deciding_files,
    })
}

/// The id that stands behind a short text. The tokenizer's own word for it is right where `pad_token_id` is a default that
/// nobody set, as in SigLIP 2's configurations.
fn padding_id(layout: &Layout, text: &Config<'_>) -> Result<u32> {
    let token = layout.tokenizer_entry("pad_token")?;
    // Older files describe a token as an object.
    let token = token.as_ref().and_then(|token| token.as_str().or_else(|| token.get("content")?.as_str()));
    let id = token.map(|token| crate::text::token_id(&layout.tokenizer(), token)).transpose()?.flatten();
    id.map_or_else(|| text.get_or("pad_token_id", 1), Ok)
}

/// SigLIP was trained on texts without punctuation and capitals, SigLIP 2 on texts without capitals; their tokenizers' files
/// leave that to Python code.
fn cleaning(layout: &Layout) -> Result<Cleaning> {
    let class = layout.tokenizer_entry("tokenizer_class")?;
    let class = class.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
    let is_second = class.contains("Gemma") || class.contains("Siglip2");
    Ok(if is_second { Cleaning::LowerCase } else { Cleaning::WithoutPunctuation })
}

/// Patches, positions → transformer → norm → one token attends to all.
struct SiglipVision {
    grid: Grid,
    patches: Linear,
    positions: Tensor,
    transformer: Transformer,
    post_norm: LayerNorm,
    head: AttentionPool,
}

impl SiglipVision {
    fn load(config: &Config<'_>, scope: &Scope<'_>, image: &ImageConfig) -> Result<Self> {
        let shape = Shape::read(config, 1e-6, "gelu_pytorch_tanh")?;
        let grid = Grid::new(config, image)?;
        let table = [trained_positions(config)?, shape.width];
        let positions = scope.tensor("embeddings.position_embedding.weight", &table)?;
        Ok(Self {
            grid,
            patches: Linear::of_patches(&scope.child("embeddings.patch_embedding"), shape.width, grid.patch, true)?,
            positions: fit_positions(positions, 0, grid, false),
            transformer: Transformer::load(&scope.child("encoder.layers"), &HUGGING_FACE, &shape)?,
            post_norm: LayerNorm::load(&scope.child("post_layernorm"), &shape)?,
            head: AttentionPool::load(&scope.child("head"), &shape)?,
        })
    }
}

impl ImageTower for SiglipVision {
    fn embed(&self, pixels: &Tensor, observer: &mut dyn Observer) -> Tensor {
        let states = keep_patches(self.patches.forward(&self.grid.patches(pixels)) + &self.positions, observer);
        let states = self.transformer.forward(states, Attending::All, observer);
        self.head.forward(&self.post_norm.forward(&states)).to_kind(Kind::Float)
    }
}

/// Multi-head attention pooling: a learned probe attends to all tokens, then a feed-forward layer.
struct AttentionPool {
    /// `[1, 1, width]`.
    probe: Tensor,
    attention: CrossAttention,
    norm: LayerNorm,
    feed_forward: FeedForward,
}

impl AttentionPool {
    fn load(scope: &Scope<'_>, shape: &Shape) -> Result<Self> {
        Ok(Self {
            probe: scope.tensor("probe", &[1, 1, shape.width])?,
            attention: CrossAttention::load_packed(&scope.child("attention"), shape)?,
            norm: LayerNorm::load(&scope.child("layernorm"), shape)?,
            feed_forward: FeedForward::load(scope, "mlp.fc1", "mlp.fc2", shape)?,
        })
    }

    /// Gives `[batch, width]`.
    fn forward(&self, states: &Tensor) -> Tensor {
        let probe = self.probe.expand([states.size()[0], -1, -1], false);
        let pooled = self.attention.forward(&probe, states);
        (&pooled + self.feed_forward.forward(&self.norm.forward(&pooled))).select(1, 0)
    }
}

/// Tokens, positions → transformer without any mask → norm → the last position → linear map.
struct SiglipText {
    token_embedding: Tensor,
    position_embedding: Tensor,
    transformer: Transformer,
    final_norm: LayerNorm,
    head: Linear,
}

impl SiglipText {
    fn load(config: &Config<'_>, scope: &Scope<'_>, dimension: i64) -> Result<Self> {
        let shape = Shape::read(config, 1e-6, "gelu_pytorch_tanh")?;
        let size = |rows: i64| [rows, shape.width];
        let n_positions = config.size_or("max_position_embeddings", 64)?;
        Ok(Self {
            token_embedding: scope
                .tensor("embeddings.token_embedding.weight", &size(config.size_or("vocab_size", 32_000)?))?,
            position_embedding: scope.tensor("embeddings.position_embedding.weight", &size(n_positions))?,
            transformer: Transformer::load(&scope.child("encoder.layers"), &HUGGING_FACE, &shape)?,
            final_norm: LayerNorm::load(&scope.child("final_layer_norm"), &shape)?,
            head: Linear::load(&scope.child("head"), shape.width, dimension)?,
        })
    }
}

impl TextTower for SiglipText {
    fn embed(&self, texts: &TextBatch, observer: &mut dyn Observer) -> Tensor {
        let n_tokens = texts.ids.size()[1];
        let words = Tensor::embedding(&self.token_embedding, &texts.ids, -1, false, false);
        let states = words + self.position_embedding.narrow(0, 0, n_tokens);
        let states = self.transformer.forward(states, Attending::All, observer);
        let last = self.final_norm.forward(&states.select(1, n_tokens - 1));
        self.head.forward(&last).to_kind(Kind::Float)
    }
}
