//! How payloads are written in JSON (docs/payloads.md): null, booleans, strings, lists and objects as themselves; an int as
//! a number without point or exponent, a double with one; a time as `{"$timestamp": "RFC 3339"}`.

use serde_json::{Map, Number};

use super::{Error, Payload, Result, Timestamp, Value};

const TIMESTAMP_KEY: &str = "$timestamp";

/// Reads one value.
///
/// # Errors
/// [`Error::InvalidArgument`] for an integer outside 64 bits or a malformed time.
pub fn value_from_json(json: &serde_json::Value) -> Result<Value> {
    Ok(match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => number_from_json(number)?,
        serde_json::Value::String(text) => Value::String(text.clone()),
        serde_json::Value::Array(values) => Value::List(values.iter().map(value_from_json).collect::<Result<_>>()?),
        serde_json::Value::Object(entries) => match entries.get(TIMESTAMP_KEY) {
            Some(time) if entries.len() == 1 => {
                let text = time
                    .as_str()
                    .ok_or_else(|| Error::invalid("", format!("{TIMESTAMP_KEY} takes a string, got {time}")))?;
                Value::Timestamp(Timestamp::parse(text)?)
            }
            _ => Value::Map(payload_from_json(entries)?),
        },
    })
}

/// Reads an object as a payload.
///
/// # Errors
/// As [`value_from_json`].
pub fn payload_from_json(entries: &Map<String, serde_json::Value>) -> Result<Payload> {
    entries
        .iter()
        .map(|(key, value)| Ok((key.clone(), value_from_json(value).map_err(|error| error.within(key))?)))
        .collect()
}

fn number_from_json(number: &Number) -> Result<Value> {
    if let Some(int) = number.as_i64() {
        return Ok(Value::Int(int));
    }
    match number.as_f64() {
        Some(double) if number.is_f64() && double.is_finite() => Ok(Value::Double(double)),
        _ => Err(Error::invalid(
            "",
            format!("{number} is not a 64-bit signed integer; write it as a double or a string"),
        )),
    }
}

/// Writes one value.
#[must_use]
pub fn value_to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::Double(value) => Number::from_f64(*value).map_or(serde_json::Value::Null, serde_json::Value::Number),
        Value::String(text) => text.clone().into(),
        Value::Timestamp(time) => serde_json::json!({ TIMESTAMP_KEY: time.to_string() }),
        Value::List(values) => values.iter().map(value_to_json).collect(),
        Value::Map(entries) => payload_to_json(entries).into(),
    }
}

/// Writes a payload as an object.
#[must_use]
pub fn payload_to_json(payload: &Payload) -> Map<String, serde_json::Value> {
    payload.iter().map(|(key, value)| (key.clone(), value_to_json(value))).collect()
}
