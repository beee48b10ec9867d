//! The Combiner of CLIP4Cir as a run changes it (Baldrati et al., TOMM 2023, arXiv 2308.11485, §3.2).

use std::collections::BTreeMap;
use std::path::Path;

use rand::{Rng as _, RngCore as _};
use tch::{Device, Kind, Tensor};

use super::recipe::CombinerRecipe;
use super::student::normalise;
use crate::model::combiner::{CombinerConfig, CombinerFeatures, MODEL_TYPE, WEIGHTS};
use crate::model::weights::Weights;
use crate::model::{ModelFolder, folder};
use crate::train::random::random_for;
use crate::{Error, Result};

/// What stands before the names of a Combiner's tensors in a run.
pub const PLACE: &str = "combiner/";

/// A Combiner beside the encoders of a run; its tensors are among the run's.
pub struct Combiner {
    pub config: CombinerConfig,
    dropout: f64,
}

impl Combiner {
    /// Reads the start's weights or draws new ones; gives them by their names in the run.
    ///
    /// # Errors
    /// `NotFound` for the start; `FailedPrecondition` for one of another space or a damaged one.
    pub fn new(
        recipe: &CombinerRecipe,
        models_dir: &Path,
        encoder: &ModelFolder,
        (space, dimension): (&str, usize),
        seed: u64,
        device: Device,
    ) -> Result<(Self, BTreeMap<String, Tensor>)> {
        let start = recipe.start.as_ref().map(|name| folder::resolve(models_dir, name)).transpose()?;
        let config = match &start {
            Some(start) => CombinerConfig::read(&start.path)?,
            None => CombinerConfig {
                model_type: MODEL_TYPE.to_owned(),
                dimension,
                projection_dim: width(recipe.projection, dimension),
                hidden_dim: width(recipe.hidden, dimension),
                space: space.to_owned(),
                encoder: encoder.full_name(),
                features: recipe.features,
            },
        };
        if (config.space.as_str(), config.dimension) != (space, dimension) {
            return Err(Error::FailedPrecondition {
                reason: "SPACE_MISMATCH",
                message: format!(
                    "the combiner was trained in space {}, {} writes to {space}",
                    config.space,
                    encoder.full_name()
                ),
            });
        }
        let weights = start.map(|start| Weights::open(&[start.path.join(WEIGHTS)], Kind::Float, device)).transpose()?;
        let combiner = Self { config, dropout: recipe.dropout };
        let mut tensors = combiner.new_tensors(seed, device);
        if let Some(weights) = &weights {
            for (name, tensor) in &mut tensors {
                *tensor = weights.tensor(name.trim_start_matches(PLACE), &tensor.size())?;
            }
        }
        Ok((combiner, tensors))
    }

    /// New weights, drawn from a seed, by their names in the run.
    #[must_use]
    pub fn new_tensors(&self, seed: u64, device: Device) -> BTreeMap<String, Tensor> {
        let draw = |(name, shape): (String, Vec<i64>)| {
            let tensor = new_tensor(&name, &shape, fan_in(&name, &self.config), seed).to_device(device);
            (format!("{PLACE}{name}"), tensor)
        };
        self.config.shapes().into_iter().map(draw).collect()
    }

    /// Joins pictures with texts, both `[batch, dimension]` as the encoder gives them: `[batch, dimension]`, normalised. With a
    /// `seed` activations are left out at random.
    ///
    /// # Errors
    /// `Internal` if a tensor is missing.
    pub fn compose(
        &self,
        tensors: &BTreeMap<String, Tensor>,
        images: &Tensor,
        texts: &Tensor,
        seed: Option<u64>,
    ) -> Result<Tensor> {
        let find =
            |name: String| tensors.get(&name).ok_or_else(|| Error::Internal(format!("the run has no tensor {name:?}")));
        let dense = |name: &str, input: &Tensor| -> Result<Tensor> {
            let weight = find(format!("{PLACE}{name}.weight"))?;
            Ok(input.linear(weight, Some(find(format!("{PLACE}{name}.bias"))?)))
        };
        let active = |layer: u64, states: Tensor| match seed {
            Some(seed) if self.dropout > 0.0 => self.leave_out(&states.relu(), seed, layer),
            _ => states.relu(),
        };
        let (images, texts) = match self.config.features {
            CombinerFeatures::Raw => (images.to_kind(Kind::Float), texts.to_kind(Kind::Float)),
            CombinerFeatures::Unit => (normalise(images), normalise(texts)),
        };
        let words = active(0, dense("text_projection_layer", &texts)?);
        let picture = active(1, dense("image_projection_layer", &images)?);
        let both = Tensor::cat(&[words, picture], -1);
        let residual = dense("output_layer", &active(2, dense("combiner_layer", &both)?))?;
        let share = dense("dynamic_scalar.3", &active(3, dense("dynamic_scalar.0", &both)?))?.sigmoid();
        Ok(normalise(&(residual + &share * texts + (1.0 - &share) * images)))
    }
}

impl Combiner {
    /// Leaves activations out at random and scales the others up. The masks come from the seed alone: torch's generator is one for
    /// the whole process.
    fn leave_out(&self, states: &Tensor, seed: u64, layer: u64) -> Tensor {
        let mut bytes = vec![0; 2 * states.numel()];
        random_for(seed, "dropout", &[layer]).fill_bytes(&mut bytes);
        let drawn = Tensor::from_data_size(&bytes, &states.size(), Kind::Int16).to_device(states.device());
        // int16 goes from −32,768 on; as many of its values are below this as are left out.
        let limit = (self.dropout * 65_536.0).round() as i64 - 32_768;
        states * drawn.ge(limit).to_kind(states.kind()) / (1.0 - self.dropout)
    }
}

fn width(times: f64, dimension: usize) -> usize {
    ((times * dimension as f64).round() as usize).max(1)
}

fn fan_in(name: &str, config: &CombinerConfig) -> usize {
    match name.rsplit_once('.').map_or(name, |(layer, _)| layer) {
        "image_projection_layer" | "text_projection_layer" => config.dimension,
        "output_layer" | "dynamic_scalar.3" => config.hidden_dim,
        _ => 2 * config.projection_dim,
    }
}

/// torch's own start for linear layers: uniform within 1/√fan-in, weights and biases alike.
fn new_tensor(name: &str, shape: &[i64], fan_in: usize, seed: u64) -> Tensor {
    let bound = (fan_in as f32).sqrt().recip();
    let mut random = random_for(seed, name, &[]);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| random.random_range(-bound..=bound)).collect();
    Tensor::from_slice(&values).view(shape)
}
