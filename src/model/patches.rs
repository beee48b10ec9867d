//! Pictures as tokens: square patches and the table of their positions.

use tch::{Kind, Tensor};

use super::fault::invalid_model;
use super::network::Config;
use super::observer::Observer;
use super::sides::fixed_size;
use crate::Result;
use crate::image::ImageConfig;

/// The grid of patches that a picture becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    pub rows: i64,
    pub columns: i64,
    /// Pixels of a patch's side.
    pub patch: i64,
}

impl Grid {
    /// The grid of the pictures that the folder's preprocessing makes; what does not fill a patch is left out.
    pub(super) fn new(config: &Config<'_>, image: &ImageConfig) -> Result<Self> {
        let patch = config.size("patch_size")?;
        let (height, width) = fixed_size(image)?;
        let (rows, columns) = (i64::from(height) / patch, i64::from(width) / patch);
        if rows > 0 && columns > 0 {
            return Ok(Self { rows, columns, patch });
        }
        let message = format!("patch_size {patch} does not fit into pictures of {height}×{width}");
        Err(invalid_model(config.path, message))
    }

    pub(super) fn n_patches(self) -> i64 {
        self.rows * self.columns
    }

    /// Lays the patches of `[batch, 3, height, width]` flat: `[batch, patches, 3 · patch · patch]`, in the order that a
    /// convolution's weight has.
    pub(super) fn patches(self, pixels: &Tensor) -> Tensor {
        let Self { rows, columns, patch } = self;
        let batch = pixels.size()[0];
        pixels
            .narrow(2, 0, rows * patch)
            .narrow(3, 0, columns * patch)
            .reshape([batch, 3, rows, patch, columns, patch])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([batch, rows * columns, 3 * patch * patch])
    }
}

/// The positions of a square grid that a checkpoint was trained on.
pub(super) fn trained_positions(config: &Config<'_>) -> Result<i64> {
    let (size, patch) = (config.size("image_size")?, config.size("patch_size")?);
    match (size / patch) * (size / patch) {
        0 => Err(invalid_model(config.path, format!("patch_size {patch} is larger than image_size {size}"))),
        positions => Ok(positions),
    }
}

/// Fits a table of positions `[extra + trained, width]` to a grid: bicubic, the extra rows at its start untouched.
///
/// transformers interpolates without antialiasing, open_clip with it; they agree when the grid grows.
pub(super) fn fit_positions(table: Tensor, extra: i64, grid: Grid, antialias: bool) -> Tensor {
    let (trained, width) = (table.size()[0] - extra, table.size()[1]);
    let side = (trained as f64).sqrt().round() as i64;
    if (grid.rows, grid.columns) == (side, side) {
        return table;
    }
    let kind = table.kind();
    let plane = table.narrow(0, extra, trained).to_kind(Kind::Float).view([1, side, side, width]).permute([0, 3, 1, 2]);
    let size = [grid.rows, grid.columns];
    let fitted = if antialias {
        plane.internal_upsample_bicubic2d_aa(size, false, None, None)
    } else {
        plane.upsample_bicubic2d(size, false, None, None)
    };
    let fitted = fitted.permute([0, 2, 3, 1]).reshape([grid.n_patches(), width]).to_kind(kind);
    Tensor::cat(&[table.narrow(0, 0, extra), fitted], 0)
}

/// The patches `[batch, patches, width]` that the observer wants kept, `[batch, kept, width]`; positions are already added.
pub(super) fn keep_patches(patches: Tensor, observer: &mut dyn Observer) -> Tensor {
    let (batch, n_patches, width) = (patches.size()[0], patches.size()[1], patches.size()[2]);
    match observer.kept_patches(batch, n_patches) {
        Some(kept) => {
            let kept = kept.to_device(patches.device()).unsqueeze(-1).expand([-1, -1, width], false);
            patches.gather(1, &kept, false)
        }
        None => patches,
    }
}
