//! A point in time, as payloads store it.

use std::fmt;

use super::{Error, Result};

/// Seconds and nanoseconds since 1970-01-01T00:00:00Z; years 1 to 9999 as in RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Timestamp {
    seconds: i64,
    nanos: u32,
}

/// 0001-01-01T00:00:00Z and 9999-12-30T22:00:00Z, the last second that every offset can still write.
const RANGE: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_207_200;

impl Timestamp {
    /// Takes seconds since 1970 and the nanoseconds after them.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] outside the years 1 to 9999 or if `nanos` ≥ 10⁹.
    pub fn new(seconds: i64, nanos: i32) -> Result<Self> {
        match u32::try_from(nanos) {
            Ok(nanos) if nanos < 1_000_000_000 && RANGE.contains(&seconds) => Ok(Self { seconds, nanos }),
            _ => Err(Error::invalid(
                "",
                format!("a time has 0 ≤ nanos < 10^9 and a year from 1 to 9999; got {seconds} s, {nanos} ns"),
            )),
        }
    }

    /// Reads RFC 3339, like `2026-01-31T12:00:00.5+01:00`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the text is anything else.
    pub fn parse(text: &str) -> Result<Self> {
        let parsed: jiff::Timestamp = text
            .parse()
            .map_err(|_| Error::invalid("", format!("expected a time like 2026-01-31T12:00:00Z, got {text:?}")))?;
        // Split so that nanos are never negative.
        let nanos = parsed.as_nanosecond();
        let seconds =
            i64::try_from(nanos.div_euclid(1_000_000_000)).map_err(|_| Error::invalid("", "time out of range"))?;
        let nanos =
            i32::try_from(nanos.rem_euclid(1_000_000_000)).map_err(|_| Error::invalid("", "time out of range"))?;
        Self::new(seconds, nanos)
    }

    /// The present moment.
    #[must_use]
    pub fn now() -> Self {
        let now = jiff::Timestamp::now();
        Self { seconds: now.as_second(), nanos: now.subsec_nanosecond().unsigned_abs() }
    }

    #[must_use]
    pub const fn seconds(&self) -> i64 {
        self.seconds
    }

    #[must_use]
    pub const fn nanos(&self) -> u32 {
        self.nanos
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanos);
        match jiff::Timestamp::from_nanosecond(nanos) {
            Ok(timestamp) => timestamp.fmt(f),
            Err(_) => write!(f, "@{}.{:09}", self.seconds, self.nanos),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn reads_and_writes_rfc_3339() {
        let check =
            |input: &str, expected: &str| assert_eq!(Timestamp::parse(input).expect(input).to_string(), expected);
        check("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z");
        check("2026-01-31T12:00:00.5+01:00", "2026-01-31T11:00:00.5Z");
        check("1969-12-31T23:59:59.25Z", "1969-12-31T23:59:59.25Z");
        check("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z");
        for bad in ["", "2026-01-31", "yesterday", "2026-13-01T00:00:00Z", "12:00"] {
            assert!(Timestamp::parse(bad).is_err(), "{bad:?}");
        }
    }
}
