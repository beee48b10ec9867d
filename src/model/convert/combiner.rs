//! CLIP4Cir's `{'epoch', 'Combiner': state_dict}` as a composer's folder.

use serde_json::json;

use super::run::{ConvertRequest, Converted, Tensors, write_json, write_tensors};
use crate::image::ImageRule;
use crate::model::combiner::{self, CombinerConfig, CombinerFeatures};
use crate::model::draft::Draft;
use crate::model::pickle::TorchFile;
use crate::model::{Description, folder};
use crate::{Error, Result};

/// The tensor that a combiner is known by.
pub(super) const ANCHOR: &str = "combiner_layer.weight";

/// Fills the folder with configuration and weights.
pub(super) fn write(request: &ConvertRequest, file: &TorchFile, tensors: &Tensors, draft: &Draft) -> Result<Converted> {
    let Some(encoder) = &request.combiner_space else {
        let message =
            "a combiner takes the vectors of one encoder: name it, NAME or NAME@REVISION, with --combiner-space";
        return Err(Error::invalid("combiner-space", message));
    };
    if request.tokenizer.is_some() || request.pad.is_some() || request.has_gelu {
        return Err(Error::invalid(
            "kind",
            "--tokenizer, --pad and --gelu are for a CLIP, and the file holds a combiner",
        ));
    }
    let encoder = Description::read(&folder::resolve(&request.models_dir, encoder)?, ImageRule::default())?;
    let matrix = |name: &str| match tensors.get(name).map(|tensor| &tensor.shape[..]) {
        Some(&[to, from]) => Ok((to, from)),
        found => Err(file.refuse(format!("{name}: expected a matrix, found {found:?}"))),
    };
    let (projection_dim, dimension) = matrix("text_projection_layer.weight")?;
    let (hidden_dim, _) = matrix(ANCHOR)?;
    let config = CombinerConfig {
        model_type: combiner::MODEL_TYPE.to_owned(),
        dimension,
        projection_dim,
        hidden_dim,
        space: encoder.space.clone(),
        encoder: encoder.folder.full_name(),
        features: CombinerFeatures::Raw,
    };
    for (name, shape) in config.shapes() {
        let tensor = tensors.get(&name).ok_or_else(|| file.refuse(format!("the tensor {name} is missing")))?;
        if !tensor.kind.is_float() || !tensor.shape.iter().map(|size| *size as i64).eq(shape.iter().copied()) {
            let (kind, found) = (tensor.kind, &tensor.shape);
            return Err(file.refuse(format!("{name}: expected floats of shape {shape:?}, found {kind:?} of {found:?}")));
        }
    }
    let known: Vec<String> = config.shapes().into_iter().map(|(name, _)| name).collect();
    if let Some(unknown) = tensors.keys().find(|name| !known.contains(name)) {
        return Err(file.refuse(format!("{unknown} is none of a combiner's tensors")));
    }
    if dimension != encoder.sides.dimension {
        let (name, expected) = (encoder.folder.full_name(), encoder.sides.dimension);
        let message = format!(
            "the combiner takes vectors of {dimension} numbers, but {name} has {expected}; name its own encoder"
        );
        return Err(Error::invalid("combiner-space", message));
    }
    write_json(&draft.path().join(combiner::CONFIG), &json!(config))?;
    write_tensors(&draft.path().join(combiner::WEIGHTS), tensors)?;
    combiner::check(draft.path())?;
    Ok(Converted {
        fingerprint: combiner::fingerprint(draft.path())?,
        space: config.space,
        dimension,
        n_tensors: tensors.len(),
        left_out: Vec::new(),
    })
}
