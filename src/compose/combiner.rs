//! `combiner`: a trained network that joins a picture and a change in words (Baldrati et al., CLIP4Cir, TOMM 2023,
//! arXiv 2308.11485, §3.2).

use std::fs;
use std::path::Path;
use std::sync::Arc;

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};

use super::{Composed, Composer, ComposerEntry, ComposerSettings, Part, Place};
use crate::distance::dot;
use crate::model::combiner::{CombinerConfig, CombinerFeatures, WEIGHTS, is_combiner};
use crate::model::{ModelFolder, folder};
use crate::types::vector::UnitVector;
use crate::types::{Error, PartKind, Result};

pub(super) const ENTRY: ComposerEntry = ComposerEntry {
    name: "combiner",
    summary: "CLIP4Cir's network for a picture and a change in words; model=NAME[@REVISION] chooses it, else the one trained for the space",
    build: |settings, place| {
        settings.expect_keys(&["model"])?;
        let found = find(settings, place)?;
        let full_name = found.full_name();
        let network = place.network(&full_name, |room| CombinerNetwork::read(&found.path, room))?;
        let config = &network.config;
        if (config.space.as_str(), config.dimension) != (place.space, place.dimension) {
            return Err(Error::FailedPrecondition {
                reason: "SPACE_MISMATCH",
                message: format!(
                    "the combiner {full_name} was trained in space {} and composes no vectors of space {}",
                    config.space, place.space
                ),
            });
        }
        let mut resolved = settings.clone();
        resolved.values.insert("model".to_owned(), full_name);
        Ok((resolved, Arc::new(Combiner { network })))
    },
};

/// The folder that the settings name, or the only one of the space.
fn find(settings: &ComposerSettings, place: &Place<'_>) -> Result<ModelFolder> {
    if let Some(name) = settings.values.get("model") {
        return folder::resolve(place.models_dir(), name).map_err(|error| error.within("composer"));
    }
    let mut found = of_space(place.models_dir(), place.space)?;
    match (found.pop(), found.len()) {
        (Some(only), 0) => Ok(only),
        (None, _) => Err(Error::FailedPrecondition {
            reason: "NO_COMBINER",
            message: format!(
                "no combiner in the models folder was trained in space {}; train one, or use another composer",
                place.space
            ),
        }),
        (Some(last), _) => {
            let names: Vec<_> = found.iter().chain([&last]).map(|model| model.name.as_str()).collect();
            let message = format!("say which one, such as combiner:model={}; there are {}", names[0], names.join(", "));
            Err(Error::invalid("composer", message))
        }
    }
}

/// The current revisions of all Combiners of a space, sorted by name.
fn of_space(models_dir: &Path, space: &str) -> Result<Vec<ModelFolder>> {
    let is_of = |model: &ModelFolder| {
        let current = folder::current_revision(&models_dir.join(&model.name)).ok().flatten();
        current.as_ref() == Some(&model.revision)
            && is_combiner(&model.path)
            && CombinerConfig::read(&model.path).is_ok_and(|config| config.space == space)
    };
    Ok(folder::list(models_dir)?.into_iter().filter(is_of).collect())
}

fn invalid(path: &Path, message: impl std::fmt::Display) -> Error {
    Error::FailedPrecondition { reason: "MODEL_INVALID", message: format!("{}: {message}", path.display()) }
}

/// A picture and changes in words through the network; what is pushed away is subtracted afterwards.
struct Combiner {
    network: Arc<CombinerNetwork>,
}

impl Composer for Combiner {
    fn check(&self, parts: &[Part]) -> Result<()> {
        let wanted = |part: &&Part| part.weight > 0.0;
        let n_texts = parts.iter().filter(wanted).filter(|part| part.kind == PartKind::Text).count();
        let n_pictures = parts.iter().filter(wanted).count() - n_texts;
        if n_pictures != 1 || n_texts == 0 {
            let message = format!(
                "combiner joins one picture, item or vector with one or more texts, got {n_pictures} and {n_texts}; sum and slerp \
                 join anything"
            );
            return Err(Error::invalid("parts", message));
        }
        match parts.iter().filter(wanted).find(|part| (part.weight - 1.0).abs() > f32::EPSILON) {
            None => Ok(()),
            Some(part) => {
                let message =
                    format!("combiner weighs picture and texts by itself, so their weight is 1; got {}", part.weight);
                Err(Error::invalid("parts", message))
            }
        }
    }

    /// Several texts change the picture one after the other, each what the last one gave.
    fn compose(&self, parts: &[Part]) -> Result<Composed> {
        let no_direction = |_| Error::invalid("parts", "picture and words cancel each other out; change the words");
        let (wanted, unwanted): (Vec<&Part>, Vec<&Part>) = parts.iter().partition(|part| part.weight > 0.0);
        let (texts, pictures): (Vec<&Part>, Vec<&Part>) =
            wanted.into_iter().partition(|part| part.kind == PartKind::Text);
        let picture = pictures.first().ok_or_else(|| Error::Internal("a combiner without a picture".to_owned()))?;
        let (mut at, mut lambdas) = (picture.vector.values.clone(), Vec::with_capacity(texts.len()));
        let (picture_length, is_raw) = (picture.vector.norm, self.network.config.features == CombinerFeatures::Raw);
        for text in texts {
            let words = if is_raw { text.raw() } else { text.vector.values.clone() };
            if is_raw {
                at.iter_mut().for_each(|value| *value *= picture_length);
            }
            let (joined, lambda) = self.network.forward(&at, &words);
            lambdas.push(lambda);
            at = UnitVector::normalise(joined).map_err(no_direction)?.values;
        }
        for part in &unwanted {
            at.iter_mut().zip(&part.vector.values).for_each(|(total, value)| *total += part.weight * value);
        }
        if !unwanted.is_empty() {
            at = UnitVector::normalise(at).map_err(no_direction)?.values;
        }
        Ok(Composed { vector: at, lambdas })
    }
}

/// The network's weights in float32. Owned by nobody's thread: a forward pass is a dozen small products.
pub struct CombinerNetwork {
    pub config: CombinerConfig,
    text_projection: Dense,
    image_projection: Dense,
    hidden: Dense,
    output: Dense,
    share_hidden: Dense,
    share: Dense,
}

impl CombinerNetwork {
    /// Reads a folder; `room` is how many bytes the weights may take.
    ///
    /// # Errors
    /// [`Error::FailedPrecondition`] naming the file and tensor at fault, or with `COMBINER_TOO_LARGE`.
    pub fn read(folder: &Path, room: u64) -> Result<Self> {
        let config = CombinerConfig::read(folder)?;
        let path = folder.join(WEIGHTS);
        let CombinerConfig { dimension, projection_dim, hidden_dim, .. } = config;
        let numbers: u64 = config.shapes().iter().map(|(_, shape)| shape.iter().product::<i64>() as u64).sum();
        let needed = numbers * size_of::<f32>() as u64;
        if needed > room {
            let message = format!("{} takes {needed} bytes, composers may take {room}", path.display());
            return Err(Error::FailedPrecondition { reason: "COMBINER_TOO_LARGE", message });
        }
        let bytes = fs::read(&path).map_err(|error| invalid(&path, error))?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| invalid(&path, error))?;
        let dense = |name: &str, from: usize, to: usize| Dense::read(&path, &tensors, name, from, to);
        Ok(Self {
            text_projection: dense("text_projection_layer", dimension, projection_dim)?,
            image_projection: dense("image_projection_layer", dimension, projection_dim)?,
            hidden: dense("combiner_layer", 2 * projection_dim, hidden_dim)?,
            output: dense("output_layer", hidden_dim, dimension)?,
            share_hidden: dense("dynamic_scalar.0", 2 * projection_dim, hidden_dim)?,
            share: dense("dynamic_scalar.3", hidden_dim, 1)?,
            config,
        })
    }

    /// Bytes of the weights.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let all = [
            &self.text_projection,
            &self.image_projection,
            &self.hidden,
            &self.output,
            &self.share_hidden,
            &self.share,
        ];
        all.iter().map(|dense| dense.weight.len() * size_of::<f32>()).sum()
    }

    /// Joins one picture's and one text's vector, both `[dimension]`: the sum v + λ·text + (1 − λ)·image, not normalised, and λ.
    ///
    /// # Panics
    /// Panics if a vector has another dimension.
    #[must_use]
    pub fn forward(&self, image: &[f32], text: &[f32]) -> (Vec<f32>, f32) {
        // Text first, as in the checkpoints.
        let mut both = relu(self.text_projection.forward(text));
        both.extend(relu(self.image_projection.forward(image)));
        let residual = self.output.forward(&relu(self.hidden.forward(&both)));
        let logit = self.share.forward(&relu(self.share_hidden.forward(&both)))[0];
        let lambda = 1.0 / (1.0 + (-logit).exp());
        let joined = residual.iter().zip(text).zip(image);
        (joined.map(|((v, text), image)| v + lambda * text + (1.0 - lambda) * image).collect(), lambda)
    }
}

fn relu(mut values: Vec<f32>) -> Vec<f32> {
    values.iter_mut().for_each(|value| *value = value.max(0.0));
    values
}

/// y = xWᵀ + b.
struct Dense {
    /// Row by row, `[to, from]`.
    weight: Vec<f32>,
    bias: Vec<f32>,
    from: usize,
}

impl Dense {
    fn read(path: &Path, tensors: &SafeTensors<'_>, name: &str, from: usize, to: usize) -> Result<Self> {
        let weight = numbers(path, tensors, &format!("{name}.weight"), &[to, from])?;
        Ok(Self { weight, bias: numbers(path, tensors, &format!("{name}.bias"), &[to])?, from })
    }

    fn forward(&self, input: &[f32]) -> Vec<f32> {
        self.weight.chunks_exact(self.from).zip(&self.bias).map(|(row, bias)| dot(row, input) + bias).collect()
    }
}

/// A tensor's numbers as float32.
fn numbers(path: &Path, tensors: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    let view: TensorView<'_> = tensors.tensor(name).map_err(|error| match error {
        SafeTensorError::TensorNotFound(_) => invalid(path, format!("the tensor {name:?} is missing")),
        other => invalid(path, other),
    })?;
    if view.shape() != shape {
        return Err(invalid(path, format!("{name}: expected the shape {shape:?}, found {:?}", view.shape())));
    }
    let data = view.data();
    let values: Vec<f32> = match view.dtype() {
        Dtype::F32 => data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        Dtype::F16 => data.as_chunks::<2>().0.iter().map(|bytes| half::f16::from_le_bytes(*bytes).to_f32()).collect(),
        Dtype::BF16 => data.as_chunks::<2>().0.iter().map(|bytes| half::bf16::from_le_bytes(*bytes).to_f32()).collect(),
        other => return Err(invalid(path, format!("{name}: expected float32, float16 or bfloat16, found {other:?}"))),
    };
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(values),
        false => Err(invalid(path, format!("{name} holds numbers that are not finite"))),
    }
}
