//! Evaluates a filter on a payload.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::ast::{Filter, Operator, Path};
use crate::types::{Payload, Value};

/// Paths on which values of different types met, with the first pair of types; each is warned of once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mismatches(BTreeMap<Path, (&'static str, &'static str)>);

impl Mismatches {
    fn note(&mut self, path: &Path, stored: &Value, wanted: &Value) {
        self.note_types(path, stored.type_name(), wanted.type_name());
    }

    /// Notes that values of one type met another on a path.
    pub fn note_types(&mut self, path: &Path, stored: &'static str, wanted: &'static str) {
        if !self.0.contains_key(path) {
            self.0.insert(path.clone(), (stored, wanted));
        }
    }

    /// Takes over what another evaluation found.
    pub fn merge(&mut self, other: Self) {
        for (path, types) in other.0 {
            self.0.entry(path).or_insert(types);
        }
    }

    /// One sentence for each path.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let sentence = |(path, (stored, wanted)): (&Path, &(&str, &str))| {
            format!(
                "filter: {path} holds a {stored} in some items and was compared with a {wanted}; that comparison is false"
            )
        };
        self.0.iter().map(sentence).collect()
    }
}

/// True if the payload satisfies the filter. A missing field satisfies only `not` and `!=`; on lists any element may
/// satisfy; comparing different types is false.
pub fn matches(filter: &Filter, payload: &Payload, mismatches: &mut Mismatches) -> bool {
    match filter {
        Filter::And(filters) => filters.iter().all(|filter| matches(filter, payload, mismatches)),
        Filter::Or(filters) => filters.iter().any(|filter| matches(filter, payload, mismatches)),
        Filter::Not(filter) => !matches(filter, payload, mismatches),
        Filter::Exists(path) => any_at(payload, path.components(), &mut |_| true),
        Filter::Compare(path, operator, wanted) => {
            let mut found = false;
            let satisfied = any_scalar_at(payload, path, &mut found, &mut |stored| {
                compare(path, stored, *operator, wanted, mismatches)
            });
            satisfied || (!found && *operator == Operator::NotEqual)
        }
        Filter::In(path, wanted) => any_scalar_at(payload, path, &mut false, &mut |stored| {
            wanted.iter().any(|wanted| stored.compare(wanted) == Some(Ordering::Equal))
        }),
        Filter::Prefix(path, prefix) => any_scalar_at(payload, path, &mut false, &mut |stored| match stored {
            Value::String(text) => text.starts_with(prefix.as_str()),
            _ => {
                mismatches.note(path, stored, &Value::String(String::new()));
                false
            }
        }),
    }
}

fn compare(path: &Path, stored: &Value, operator: Operator, wanted: &Value, mismatches: &mut Mismatches) -> bool {
    let Some(ordering) = stored.compare(wanted) else {
        mismatches.note(path, stored, wanted);
        return false;
    };
    match operator {
        Operator::Equal => ordering == Ordering::Equal,
        Operator::NotEqual => ordering != Ordering::Equal,
        Operator::Less => ordering == Ordering::Less,
        Operator::LessOrEqual => ordering != Ordering::Greater,
        Operator::Greater => ordering == Ordering::Greater,
        Operator::GreaterOrEqual => ordering != Ordering::Less,
    }
}

/// Tests the values at a path, looking into lists; sets `found` if the path exists.
fn any_scalar_at(payload: &Payload, path: &Path, found: &mut bool, test: &mut dyn FnMut(&Value) -> bool) -> bool {
    any_at(payload, path.components(), &mut |value| {
        *found = true;
        any_element(value, test)
    })
}

/// Visits every value at a path as comparisons do, looking into lists; true if the path is there.
pub fn values_at<'p>(payload: &'p Payload, path: &Path, visit: &mut dyn FnMut(&'p Value)) -> bool {
    let mut found = false;
    any_at(payload, path.components(), &mut |value| {
        found = true;
        any_element(value, &mut |value| {
            visit(value);
            false
        })
    });
    found
}

fn any_element<'p>(value: &'p Value, test: &mut dyn FnMut(&'p Value) -> bool) -> bool {
    match value {
        Value::List(values) => values.iter().any(|value| any_element(value, test)),
        scalar => test(scalar),
    }
}

/// Tests every value that the path reaches; lists on the way are entered.
fn any_at<'p>(entries: &'p BTreeMap<String, Value>, path: &[String], test: &mut dyn FnMut(&'p Value) -> bool) -> bool {
    let Some((first, rest)) = path.split_first() else { return false };
    entries.get(first).is_some_and(|value| if rest.is_empty() { test(value) } else { any_below(value, rest, test) })
}

fn any_below<'p>(value: &'p Value, path: &[String], test: &mut dyn FnMut(&'p Value) -> bool) -> bool {
    match value {
        Value::Map(entries) => any_at(entries, path, test),
        Value::List(values) => values.iter().any(|value| any_below(value, path, test)),
        _ => false,
    }
}
