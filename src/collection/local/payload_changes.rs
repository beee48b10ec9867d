//! Remembers which items changed their payload lately.

use std::collections::VecDeque;

/// Changes remembered; more than that during one filter's scan makes the scan start again.
const CAPACITY: usize = 1 << 16;

/// Lets a filter's scan, which runs beside the writers, learn what it may have judged too early.
#[derive(Default)]
pub(super) struct PayloadChanges {
    /// Version and internal id, by rising version.
    changes: VecDeque<(u64, u64)>,
    /// The newest version that was forgotten.
    forgotten: u64,
}

impl PayloadChanges {
    /// Notes that the item `internal` got its present payload at `version`, which rises from call to call.
    pub(super) fn note(&mut self, version: u64, internal: u64) {
        if self.changes.len() == CAPACITY
            && let Some((version, _)) = self.changes.pop_front()
        {
            self.forgotten = version;
        }
        self.changes.push_back((version, internal));
    }

    /// The items changed after `version`; `None` if some of them are forgotten.
    pub(super) fn since(&self, version: u64) -> Option<Vec<u64>> {
        if self.forgotten > version {
            return None;
        }
        let first = self.changes.partition_point(|&(changed, _)| changed <= version);
        Some(self.changes.range(first..).map(|&(_, internal)| internal).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_remembered_up_to_the_capacity() {
        let mut changes = PayloadChanges::default();
        assert_eq!(changes.since(0), Some(vec![]));
        changes.note(3, 30);
        changes.note(5, 50);
        assert_eq!(changes.since(2), Some(vec![30, 50]));
        assert_eq!(changes.since(3), Some(vec![50]));
        assert_eq!(changes.since(5), Some(vec![]));
        (0..CAPACITY as u64).for_each(|step| changes.note(10 + step, step));
        assert_eq!(changes.since(4), None);
        assert_eq!(changes.since(5).map(|found| found.len()), Some(CAPACITY));
    }
}
