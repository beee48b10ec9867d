//! A CLIP in OpenAI's names as open_clip lays models out: `open_clip_config.json`, `open_clip_model.safetensors`, `tokenizer.json`.

use serde_json::json;
use tch::{Device, Kind};

use super::run::{ConvertRequest, Converted, Tensors, write_json, write_tensors};
use super::shapes::model_config;
use crate::image::{ImageConfig, ImageRule, PadRule};
use crate::model::Description;
use crate::model::draft::Draft;
use crate::model::fault::cannot_write;
use crate::model::pickle::TorchFile;
use crate::{Error, Result};

/// The tensor that a CLIP is known by.
pub(super) const ANCHOR: &str = "token_embedding.weight";
/// Old archives keep numbers and a mask beside their weights, which follow from the shapes.
const LEFT_OUT: &[&str] = &["attn_mask", "context_length", "input_resolution", "vocab_size"];

/// Fills the folder and loads it once.
pub(super) fn write(
    request: &ConvertRequest,
    file: &TorchFile,
    mut tensors: Tensors,
    is_clip4cir: bool,
    draft: &Draft,
) -> Result<Converted> {
    let Some(tokenizer) = &request.tokenizer else {
        let message = "a .pt file of a CLIP holds no vocabulary: give its tokenizer.json with --tokenizer (that of any published \
            model of OpenAI's CLIP is the same)";
        return Err(Error::invalid("tokenizer", message));
    };
    if request.combiner_space.is_some() {
        return Err(Error::invalid("kind", "--combiner-space is for a combiner, and the file holds a CLIP"));
    }
    let left_out: Vec<String> =
        LEFT_OUT.iter().filter(|name| tensors.remove(**name).is_some()).map(|name| (*name).to_owned()).collect();
    let (mut model_config, image_size) = model_config(&tensors).map_err(|message| file.refuse(message))?;
    model_config["quick_gelu"] = json!(!request.has_gelu);
    let default = is_clip4cir.then_some(PadRule::TARGET);
    let mut preprocess = json!({
        "size": image_size,
        "mode": "RGB",
        "mean": ImageConfig::CLIP.mean.map(shortest_form),
        "std": ImageConfig::CLIP.std.map(shortest_form),
        "interpolation": "bicubic",
        "resize_mode": "shortest",
        "fill_color": 0,
    });
    if let Some(pad) = request.pad.unwrap_or(default) {
        preprocess["pictor_pad"] = json!(pad);
    }
    let folder = draft.path();
    write_json(
        &folder.join("open_clip_config.json"),
        &json!({ "model_cfg": model_config, "preprocess_cfg": preprocess }),
    )?;
    let target = folder.join("tokenizer.json");
    let copy_failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::invalid("tokenizer", format!("there is no file {}", tokenizer.display()))
        }
        _ => cannot_write(&target, &error),
    };
    std::fs::copy(tokenizer, &target).map_err(copy_failed)?;
    write_tensors(&folder.join("open_clip_model.safetensors"), &tensors)?;
    let n_tensors = tensors.len();
    drop(tensors);
    let description = Description::read(&draft.folder(&request.name), ImageRule::default())?;
    // What does not load is not published.
    let checked = description.tokenizer().and_then(|_| description.network(Kind::Float, Device::Cpu));
    checked.map_err(|error| file.refuse(format!("what was made of it does not load: {error}")))?;
    let (fingerprint, space) = (description.fingerprint, description.space);
    Ok(Converted { fingerprint, space, dimension: description.sides.dimension, n_tensors, left_out })
}

/// The shortest decimal that is this float32, for people.
fn shortest_form(number: f32) -> f64 {
    number.to_string().parse().unwrap_or(f64::from(number))
}
