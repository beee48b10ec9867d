//! OpenAI's ResNet (Radford et al., arXiv 2103.00020, §2.4) in their names: three convolutions at the start, means instead of
//! strides, and attention that pools. Part of CLIP.

use tch::{Kind, Tensor};

use super::convolution::{Convolution, channels_last};
use super::fault::invalid_model;
use super::layers::{CrossAttention, Scope};
use super::network::{Config, ImageTower};
use super::observer::Observer;
use super::patches::{Grid, fit_positions};
use super::sides::{ImageSide, fixed_size};
use crate::Result;
use crate::image::ImageConfig;

/// What stands in the translated configuration of an image tower.
pub(super) const MODEL_TYPE: &str = "modified_resnet";
/// Channels of the last stage over those of the first layer's middle.
pub(super) const RESNET_EXPANSION: i64 = 32;
/// Channels that a residual layer gives over those in its middle.
const LAYER_EXPANSION: i64 = 4;
/// How many times the picture is halved.
const HALVINGS: u32 = 5;

/// Stem → stages of residual layers → attention of the mean to all positions → projection.
pub(super) struct ModifiedResNet {
    stem: [Convolution; 3],
    layers: Vec<Layer>,
    pool: AttentionPool,
}

/// The sizes of OpenAI's ResNet.
pub(super) struct ModifiedResNetShape {
    width: i64,
    /// Residual layers of each stage.
    layers: Vec<i64>,
    n_heads: i64,
    /// The side of the grid that the table of positions was trained on.
    trained_side: i64,
}

impl ModifiedResNetShape {
    /// Reads the configuration; `None` for another kind of tower.
    ///
    /// # Errors
    /// `FailedPrecondition` naming the entry at fault.
    pub(super) fn read_if_any(config: &Config<'_>) -> Result<Option<Self>> {
        if config.get_or("model_type", String::new())? != MODEL_TYPE {
            return Ok(None);
        }
        let shape = Self {
            width: config.size("width")?,
            layers: config.get("layers")?,
            n_heads: config.size("num_attention_heads")?,
            trained_side: config.size("image_size")? >> HALVINGS,
        };
        let (width, layers, trained) = (shape.width, &shape.layers, shape.trained_side);
        if layers.len() != 4
            || !layers.iter().all(|layers| (1..=1024).contains(layers))
            || width % 2 != 0
            || trained < 1
        {
            let message = format!(
                "expected four stages of 1 to 1024 layers, an even width and pictures of 32 pixels or more, found {layers:?}, {width} and {trained} × 32"
            );
            return Err(invalid_model(config.path, message));
        }
        Ok(Some(shape))
    }

    /// How pictures are prepared.
    ///
    /// # Errors
    /// `FailedPrecondition` if pictures are too small, `Unsupported` if each has its own size.
    pub(super) fn side(&self, image: ImageConfig) -> Result<ImageSide> {
        let grid = grid_of(&image)?;
        ImageSide::new(image, 1 + grid.n_patches() as usize)
    }
}

/// The positions that the last stage gives.
fn grid_of(image: &ImageConfig) -> Result<Grid> {
    let (height, width) = fixed_size(image)?;
    // The first convolution rounds up, the means round down.
    let side = |length: u32| i64::from(length.div_ceil(2) >> (HALVINGS - 1));
    let grid = Grid { rows: side(height), columns: side(width), patch: 1 << HALVINGS };
    if grid.n_patches() > 0 {
        return Ok(grid);
    }
    let message = format!("pictures of {height}×{width} are smaller than 32 pixels, which a ResNet halves to nothing");
    Err(crate::Error::FailedPrecondition { reason: "MODEL_INVALID", message })
}

impl ModifiedResNet {
    /// Loads the network in `scope`.
    pub(super) fn load(
        shape: &ModifiedResNetShape,
        scope: &Scope<'_>,
        dimension: i64,
        image: &ImageSide,
    ) -> Result<Self> {
        let width = shape.width;
        let stem = |number: u8, channels: [i64; 2], stride: i64| numbered(scope, number, channels, 3, stride);
        let stem = [stem(1, [3, width / 2], 2)?, stem(2, [width / 2, width / 2], 1)?, stem(3, [width / 2, width], 1)?];
        let mut layers = Vec::new();
        let mut from = width;
        for (stage, &depth) in shape.layers.iter().enumerate() {
            let inner = width << stage;
            for number in 0..depth {
                let scope = scope.child(&format!("layer{}.{number}", stage + 1));
                let stride = if number == 0 && stage > 0 { 2 } else { 1 };
                layers.push(Layer::load(&scope, from, inner, stride)?);
                from = inner * LAYER_EXPANSION;
            }
        }
        let pool = AttentionPool::load(shape, &scope.child("attnpool"), dimension, grid_of(&image.config)?)?;
        Ok(Self { stem, layers, pool })
    }
}

impl ImageTower for ModifiedResNet {
    fn embed(&self, pixels: &Tensor, observer: &mut dyn Observer) -> Tensor {
        let states = self.stem.iter().fold(channels_last(pixels), |states, layer| layer.forward(&states).relu());
        let states = self.layers.iter().enumerate().fold(halve(&states), |states, (number, layer)| {
            let states = layer.forward(&states);
            observer.states(number, &states.flatten(2, 3).transpose(1, 2));
            states
        });
        self.pool.forward(&states.flatten(2, 3).transpose(1, 2)).to_kind(Kind::Float)
    }
}

/// The mean of each 2×2 pixels; what does not fill a square is left out.
fn halve(states: &Tensor) -> Tensor {
    states.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)
}

/// `convN` and `bnN`.
fn numbered(scope: &Scope<'_>, number: u8, channels: [i64; 2], kernel: i64, stride: i64) -> Result<Convolution> {
    let [convolution, norm] = ["conv", "bn"].map(|name| scope.child(&format!("{name}{number}")));
    Convolution::load(&convolution, &norm, channels, kernel, stride)
}

/// Three convolutions around which the input is added. What other ResNets do by a stride is a mean over the pixels here.
struct Layer {
    convolutions: [Convolution; 3],
    shortcut: Option<Convolution>,
    halves: bool,
}

impl Layer {
    fn load(scope: &Scope<'_>, from: i64, inner: i64, stride: i64) -> Result<Self> {
        let to = inner * LAYER_EXPANSION;
        let shortcut =
            || Convolution::load(&scope.child("downsample.0"), &scope.child("downsample.1"), [from, to], 1, 1);
        Ok(Self {
            convolutions: [
                numbered(scope, 1, [from, inner], 1, 1)?,
                numbered(scope, 2, [inner, inner], 3, 1)?,
                numbered(scope, 3, [inner, to], 1, 1)?,
            ],
            shortcut: (stride > 1 || from != to).then(shortcut).transpose()?,
            halves: stride > 1,
        })
    }

    fn forward(&self, states: &Tensor) -> Tensor {
        let halved = |states: Tensor| if self.halves { halve(&states) } else { states };
        let [reduce, middle, expand] = &self.convolutions;
        let inner = middle.forward(&reduce.forward(states).relu()).relu();
        let residual = expand.forward(&halved(inner));
        match &self.shortcut {
            Some(shortcut) => (residual + shortcut.forward(&halved(states.shallow_clone()))).relu(),
            None => (residual + states).relu(),
        }
    }
}

/// The mean of all positions, which attends to itself and to them.
struct AttentionPool {
    /// `[1 + positions, width]`, the mean's first.
    positions: Tensor,
    attention: CrossAttention,
}

impl AttentionPool {
    fn load(shape: &ModifiedResNetShape, scope: &Scope<'_>, dimension: i64, grid: Grid) -> Result<Self> {
        let width = shape.width * RESNET_EXPANSION;
        let table = [1 + shape.trained_side * shape.trained_side, width];
        let positions = fit_positions(scope.tensor("positional_embedding", &table)?, 1, grid, false);
        let names = ["q_proj", "k_proj", "v_proj", "c_proj"];
        let attention = CrossAttention::load_apart(scope, names, width, dimension, shape.n_heads)?;
        Ok(Self { positions, attention })
    }

    /// Gives `[batch, dimension]` for `[batch, positions, width]`.
    fn forward(&self, states: &Tensor) -> Tensor {
        let mean = states.mean_dim([1].as_slice(), true, Kind::Float).to_kind(states.kind());
        let tokens = Tensor::cat(&[mean, states.shallow_clone()], 1) + &self.positions;
        self.attention.forward(&tokens.narrow(1, 0, 1), &tokens).squeeze_dim(1)
    }
}
