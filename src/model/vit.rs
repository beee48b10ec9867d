//! The vision transformer (Dosovitskiy et al., arXiv 2010.11929) in the names of transformers' `ViTModel`; a part of dual encoders.

use tch::{Kind, Tensor};

use super::layers::{Attending, LayerNames, LayerNorm, Linear, QueryKeyValueNames, Scope, Shape};
use super::network::{Config, ImageTower};
use super::observer::Observer;
use super::patches::{Grid, fit_positions, keep_patches, trained_positions};
use super::transformer::Transformer;
use crate::Result;
use crate::image::ImageConfig;

const NAMES: LayerNames = LayerNames {
    attention_norm: "layernorm_before",
    query_key_value: QueryKeyValueNames::Apart([
        "attention.attention.query",
        "attention.attention.key",
        "attention.attention.value",
    ]),
    attention_output: "attention.output.dense",
    inner_norm: "layernorm_after",
    inner: "intermediate.dense",
    output: "output.dense",
};

/// From the tokens after the last norm to one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VitPooling {
    /// The class token.
    Class,
    /// The class token through the model's own pooler: a linear map and tanh.
    Pooler,
    /// The mean over the patches.
    Mean,
}

/// Patches, class token, positions → transformer → norm → pooling → projection.
pub(super) struct VitTower {
    grid: Grid,
    patches: Linear,
    /// The class token with its position already added, `[1, 1, width]`.
    class_token: Tensor,
    positions: Tensor,
    transformer: Transformer,
    norm: LayerNorm,
    pooling: VitPooling,
    pooler: Option<Linear>,
    projection: Linear,
}

impl VitTower {
    /// Loads the network in `scope` and projects what it pools.
    pub(super) fn load(
        config: &Config<'_>,
        scope: &Scope<'_>,
        image: &ImageConfig,
        pooling: VitPooling,
        projection: Linear,
    ) -> Result<Self> {
        let shape = Shape::read(config, 1e-12, "gelu")?;
        let grid = Grid::new(config, image)?;
        let table = [1, 1 + trained_positions(config)?, shape.width];
        let positions = scope.tensor("embeddings.position_embeddings", &table)?.squeeze_dim(0);
        let positions = fit_positions(positions, 1, grid, false);
        let class = scope.tensor("embeddings.cls_token", &[1, 1, shape.width])?;
        let patches = scope.child("embeddings.patch_embeddings.projection");
        let pooler = (pooling == VitPooling::Pooler)
            .then(|| Linear::load(&scope.child("pooler.dense"), shape.width, shape.width))
            .transpose()?;
        Ok(Self {
            grid,
            patches: Linear::of_patches(&patches, shape.width, grid.patch, true)?,
            class_token: class + positions.get(0),
            positions: positions.narrow(0, 1, grid.n_patches()),
            transformer: Transformer::load(&scope.child("encoder.layer"), &NAMES, &shape)?,
            norm: LayerNorm::load(&scope.child("layernorm"), &shape)?,
            pooling,
            pooler,
            projection,
        })
    }
}

impl ImageTower for VitTower {
    fn embed(&self, pixels: &Tensor, observer: &mut dyn Observer) -> Tensor {
        let patches = keep_patches(self.patches.forward(&self.grid.patches(pixels)) + &self.positions, observer);
        let class = self.class_token.expand([patches.size()[0], -1, -1], false);
        let states = self.transformer.forward(Tensor::cat(&[class, patches], 1), Attending::All, observer);
        let pooled = match self.pooling {
            VitPooling::Class | VitPooling::Pooler => self.norm.forward(&states.select(1, 0)),
            VitPooling::Mean => {
                let patches = self.norm.forward(&states.narrow(1, 1, states.size()[1] - 1));
                patches.mean_dim(1, false, Kind::Float).to_kind(states.kind())
            }
        };
        let pooled = match &self.pooler {
            Some(pooler) => pooler.forward(&pooled).tanh(),
            None => pooled,
        };
        self.projection.forward(&pooled).to_kind(Kind::Float)
    }
}
