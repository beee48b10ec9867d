//! Payload values.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::limits::{PAYLOAD_BYTES, PAYLOAD_DEPTH};
use super::{Error, Result, Timestamp};

/// One payload value. Integers are exact; doubles are finite.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    String(String),
    Timestamp(Timestamp),
    List(Vec<Value>),
    Map(BTreeMap<String, Value>),
}

/// What a caller attaches to an item.
pub type Payload = BTreeMap<String, Value>;

impl Value {
    /// The name of the value's type, for messages.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Timestamp(_) => "timestamp",
            Self::List(_) => "list",
            Self::Map(_) => "map",
        }
    }

    /// Orders two values of comparable types; `None` if the types differ. Int and double compare exactly.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Null, Self::Null) => Some(Ordering::Equal),
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Double(a), Self::Double(b)) => a.partial_cmp(b),
            (Self::Int(a), Self::Double(b)) => compare_int_double(*a, *b),
            (Self::Double(a), Self::Int(b)) => compare_int_double(*b, *a).map(Ordering::reverse),
            (Self::String(a), Self::String(b)) => Some(a.cmp(b)),
            (Self::Timestamp(a), Self::Timestamp(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    /// Levels of lists and maps in this value; a scalar has 0.
    fn check_shape(&self, path: &str, depth_left: usize) -> Result<()> {
        match self {
            Self::Double(number) if !number.is_finite() => {
                Err(Error::invalid(path, format!("a double must be finite, got {number}")))
            }
            Self::List(_) | Self::Map(_) if depth_left == 0 => Err(Error::LimitExceeded {
                what: path.to_owned(),
                name: PAYLOAD_DEPTH.name,
                cap: PAYLOAD_DEPTH.cap,
                found: PAYLOAD_DEPTH.cap + 1,
            }),
            Self::List(values) => values.iter().try_for_each(|value| value.check_shape(path, depth_left - 1)),
            Self::Map(entries) => entries.values().try_for_each(|value| value.check_shape(path, depth_left - 1)),
            _ => Ok(()),
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) => 1,
            Self::Int(_) | Self::Double(_) => 9,
            Self::Timestamp(_) => 13,
            Self::String(text) => 5 + text.len(),
            Self::List(values) => 5 + values.iter().map(Self::size).sum::<usize>(),
            Self::Map(entries) => 5 + entries.iter().map(|(key, value)| 5 + key.len() + value.size()).sum::<usize>(),
        }
    }
}

/// Exact even where the integer has no double, e.g. 2⁵³ + 1.
fn compare_int_double(int: i64, double: f64) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    // 2⁶³ is a double; i64::MAX is not.
    if double >= 9_223_372_036_854_775_808.0 {
        return Some(Ordering::Less);
    }
    if double < -9_223_372_036_854_775_808.0 {
        return Some(Ordering::Greater);
    }
    let whole = double.trunc();
    let fraction = double - whole;
    Some(int.cmp(&(whole as i64)).then_with(|| 0.0_f64.total_cmp(&(fraction + 0.0))))
}

/// Accepts a payload within the caps: depth ≤ 8, ≤ 64 KiB, finite doubles, no empty key.
///
/// # Errors
/// [`Error::InvalidArgument`] or [`Error::LimitExceeded`], naming the key.
pub fn check_payload(payload: &Payload) -> Result<()> {
    let mut size = 0;
    for (key, value) in payload {
        if key.is_empty() {
            return Err(Error::invalid("payload", "a key must not be empty"));
        }
        value.check_shape(&format!("payload.{key}"), PAYLOAD_DEPTH.get() - 1)?;
        size += 5 + key.len() + value.size();
    }
    PAYLOAD_BYTES.check("payload", size)
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering::{Equal, Greater, Less};

    use super::*;

    #[test]
    fn int_and_double_compare_exactly() {
        let check = |int: i64, double: f64, expected| {
            assert_eq!(Value::Int(int).compare(&Value::Double(double)), Some(expected), "{int} and {double}");
            assert_eq!(Value::Double(double).compare(&Value::Int(int)), Some(expected.reverse()), "{double} and {int}");
        };
        check(1, 1.0, Equal);
        check(0, -0.0, Equal);
        check(1, 1.5, Less);
        check(-1, -1.5, Greater);
        check(9_007_199_254_740_993, 9_007_199_254_740_992.0, Greater);
        check(i64::MAX, 9_223_372_036_854_775_807.0, Less);
        check(i64::MIN, -9_223_372_036_854_775_808.0, Equal);
        check(i64::MIN, f64::MIN, Greater);
        check(i64::MAX, f64::MAX, Less);
    }

    #[test]
    fn payload_caps_hold() {
        let nested = |levels: usize| (0..levels).fold(Value::Int(1), |inner, _| Value::List(vec![inner]));
        let payload = |value| Payload::from([("k".to_owned(), value)]);
        assert!(check_payload(&payload(nested(7))).is_ok());
        assert!(matches!(check_payload(&payload(nested(8))), Err(Error::LimitExceeded { .. })));
        assert!(check_payload(&payload(Value::String("x".repeat(65_000)))).is_ok());
        assert!(matches!(check_payload(&payload(Value::String("x".repeat(66_000)))), Err(Error::LimitExceeded { .. })));
        assert!(check_payload(&payload(Value::Double(f64::NAN))).is_err());
        assert!(check_payload(&Payload::from([(String::new(), Value::Null)])).is_err());
    }
}
