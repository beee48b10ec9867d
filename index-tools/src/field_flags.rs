//! The flags that describe a collection's fields: `--text-field`, `--image-field`, `--vector-field`.

use pictor_proto::v1;
use pictor_proto::v1::field_spec::Source;

/// Fields of a new collection, or one field to add.
#[derive(clap::Args, Clone, Debug)]
pub struct FieldFlags {
    /// A field of encoded texts: NAME=ENCODER, with :TEXT,TEXT… to take only the texts of these names
    #[arg(long, value_name = "NAME=ENCODER[:TEXT,…]", value_parser = text_field)]
    pub text_field: Vec<v1::FieldSpec>,
    /// A field of encoded pictures: NAME=ENCODER
    #[arg(long, value_name = "NAME=ENCODER", value_parser = image_field)]
    pub image_field: Vec<v1::FieldSpec>,
    /// A field of your own vectors: NAME=DIMENSION, with @SPACE if another field shares their space
    #[arg(long, value_name = "NAME=DIM[@SPACE]", value_parser = vector_field)]
    pub vector_field: Vec<v1::FieldSpec>,
}

impl FieldFlags {
    /// All fields: texts, then pictures, then vectors.
    #[must_use]
    pub fn specs(&self) -> Vec<v1::FieldSpec> {
        [&self.text_field, &self.image_field, &self.vector_field].into_iter().flatten().cloned().collect()
    }
}

fn named(text: &str) -> Result<(&str, &str), String> {
    match text.split_once('=') {
        Some((name, rest)) if !name.is_empty() && !rest.is_empty() => Ok((name, rest)),
        _ => Err(format!("expected NAME=…, got {text:?}")),
    }
}

fn text_field(text: &str) -> Result<v1::FieldSpec, String> {
    let (name, rest) = named(text)?;
    let (encoder, names) = match rest.split_once(':') {
        None => (rest, Vec::new()),
        Some((encoder, names)) => (encoder, names.split(',').map(str::to_owned).collect()),
    };
    if encoder.is_empty() || names.iter().any(String::is_empty) {
        return Err(format!("expected NAME=ENCODER[:TEXT,…], got {text:?}"));
    }
    let source = Source::Text(v1::TextSource { encoder: encoder.to_owned(), names });
    Ok(v1::FieldSpec { name: name.to_owned(), source: Some(source) })
}

fn image_field(text: &str) -> Result<v1::FieldSpec, String> {
    let (name, encoder) = named(text)?;
    let source = Source::Media(v1::MediaSource { encoder: encoder.to_owned() });
    Ok(v1::FieldSpec { name: name.to_owned(), source: Some(source) })
}

fn vector_field(text: &str) -> Result<v1::FieldSpec, String> {
    let (name, rest) = named(text)?;
    let (dimension, space) = rest.split_once('@').unwrap_or((rest, ""));
    let dimension =
        dimension.parse().map_err(|_| format!("expected a dimension like 512 after {name}=, got {dimension:?}"))?;
    let source = Source::Vector(v1::VectorSource { dimension, space: space.to_owned() });
    Ok(v1::FieldSpec { name: name.to_owned(), source: Some(source) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read() {
        let field = text_field("text=mini@abc:name,keywords").expect("a field");
        let expected = v1::TextSource { encoder: "mini@abc".into(), names: vec!["name".into(), "keywords".into()] };
        assert_eq!(field, v1::FieldSpec { name: "text".into(), source: Some(Source::Text(expected)) });
        let field = vector_field("vec=512@clip").expect("a field");
        let expected = v1::VectorSource { dimension: 512, space: "clip".into() };
        assert_eq!(field.source, Some(Source::Vector(expected)));
        assert!(image_field("image=clip").is_ok());
        for bad in ["", "text", "=mini", "text=", "text=mini:", "text=:a", "text=mini:a,,b"] {
            assert!(text_field(bad).is_err(), "{bad:?}");
        }
        assert!(vector_field("vec=-1").is_err());
        assert!(vector_field("vec=many").is_err());
    }
}
