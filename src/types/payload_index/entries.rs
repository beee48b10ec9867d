//! What of a payload an index holds.

use std::collections::BTreeSet;

use super::{PayloadIndexSpec, encode};
use crate::types::filter::values_at;
use crate::types::{Payload, Value};

/// The type of something at a path; int and double are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum TypeMark {
    /// The path is there and leads to an empty list.
    Nothing = 0,
    Null = 1,
    Bool = 2,
    Number = 3,
    String = 4,
    Timestamp = 5,
    Map = 6,
}

impl TypeMark {
    pub const ALL: [Self; 7] =
        [Self::Nothing, Self::Null, Self::Bool, Self::Number, Self::String, Self::Timestamp, Self::Map];

    /// The word for it in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "empty list",
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Number => "number",
            Self::String => "string",
            Self::Timestamp => "timestamp",
            Self::Map => "map",
        }
    }

    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Bool,
            Value::Int(_) | Value::Double(_) => Self::Number,
            Value::String(_) => Self::String,
            Value::Timestamp(_) => Self::Timestamp,
            Value::List(_) => Self::Nothing,
            Value::Map(_) => Self::Map,
        }
    }
}

/// One thing that an index holds of an item.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    Mark(TypeMark),
    /// As [`encode`] gives it.
    Key(Vec<u8>),
}

impl Entry {
    /// The bytes that are stored; marks sort before keys, keys as their values.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Mark(mark) => vec![0, *mark as u8],
            Self::Key(key) => [&[1], key.as_slice()].concat(),
        }
    }

    /// Reads [`Entry::to_bytes`]; `None` if it is something else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0, mark] => TypeMark::ALL.into_iter().find(|known| *known as u8 == *mark).map(Self::Mark),
            [1, key @ ..] => Some(Self::Key(key.to_vec())),
            _ => None,
        }
    }
}

/// What an index holds of one item; empty if the path is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    pub marks: BTreeSet<TypeMark>,
    /// Keys of distinct values.
    pub keys: BTreeSet<Vec<u8>>,
}

impl Entries {
    /// Everything, marks first.
    pub fn iter(&self) -> impl Iterator<Item = Entry> + '_ {
        self.marks.iter().map(|mark| Entry::Mark(*mark)).chain(self.keys.iter().cloned().map(Entry::Key))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }
}

/// Collects what stands at the index's path, as filters see it.
#[must_use]
pub fn entries_of(spec: &PayloadIndexSpec, payload: &Payload) -> Entries {
    let mut entries = Entries::default();
    let is_there = values_at(payload, &spec.path, &mut |value| {
        entries.marks.insert(TypeMark::of(value));
        entries.keys.extend(encode(spec.kind, value));
    });
    if is_there && entries.marks.is_empty() {
        entries.marks.insert(TypeMark::Nothing);
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::filter::parse_path;
    use crate::types::payload_index::PayloadKind;

    #[test]
    fn entries_are_what_filters_see() {
        let check = |path: &str, json: serde_json::Value, marks: &[TypeMark], n_keys: usize| {
            let payload =
                crate::types::json::payload_from_json(json.as_object().expect("an object")).expect("a payload");
            let spec = PayloadIndexSpec { path: parse_path(path).expect("a path"), kind: PayloadKind::Number };
            let found = entries_of(&spec, &payload);
            assert_eq!(found.marks.into_iter().collect::<Vec<_>>(), marks, "{path} of {json}");
            assert_eq!(found.keys.len(), n_keys, "{path} of {json}");
        };
        check("a", serde_json::json!({"b": 1}), &[], 0);
        check("a", serde_json::json!({"a": 1}), &[TypeMark::Number], 1);
        check(
            "a",
            serde_json::json!({"a": [1, 1.0, 2, "x", null, [3]]}),
            &[TypeMark::Null, TypeMark::Number, TypeMark::String],
            3,
        );
        check("a", serde_json::json!({"a": []}), &[TypeMark::Nothing], 0);
        check("a", serde_json::json!({"a": {"b": 1}}), &[TypeMark::Map], 0);
        check("a.b", serde_json::json!({"a": [{"b": 1}, {"b": [2, 3]}, {"c": 4}]}), &[TypeMark::Number], 3);
    }
}
