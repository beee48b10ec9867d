//! What an operator should look at, from what a server says of itself.

use pictor_proto::v1;

use crate::units;

/// A tail that takes this share of its room slows writers down.
const SLOW: f64 = 0.5;
/// Below this recall an index is worth a look.
const RECALL: f32 = 0.95;

/// One sentence for each matter, with what to do; nothing if all is well.
#[must_use]
pub fn attention(stats: &v1::GetStatsResponse, jobs: &[v1::Job]) -> Vec<String> {
    let mut lines: Vec<String> = stats.problems.iter().map(|problem| with_remedy(problem)).collect();
    lines.extend(disk(stats));
    for collection in &stats.collections {
        for index in &collection.indexes {
            let name = format!("{}.{} (generation {})", collection.name, index.field, index.generation);
            lines.extend(tail(&name, index));
            if index.deferred_vectors > 0 {
                let waiting = units::counted(index.deferred_vectors, "vector");
                lines.push(format!(
                    "{name}: {waiting} of bulk writes wait to be indexed; searches do not find them yet"
                ));
            }
            for kind in index.kinds.iter().filter(|kind| kind.recall < RECALL) {
                let recall = kind.recall;
                lines.push(format!(
                    "{name}: queries by {} find {recall:.3} of their true hits; `--exact` finds all",
                    kind.kind
                ));
            }
        }
    }
    lines.extend(jobs.iter().filter_map(job));
    lines
}

fn with_remedy(problem: &str) -> String {
    let remedy = if problem.contains("is broken") {
        "; stop the server and run `pictor-server data verify`, or restore a snapshot"
    } else if problem.contains("is not loaded") {
        "; `pictor-server models list` and the server's log say why"
    } else {
        ""
    };
    format!("{problem}{remedy}")
}

fn disk(stats: &v1::GetStatsResponse) -> Option<String> {
    let (free, reserve) = (stats.disk_free_bytes?, stats.disk_reserve_bytes);
    let left = format!("the disk has {} left", units::bytes(free));
    let kept = units::bytes(reserve);
    let room = "delete items or snapshots, or make room";
    if free < reserve {
        Some(format!("{left}, less than the {kept} that stay free: only deletes are taken; {room}"))
    } else if free < reserve.saturating_mul(2) {
        Some(format!("{left}; below {kept} writes are refused; {room}"))
    } else {
        None
    }
}

fn tail(name: &str, index: &v1::IndexStats) -> Option<String> {
    let share = index.tail_vectors as f64 / index.tail_capacity.max(1) as f64;
    let filled = format!(
        "{name}: {} of {} vectors wait for a segment",
        units::count(index.tail_vectors),
        units::count(index.tail_capacity)
    );
    if index.tail_capacity == 0 || share < SLOW {
        None
    } else if share < 1.0 {
        Some(format!("{filled}; writers are slowed until the index has caught up"))
    } else {
        Some(format!("{filled}; writes are refused until the index has caught up"))
    }
}

fn job(job: &v1::Job) -> Option<String> {
    let id = &job.id;
    match job.state() {
        v1::JobState::Interrupted => {
            Some(format!("job {id} ({}) was interrupted; `pictor job resume {id}` goes on", job.kind))
        }
        v1::JobState::Failed => Some(format!("job {id} ({}) failed: {}", job.kind, job.error)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut v1::GetStatsResponse, &mut v1::Job), expected: &[&str]) {
        let index = v1::IndexStats {
            field: "image".to_owned(),
            generation: 1,
            tail_vectors: 10,
            tail_capacity: 100,
            kinds: vec![v1::QueryKindStats { kind: "image".to_owned(), recall: 0.99, ..Default::default() }],
            ..Default::default()
        };
        let collection = v1::CollectionStats { name: "goods".to_owned(), indexes: vec![index], ..Default::default() };
        let mut stats = v1::GetStatsResponse {
            collections: vec![collection],
            disk_free_bytes: Some(1 << 30),
            disk_reserve_bytes: 1 << 20,
            ..Default::default()
        };
        let state = v1::JobState::Succeeded.into();
        let mut job = v1::Job { id: "7".to_owned(), kind: "reembed".to_owned(), state, ..Default::default() };
        change(&mut stats, &mut job);
        let found = attention(&stats, &[job]);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        found
            .iter()
            .zip(expected)
            .for_each(|(found, expected)| assert!(found.contains(expected), "{found} {expected}"));
    }

    #[test]
    fn each_matter_has_a_sentence() {
        check(|_, _| (), &[]);
        check(|stats, _| stats.disk_free_bytes = Some(1 << 19), &["only deletes are taken"]);
        check(|stats, _| stats.disk_free_bytes = Some(3 << 19), &["below 1.0 MiB writes are refused"]);
        check(|stats, _| stats.disk_free_bytes = None, &[]);
        check(
            |stats, _| stats.collections[0].indexes[0].tail_vectors = 50,
            &["50 of 100 vectors wait for a segment; writers are slowed"],
        );
        check(|stats, _| stats.collections[0].indexes[0].tail_vectors = 100, &["writes are refused"]);
        check(|stats, _| stats.collections[0].indexes[0].deferred_vectors = 3, &["3 vectors of bulk writes wait"]);
        check(|stats, _| stats.collections[0].indexes[0].kinds[0].recall = 0.9, &["find 0.900 of their true hits"]);
        check(
            |stats, _| stats.problems = vec!["collection goods is broken: bad".to_owned()],
            &["run `pictor-server data verify`"],
        );
        check(|_, job| job.state = v1::JobState::Interrupted.into(), &["`pictor job resume 7`"]);
        check(
            |_, job| (job.state, job.error) = (v1::JobState::Failed.into(), "no room".to_owned()),
            &["job 7 (reembed) failed: no room"],
        );
    }
}
