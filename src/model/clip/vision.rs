//! CLIP's vision transformer.

use tch::{Kind, Tensor};

use super::dialect::Dialect;
use crate::Result;
use crate::image::ImageConfig;
use crate::model::layers::{Attending, LayerNorm, Linear, Shape};
use crate::model::network::{Config, ImageTower};
use crate::model::observer::Observer;
use crate::model::patches::{Grid, fit_positions, keep_patches, trained_positions};
use crate::model::sides::ImageSide;
use crate::model::transformer::Transformer;
use crate::model::weights::Weights;

/// conv → class token, positions → norm → transformer → norm of the class token → projection.
pub(in crate::model) struct ClipVision {
    grid: Grid,
    patches: Linear,
    /// The class embedding with its position already added, `[1, 1, width]`.
    class_token: Tensor,
    /// `[patches, width]`.
    positions: Tensor,
    pre_norm: LayerNorm,
    transformer: Transformer,
    post_norm: LayerNorm,
    projection: Option<Linear>,
}

impl ClipVision {
    /// Loads the tower; without a `dimension` it has no projection of its own.
    pub(in crate::model) fn load(
        config: &Config<'_>,
        weights: &Weights<'_>,
        dialect: Dialect,
        dimension: Option<i64>,
        image: &ImageConfig,
        antialias: bool,
    ) -> Result<Self> {
        let shape = Shape::read(config, 1e-5, "quick_gelu")?;
        let grid = Grid::new(config, image)?;
        let scope = dialect.vision(weights);
        let class = dialect.tensor(&scope, ["embeddings.class_embedding", "class_embedding"], &[shape.width])?;
        let positions = dialect.tensor(
            &scope,
            ["embeddings.position_embedding.weight", "positional_embedding"],
            &[1 + trained_positions(config)?, shape.width],
        )?;
        let positions = fit_positions(positions, 1, grid, antialias);
        let patches = scope.child(dialect.name("embeddings.patch_embedding", "conv1"));
        Ok(Self {
            grid,
            patches: Linear::of_patches(&patches, shape.width, grid.patch, false)?,
            class_token: (class + positions.get(0)).view([1, 1, shape.width]),
            positions: positions.narrow(0, 1, grid.n_patches()),
            pre_norm: dialect.norm(&scope, ["pre_layrnorm", "ln_pre"], &shape)?,
            transformer: Transformer::load(
                &scope.child(dialect.name("encoder.layers", "transformer.resblocks")),
                dialect.layer_names(),
                &shape,
            )?,
            post_norm: dialect.norm(&scope, ["post_layernorm", "ln_post"], &shape)?,
            projection: dimension
                .map(|dimension| dialect.visual_projection(weights, shape.width, dimension))
                .transpose()?,
        })
    }

    /// The class token after the last norm, `[batch, width]`.
    pub(in crate::model) fn pooled(&self, pixels: &Tensor, observer: &mut dyn Observer) -> Tensor {
        let patches = keep_patches(self.patches.forward(&self.grid.patches(pixels)) + &self.positions, observer);
        let class = self.class_token.expand([patches.size()[0], -1, -1], false);
        let states = self.pre_norm.forward(&Tensor::cat(&[class, patches], 1));
        let states = self.transformer.forward(states, Attending::All, observer);
        self.post_norm.forward(&states.select(1, 0))
    }
}

impl ImageTower for ClipVision {
    fn embed(&self, pixels: &Tensor, observer: &mut dyn Observer) -> Tensor {
        let pooled = self.pooled(pixels, observer);
        let projected = match &self.projection {
            Some(projection) => projection.forward(&pooled),
            None => pooled,
        };
        projected.to_kind(Kind::Float)
    }
}

/// How pictures are prepared for a vision transformer with a class token.
pub(in crate::model) fn vision_side(config: &Config<'_>, image: ImageConfig) -> Result<ImageSide> {
    let n_tokens = 1 + Grid::new(config, &image)?.n_patches() as usize;
    ImageSide::new(image, n_tokens)
}
