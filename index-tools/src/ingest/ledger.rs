//! Which records are settled. Batches settle in any order; what counts for a resumed run is the position before which
//! every record is settled.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::rejects::RejectLine;

/// What became of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub created: u64,
    pub updated: u64,
    pub unchanged: u64,
    pub rejected: u64,
}

impl Counts {
    /// All records.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.created + self.updated + self.unchanged + self.rejected
    }

    /// Adds another count.
    pub const fn add(&mut self, other: &Self) {
        self.created += other.created;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.rejected += other.rejected;
    }
}

/// What became of the records of one span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    pub counts: Counts,
    pub rejects: Vec<RejectLine>,
    /// The newest version that the server acknowledged.
    pub version: u64,
}

/// Turns settled spans into one contiguous position.
#[derive(Debug, Default)]
pub struct Ledger {
    position: u64,
    counts: Counts,
    version: u64,
    /// By start: spans that are settled while an earlier one is not.
    waiting: BTreeMap<u64, (u64, Settled)>,
}

impl Ledger {
    /// Goes on at `position`.
    #[must_use]
    pub fn new(position: u64, counts: Counts, version: u64) -> Self {
        Self { position, counts, version, waiting: BTreeMap::new() }
    }

    /// Settles the records `start..end`; gives the rejects that are now in order.
    pub fn settle(&mut self, start: u64, end: u64, settled: Settled) -> Vec<RejectLine> {
        self.waiting.insert(start, (end, settled));
        let mut rejects = Vec::new();
        while let Some(entry) = self.waiting.first_entry() {
            if *entry.key() != self.position {
                break;
            }
            let (end, settled) = entry.remove();
            self.position = end;
            self.counts.add(&settled.counts);
            self.version = self.version.max(settled.version);
            rejects.extend(settled.rejects);
        }
        rejects
    }

    /// Every record before this is settled.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// What became of them.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The newest acknowledged version among them.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Spans that wait for an earlier one.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_position_never_passes_an_unsettled_record(
            lengths in prop::collection::vec(1_u64..5, 1..30),
            keys in prop::collection::vec(any::<u32>(), 30),
        ) {
            let mut start = 0;
            let mut spans: Vec<_> = lengths.iter().map(|length| { start += length; (start - length, start) }).collect();
            let total = start;
            let mut order: Vec<_> = (0..spans.len()).collect();
            order.sort_by_key(|index| keys[*index]);
            let mut ledger = Ledger::default();
            let mut rejects = Vec::new();
            for index in order {
                let (start, end) = spans[index];
                let reject = |position| RejectLine {
                    id: None, position, place: String::new(), code: String::new(), reason: String::new(),
                };
                let settled = Settled {
                    counts: Counts { rejected: end - start, ..Counts::default() },
                    rejects: (start..end).map(reject).collect(),
                    version: end,
                };
                rejects.extend(ledger.settle(start, end, settled));
                spans[index].1 = start;
                let unsettled = spans.iter().filter(|(start, end)| end > start).map(|(start, _)| *start).min();
                prop_assert_eq!(ledger.position(), unsettled.unwrap_or(total));
                prop_assert_eq!(ledger.counts().total(), ledger.position());
                prop_assert_eq!(rejects.len() as u64, ledger.position());
            }
            prop_assert!(rejects.iter().enumerate().all(|(at, reject)| reject.position == at as u64));
            prop_assert_eq!(ledger.waiting(), 0);
        }
    }
}
