//! How payloads are written in JSON (docs/payloads.md): null, booleans, strings, lists and objects as themselves; an int as
//! a number without point or exponent, a double with one; a time as `{"$timestamp": "RFC 3339"}`.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use pictor_proto::v1;
use pictor_proto::v1::value::Kind;
use prost_types::Timestamp;
use serde_json::{Map, Number};

pub(crate) const TIMESTAMP_KEY: &str = "$timestamp";

/// A payload as the API carries it.
pub type Payload = BTreeMap<String, v1::Value>;

/// Reads one value.
///
/// # Errors
/// For an integer outside 64 bits or a malformed time.
pub fn value_from_json(json: &serde_json::Value) -> Result<v1::Value> {
    Ok(value(match json {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(flag) => Kind::BoolValue(*flag),
        serde_json::Value::Number(number) => number_from_json(number)?,
        serde_json::Value::String(text) => Kind::StringValue(text.clone()),
        serde_json::Value::Array(values) => {
            Kind::ListValue(v1::ListValue { values: values.iter().map(value_from_json).collect::<Result<_>>()? })
        }
        serde_json::Value::Object(entries) => match entries.get(TIMESTAMP_KEY) {
            Some(time) if entries.len() == 1 => {
                let text = time.as_str().with_context(|| format!("{TIMESTAMP_KEY} takes a string, got {time}"))?;
                Kind::TimestampValue(parse_timestamp(text)?)
            }
            _ => Kind::MapValue(v1::MapValue { entries: payload_from_json(entries)? }),
        },
    }))
}

/// Reads an object as a payload.
///
/// # Errors
/// As [`value_from_json`], naming the key.
pub fn payload_from_json(entries: &Map<String, serde_json::Value>) -> Result<Payload> {
    entries
        .iter()
        .map(|(key, json)| Ok((key.clone(), value_from_json(json).with_context(|| format!("payload key {key:?}"))?)))
        .collect()
}

fn number_from_json(number: &Number) -> Result<Kind> {
    if let Some(int) = number.as_i64() {
        return Ok(Kind::IntValue(int));
    }
    match number.as_f64() {
        Some(double) if number.is_f64() && double.is_finite() => Ok(Kind::DoubleValue(double)),
        _ => bail!("{number} is not a 64-bit signed integer; write it as a double or a string"),
    }
}

/// Reads RFC 3339, like `2026-01-31T12:00:00.5+01:00`.
///
/// # Errors
/// If the text is anything else.
pub fn parse_timestamp(text: &str) -> Result<Timestamp> {
    let parsed: jiff::Timestamp =
        text.parse().ok().with_context(|| format!("expected a time like 2026-01-31T12:00:00Z, got {text:?}"))?;
    // Nanoseconds are never negative: times before 1970 count down in whole seconds and up from there.
    let nanos = parsed.as_nanosecond();
    Ok(Timestamp {
        seconds: i64::try_from(nanos.div_euclid(1_000_000_000))?,
        nanos: i32::try_from(nanos.rem_euclid(1_000_000_000))?,
    })
}

/// Writes a time as RFC 3339 in UTC.
#[must_use]
pub fn timestamp_text(time: &Timestamp) -> String {
    let nanos = i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
    match jiff::Timestamp::from_nanosecond(nanos) {
        Ok(timestamp) => timestamp.to_string(),
        Err(_) => format!("@{}.{:09}", time.seconds, time.nanos),
    }
}

/// Writes one value.
#[must_use]
pub fn value_to_json(value: &v1::Value) -> serde_json::Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::BoolValue(flag)) => (*flag).into(),
        Some(Kind::IntValue(int)) => (*int).into(),
        Some(Kind::DoubleValue(double)) => {
            Number::from_f64(*double).map_or(serde_json::Value::Null, serde_json::Value::Number)
        }
        Some(Kind::StringValue(text)) => text.clone().into(),
        Some(Kind::TimestampValue(time)) => serde_json::json!({ TIMESTAMP_KEY: timestamp_text(time) }),
        Some(Kind::ListValue(list)) => list.values.iter().map(value_to_json).collect(),
        Some(Kind::MapValue(map)) => payload_to_json(&map.entries).into(),
    }
}

/// Writes a payload as an object.
#[must_use]
pub fn payload_to_json(payload: &Payload) -> Map<String, serde_json::Value> {
    payload.iter().map(|(key, value)| (key.clone(), value_to_json(value))).collect()
}

/// Wraps a kind.
#[must_use]
pub const fn value(kind: Kind) -> v1::Value {
    v1::Value { kind: Some(kind) }
}

/// An f32 with as many digits as it has, not with those of its f64 neighbour.
#[must_use]
pub fn short_float(number: f32) -> serde_json::Value {
    number.to_string().parse().ok().and_then(Number::from_f64).map_or(serde_json::Value::Null, Into::into)
}

/// A wire object as JSON; numbers that are whole are integers.
#[must_use]
pub fn struct_to_json(object: &prost_types::Struct) -> serde_json::Value {
    object.fields.iter().map(|(name, value)| (name.clone(), struct_value_to_json(value))).collect::<Map<_, _>>().into()
}

fn struct_value_to_json(value: &prost_types::Value) -> serde_json::Value {
    use prost_types::value::Kind;
    match &value.kind {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::BoolValue(is)) => (*is).into(),
        // Doubles are exact for whole numbers below 2^53.
        Some(Kind::NumberValue(number)) if number.fract() == 0.0 && number.abs() < 9e15 => (*number as i64).into(),
        Some(Kind::NumberValue(number)) => (*number).into(),
        Some(Kind::StringValue(text)) => text.clone().into(),
        Some(Kind::ListValue(list)) => list.values.iter().map(struct_value_to_json).collect(),
        Some(Kind::StructValue(object)) => struct_to_json(object),
    }
}

/// JSON as a value of a wire object, whose numbers are doubles.
#[must_use]
pub fn value_to_struct_value(json: &serde_json::Value) -> prost_types::Value {
    use prost_types::value::Kind;
    let kind = match json {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(is) => Kind::BoolValue(*is),
        serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(text) => Kind::StringValue(text.clone()),
        serde_json::Value::Array(values) => {
            Kind::ListValue(prost_types::ListValue { values: values.iter().map(value_to_struct_value).collect() })
        }
        object @ serde_json::Value::Object(_) => Kind::StructValue(struct_from_json(object)),
    };
    prost_types::Value { kind: Some(kind) }
}

/// A JSON object as a wire object; anything else becomes an empty one.
#[must_use]
pub fn struct_from_json(json: &serde_json::Value) -> prost_types::Struct {
    let entries = json.as_object().into_iter().flatten();
    prost_types::Struct { fields: entries.map(|(name, value)| (name.clone(), value_to_struct_value(value))).collect() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_value() -> impl Strategy<Value = v1::Value> {
        let leaf = prop_oneof![
            Just(value(Kind::NullValue(0))),
            any::<bool>().prop_map(|flag| value(Kind::BoolValue(flag))),
            any::<i64>().prop_map(|int| value(Kind::IntValue(int))),
            any::<f64>()
                .prop_filter("finite", |double| double.is_finite())
                .prop_map(|double| value(Kind::DoubleValue(double))),
            ".*".prop_map(|text| value(Kind::StringValue(text))),
            (-62_135_596_800_i64..=253_402_207_200, 0..1_000_000_000_i32)
                .prop_map(|(seconds, nanos)| value(Kind::TimestampValue(Timestamp { seconds, nanos }))),
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6)
                    .prop_map(|values| value(Kind::ListValue(v1::ListValue { values }))),
                prop::collection::btree_map("[a-z$]{0,4}", inner, 0..6)
                    .prop_map(|entries| value(Kind::MapValue(v1::MapValue { entries }))),
            ]
        })
    }

    proptest! {
        #[test]
        fn json_round_trips_through_text(original in any_value()) {
            let text = value_to_json(&original).to_string();
            let parsed: serde_json::Value = serde_json::from_str(&text).expect("we wrote it");
            prop_assert_eq!(value_from_json(&parsed).expect("we wrote it"), original);
        }
    }

    #[test]
    fn numbers_keep_their_type() {
        let read = |text: &str| value_from_json(&serde_json::from_str(text).expect(text));
        assert_eq!(read("1").expect("int"), value(Kind::IntValue(1)));
        assert_eq!(read("1.0").expect("double"), value(Kind::DoubleValue(1.0)));
        assert_eq!(read("1e2").expect("double"), value(Kind::DoubleValue(100.0)));
        assert!(read("9223372036854775808").is_err());
        assert!(read(r#"{"$timestamp":"yesterday"}"#).is_err());
        assert!(read(r#"{"$timestamp":5}"#).is_err());
        let pair = read(r#"{"$timestamp":"x","y":1}"#).expect("an ordinary map");
        assert!(matches!(pair.kind, Some(Kind::MapValue(_))));
        assert_eq!(short_float(0.1).to_string(), "0.1");
    }
}
