//! What a payload value adds to a hit's score.

use std::time::Duration;

use crate::types::filter::{Path, values_at};
use crate::types::{Error, Payload, Result, Timestamp, Value};

/// How a payload value becomes a number from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BoostShape {
    /// Ints and doubles: 0 at `from`, 1 at `to`, linear between them, clamped outside. `from` may be above `to`.
    Number { from: f64, to: f64 },
    /// Times: 0.5^(age / half-life); what lies in the future has age 0.
    Recency { half_life: Duration },
}

/// Adds `weight` times the shape's value to a hit's score; a negative weight pushes down.
#[derive(Clone, Debug, PartialEq)]
pub struct Boost {
    pub path: Path,
    /// Finite and not 0.
    pub weight: f32,
    pub shape: BoostShape,
}

impl Boost {
    /// Accepts a finite weight that is not 0, finite and different ends, a half-life above 0.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a part of `field`.
    pub fn check(&self, field: &str) -> Result<()> {
        if !self.weight.is_finite() || self.weight == 0.0 {
            let message = format!("a weight is finite and not 0, got {}", self.weight);
            return Err(Error::invalid(format!("{field}.weight"), message));
        }
        match self.shape {
            BoostShape::Number { from, to } => check_ends(field, from, to),
            BoostShape::Recency { half_life } if half_life.is_zero() => Err(Error::invalid(
                format!("{field}.half_life"),
                format!("expected a time above 0 s, got {half_life:?}"),
            )),
            BoostShape::Recency { .. } => Ok(()),
        }
    }

    /// What the payload adds to its item's score, from 0 to `weight`. On lists the largest shape value counts; without a value
    /// of the shape's type it is 0.
    #[must_use]
    pub fn value(&self, payload: &Payload, now: Timestamp) -> f32 {
        let mut largest = 0.0_f64;
        values_at(payload, &self.path, &mut |value| {
            if let Some(share) = self.shape.share(value, now) {
                largest = largest.max(share);
            }
        });
        self.weight * largest as f32
    }
}

impl BoostShape {
    /// From 0 to 1; `None` for a value of another type.
    fn share(&self, value: &Value, now: Timestamp) -> Option<f64> {
        match (self, value) {
            (Self::Number { from, to }, Value::Int(number)) => Some(ramp(*number as f64, *from, *to)),
            (Self::Number { from, to }, Value::Double(number)) => Some(ramp(*number, *from, *to)),
            (Self::Recency { half_life }, Value::Timestamp(time)) => {
                Some((-age(*time, now) / half_life.as_secs_f64()).exp2())
            }
            _ => None,
        }
    }
}

fn check_ends(field: &str, from: f64, to: f64) -> Result<()> {
    for (name, end) in [("from", from), ("to", to)] {
        if !end.is_finite() {
            return Err(Error::invalid(format!("{field}.{name}"), format!("expected a finite number, got {end}")));
        }
    }
    if from == to {
        let message = format!("expected another number than from = {from}, got {to}");
        return Err(Error::invalid(format!("{field}.to"), message));
    }
    // Values are divided by the span, which may overflow though both ends are finite.
    if !(to - from).is_finite() {
        let message = format!("expected a finite distance to from = {from:e}, got {to:e}");
        return Err(Error::invalid(format!("{field}.to"), message));
    }
    Ok(())
}

fn ramp(number: f64, from: f64, to: f64) -> f64 {
    ((number - from) / (to - from)).clamp(0.0, 1.0)
}

/// Seconds since `time`; 0 if it is yet to come.
fn age(time: Timestamp, now: Timestamp) -> f64 {
    // The seconds of two times are subtracted as integers, where doubles would lose the nanoseconds.
    let seconds = (now.seconds() - time.seconds()) as f64;
    let nanos = f64::from(now.nanos()) - f64::from(time.nanos());
    (seconds + nanos * 1e-9).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::super::test_payload::payload;
    use super::*;
    use crate::types::filter::parse_path;

    fn boost(weight: f32, shape: BoostShape) -> Boost {
        Boost { path: parse_path("a.b").expect("a path"), weight, shape }
    }

    /// The boost of a payload that holds `json` at the path.
    #[track_caller]
    fn check(boost: &Boost, json: &str, expected: f32) {
        let payload = payload(&format!(r#"{{"a": {{"b": {json}}}}}"#));
        let now = Timestamp::parse("2026-01-31T12:00:00Z").expect("a time");
        let found = boost.value(&payload, now);
        assert!((found - expected).abs() < 1e-6, "{json}: {found}, expected {expected}");
    }

    // Expected values here and below are worked out by hand from the two formulas.
    #[test]
    fn numbers_rise_between_the_ends() {
        let rising = boost(2.0, BoostShape::Number { from: 1.0, to: 5.0 });
        check(&rising, "1", 0.0);
        check(&rising, "2", 0.5);
        check(&rising, "4.5", 1.75);
        check(&rising, "5.0", 2.0);
        check(&rising, "-7", 0.0);
        check(&rising, "1e300", 2.0);
        let falling = boost(-1.0, BoostShape::Number { from: 100.0, to: 20.0 });
        check(&falling, "40", -0.75);
        check(&falling, "200", 0.0);
        check(&falling, "0", -1.0);
    }

    #[test]
    fn times_fade_by_half_lives() {
        let day = boost(2.0, BoostShape::Recency { half_life: Duration::from_secs(24 * 3600) });
        check(&day, r#"{"$timestamp": "2026-01-31T12:00:00Z"}"#, 2.0);
        check(&day, r#"{"$timestamp": "2026-01-30T12:00:00Z"}"#, 1.0);
        // 2 × 0.5^1.5 = 1 / √2.
        check(&day, r#"{"$timestamp": "2026-01-30T00:00:00Z"}"#, std::f32::consts::FRAC_1_SQRT_2);
        check(&day, r#"{"$timestamp": "2026-02-10T00:00:00Z"}"#, 2.0);
        check(&day, r#"{"$timestamp": "0001-01-01T00:00:00Z"}"#, 0.0);
        let short = boost(1.0, BoostShape::Recency { half_life: Duration::from_millis(500) });
        check(&short, r#"{"$timestamp": "2026-01-31T11:59:59.75Z"}"#, std::f32::consts::FRAC_1_SQRT_2);
        check(&short, r#"{"$timestamp": "2026-01-31T12:00:00.75Z"}"#, 1.0);
    }

    #[test]
    fn other_types_add_nothing_and_lists_their_largest() {
        let number = boost(1.0, BoostShape::Number { from: 0.0, to: 4.0 });
        let recency = boost(1.0, BoostShape::Recency { half_life: Duration::from_secs(1) });
        for json in ["null", "true", "\"3\"", "[]", "{\"c\": 3}"] {
            check(&number, json, 0.0);
            check(&recency, json, 0.0);
        }
        check(&number, r#"{"$timestamp": "2026-01-31T12:00:00Z"}"#, 0.0);
        check(&recency, "3", 0.0);
        check(&number, r#"[1, "x", [3, 2]]"#, 0.75);
        let now = Timestamp::parse("2026-01-31T12:00:00Z").expect("a time");
        assert_eq!(number.value(&Payload::new(), now), 0.0);
    }

    #[test]
    fn malformed_boosts_are_refused() {
        let number = |from, to| boost(1.0, BoostShape::Number { from, to });
        assert_eq!(number(1.0, 5.0).check("boosts[0]"), Ok(()));
        assert_eq!(number(5.0, -1.0).check("boosts[0]"), Ok(()));
        let day = BoostShape::Recency { half_life: Duration::from_secs(86_400) };
        assert_eq!(boost(-0.5, day).check("boosts[0]"), Ok(()));
        let check = |boost: &Boost, expected: &str| {
            assert_eq!(boost.check("boosts[0]").expect_err(expected).to_string(), expected);
        };
        check(&boost(0.0, day), "boosts[0].weight: a weight is finite and not 0, got 0");
        check(&boost(f32::NAN, day), "boosts[0].weight: a weight is finite and not 0, got NaN");
        check(&boost(f32::INFINITY, day), "boosts[0].weight: a weight is finite and not 0, got inf");
        check(&number(f64::NAN, 1.0), "boosts[0].from: expected a finite number, got NaN");
        check(&number(0.0, f64::INFINITY), "boosts[0].to: expected a finite number, got inf");
        check(&number(2.5, 2.5), "boosts[0].to: expected another number than from = 2.5, got 2.5");
        check(&number(-1e308, 1e308), "boosts[0].to: expected a finite distance to from = -1e308, got 1e308");
        let none = BoostShape::Recency { half_life: Duration::ZERO };
        check(&boost(1.0, none), "boosts[0].half_life: expected a time above 0 s, got 0ns");
    }
}
