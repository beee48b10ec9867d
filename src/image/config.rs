//! What a model wants of its pictures: size, crop, filter, mean and deviation.

use super::coefficients::Filter;
use super::pad::{PadRule, is_possible};
use crate::{Error, Result};

/// Counts the changes of what decoding and preparing make of the same bytes. Part of a model's fingerprint.
pub const IMAGE_RULE_VERSION: u32 = 1;

/// The largest side of a prepared picture in pixels.
pub const MAX_SIDE: u32 = 2048;

/// How pictures are prepared for a model. Its JSON is part of the fingerprint.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ImageConfig {
    /// Before resizing. Absent from the JSON of a configuration without it, whose fingerprint is older than padding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pad: Option<PadRule>,
    pub resize: ResizeRule,
    pub filter: Filter,
    /// Cut from the middle after resizing; pictures that are too small are padded with black.
    pub crop: Option<CropRule>,
    /// Of red, green and blue, where 0 is black and 1 is white.
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

/// Which size a picture is brought to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResizeRule {
    None,
    /// The shorter side gets this length; the longer one keeps the aspect, rounded down.
    Shortest(u32),
    /// The longer side gets this length; the shorter one keeps the aspect, rounded, halves to even.
    Longest(u32),
    /// Both sides, whatever the aspect.
    Exact {
        height: u32,
        width: u32,
    },
}

/// Which part of a resized picture is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CropRule {
    pub height: u32,
    pub width: u32,
    pub rounding: CropRounding,
}

/// Where the middle is if one pixel is left over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CropRounding {
    /// Cutting drops the odd pixel at the end, padding adds it at the start: Hugging Face.
    Floor,
    /// Cutting starts at half the difference, halves to even; padding adds the odd pixel at the end: torchvision, open_clip.
    HalfEven,
}

/// The mean and deviation of OpenAI's CLIP.
const OPENAI: ([f32; 3], [f32; 3]) =
    ([0.481_454_66, 0.457_827_5, 0.408_210_73], [0.268_629_54, 0.261_302_6, 0.275_777_1]);
const HALF: ([f32; 3], [f32; 3]) = ([0.5; 3], [0.5; 3]);

const fn shortest_and_crop(side: u32) -> ImageConfig {
    ImageConfig {
        pad: None,
        resize: ResizeRule::Shortest(side),
        filter: Filter::Bicubic,
        crop: Some(CropRule { height: side, width: side, rounding: CropRounding::Floor }),
        mean: OPENAI.0,
        std: OPENAI.1,
    }
}

const fn squash(side: u32, filter: Filter) -> ImageConfig {
    let resize = ResizeRule::Exact { height: side, width: side };
    ImageConfig { pad: None, resize, filter, crop: None, mean: HALF.0, std: HALF.1 }
}

impl ImageConfig {
    /// transformers' `CLIPImageProcessor`.
    pub const CLIP: Self = shortest_and_crop(224);
    /// transformers' `ChineseCLIPImageProcessor`.
    pub const CHINESE_CLIP: Self = shortest_and_crop(224);
    /// transformers' `SiglipImageProcessor`.
    pub const SIGLIP: Self = squash(224, Filter::Bicubic);
    /// transformers' `ViTImageProcessor`.
    pub const VIT: Self = squash(224, Filter::Bilinear);

    /// The same for square pictures of another side.
    #[must_use]
    pub fn with_side(&self, side: u32) -> Self {
        let resize = match self.resize {
            ResizeRule::None => ResizeRule::None,
            ResizeRule::Shortest(_) => ResizeRule::Shortest(side),
            ResizeRule::Longest(_) => ResizeRule::Longest(side),
            ResizeRule::Exact { .. } => ResizeRule::Exact { height: side, width: side },
        };
        let crop = self.crop.map(|crop| CropRule { height: side, width: side, ..crop });
        Self { resize, crop, ..self.clone() }
    }

    /// The height and width that every prepared picture has, or `None` if they depend on the picture.
    #[must_use]
    pub fn output_size(&self) -> Option<(u32, u32)> {
        match (self.crop, self.resize) {
            (Some(crop), _) => Some((crop.height, crop.width)),
            (None, ResizeRule::Exact { height, width }) => Some((height, width)),
            (None, _) => None,
        }
    }

    /// The stable text that goes into a model's fingerprint: this configuration and [`IMAGE_RULE_VERSION`].
    #[must_use]
    pub fn fingerprint_text(&self) -> String {
        serde_json::json!({ "version": IMAGE_RULE_VERSION, "config": self }).to_string()
    }

    /// Accepts what can be computed.
    ///
    /// # Errors
    /// `FailedPrecondition` naming the entry that is out of range.
    pub fn check(&self) -> Result<()> {
        let side = |name: &str, value: u32| match value {
            1..=MAX_SIDE => Ok(()),
            _ => Err(invalid(name, format!("expected 1 to {MAX_SIDE} pixels, found {value}"))),
        };
        if let Some(PadRule::Target { ratio }) = self.pad
            && !is_possible(ratio)
        {
            return Err(invalid("pictor_pad.ratio", format!("expected 1 to 100, found {ratio}")));
        }
        match self.resize {
            ResizeRule::None => {}
            ResizeRule::Shortest(length) | ResizeRule::Longest(length) => side("size", length)?,
            ResizeRule::Exact { height, width } => {
                side("size.height", height)?;
                side("size.width", width)?;
            }
        }
        if let Some(crop) = self.crop {
            side("crop_size.height", crop.height)?;
            side("crop_size.width", crop.width)?;
        }
        if self.mean.iter().any(|mean| !mean.is_finite() || mean.abs() > 1e3) {
            return Err(invalid("image_mean", format!("expected numbers around 0 to 1, found {:?}", self.mean)));
        }
        if self.std.iter().any(|std| !(1e-6..=1e6).contains(std)) {
            return Err(invalid("image_std", format!("expected positive numbers, found {:?}", self.std)));
        }
        Ok(())
    }
}

/// An entry of a model's image configuration that can never work.
pub(super) fn invalid(entry: &str, message: impl std::fmt::Display) -> Error {
    Error::FailedPrecondition {
        reason: "MODEL_INVALID",
        message: format!("the model's image preprocessing: {entry}: {message}"),
    }
}

/// An entry that means something that is not built.
pub(super) fn unsupported(entry: &str, message: impl std::fmt::Display) -> Error {
    Error::Unsupported(format!("the model's image preprocessing with {entry} {message}"))
}
