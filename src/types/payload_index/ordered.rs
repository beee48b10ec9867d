//! Scalar values as bytes whose order is the values' order.

use crate::types::{Timestamp, Value};

use super::PayloadKind;

/// Bytes of a string that its key holds; of a longer one the rest is hashed, so that it is still told from others.
pub const KEYWORD_BYTES: usize = 512;
/// Bytes of a string that a key of [`PayloadKind::Prefix`] holds.
pub const PREFIX_BYTES: usize = 64;

/// What follows a string's bytes: its end, or the hash of a longer one. A zero byte within it is followed by 255.
const END: [u8; 2] = [0, 0];
const CUT: [u8; 2] = [0, 1];
const ZERO: [u8; 2] = [0, 255];
/// Bytes of the hash of what is cut.
const HASH: usize = 16;
/// 2¹⁵: what is added to the rest of an integer, so that it is never negative.
const REST: i128 = 1 << 15;

/// The key of a value in an index of this kind; `None` if the index holds no such values.
#[must_use]
pub fn encode(kind: PayloadKind, value: &Value) -> Option<Vec<u8>> {
    Some(match (kind, value) {
        (PayloadKind::Keyword, Value::String(text)) => keyword(text),
        (PayloadKind::Prefix, Value::String(text)) => {
            let mut key = escaped(&text.as_bytes()[..text.len().min(PREFIX_BYTES)]);
            key.extend(END);
            key
        }
        (PayloadKind::Number, Value::Int(int)) => {
            let double = *int as f64;
            // Below 2⁵³ nothing; above it, what the nearest double leaves out.
            number(double, i128::from(*int) - double as i128)
        }
        (PayloadKind::Number, Value::Double(double)) => number(*double, 0),
        (PayloadKind::Bool, Value::Bool(value)) => vec![u8::from(*value)],
        (PayloadKind::Time, Value::Timestamp(time)) => {
            let mut key = ((time.seconds() as u64) ^ (1 << 63)).to_be_bytes().to_vec();
            key.extend(time.nanos().to_be_bytes());
            key
        }
        _ => return None,
    })
}

/// What the keys of all strings begin with that begin with `text`; `None` if the keys of this kind hold too little of them.
#[must_use]
pub fn prefix_start(kind: PayloadKind, text: &str) -> Option<Vec<u8>> {
    let most = match kind {
        PayloadKind::Keyword => KEYWORD_BYTES,
        PayloadKind::Prefix => PREFIX_BYTES,
        _ => return None,
    };
    (text.len() <= most).then(|| escaped(text.as_bytes()))
}

/// The value that a key stands for, a string perhaps cut and then ending with an ellipsis; `None` if it is no key of the kind.
#[must_use]
pub fn decode(kind: PayloadKind, key: &[u8]) -> Option<Value> {
    match kind {
        PayloadKind::Keyword | PayloadKind::Prefix => decode_string(key),
        PayloadKind::Number => decode_number(key),
        PayloadKind::Bool => Some(Value::Bool(*key.first()? != 0)),
        PayloadKind::Time => {
            let seconds = (u64::from_be_bytes(key.get(..8)?.try_into().ok()?) ^ (1 << 63)) as i64;
            let nanos = i32::try_from(u32::from_be_bytes(key.get(8..12)?.try_into().ok()?)).ok()?;
            Timestamp::new(seconds, nanos).ok().map(Value::Timestamp)
        }
    }
}

fn keyword(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut key = escaped(&bytes[..bytes.len().min(KEYWORD_BYTES)]);
    if bytes.len() > KEYWORD_BYTES {
        key.extend(CUT);
        key.extend(&blake3::hash(bytes).as_bytes()[..HASH]);
    } else {
        key.extend(END);
    }
    key
}

fn escaped(bytes: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(bytes.len() + 2);
    for &byte in bytes {
        match byte {
            0 => key.extend(ZERO),
            byte => key.push(byte),
        }
    }
    key
}

fn decode_string(key: &[u8]) -> Option<Value> {
    let mut bytes = Vec::with_capacity(key.len());
    let mut left = key;
    loop {
        match left {
            [0, 255, rest @ ..] => {
                bytes.push(0);
                left = rest;
            }
            [0, end, ..] => {
                let mut text = match std::str::from_utf8(&bytes) {
                    Ok(text) => text.to_owned(),
                    // Cut within a character.
                    Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()?.to_owned(),
                };
                if *end == CUT[1] {
                    text.push('…');
                }
                return Some(Value::String(text));
            }
            [byte, rest @ ..] => {
                bytes.push(*byte);
                left = rest;
            }
            [] => return None,
        }
    }
}

/// The nearest double in an order of unsigned numbers, and then what it leaves out: a double beyond the nearest one of an integer is also
/// beyond the integer itself.
fn number(double: f64, rest: i128) -> Vec<u8> {
    // Minus zero is zero.
    let bits = (double + 0.0).to_bits();
    let ordered = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
    let mut key = ordered.to_be_bytes().to_vec();
    key.extend(u16::try_from(rest + REST).unwrap_or(u16::MAX).to_be_bytes());
    key
}

fn decode_number(key: &[u8]) -> Option<Value> {
    let ordered = u64::from_be_bytes(key.get(..8)?.try_into().ok()?);
    let rest = i128::from(u16::from_be_bytes(key.get(8..10)?.try_into().ok()?)) - REST;
    let double = f64::from_bits(if ordered >> 63 == 1 { ordered & !(1 << 63) } else { !ordered });
    let whole = double as i128 + rest;
    match i64::try_from(whole) {
        Ok(int) if double.fract() == 0.0 => Some(Value::Int(int)),
        _ => Some(Value::Double(double)),
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;

    fn scalar() -> impl Strategy<Value = Value> {
        let near = |at: i64| (-3_i64..3).prop_map(move |step| Value::Int(at.saturating_add(step)));
        prop_oneof![
            any::<i64>().prop_map(Value::Int),
            near(1 << 53),
            near(i64::MAX),
            near(i64::MIN),
            near(0),
            any::<f64>().prop_filter("finite", |double| double.is_finite()).prop_map(Value::Double),
            (-4_i32..4).prop_map(|half| Value::Double(f64::from(half) / 2.0)),
            Just(Value::Double(9_007_199_254_740_992.0)),
            Just(Value::Double(-9_223_372_036_854_775_808.0)),
            "[\u{0}ab\u{1}ÿ]{0,6}".prop_map(Value::String),
            (500_usize..530, "[ab]{0,3}").prop_map(|(n, end)| Value::String("x".repeat(n) + &end)),
            any::<bool>().prop_map(Value::Bool),
            (-9_i64..9, 0_i32..3).prop_filter_map("a time", |(s, n)| Timestamp::new(s, n).ok().map(Value::Timestamp)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn keys_sort_as_values(a in scalar(), b in scalar()) {
            let Some(ordering) = a.compare(&b) else { return Ok(()) };
            let kind = PayloadKind::of(&a).expect("a scalar");
            let key = |value: &Value| encode(kind, value).expect("of this kind");
            let is_cut = |value: &Value| matches!(value, Value::String(text) if text.len() > KEYWORD_BYTES);
            if is_cut(&a) && is_cut(&b) {
                prop_assert_eq!(key(&a) == key(&b), ordering == Ordering::Equal);
            } else {
                prop_assert_eq!(key(&a).cmp(&key(&b)), ordering);
            }
        }

        #[test]
        fn keys_are_read_back(value in scalar()) {
            let kind = PayloadKind::of(&value).expect("a scalar");
            let found = decode(kind, &encode(kind, &value).expect("of this kind")).expect("a key");
            match &value {
                Value::String(text) if text.len() > KEYWORD_BYTES => {
                    prop_assert_eq!(found, Value::String(text[..KEYWORD_BYTES].to_owned() + "…"));
                }
                _ => prop_assert_eq!(found.compare(&value), Some(Ordering::Equal)),
            }
        }

        #[test]
        fn prefixes_begin_the_keys_of_what_begins_with_them(text in "[\u{0}ab]{0,5}", start in "[\u{0}ab]{0,3}") {
            for kind in [PayloadKind::Keyword, PayloadKind::Prefix] {
                let key = encode(kind, &Value::String(text.clone())).expect("a string");
                let start_of = prefix_start(kind, &start).expect("short");
                prop_assert_eq!(key.starts_with(&start_of), text.starts_with(&start), "{:?} {:?}", text, start);
            }
        }
    }

    #[test]
    fn long_texts_are_cut_within_characters_too() {
        let text = "é".repeat(200);
        let key = encode(PayloadKind::Prefix, &Value::String("a".to_owned() + &text)).expect("a string");
        let expected = "a".to_owned() + &"é".repeat(31);
        assert_eq!(decode(PayloadKind::Prefix, &key), Some(Value::String(expected)));
    }
}
