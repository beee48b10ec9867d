//! Payload values, parts, times.

use std::collections::BTreeMap;
use std::time::Duration;

use pictor_proto::v1;
use pictor_proto::v1::value::Kind;

use crate::types::{Error, PartKind, PartRef, Payload, Result, Timestamp, Value};

pub(in crate::rpc) fn payload_from_proto(payload: BTreeMap<String, v1::Value>) -> Result<Payload> {
    let convert = |(key, value): (String, v1::Value)| {
        let value = value_from_proto(value).map_err(|error| error.within(&format!("payload.{key}")))?;
        Ok((key, value))
    };
    payload.into_iter().map(convert).collect()
}

pub(in crate::rpc) fn value_from_proto(value: v1::Value) -> Result<Value> {
    Ok(match value.kind {
        None => return Err(Error::invalid("", "a value without a kind; a null is written as null_value")),
        Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::IntValue(value)) => Value::Int(value),
        Some(Kind::DoubleValue(value)) => Value::Double(value),
        Some(Kind::StringValue(value)) => Value::String(value),
        Some(Kind::TimestampValue(time)) => Value::Timestamp(Timestamp::new(time.seconds, time.nanos)?),
        Some(Kind::ListValue(list)) => {
            Value::List(list.values.into_iter().map(value_from_proto).collect::<Result<_>>()?)
        }
        Some(Kind::MapValue(map)) => {
            let convert = |(key, value)| Ok((key, value_from_proto(value)?));
            Value::Map(map.entries.into_iter().map(convert).collect::<Result<_>>()?)
        }
    })
}

pub(in crate::rpc) fn payload_to_proto(payload: Payload) -> BTreeMap<String, v1::Value> {
    payload.into_iter().map(|(key, value)| (key, value_to_proto(value))).collect()
}

pub(in crate::rpc) fn value_to_proto(value: Value) -> v1::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(v1::NullValue::Unspecified as i32),
        Value::Bool(value) => Kind::BoolValue(value),
        Value::Int(value) => Kind::IntValue(value),
        Value::Double(value) => Kind::DoubleValue(value),
        Value::String(value) => Kind::StringValue(value),
        Value::Timestamp(time) => Kind::TimestampValue(timestamp_to_proto(time)),
        Value::List(values) => {
            Kind::ListValue(v1::ListValue { values: values.into_iter().map(value_to_proto).collect() })
        }
        Value::Map(entries) => Kind::MapValue(v1::MapValue { entries: payload_to_proto(entries) }),
    };
    v1::Value { kind: Some(kind) }
}

pub(in crate::rpc) fn timestamp_to_proto(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.seconds(), nanos: time.nanos() as i32 }
}

pub(in crate::rpc) fn part_to_proto(part: PartRef) -> v1::PartRef {
    let kind = match part.kind {
        PartKind::Media => v1::PartKind::Media,
        PartKind::Text => v1::PartKind::Text,
        PartKind::Vector => v1::PartKind::Vector,
    };
    v1::PartRef { kind: kind as i32, name: part.name, index: part.index }
}

pub(in crate::rpc) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
