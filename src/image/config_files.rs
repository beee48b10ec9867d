//! Reads image configurations as model folders have them: Hugging Face's in all their spellings, and open_clip's.

use serde_json::{Map, Value};

use super::coefficients::Filter;
use super::config::{CropRounding, CropRule, ImageConfig, MAX_SIDE, ResizeRule, invalid, unsupported};
use super::pad::PadRule;
use crate::Result;

type Entries = Map<String, Value>;

impl ImageConfig {
    /// Reads `preprocessor_config.json` or `processor_config.json`; what it leaves out is taken from the family's `defaults`.
    ///
    /// Also reads Jina's form, which has open_clip's entries: `mean`, `std`, `interpolation`, `resize_mode`.
    ///
    /// # Errors
    /// `FailedPrecondition` naming an entry that makes no sense; `Unsupported` for steps that are not built.
    pub fn from_hugging_face(value: &Value, defaults: &Self) -> Result<Self> {
        let entries = object("the file", value)?;
        let entries = match present(entries, "image_processor") {
            Some(nested) => object("image_processor", nested)?,
            None => entries,
        };
        if present(entries, "resize_mode").is_some() || present(entries, "interpolation").is_some() {
            return read_open_clip(entries, None, defaults, CropRounding::HalfEven);
        }
        refuse_other_steps(entries)?;
        let mut config = defaults.clone();
        if !flag(entries, "do_resize")?.unwrap_or(true) {
            config.resize = ResizeRule::None;
        } else if let Some(size) = present(entries, "size") {
            let to_square = flag(entries, "default_to_square")?;
            let to_square = to_square.unwrap_or(matches!(defaults.resize, ResizeRule::Exact { .. }));
            config.resize = resize_rule(size, to_square)?;
        }
        if let Some(resample) = present(entries, "resample") {
            config.filter = filter(resample)?;
        }
        if !flag(entries, "do_center_crop")?.unwrap_or(defaults.crop.is_some()) {
            config.crop = None;
        } else if let Some(size) = present(entries, "crop_size") {
            let (height, width) = sides("crop_size", size)?;
            config.crop = Some(CropRule { height, width, rounding: CropRounding::Floor });
        } else if config.crop.is_none() {
            return Err(invalid("do_center_crop", "is true, but there is no crop_size"));
        }
        if let Some(mean) = present(entries, "image_mean") {
            config.mean = triple("image_mean", mean)?;
        }
        if let Some(std) = present(entries, "image_std") {
            config.std = triple("image_std", std)?;
        }
        if !flag(entries, "do_normalize")?.unwrap_or(true) {
            (config.mean, config.std) = ([0.0; 3], [1.0; 3]);
        }
        rescale(&mut config, entries)?;
        config.pad = pad(entries)?;
        config.check()?;
        Ok(config)
    }

    /// Reads `preprocess_cfg` of `open_clip_config.json`; `image_size` is the vision tower's, for files that give no size.
    ///
    /// # Errors
    /// As [`ImageConfig::from_hugging_face`].
    pub fn from_open_clip(preprocess: &Value, image_size: u32) -> Result<Self> {
        let entries = match preprocess {
            Value::Null => &Entries::new(),
            other => object("preprocess_cfg", other)?,
        };
        read_open_clip(entries, Some(image_size), &Self::CLIP, CropRounding::HalfEven)
    }
}

fn read_open_clip(
    entries: &Entries,
    image_size: Option<u32>,
    defaults: &ImageConfig,
    rounding: CropRounding,
) -> Result<ImageConfig> {
    let (height, width) = match (present(entries, "size"), image_size) {
        (Some(size), _) => sides("size", size)?,
        (None, Some(side)) => (side, side),
        (None, None) => defaults.output_size().ok_or_else(|| invalid("size", "is missing"))?,
    };
    let mode = present(entries, "resize_mode").map_or(Ok("shortest"), |mode| text("resize_mode", mode))?;
    let crop = Some(CropRule { height, width, rounding });
    let (resize, crop) = match mode {
        "squash" => (ResizeRule::Exact { height, width }, None),
        _ if height != width => {
            return Err(unsupported("resize_mode", format!("{mode:?} and a size that is not square")));
        }
        "shortest" => (ResizeRule::Shortest(height), crop),
        "longest" => (ResizeRule::Longest(height), crop),
        _ => return Err(invalid("resize_mode", format!("expected shortest, longest or squash, found {mode:?}"))),
    };
    if let Some(colour) = present(entries, "fill_color").filter(|colour| colour.as_i64() != Some(0)) {
        return Err(unsupported("fill_color", colour));
    }
    if let Some(mode) = present(entries, "mode").filter(|mode| mode.as_str() != Some("RGB")) {
        return Err(unsupported("mode", mode));
    }
    let filter = match present(entries, "interpolation") {
        // Training with a random filter means bicubic for everything else.
        Some(name) if name.as_str() == Some("random") => Filter::Bicubic,
        Some(name) => filter(name)?,
        None => Filter::Bicubic,
    };
    let numbers = |names: [&str; 2], default: [f32; 3]| {
        let found = names.into_iter().find_map(|name| present(entries, name).map(|value| (name, value)));
        found.map_or(Ok(default), |(name, value)| triple(name, value))
    };
    let mean = numbers(["mean", "image_mean"], defaults.mean)?;
    let std = numbers(["std", "image_std"], defaults.std)?;
    let config = ImageConfig { pad: pad(entries)?, resize, filter, crop, mean, std };
    config.check()?;
    Ok(config)
}

/// Steps of other processors that would change the pixels.
fn refuse_other_steps(entries: &Entries) -> Result<()> {
    for name in
        ["do_pad", "do_thumbnail", "do_align_long_axis", "do_flip_channel_order", "rescale_offset", "do_reduce_labels"]
    {
        if flag(entries, name)?.unwrap_or(false) {
            return Err(unsupported(name, "true"));
        }
    }
    for name in ["crop_pct", "max_num_patches", "size_divisor", "min_pixels", "max_pixels"] {
        if let Some(value) = present(entries, name) {
            return Err(unsupported(name, value));
        }
    }
    Ok(())
}

/// Our own entry: no published processor pads before it resizes.
fn pad(entries: &Entries) -> Result<Option<PadRule>> {
    let Some(value) = present(entries, "pictor_pad") else { return Ok(None) };
    let rule = object("pictor_pad", value)?;
    let ratio = match present(rule, "ratio") {
        None => None,
        Some(ratio) => Some(
            ratio.as_f64().ok_or_else(|| invalid("pictor_pad.ratio", format!("expected a number, found {ratio}")))?,
        ),
    };
    let kind = rule.get("kind").and_then(Value::as_str);
    let unknown = rule.keys().find(|name| !matches!(name.as_str(), "kind" | "ratio"));
    match (kind, ratio, unknown) {
        (Some("target"), None, None) => Ok(Some(PadRule::TARGET)),
        (Some("target"), Some(ratio), None) => Ok(Some(PadRule::Target { ratio })),
        (Some("square"), None, None) => Ok(Some(PadRule::Square)),
        _ => {
            let expected = r#"expected {"kind": "target", "ratio": 1.25} or {"kind": "square"}"#;
            Err(invalid("pictor_pad", format!("{expected}, found {value}")))
        }
    }
}

/// A factor other than 1/255 is the same as another mean and deviation.
fn rescale(config: &mut ImageConfig, entries: &Entries) -> Result<()> {
    let factor = match present(entries, "rescale_factor") {
        _ if !flag(entries, "do_rescale")?.unwrap_or(true) => 1.0,
        None => return Ok(()),
        Some(value) => value
            .as_f64()
            .filter(|factor| (1e-6..=1e3).contains(factor))
            .ok_or_else(|| invalid("rescale_factor", format!("expected a positive number, found {value}")))?,
    };
    let white = factor * 255.0;
    if (white - 1.0).abs() > 1e-6 {
        config.mean = config.mean.map(|mean| (f64::from(mean) / white) as f32);
        config.std = config.std.map(|std| (f64::from(std) / white) as f32);
    }
    Ok(())
}

fn resize_rule(size: &Value, to_square: bool) -> Result<ResizeRule> {
    let Value::Object(entries) = size else {
        let (height, width) = sides("size", size)?;
        let is_one_number = size.is_number() || size.as_array().is_some_and(|sides| sides.len() == 1);
        return Ok(match is_one_number && !to_square {
            true => ResizeRule::Shortest(height),
            false => ResizeRule::Exact { height, width },
        });
    };
    let names: Vec<&str> =
        entries.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.as_str()).collect();
    match names[..] {
        ["shortest_edge"] => Ok(ResizeRule::Shortest(side("size.shortest_edge", &entries["shortest_edge"])?)),
        ["longest_edge"] => Ok(ResizeRule::Longest(side("size.longest_edge", &entries["longest_edge"])?)),
        ["height", "width"] | ["width", "height"] => {
            let (height, width) = sides("size", size)?;
            Ok(ResizeRule::Exact { height, width })
        }
        _ => {
            Err(unsupported("size", format!("of {names:?}; expected shortest_edge, longest_edge, or height and width")))
        }
    }
}

/// Height and width from a number, a list of one or two, or an object of both.
fn sides(name: &str, value: &Value) -> Result<(u32, u32)> {
    let two = |height: &Value, width: &Value| Ok((side(name, height)?, side(name, width)?));
    match value {
        Value::Number(_) => two(value, value),
        Value::Array(list) => match &list[..] {
            [both] => two(both, both),
            [height, width] => two(height, width),
            _ => Err(invalid(name, format!("expected one or two numbers, found {value}"))),
        },
        Value::Object(entries) => match (entries.get("height"), entries.get("width"), entries.get("shortest_edge")) {
            (Some(height), Some(width), _) => two(height, width),
            (None, None, Some(both)) => two(both, both),
            _ => Err(invalid(name, format!("expected height and width, found {value}"))),
        },
        _ => Err(invalid(name, format!("expected a number of pixels, found {value}"))),
    }
}

fn side(name: &str, value: &Value) -> Result<u32> {
    let whole = value.as_u64().or_else(|| value.as_f64().filter(|side| side.fract() == 0.0).map(|side| side as u64));
    let side = whole.and_then(|side| u32::try_from(side).ok()).filter(|side| (1..=MAX_SIDE).contains(side));
    side.ok_or_else(|| invalid(name, format!("expected 1 to {MAX_SIDE} pixels, found {value}")))
}

/// Pillow's number, or a name in any case, with or without the name of its enum before it.
fn filter(value: &Value) -> Result<Filter> {
    let found = match value {
        Value::String(name) => match name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "nearest" => Some(Filter::Nearest),
            "box" => Some(Filter::Box),
            "bilinear" | "linear" => Some(Filter::Bilinear),
            "bicubic" | "cubic" => Some(Filter::Bicubic),
            "lanczos" | "antialias" => Some(Filter::Lanczos),
            _ => None,
        },
        other => other.as_u64().and_then(Filter::from_pillow),
    };
    let known = "expected 0 to 4, nearest, box, bilinear, bicubic or lanczos";
    found.ok_or_else(|| invalid("resample", format!("{known}, found {value}")))
}

fn triple(name: &str, value: &Value) -> Result<[f32; 3]> {
    let number = |value: &Value| value.as_f64().map(|number| number as f32);
    let found = match value {
        Value::Array(list) => match &list[..] {
            [grey] => number(grey).map(|grey| [grey; 3]),
            [red, green, blue] => number(red).zip(number(green)).zip(number(blue)).map(|((r, g), b)| [r, g, b]),
            _ => None,
        },
        grey => number(grey).map(|grey| [grey; 3]),
    };
    found.ok_or_else(|| invalid(name, format!("expected three numbers, found {value}")))
}

fn flag(entries: &Entries, name: &str) -> Result<Option<bool>> {
    match present(entries, name) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(other) => Err(invalid(name, format!("expected true or false, found {other}"))),
    }
}

fn text<'a>(name: &str, value: &'a Value) -> Result<&'a str> {
    value.as_str().ok_or_else(|| invalid(name, format!("expected a word, found {value}")))
}

fn object<'a>(name: &str, value: &'a Value) -> Result<&'a Entries> {
    value.as_object().ok_or_else(|| invalid(name, format!("expected an object, found {value}")))
}

/// An entry that is there and not null.
fn present<'a>(entries: &'a Entries, name: &str) -> Option<&'a Value> {
    entries.get(name).filter(|value| !value.is_null())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Error;

    fn clip(resize: ResizeRule, crop: Option<u32>) -> ImageConfig {
        let crop = crop.map(|side| CropRule { height: side, width: side, rounding: CropRounding::Floor });
        ImageConfig { resize, crop, ..ImageConfig::CLIP }
    }

    #[test]
    fn every_spelling_of_hugging_face_is_read() {
        let check = |json: Value, expected: ImageConfig| {
            assert_eq!(
                ImageConfig::from_hugging_face(&json, &ImageConfig::CLIP).expect("readable"),
                expected,
                "{json}"
            );
        };
        let square = |side| ResizeRule::Exact { height: side, width: side };
        check(json!({}), ImageConfig::CLIP);
        check(json!({"size": 336, "crop_size": 336}), clip(ResizeRule::Shortest(336), Some(336)));
        check(json!({"size": {"shortest_edge": 256}}), clip(ResizeRule::Shortest(256), Some(224)));
        check(json!({"size": {"height": 378, "width": 378}, "do_center_crop": false}), clip(square(378), None));
        check(json!({"size": 224, "default_to_square": true, "crop_size": null}), clip(square(224), Some(224)));
        check(json!({"size": [224, 224], "crop_size": {"height": 224, "width": 224}}), clip(square(224), Some(224)));
        check(json!({"do_resize": false}), clip(ResizeRule::None, Some(224)));
        let bilinear = ImageConfig { filter: Filter::Bilinear, ..ImageConfig::CLIP };
        for name in [json!(2), json!("bilinear"), json!("PIL.Image.BILINEAR"), json!("Resampling.BILINEAR")] {
            check(json!({ "resample": name }), bilinear.clone());
        }
        check(
            json!({"image_mean": [0.5, 0.5, 0.5], "image_std": 0.5, "rescale_factor": 0.003_921_568_627_450_98}),
            ImageConfig { mean: [0.5; 3], std: [0.5; 3], ..ImageConfig::CLIP },
        );
        check(json!({"do_normalize": false}), ImageConfig { mean: [0.0; 3], std: [1.0; 3], ..ImageConfig::CLIP });
        // (255 x - 127.5) / 51 = (x - 0.5) / 0.2
        check(
            json!({"do_rescale": false, "image_mean": [127.5, 127.5, 127.5], "image_std": [51.0, 51.0, 51.0]}),
            ImageConfig { mean: [0.5; 3], std: [0.2; 3], ..ImageConfig::CLIP },
        );
        check(
            json!({"image_processor": {"size": 240}, "processor_class": "CLIPProcessor"}),
            clip(ResizeRule::Shortest(240), Some(224)),
        );
        let jina = json!({"image_processor_type": "JinaCLIPImageProcessor", "size": 512, "mean": [0.1, 0.2, 0.3],
            "std": [0.4, 0.5, 0.6], "interpolation": "bicubic", "resize_mode": "shortest", "fill_color": 0});
        let crop = Some(CropRule { height: 512, width: 512, rounding: CropRounding::HalfEven });
        let (mean, std) = ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6]);
        check(
            jina,
            ImageConfig { pad: None, resize: ResizeRule::Shortest(512), filter: Filter::Bicubic, crop, mean, std },
        );
    }

    #[test]
    fn padding_is_read() {
        let check = |json: Value, expected: PadRule| {
            let pad = Some(expected);
            let found = ImageConfig::from_hugging_face(&json!({ "pictor_pad": json }), &ImageConfig::CLIP);
            assert_eq!(found.expect("readable"), ImageConfig { pad, ..ImageConfig::CLIP }, "{json}");
            let found = ImageConfig::from_open_clip(&json!({ "pictor_pad": json }), 224).expect("readable");
            assert_eq!(found.pad, pad, "{json}");
        };
        check(json!({"kind": "target"}), PadRule::TARGET);
        check(json!({"kind": "target", "ratio": 1.5}), PadRule::Target { ratio: 1.5 });
        check(json!({"kind": "square"}), PadRule::Square);
        for json in [
            json!(true),
            json!({}),
            json!({"kind": "white"}),
            json!({"kind": "target", "ratio": 0.5}),
            json!({"kind": "target", "ratio": "wide"}),
            json!({"kind": "square", "ratio": 1.25}),
            json!({"kind": "target", "colour": 255}),
        ] {
            let found = ImageConfig::from_hugging_face(&json!({ "pictor_pad": json }), &ImageConfig::CLIP);
            assert!(matches!(found, Err(Error::FailedPrecondition { .. })), "{json}: {found:?}");
        }
    }

    #[test]
    fn families_differ_in_what_a_number_means() {
        let config = ImageConfig::from_hugging_face(&json!({"size": 384}), &ImageConfig::SIGLIP).expect("readable");
        assert_eq!(config.resize, ResizeRule::Exact { height: 384, width: 384 });
        assert_eq!(config.output_size(), Some((384, 384)));
    }

    #[test]
    fn nonsense_is_named() {
        for (json, word) in [
            (json!([]), "object"),
            (json!({"size": 0}), "size"),
            (json!({"size": 1_000_000}), "size"),
            (json!({"size": 224.5}), "size"),
            (json!({"size": "big"}), "size"),
            (json!({"size": [1, 2, 3]}), "size"),
            (json!({"crop_size": {"height": 3}}), "crop_size"),
            (json!({"resample": 9}), "resample"),
            (json!({"resample": "sharp"}), "resample"),
            (json!({"image_mean": [0.5]}), ""),
            (json!({"image_mean": [0.5, 0.5]}), "image_mean"),
            (json!({"image_std": [0.5, 0.0, 0.5]}), "image_std"),
            (json!({"do_resize": 1}), "do_resize"),
            (json!({"rescale_factor": -1}), "rescale_factor"),
            (json!({"resize_mode": "fill"}), "resize_mode"),
        ] {
            match ImageConfig::from_hugging_face(&json, &ImageConfig::CLIP) {
                Err(Error::FailedPrecondition { message, .. }) => assert!(message.contains(word), "{json}: {message}"),
                Ok(_) => assert!(word.is_empty(), "{json} was accepted"),
                Err(other) => panic!("{json}: {other}"),
            }
        }
        for json in [
            json!({"size": {"shortest_edge": 224, "longest_edge": 500}}),
            json!({"do_pad": true}),
            json!({"crop_pct": 0.875}),
            json!({"max_num_patches": 256}),
            json!({"resize_mode": "shortest", "fill_color": 255}),
        ] {
            let found = ImageConfig::from_hugging_face(&json, &ImageConfig::CLIP);
            assert!(matches!(found, Err(Error::Unsupported(_))), "{json}: {found:?}");
        }
        let no_crop_size = json!({"do_center_crop": true});
        assert!(ImageConfig::from_hugging_face(&no_crop_size, &ImageConfig::VIT).is_err());
    }

    #[test]
    fn open_clip_is_read() {
        let check = |json: Value, expected: ImageConfig| {
            assert_eq!(ImageConfig::from_open_clip(&json, 256).expect("readable"), expected, "{json}");
        };
        let rule = |side| Some(CropRule { height: side, width: side, rounding: CropRounding::HalfEven });
        let shortest = |side| ImageConfig { resize: ResizeRule::Shortest(side), crop: rule(side), ..ImageConfig::CLIP };
        check(json!(null), shortest(256));
        check(json!({"mode": "RGB", "size": [224, 224], "fill_color": 0}), shortest(224));
        check(
            json!({"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic", "resize_mode": "squash"}),
            ImageConfig { resize: ResizeRule::Exact { height: 256, width: 256 }, ..ImageConfig::SIGLIP },
        );
        let longest = ImageConfig { resize: ResizeRule::Longest(256), ..shortest(256) };
        check(json!({"resize_mode": "longest", "interpolation": "random"}), longest);
    }

    #[test]
    fn the_fingerprint_text_is_stable() {
        assert_eq!(
            ImageConfig::VIT.fingerprint_text(),
            r#"{"version":1,"config":{"resize":{"exact":{"height":224,"width":224}},"filter":"bilinear","crop":null,"mean":[0.5,0.5,0.5],"std":[0.5,0.5,0.5]}}"#
        );
        let padded = ImageConfig { pad: Some(PadRule::TARGET), ..ImageConfig::VIT };
        let text = padded.fingerprint_text();
        assert!(text.contains(r#"{"pad":{"kind":"target","ratio":1.25},"resize":"#), "{text}");
        let text = serde_json::to_string(&ImageConfig::CLIP).expect("JSON");
        assert_eq!(serde_json::from_str::<ImageConfig>(&text).expect("an ImageConfig"), ImageConfig::CLIP);
    }
}
