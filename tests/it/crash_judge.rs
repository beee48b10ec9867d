//! Judges what is found after a crash against what was acknowledged before it.

use std::collections::{BTreeMap, BTreeSet};

/// What one operation does to one item. Numbers are seeds of contents, different in every operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Upsert(u64),
    SetPayload(u64),
    Delete,
}

/// An intended change of an item, and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    pub(crate) item: String,
    pub(crate) change: Change,
    /// `None`: in doubt. `Some(0)`: acknowledged as without effect.
    pub(crate) acked: Option<u64>,
}

/// An item as it stands: its version, and whose parts and payload it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) version: u64,
    pub(crate) parts: u64,
    pub(crate) payload: u64,
}

/// Says in sentences what is lost, resurrected or mixed; nothing if all is well.
///
/// Acknowledged changes happened in the order of their versions; those in doubt may have happened anywhere, or not at all.
pub(crate) fn judge(
    before: &BTreeMap<String, Standing>,
    intents: &[Intent],
    after: &BTreeMap<String, Standing>,
) -> Vec<String> {
    let mut problems = Vec::new();
    let newest = before.values().map(|standing| standing.version).max().unwrap_or(0);
    let mut versions = BTreeSet::new();
    for version in intents.iter().filter_map(|intent| intent.acked).filter(|&version| version > 0) {
        if version <= newest || !versions.insert(version) {
            problems.push(format!("version {version} was given twice"));
        }
    }
    let names: BTreeSet<&String> =
        before.keys().chain(after.keys()).chain(intents.iter().map(|intent| &intent.item)).collect();
    for name in names {
        let of_item: Vec<&Intent> = intents.iter().filter(|intent| intent.item == *name).collect();
        if let Some(problem) = judge_item(before.get(name), &of_item, after.get(name)) {
            problems.push(format!("{name}: {problem}"));
        }
    }
    problems
}

fn judge_item(before: Option<&Standing>, intents: &[&Intent], after: Option<&Standing>) -> Option<String> {
    let mut acked: Vec<(u64, Change)> = Vec::new();
    acked.extend(
        intents.iter().filter_map(|intent| Some((intent.acked?, intent.change))).filter(|(version, _)| *version > 0),
    );
    acked.sort_by_key(|(version, _)| *version);
    let in_doubt: Vec<Change> =
        intents.iter().filter(|intent| intent.acked.is_none()).map(|intent| intent.change).collect();

    // Where the acknowledged changes alone lead.
    let mut expected = before.copied();
    let mut last = before.map_or(0, |standing| standing.version);
    for &(version, change) in &acked {
        last = version;
        expected = match (change, expected) {
            (Change::Upsert(seed), _) => Some(Standing { version, parts: seed, payload: seed }),
            (Change::SetPayload(seed), Some(standing)) => Some(Standing { version, payload: seed, ..standing }),
            // The item that was changed came from an upsert in doubt; its parts are judged below.
            (Change::SetPayload(seed), None) => Some(Standing { version, parts: 0, payload: seed }),
            (Change::Delete, _) => None,
        };
    }
    let upserts: Vec<u64> = in_doubt
        .iter()
        .filter_map(|change| if let Change::Upsert(seed) = change { Some(*seed) } else { None })
        .collect();
    let Some(after) = after else {
        let may_be_gone = expected.is_none() || in_doubt.contains(&Change::Delete);
        return (!may_be_gone).then(|| format!("acknowledged at version {last} and lost"));
    };
    let parts_are_right =
        expected.is_some_and(|standing| standing.parts == after.parts) || upserts.contains(&after.parts);
    let wanted = |payload: u64| parts_are_right && after.payload == payload;
    let is_right = match expected {
        Some(standing) if after.version == standing.version => wanted(standing.payload),
        _ if after.version < last => {
            return Some(format!("acknowledged at version {last} and found at {}", after.version));
        }
        _ if after.version == last => return Some(format!("deleted at version {last} and back")),
        _ => in_doubt.iter().any(|change| match change {
            Change::Upsert(seed) => after.parts == *seed && after.payload == *seed,
            Change::SetPayload(seed) => wanted(*seed),
            Change::Delete => false,
        }),
    };
    (!is_right).then(|| format!("expected {expected:?} or one of {in_doubt:?}, found {after:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(change: Change, acked: Option<u64>) -> Intent {
        Intent { item: "a".to_owned(), change, acked }
    }

    #[track_caller]
    fn check(intents: &[Intent], after: Option<(u64, u64, u64)>, expected: Option<&str>) {
        let before = BTreeMap::from([("a".to_owned(), Standing { version: 1, parts: 10, payload: 10 })]);
        let standing = |(version, parts, payload)| ("a".to_owned(), Standing { version, parts, payload });
        let problems = judge(&before, intents, &after.map(standing).into_iter().collect());
        match expected {
            None => assert_eq!(problems, Vec::<String>::new()),
            Some(text) => assert!(problems.iter().any(|problem| problem.contains(text)), "{text}: {problems:?}"),
        }
    }

    /// Fails when a lost acknowledgement goes unnoticed: then the crash test proves nothing.
    #[test]
    fn what_is_lost_or_mixed_is_reported() {
        use Change::{Delete, SetPayload, Upsert};
        let acked = |change, version| intent(change, Some(version));
        let doubt = |change| intent(change, None);
        check(&[], Some((1, 10, 10)), None);
        check(&[], None, Some("lost"));
        check(&[acked(Upsert(20), 2)], Some((2, 20, 20)), None);
        check(&[acked(Upsert(20), 2)], Some((1, 10, 10)), Some("found at 1"));
        check(&[acked(Upsert(20), 2)], None, Some("lost"));
        check(&[acked(Upsert(20), 2)], Some((2, 20, 10)), Some("expected"));
        check(&[acked(SetPayload(20), 2)], Some((2, 10, 20)), None);
        check(&[acked(SetPayload(20), 2)], Some((2, 20, 20)), Some("expected"));
        check(&[acked(Delete, 2)], None, None);
        check(&[acked(Delete, 2)], Some((1, 10, 10)), Some("found at 1"));
        check(&[acked(Delete, 2)], Some((2, 10, 10)), Some("back"));
        check(&[acked(Delete, 2)], Some((3, 10, 10)), Some("expected"));
        check(&[acked(Delete, 2), doubt(Upsert(30))], Some((3, 30, 30)), None);
        check(&[acked(Delete, 2), doubt(Upsert(30))], None, None);
        check(&[doubt(Upsert(30))], Some((2, 30, 30)), None);
        check(&[doubt(Upsert(30))], Some((2, 30, 10)), Some("expected"));
        check(&[doubt(Upsert(30))], Some((1, 10, 10)), None);
        check(&[doubt(Upsert(30))], None, Some("lost"));
        check(&[doubt(Delete)], None, None);
        check(&[acked(Upsert(20), 2), acked(SetPayload(21), 3), doubt(Upsert(30))], Some((3, 20, 21)), None);
        check(&[acked(Upsert(20), 2), acked(SetPayload(21), 4), doubt(Upsert(30))], Some((4, 30, 21)), None);
        check(&[acked(SetPayload(20), 2), acked(Upsert(30), 2)], Some((2, 30, 30)), Some("given twice"));
        check(&[acked(SetPayload(20), 0)], Some((1, 10, 10)), None);
    }
}
