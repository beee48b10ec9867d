//! Jobs as the wire has them.

use std::collections::BTreeMap;

use pictor_proto::v1;
use prost_types::value::Kind;
use serde_json::{Map, Value};

use super::values::timestamp_to_proto;
use crate::store::{JobRecord, JobState};

pub(in crate::rpc) fn job_to_proto(job: JobRecord) -> v1::Job {
    let state = match job.state {
        JobState::Queued => v1::JobState::Queued,
        JobState::Running => v1::JobState::Running,
        JobState::Succeeded => v1::JobState::Succeeded,
        JobState::Failed => v1::JobState::Failed,
        JobState::Cancelled => v1::JobState::Cancelled,
        JobState::Interrupted => v1::JobState::Interrupted,
    };
    v1::Job {
        id: job.id,
        kind: job.kind,
        spec: Some(struct_to_proto(job.spec)),
        state: state.into(),
        done: job.done,
        total: job.total,
        message: job.message,
        error: job.error,
        created: Some(timestamp_to_proto(job.created)),
        heartbeat: Some(timestamp_to_proto(job.heartbeat)),
        result: Some(struct_to_proto(job.result)),
    }
}

/// An object; anything else becomes an empty one.
fn struct_to_proto(value: Value) -> prost_types::Struct {
    match value {
        Value::Object(entries) => {
            let fields = entries.into_iter().map(|(key, value)| (key, value_to_proto(value)));
            prost_types::Struct { fields: fields.collect::<BTreeMap<_, _>>() }
        }
        _ => prost_types::Struct::default(),
    }
}

fn value_to_proto(value: Value) -> prost_types::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(is) => Kind::BoolValue(is),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(values) => {
            Kind::ListValue(prost_types::ListValue { values: values.into_iter().map(value_to_proto).collect() })
        }
        object @ Value::Object(_) => Kind::StructValue(struct_to_proto(object)),
    };
    prost_types::Value { kind: Some(kind) }
}

/// An object; a number that is whole is an integer.
pub(in crate::rpc) fn struct_from_proto(object: prost_types::Struct) -> Map<String, Value> {
    object.fields.into_iter().map(|(key, value)| (key, value_from_proto(value))).collect()
}

fn value_from_proto(value: prost_types::Value) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(is)) => is.into(),
        // Doubles are exact for whole numbers below 2^53.
        Some(Kind::NumberValue(number)) if number.fract() == 0.0 && number.abs() < 9e15 => (number as i64).into(),
        Some(Kind::NumberValue(number)) => number.into(),
        Some(Kind::StringValue(text)) => text.into(),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(value_from_proto).collect(),
        Some(Kind::StructValue(object)) => struct_from_proto(object).into(),
    }
}
