//! How a model wants its pictures: read from the files that its authors publish.

use serde::Serialize;
use serde_json::Value;

use crate::types::{Error, Result};

/// A picture's way from its pixels to a model's input.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ImageConfig {
    pub resize: Resize,
    pub filter: Filter,
    /// Height and width of the window that is cut from the middle; `None` keeps everything.
    pub crop: Option<[u32; 2]>,
    pub rounding: CropRounding,
    /// Subtracted from red, green and blue in 0..1.
    pub mean: [f32; 3],
    /// What is left is divided by this.
    pub std: [f32; 3],
}

/// What becomes of a picture's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Resize {
    None,
    /// The shorter side becomes this; the longer keeps its proportion, rounded down.
    Shortest(u32),
    /// Both become this, whatever the proportion.
    Exact {
        height: u32,
        width: u32,
    },
}

/// The resampling filters of Pillow, all with antialiasing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Filter {
    Box,
    Bilinear,
    Bicubic,
    Lanczos,
}

/// Where the middle is if the margin is odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum CropRounding {
    /// Down, as transformers does.
    Floor,
    /// To the even neighbour, as torchvision and open_clip do.
    HalfEven,
}

/// Sides beyond this are taken for a mistake.
const MAX_SIDE: u64 = 4096;

const OPEN_AI_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const OPEN_AI_STD: [f32; 3] = [0.268_629_54, 0.261_302_58, 0.275_777_11];
const HALF: [f32; 3] = [0.5; 3];

impl ImageConfig {
    /// OpenAI's and most CLIPs'.
    pub const CLIP: Self = Self {
        resize: Resize::Shortest(224),
        filter: Filter::Bicubic,
        crop: Some([224, 224]),
        rounding: CropRounding::Floor,
        mean: OPEN_AI_MEAN,
        std: OPEN_AI_STD,
    };
    /// Squashed to a square.
    pub const SIGLIP: Self = Self {
        resize: Resize::Exact { height: 224, width: 224 },
        filter: Filter::Bicubic,
        crop: None,
        rounding: CropRounding::Floor,
        mean: HALF,
        std: HALF,
    };
    /// Squashed to a square.
    pub const VIT: Self = Self { filter: Filter::Bilinear, ..Self::SIGLIP };
    pub const CHINESE_CLIP: Self = Self::CLIP;

    /// The same for pictures of another side.
    #[must_use]
    pub fn with_side(&self, side: u32) -> Self {
        let resize = match self.resize {
            Resize::None => Resize::None,
            Resize::Shortest(_) => Resize::Shortest(side),
            Resize::Exact { .. } => Resize::Exact { height: side, width: side },
        };
        Self { resize, crop: self.crop.map(|_| [side, side]), ..*self }
    }

    /// Height and width of what comes out: the crop, or the exact size.
    #[must_use]
    pub fn output_size(&self) -> (u32, u32) {
        match (self.crop, self.resize) {
            (Some([height, width]), _) | (None, Resize::Exact { height, width }) => (height, width),
            // Refused by `check`.
            (None, Resize::Shortest(side)) => (side, side),
            (None, Resize::None) => (0, 0),
        }
    }

    /// Reads `preprocessor_config.json`, in any of its spellings, or transformers 5's `processor_config.json`; what is not said
    /// is the family's default.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] naming the entry.
    pub fn from_hugging_face(json: &Value, defaults: &Self) -> Result<Self> {
        let json = json.get("image_processor").filter(|inner| inner.is_object()).unwrap_or(json);
        if json.get("resize_mode").is_some() || json.get("interpolation").is_some() {
            return Self::from_open_clip(json, &Self { rounding: CropRounding::HalfEven, ..*defaults });
        }
        let mut config = *defaults;
        let flag = |name: &str| json.get(name).and_then(Value::as_bool);
        if let Some(size) = json.get("size").filter(|size| !size.is_null()) {
            config.resize = read_size(size, defaults.resize)?;
        }
        if flag("do_resize") == Some(false) {
            config.resize = Resize::None;
        }
        if let Some(crop) = json
            .get("crop_size")
            .filter(|crop| !crop.is_null() && defaults.crop.is_some() | (flag("do_center_crop") == Some(true)))
        {
            config.crop = Some(read_height_width("crop_size", crop)?);
        }
        if flag("do_center_crop") == Some(false) {
            config.crop = None;
        }
        if let Some(filter) = json.get("resample").filter(|filter| !filter.is_null()) {
            config.filter = read_filter("resample", filter)?;
        }
        if let Some(factor) = json.get("rescale_factor").and_then(Value::as_f64)
            && (factor * 255.0 - 1.0).abs() > 1e-3
        {
            let message = format!("expected 1/255, found {factor}");
            return Err(Error::invalid("rescale_factor", message));
        }
        if flag("do_rescale") == Some(false) {
            return Err(Error::invalid("do_rescale", "expected true: networks take pixels between 0 and 1"));
        }
        config.mean = read_three(json, "image_mean", config.mean)?;
        config.std = read_three(json, "image_std", config.std)?;
        if flag("do_normalize") == Some(false) {
            (config.mean, config.std) = ([0.0; 3], [1.0; 3]);
        }
        config.check()
    }

    /// Reads open_clip's `preprocess_cfg`, or the same entries of Jina's `preprocessor_config.json`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] naming the entry.
    pub fn from_open_clip(json: &Value, defaults: &Self) -> Result<Self> {
        let (height, width) = defaults.output_size();
        let size = match json.get("size").filter(|size| !size.is_null()) {
            Some(size) => read_height_width("size", size)?,
            None => [height, width],
        };
        let mode = json.get("resize_mode").and_then(Value::as_str).unwrap_or("shortest");
        let (resize, crop) = match mode {
            "shortest" if size[0] == size[1] => (Resize::Shortest(size[0]), Some(size)),
            "squash" => (Resize::Exact { height: size[0], width: size[1] }, None),
            other => {
                let message = format!("expected shortest (with a square size) or squash, found {other:?}");
                return Err(Error::invalid("resize_mode", message));
            }
        };
        let filter = match json.get("interpolation").filter(|filter| !filter.is_null()) {
            Some(filter) => read_filter("interpolation", filter)?,
            None => Filter::Bicubic,
        };
        let mean = read_three(json, "mean", defaults.mean)?;
        let std = read_three(json, "std", defaults.std)?;
        Self { resize, filter, crop, rounding: defaults.rounding, mean, std }.check()
    }

    /// Accepts what gives every picture the same size and divides by no zero.
    fn check(self) -> Result<Self> {
        if self.crop.is_none() && !matches!(self.resize, Resize::Exact { .. }) {
            let message =
                "expected a crop or an exact size: otherwise pictures of different sizes would meet in one batch";
            return Err(Error::invalid("size", message));
        }
        if let Some(bad) = self.std.iter().find(|std| !std.is_finite() || **std <= 0.0) {
            return Err(Error::invalid("image_std", format!("expected positive numbers, found {bad}")));
        }
        if let Some(bad) = self.mean.iter().find(|mean| !mean.is_finite()) {
            return Err(Error::invalid("image_mean", format!("expected finite numbers, found {bad}")));
        }
        Ok(self)
    }
}

/// A number, `{shortest_edge}` or `{height, width}`; what a bare number means depends on the family.
fn read_size(size: &Value, default: Resize) -> Result<Resize> {
    if let Some(edge) = size.get("shortest_edge") {
        if size.get("longest_edge").is_some_and(|edge| !edge.is_null()) {
            return Err(Error::invalid("size", "longest_edge is not supported"));
        }
        return Ok(Resize::Shortest(read_side("size.shortest_edge", edge)?));
    }
    match (size, default) {
        (Value::Number(_), Resize::Shortest(_)) => Ok(Resize::Shortest(read_side("size", size)?)),
        _ => read_height_width("size", size).map(|[height, width]| Resize::Exact { height, width }),
    }
}

/// A number, `[height, width]` or `{height, width}`.
fn read_height_width(name: &str, value: &Value) -> Result<[u32; 2]> {
    match value {
        Value::Number(_) => read_side(name, value).map(|side| [side, side]),
        Value::Array(sides) if sides.len() == 2 => Ok([read_side(name, &sides[0])?, read_side(name, &sides[1])?]),
        Value::Object(sides) => match (sides.get("height"), sides.get("width")) {
            (Some(height), Some(width)) => Ok([read_side(name, height)?, read_side(name, width)?]),
            _ => Err(Error::invalid(name, format!("expected height and width, found {value}"))),
        },
        _ => Err(Error::invalid(name, format!("expected a number or height and width, found {value}"))),
    }
}

fn read_side(name: &str, value: &Value) -> Result<u32> {
    match value.as_u64() {
        Some(side @ 1..=MAX_SIDE) => Ok(side as u32),
        _ => Err(Error::invalid(name, format!("expected 1 to {MAX_SIDE} pixels, found {value}"))),
    }
}

/// Pillow's number, or its name.
fn read_filter(name: &str, value: &Value) -> Result<Filter> {
    let text = value.as_str().map(str::to_lowercase);
    match (value.as_u64(), text.as_deref()) {
        (Some(1), _) | (_, Some("lanczos")) => Ok(Filter::Lanczos),
        (Some(2), _) | (_, Some("bilinear")) => Ok(Filter::Bilinear),
        (Some(3), _) | (_, Some("bicubic")) => Ok(Filter::Bicubic),
        (Some(4), _) | (_, Some("box")) => Ok(Filter::Box),
        _ => {
            let message = format!("expected 1 (lanczos), 2 (bilinear), 3 (bicubic) or 4 (box), found {value}");
            Err(Error::invalid(name, message))
        }
    }
}

fn read_three(json: &Value, name: &str, default: [f32; 3]) -> Result<[f32; 3]> {
    let numbers = |values: &Vec<Value>| values.iter().map(|value| value.as_f64().map(|value| value as f32)).collect();
    match json.get(name) {
        None | Some(Value::Null) => Ok(default),
        Some(Value::Number(number)) => Ok([number.as_f64().unwrap_or_default() as f32; 3]),
        Some(Value::Array(values)) if values.len() == 3 => {
            let values: Option<Vec<f32>> = numbers(values);
            let values = values.and_then(|values| <[f32; 3]>::try_from(values).ok());
            values.ok_or_else(|| Error::invalid(name, "expected three numbers"))
        }
        Some(other) => Err(Error::invalid(name, format!("expected three numbers, found {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_spelling_is_read() {
        let check = |json: Value, defaults: &ImageConfig, expected: ImageConfig| {
            assert_eq!(ImageConfig::from_hugging_face(&json, defaults).expect("a configuration"), expected, "{json}");
        };
        let (clip, siglip) = (ImageConfig::CLIP, ImageConfig::SIGLIP);
        check(json!({}), &clip, clip);
        check(json!({"size": 336, "crop_size": 336, "resample": 3}), &clip, clip.with_side(336));
        let nested =
            json!({"image_processor": {"size": {"shortest_edge": 288}, "crop_size": {"height": 288, "width": 288}}});
        check(nested, &clip, clip.with_side(288));
        check(
            json!({"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 192}, "resample": "lanczos"}),
            &clip,
            ImageConfig { resize: Resize::Shortest(256), crop: Some([224, 192]), filter: Filter::Lanczos, ..clip },
        );
        let squashed = ImageConfig { resize: Resize::Exact { height: 224, width: 224 }, crop: None, ..clip };
        check(json!({"size": {"height": 224, "width": 224}, "do_center_crop": false}), &clip, squashed);
        check(
            json!({"size": {"height": 384, "width": 384}, "resample": 2}),
            &siglip,
            ImageConfig { filter: Filter::Bilinear, ..siglip.with_side(384) },
        );
        // SigLIP's files may carry a crop size that its processor never uses.
        check(json!({"size": 256, "crop_size": 224}), &siglip, siglip.with_side(256));
        check(json!({"do_normalize": false}), &siglip, ImageConfig { mean: [0.0; 3], std: [1.0; 3], ..siglip });
        check(
            json!({"size": 224, "mean": [0.1, 0.2, 0.3], "interpolation": "bicubic", "resize_mode": "shortest", "fill_color": 0}),
            &clip,
            ImageConfig { mean: [0.1, 0.2, 0.3], rounding: CropRounding::HalfEven, ..clip },
        );
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (json, field) in [
            (json!({"size": {"shortest_edge": 0}}), "size.shortest_edge"),
            (json!({"size": {"longest_edge": 224}}), "size"),
            (json!({"size": 1e9}), "size"),
            (json!({"do_center_crop": false}), "size"),
            (json!({"crop_size": "224"}), "crop_size"),
            (json!({"resample": 0}), "resample"),
            (json!({"image_std": [0.5, 0.0, 0.5]}), "image_std"),
            (json!({"image_mean": [0.5]}), "image_mean"),
            (json!({"rescale_factor": 1.0}), "rescale_factor"),
            (json!({"resize_mode": "longest"}), "resize_mode"),
        ] {
            let error = ImageConfig::from_hugging_face(&json, &ImageConfig::CLIP).expect_err("wrong");
            assert!(matches!(&error, Error::InvalidArgument { field: found, .. } if found == field), "{json}: {error}");
        }
    }
}
