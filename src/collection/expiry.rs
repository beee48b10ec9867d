//! When items of a collection end by themselves.

use serde::{Deserialize, Serialize};

use super::schema::CollectionSchema;
use crate::types::filter::{Filter, Operator, Path};
use crate::types::payload_index::{PayloadIndexSpec, PayloadKind, path_text};
use crate::types::{Timestamp, Value};

/// An item ends so long after the time that its payload has at a path; of several times there the earliest counts. Items without a time stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiry {
    /// Stored in its text form.
    #[serde(with = "path_text")]
    pub path: Path,
    pub after_seconds: u64,
}

impl Expiry {
    /// The payload index that tells what has ended.
    #[must_use]
    pub fn index(&self) -> PayloadIndexSpec {
        PayloadIndexSpec { path: self.path.clone(), kind: PayloadKind::Time }
    }

    /// True if the index is there and complete.
    #[must_use]
    pub fn has_index(&self, schema: &CollectionSchema) -> bool {
        let wanted = self.index();
        schema.ready_payload_indexes().any(|index| index.spec == wanted)
    }

    /// What an item that has ended by `now` satisfies; `None` if no time that can be written lies so far back.
    #[must_use]
    pub fn filter(&self, now: Timestamp) -> Option<Filter> {
        let seconds = now.seconds().checked_sub(i64::try_from(self.after_seconds).ok()?)?;
        let latest = Timestamp::new(seconds, now.nanos() as i32).ok()?;
        Some(Filter::Compare(self.path.clone(), Operator::LessOrEqual, Value::Timestamp(latest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::filter::{Mismatches, matches, parse_path};

    fn check(after_seconds: u64, now: &str, value: &str, expected: bool) {
        let expiry = Expiry { path: parse_path("until").expect("a path"), after_seconds };
        let filter = expiry.filter(Timestamp::parse(now).expect("a time"));
        let payload = [("until".to_owned(), Value::Timestamp(Timestamp::parse(value).expect("a time")))].into();
        let found = filter.is_some_and(|filter| matches(&filter, &payload, &mut Mismatches::default()));
        assert_eq!(found, expected, "{after_seconds} s after {value}, at {now}");
    }

    #[test]
    fn items_end_at_their_time_and_not_before() {
        check(0, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", true);
        check(0, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000001Z", false);
        check(3_600, "2026-01-01T01:00:00Z", "2026-01-01T00:00:00Z", true);
        check(3_600, "2026-01-01T00:59:59.9Z", "2026-01-01T00:00:00Z", false);
        check(u64::MAX, "2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z", false);
        check(1 << 40, "2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z", false);
    }
}
