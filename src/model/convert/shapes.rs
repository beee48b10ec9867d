//! The sizes of a CLIP in OpenAI's names, read from the shapes of its tensors.

use serde_json::{Value, json};

use super::run::Tensors;

/// Channels of a head, in every model of OpenAI's.
const HEAD_WIDTH: usize = 64;

/// What `model_cfg` says in `open_clip_config.json`, and the side of its pictures.
///
/// # Errors
/// A sentence that names the tensor at fault.
pub(super) fn model_config(tensors: &Tensors) -> Result<(Value, usize), String> {
    let read = Shapes(tensors);
    let [text_width, embed_dim] = read.of("text_projection")?;
    let [context_length, _] = read.of("positional_embedding")?;
    let [vocab_size, _] = read.of("token_embedding.weight")?;
    let text = json!({
        "context_length": context_length,
        "vocab_size": vocab_size,
        "width": text_width,
        "heads": heads(text_width, "text_projection")?,
        "layers": read.layers("transformer.resblocks")?,
        "mlp_ratio": read.mlp_ratio("transformer.resblocks", text_width)?,
    });
    let (vision, image_size) =
        if read.has("visual.layer1.0.conv1.weight") { read.resnet()? } else { read.transformer()? };
    let config = json!({ "embed_dim": embed_dim, "vision_cfg": vision, "text_cfg": text });
    Ok((config, image_size))
}

struct Shapes<'a>(&'a Tensors);

impl Shapes<'_> {
    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn of<const N: usize>(&self, name: &str) -> Result<[usize; N], String> {
        let tensor = self
            .0
            .get(name)
            .ok_or_else(|| format!("the tensor {name} is missing: expected a CLIP in OpenAI's names"))?;
        let found = &tensor.shape;
        let shape = <[usize; N]>::try_from(&found[..]).ok().filter(|shape| !shape.contains(&0));
        shape.ok_or_else(|| format!("{name}: expected {N} axes, found the shape {found:?}"))
    }

    /// How many numbers follow each other behind `place`, from 0 on.
    fn layers(&self, place: &str) -> Result<usize, String> {
        let is_there = |number: &usize| {
            let prefix = format!("{place}.{number}.");
            self.0.range(prefix.clone()..).next().is_some_and(|(name, _)| name.starts_with(&prefix))
        };
        match (0..1024).take_while(is_there).count() {
            0 => Err(format!("there are no tensors {place}.0.…")),
            layers => Ok(layers),
        }
    }

    fn mlp_ratio(&self, place: &str, width: usize) -> Result<f64, String> {
        let [inner, _] = self.of(&format!("{place}.0.mlp.c_fc.weight"))?;
        Ok(inner as f64 / width as f64)
    }

    fn transformer(&self) -> Result<(Value, usize), String> {
        let [width, _, patch, _] = self.of("visual.conv1.weight")?;
        let [positions, _] = self.of("visual.positional_embedding")?;
        let image_size = square_side(positions, "visual.positional_embedding")? * patch;
        let place = "visual.transformer.resblocks";
        heads(width, "visual.conv1.weight")?;
        let vision = json!({
            "image_size": image_size,
            "layers": self.layers(place)?,
            "width": width,
            "head_width": HEAD_WIDTH,
            "patch_size": patch,
            "mlp_ratio": self.mlp_ratio(place, width)?,
        });
        Ok((vision, image_size))
    }

    fn resnet(&self) -> Result<(Value, usize), String> {
        let [width, ..] = self.of::<4>("visual.layer1.0.conv1.weight")?;
        let [positions, output] = self.of("visual.attnpool.positional_embedding")?;
        heads(output, "visual.attnpool.positional_embedding")?;
        // Five halvings.
        let image_size = square_side(positions, "visual.attnpool.positional_embedding")? * 32;
        let layers: Vec<usize> =
            (1..=4).map(|stage| self.layers(&format!("visual.layer{stage}"))).collect::<Result<_, _>>()?;
        let vision = json!({
            "image_size": image_size,
            "layers": layers,
            "width": width,
            "head_width": HEAD_WIDTH,
            "patch_size": null,
        });
        Ok((vision, image_size))
    }
}

fn heads(width: usize, name: &str) -> Result<usize, String> {
    match (width / HEAD_WIDTH, width % HEAD_WIDTH) {
        (heads @ 1.., 0) => Ok(heads),
        _ => Err(format!("{name}: a width of {width} is no multiple of {HEAD_WIDTH}, which OpenAI's heads have")),
    }
}

/// The side of the square that all positions but the first make up.
fn square_side(positions: usize, name: &str) -> Result<usize, String> {
    let side = (positions.saturating_sub(1) as f64).sqrt().round() as usize;
    if side > 0 && side * side + 1 == positions {
        return Ok(side);
    }
    Err(format!("{name}: {positions} positions are not one more than a square"))
}
