//! When the tail becomes a segment, and when segments become one: a search asks each segment, and making one costs by its vectors.

use std::time::Duration;

/// So many segments are joined even while the tail waits.
const MOST_SEGMENTS: usize = 8;
/// While writes come, so many segments stand beside each other before any are joined: what is written and soon deleted again is never moved.
const BUSY_SEGMENTS: usize = 4;
/// Then a segment joins a new one that has at least as many vectors already; every vector is moved some log₂(n) times.
const BUSY_RATIO: usize = 1;
/// When nobody writes, also one with so many times as many.
const IDLE_RATIO: usize = 4;

/// How an index grows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growth {
    /// Vectors of a tail that a segment is made of.
    pub seal_at: usize,
    /// The part of a segment that may be deleted before it is made anew, 0 to 1.
    pub most_deleted: f32,
    /// Segments of no more vectors are not made anew for the sake of what was deleted from them.
    pub small: usize,
    /// How long nobody has to write before segments are joined beyond what busy times pay for.
    pub idle: Duration,
}

impl Default for Growth {
    fn default() -> Self {
        Self { seal_at: 20_000, most_deleted: 0.2, small: 1_000, idle: Duration::from_secs(30) }
    }
}

/// The vectors of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentSize {
    pub live: usize,
    pub deleted: usize,
}

/// What the next segment is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentPlan {
    pub takes_tail: bool,
    /// Places in the list of segments, rising.
    pub segments: Vec<usize>,
}

impl Growth {
    /// What should be made now, of a tail of so many vectors and of its oldest chunk, of which a segment is made. `is_idle` says that nobody has
    /// written for a while.
    #[must_use]
    pub fn next(&self, (tail, chunk): (usize, usize), segments: &[SegmentSize], is_idle: bool) -> Option<SegmentPlan> {
        let is_due = tail >= self.seal_at;
        let is_behind = tail >= self.seal_at.saturating_mul(2);
        if is_due && segments.len() < if is_behind { MOST_SEGMENTS } else { BUSY_SEGMENTS } {
            // The tail costs every search most; what is joined with it would make it wait.
            return Some(SegmentPlan { takes_tail: true, segments: vec![] });
        }
        if is_due {
            return Some(join(chunk, segments, BUSY_RATIO));
        }
        let is_worn = |size: &SegmentSize| {
            let all = size.live + size.deleted;
            size.live == 0 || (all > self.small && size.deleted as f32 > self.most_deleted * all as f32)
        };
        if let Some(worn) = segments.iter().position(is_worn) {
            return Some(SegmentPlan { takes_tail: false, segments: vec![worn] });
        }
        let is_crowded = segments.len() > MOST_SEGMENTS;
        // A short tail is left: it costs less than a segment would.
        let tail = if tail.saturating_mul(4) >= self.seal_at { chunk } else { 0 };
        let plan = join(tail, segments, if is_crowded { usize::MAX } else { IDLE_RATIO });
        let joins_something = plan.segments.len() + usize::from(plan.takes_tail) > 1;
        (joins_something && (is_idle || is_crowded)).then_some(plan)
    }
}

/// The tail with the segments that are small beside what comes before them, the smallest first.
fn join(tail: usize, segments: &[SegmentSize], ratio: usize) -> SegmentPlan {
    let mut by_size: Vec<usize> = (0..segments.len()).collect();
    by_size.sort_by_key(|&place| segments[place].live);
    let (mut total, mut taken) = (tail, Vec::new());
    for place in by_size {
        let live = segments[place].live;
        if total > 0 && live > total.saturating_mul(ratio) {
            break;
        }
        total += live;
        taken.push(place);
    }
    taken.sort_unstable();
    SegmentPlan { takes_tail: tail > 0, segments: taken }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROWTH: Growth = Growth { seal_at: 100, most_deleted: 0.2, small: 1_000, idle: Duration::ZERO };

    fn whole(live: usize) -> SegmentSize {
        SegmentSize { live, deleted: 0 }
    }

    fn check(tail: usize, segments: &[SegmentSize], is_idle: bool, expected: Option<(bool, &[usize])>) {
        let expected = expected.map(|(takes_tail, segments)| SegmentPlan { takes_tail, segments: segments.to_vec() });
        assert_eq!(GROWTH.next((tail, tail.min(200)), segments, is_idle), expected, "{tail} {segments:?} {is_idle}");
    }

    #[test]
    fn a_long_tail_is_sealed_and_joined_with_what_is_small_when_there_are_many() {
        check(99, &[], false, None);
        check(100, &[], false, Some((true, &[])));
        check(100, &[whole(100)], false, Some((true, &[])));
        check(100, &[whole(100), whole(100), whole(100)], false, Some((true, &[])));
        check(100, &[whole(800), whole(400), whole(100), whole(200)], false, Some((true, &[0, 1, 2, 3])));
        check(100, &[whole(900), whole(800), whole(400), whole(100)], false, Some((true, &[3])));
        check(250, &[whole(900), whole(800), whole(400), whole(100)], false, Some((true, &[])));
    }

    #[test]
    fn segments_are_joined_when_nobody_writes() {
        check(0, &[whole(400), whole(100)], false, None);
        check(0, &[whole(400), whole(100)], true, Some((false, &[0, 1])));
        check(0, &[whole(900), whole(100)], true, None);
        check(30, &[whole(90)], true, Some((true, &[0])));
        check(20, &[whole(50)], true, None);
        check(0, &[whole(400)], true, None);
        check(0, &[], true, None);
    }

    #[test]
    fn what_was_deleted_goes_at_last() {
        check(0, &[SegmentSize { live: 900, deleted: 201 }], false, None);
        check(0, &[whole(500), SegmentSize { live: 900, deleted: 240 }], false, Some((false, &[1])));
        check(0, &[SegmentSize { live: 500, deleted: 400 }], false, None);
        check(0, &[SegmentSize { live: 0, deleted: 3 }], false, Some((false, &[0])));
    }

    #[test]
    fn there_are_never_many_segments_and_no_vector_moves_often() {
        let (mut segments, mut moved, mut most) = (Vec::<SegmentSize>::new(), 0, 0);
        for step in 1..=1_000 {
            // Every seventh time the tail had to wait.
            let tail = if step % 7 == 0 { 250 } else { 100 };
            let mut pending = tail;
            while let Some(plan) = GROWTH.next((pending, pending.min(200)), &segments, false) {
                let joined: usize = plan.segments.iter().map(|&place| segments[place].live).sum();
                let mut place = 0;
                segments.retain(|_| (!plan.segments.contains(&place), place += 1).0);
                let taken = if plan.takes_tail { pending.min(200) } else { 0 };
                segments.push(whole(joined + taken));
                pending -= taken;
                moved += segments.last().map_or(0, |segment| segment.live);
            }
            most = most.max(segments.len());
        }
        let all: usize = segments.iter().map(|segment| segment.live).sum();
        assert!(most <= MOST_SEGMENTS + 1, "{most} segments");
        assert!(moved <= 10 * all, "{all} vectors were moved {moved} times in all");
    }
}
