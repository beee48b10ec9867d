//! Gathers hits that share a payload value.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use crate::types::filter::{Path, values_at};
use crate::types::{Payload, Timestamp, Value};

/// What the members of a group share. Int and double that are equal are the same key, kept as an int.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupKey {
    Bool(bool),
    Int(i64),
    Double(GroupDouble),
    String(String),
    Timestamp(Timestamp),
}

/// A double that is not NaN and equals no 64-bit integer; only [`GroupKey::of`] makes it.
#[derive(Clone, Copy, Debug)]
pub struct GroupDouble(f64);

impl GroupDouble {
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl PartialEq for GroupDouble {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for GroupDouble {}

impl PartialOrd for GroupDouble {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for GroupDouble {
    /// By number: neither NaN nor −0 gets in here.
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl GroupKey {
    /// The key of a scalar; `None` for null, NaN, lists and maps.
    #[must_use]
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Int(value) => Some(Self::Int(*value)),
            Value::Double(value) => Self::of_double(*value),
            Value::String(text) => Some(Self::String(text.clone())),
            Value::Timestamp(time) => Some(Self::Timestamp(*time)),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    fn of_double(double: f64) -> Option<Self> {
        if double.is_nan() {
            return None;
        }
        // 2⁶³ is a double; i64::MAX is not.
        let is_in_range = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&double);
        let is_int = is_in_range && double.trunc() == double;
        Some(if is_int { Self::Int(double as i64) } else { Self::Double(GroupDouble(double)) })
    }
}

impl From<GroupKey> for Value {
    /// A value equal to those that the key came from; a whole double comes back as an int.
    fn from(key: GroupKey) -> Self {
        match key {
            GroupKey::Bool(value) => Self::Bool(value),
            GroupKey::Int(value) => Self::Int(value),
            GroupKey::Double(value) => Self::Double(value.get()),
            GroupKey::String(text) => Self::String(text),
            GroupKey::Timestamp(time) => Self::Timestamp(time),
        }
    }
}

/// Candidates that share a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub key: GroupKey,
    /// Indices of candidates, by rank.
    pub members: Vec<usize>,
}

/// The distinct keys of the scalars at the path, in the payload's order; lists are entered as for filters.
#[must_use]
pub fn keys_of(payload: &Payload, path: &Path) -> Vec<GroupKey> {
    let mut keys = Vec::new();
    let mut seen = BTreeSet::new();
    values_at(payload, path, &mut |value| {
        if let Some(key) = GroupKey::of(value)
            && seen.insert(key.clone())
        {
            keys.push(key);
        }
    });
    keys
}

/// Puts each candidate into the groups of all its keys; candidates come in rank order, those without keys join none.
///
/// Groups stand in the order of their best members, those of one candidate in the order of its keys. Gives the first `limit`
/// groups with the first `size` members of each.
#[must_use]
pub fn group(keys: &[Vec<GroupKey>], limit: usize, size: usize) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut places: BTreeMap<&GroupKey, usize> = BTreeMap::new();
    for (index, own_keys) in keys.iter().enumerate() {
        for key in own_keys {
            let place = match places.get(key) {
                Some(&place) => place,
                // The best member comes first, so every further group would stand behind these.
                None if groups.len() >= limit => continue,
                None => {
                    places.insert(key, groups.len());
                    groups.push(Group { key: key.clone(), members: Vec::new() });
                    groups.len() - 1
                }
            };
            let members = &mut groups[place].members;
            // A key that a candidate has twice counts once.
            if members.len() < size && members.last() != Some(&index) {
                members.push(index);
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::super::test_payload::payload;
    use super::*;
    use crate::types::filter::parse_path;

    #[test]
    fn keys_come_back_as_equal_values() {
        let check = |value: Value, expected: Option<Value>| {
            assert_eq!(GroupKey::of(&value).map(Value::from), expected, "{value:?}");
        };
        let time = Timestamp::parse("2026-01-31T12:00:00.5Z").expect("a time");
        for same in [
            Value::Bool(true),
            Value::Int(i64::MIN),
            Value::Double(0.5),
            Value::Double(9_223_372_036_854_775_808.0),
            Value::Double(f64::INFINITY),
            Value::String(String::new()),
            Value::Timestamp(time),
        ] {
            check(same.clone(), Some(same));
        }
        check(Value::Double(3.0), Some(Value::Int(3)));
        check(Value::Double(-0.0), Some(Value::Int(0)));
        check(Value::Double(-9_223_372_036_854_775_808.0), Some(Value::Int(i64::MIN)));
        check(Value::Double(f64::NAN), None);
        check(Value::Null, None);
        check(Value::List(vec![Value::Int(1)]), None);
        check(Value::Map(BTreeMap::new()), None);
    }

    #[test]
    fn keys_are_equal_where_values_are() {
        let check = |a: Value, b: Value, expected: bool| {
            assert_eq!(GroupKey::of(&a) == GroupKey::of(&b), expected, "{a:?} and {b:?}");
            assert_eq!(a.compare(&b) == Some(Ordering::Equal), expected, "{a:?} and {b:?}");
        };
        check(Value::Int(2), Value::Double(2.0), true);
        check(Value::Int(2), Value::Double(2.5), false);
        check(Value::Double(2.5), Value::Double(2.5), true);
        check(Value::Double(0.0), Value::Double(-0.0), true);
        check(Value::Int(9_007_199_254_740_993), Value::Double(9_007_199_254_740_992.0), false);
        check(Value::Int(i64::MAX), Value::Double(9_223_372_036_854_775_808.0), false);
        check(Value::Int(1), Value::Bool(true), false);
        check(Value::String("1".to_owned()), Value::Int(1), false);
    }

    #[test]
    fn keys_are_distinct_and_in_order() {
        let payload = payload(r#"{"a": [{"b": ["y", 2]}, {"b": 2.0}, {"b": [["x"], "y", null, {"c": 1}]}], "d": 1}"#);
        let check = |path: &str, expected: &[Value]| {
            let keys = keys_of(&payload, &parse_path(path).expect(path));
            assert_eq!(keys.into_iter().map(Value::from).collect::<Vec<_>>(), expected, "{path}");
        };
        check("a.b", &[Value::String("y".to_owned()), Value::Int(2), Value::String("x".to_owned())]);
        check("d", &[Value::Int(1)]);
        check("a", &[]);
        check("missing", &[]);
    }

    // Expected groups are worked out by hand.
    #[test]
    fn groups_follow_their_best_members() {
        // Each word is a candidate, each letter one of its keys; `-` has none.
        let check = |candidates: &str, limit: usize, size: usize, expected: &[(&str, &[usize])]| {
            let key = |letter: char| GroupKey::String(letter.to_string());
            let keys: Vec<Vec<GroupKey>> = candidates
                .split_whitespace()
                .map(|word| word.chars().filter(|letter| *letter != '-').map(key).collect())
                .collect();
            let expected: Vec<Group> = expected
                .iter()
                .map(|(name, members)| Group { key: GroupKey::String((*name).to_owned()), members: members.to_vec() })
                .collect();
            assert_eq!(group(&keys, limit, size), expected, "{candidates}, {limit} × {size}");
        };
        check("b a b - c a b", 9, 9, &[("b", &[0, 2, 6]), ("a", &[1, 5]), ("c", &[4])]);
        check("b a b - c a b", 2, 2, &[("b", &[0, 2]), ("a", &[1, 5])]);
        check("b a b - c a b", 1, 1, &[("b", &[0])]);
        check("b a b - c a b", 0, 3, &[]);
        // Several keys: one candidate in several groups, in the order of its keys.
        check("ca ab bc", 9, 9, &[("c", &[0, 2]), ("a", &[0, 1]), ("b", &[1, 2])]);
        check("ca ab bc", 2, 9, &[("c", &[0, 2]), ("a", &[0, 1])]);
        check("aa a", 9, 9, &[("a", &[0, 1])]);
        check("- -", 9, 9, &[]);
        check("", 9, 9, &[]);
    }
}
