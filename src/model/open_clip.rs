//! open_clip's configuration in the words of Hugging Face's: one loader then serves both.

use std::path::Path;

use serde_json::{Value, json};

use super::fault::invalid_model;
use super::modified_resnet::{self, RESNET_EXPANSION};
use super::network::Config;
use crate::{Error, Result};

/// Translates `open_clip_config.json` of a CLIP with a vision transformer or OpenAI's ResNet.
///
/// # Errors
/// `FailedPrecondition` for what is missing, `Unsupported` for other towers.
pub(super) fn to_hugging_face(path: &Path, config: &Value) -> Result<Value> {
    let model = Config { path, json: config }.section("model_cfg")?;
    let (vision, text) = (model.section("vision_cfg")?, model.section("text_cfg")?);
    let foreign = [(&vision, "timm_model_name"), (&text, "hf_model_name")];
    if let Some((_, entry)) = foreign.iter().find(|(section, entry)| section.json.get(entry).is_some()) {
        return Err(Error::Unsupported(format!("{}: a tower given by {entry}", path.display())));
    }
    for (section, entry) in [
        (&vision, "attentional_pool"),
        (&vision, "no_ln_pre"),
        (&vision, "ls_init_value"),
        (&text, "ls_init_value"),
        (&text, "embed_cls"),
        (&text, "no_causal_mask"),
    ] {
        let value = section.json.get(entry);
        if value.is_some_and(|value| !value.is_null() && value != &Value::Bool(false)) {
            return Err(Error::Unsupported(format!("{}: {entry}", path.display())));
        }
    }
    let inner = |section: &Config<'_>, width: i64| -> Result<i64> {
        Ok((width as f64 * section.get_or("mlp_ratio", 4.0)?) as i64)
    };
    let text_width = text.size_or("width", 512)?;
    let activation = if model.get_or("quick_gelu", false)? { "quick_gelu" } else { "gelu" };
    let width = vision.size("width")?;
    let head_width = vision.size_or("head_width", 64)?;
    let is_resnet = vision.json.get("layers").is_some_and(Value::is_array);
    let attending = if is_resnet { width * RESNET_EXPANSION } else { width };
    if attending % head_width != 0 {
        let message = format!("the width {attending} that attends is not a multiple of head_width {head_width}");
        return Err(invalid_model(path, message));
    }
    let vision_config = if is_resnet {
        json!({
            "model_type": modified_resnet::MODEL_TYPE,
            "width": width,
            "layers": vision.get::<Vec<i64>>("layers")?,
            "num_attention_heads": attending / head_width,
            "image_size": vision.size_or("image_size", 224)?,
        })
    } else {
        json!({
            "hidden_size": width,
            "num_attention_heads": attending / head_width,
            "num_hidden_layers": vision.size("layers")?,
            "intermediate_size": inner(&vision, width)?,
            "image_size": vision.size_or("image_size", 224)?,
            "patch_size": vision.size_or("patch_size", 16)?,
            "hidden_act": activation,
        })
    };
    Ok(json!({
        "model_type": "clip",
        "projection_dim": model.size("embed_dim")?,
        "vision_config": vision_config,
        "text_config": {
            "hidden_size": text_width,
            "num_attention_heads": text.size_or("heads", 8)?,
            "num_hidden_layers": text.size_or("layers", 12)?,
            "intermediate_size": inner(&text, text_width)?,
            "max_position_embeddings": text.size_or("context_length", 77)?,
            "vocab_size": text.size_or("vocab_size", 49_408)?,
            "hidden_act": activation,
            // Read as: the token with the largest id.
            "eos_token_id": 2,
        },
    }))
}
