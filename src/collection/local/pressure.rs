//! Keeps writers from getting ahead of the index: their acknowledgements slow down first, then they are refused.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::moment::Inner;
use crate::index::{SegmentedIndex, VectorIndex as _};
use crate::{Error, Result};

/// A tail may always hold so many segments.
const LEAST: usize = 2;
/// How long writers may go on as fast as they can, up to half of the tail's room; a pause of [`PAUSE`] makes it a new burst.
const BURST: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(2);
/// After that the tail is kept between so many segments, because every search compares it.
const STEADY: (usize, usize) = (1, 3);
/// The speed of acknowledgements beside that of the index, when a tail begins to be long and when it is too long.
const FASTEST: f64 = 2.0;
const SLOWEST: f64 = 0.25;
/// Vectors a second that an index takes, until it was measured.
const UNKNOWN_RATE: f64 = 2_000.0;
/// What each segment leaves of the weight of those before it.
const FORGETTING: f64 = 0.5;
/// No acknowledgement is held back longer.
const LONGEST: Duration = Duration::from_secs(5);
/// How long a job waits for room before it fails, looking so often.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(50);

/// What one collection knows of its writers and of its index.
pub(super) struct Pressure {
    clock: Instant,
    /// Milliseconds of the clock at the last write, and at the first after a pause.
    written_at: AtomicU64,
    burst_at: AtomicU64,
    /// Milliseconds of the clock at the last bulk write.
    bulk_at: AtomicU64,
    /// What the tail lately lost to segments, and the time that segments took.
    drained: Mutex<Drained>,
    /// True if somebody should look whether a segment is due.
    is_new: AtomicBool,
    /// When the next acknowledgement may leave, if they are held back.
    next: Mutex<Option<Instant>>,
}

impl Pressure {
    pub(super) fn new() -> Self {
        Self {
            clock: Instant::now(),
            written_at: AtomicU64::new(0),
            burst_at: AtomicU64::new(0),
            bulk_at: AtomicU64::new(0),
            drained: Mutex::default(),
            is_new: AtomicBool::new(true),
            next: Mutex::new(None),
        }
    }

    pub(super) fn note_write(&self) {
        let now = self.clock.elapsed().as_millis() as u64;
        let before = self.written_at.swap(now, Ordering::Relaxed);
        if now.saturating_sub(before) > PAUSE.as_millis() as u64 {
            self.burst_at.store(now, Ordering::Relaxed);
        }
        self.wake();
    }

    pub(super) fn note_bulk_write(&self) {
        self.bulk_at.store(self.clock.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// How long no bulk write has come.
    pub(super) fn bulk_quiet(&self) -> Duration {
        self.since(&self.bulk_at)
    }

    /// Asks for a look at whether a segment is due.
    pub(super) fn wake(&self) {
        self.is_new.store(true, Ordering::Release);
    }

    /// True once after each write.
    pub(super) fn take_new(&self) -> bool {
        self.is_new.load(Ordering::Relaxed) && self.is_new.swap(false, Ordering::Acquire)
    }

    /// How long nobody has written.
    pub(super) fn quiet(&self) -> Duration {
        self.since(&self.written_at)
    }

    fn since(&self, moment: &AtomicU64) -> Duration {
        self.clock.elapsed().saturating_sub(Duration::from_millis(moment.load(Ordering::Relaxed)))
    }

    /// A segment was made, and so many vectors of it came from the tail: the others were joined or freed of what was deleted, which takes time
    /// that the tail waits for.
    pub(super) fn note_built(&self, from_tail: usize, time: Duration) {
        let mut drained = self.drained.lock();
        drained.vectors = drained.vectors * FORGETTING + from_tail as f64;
        drained.seconds = drained.seconds * FORGETTING + time.as_secs_f64();
    }

    /// Vectors a second that the tail loses to segments.
    fn rate(&self) -> f64 {
        let Drained { vectors, seconds } = *self.drained.lock();
        if vectors > 0.0 { (vectors / seconds.max(1e-3)).max(1.0) } else { UNKNOWN_RATE }
    }

    /// How long this acknowledgement waits for its turn, so that all together leave at `speed` vectors a second.
    fn turn(&self, items: usize, speed: f64) -> Duration {
        let now = Instant::now();
        let mut next = self.next.lock();
        let free = next.map_or(now, |next| next.max(now));
        let turn = (free + Duration::from_secs_f64(items as f64 / speed)).min(now + LONGEST);
        *next.insert(turn) - now
    }
}

/// Sums over the segments that were made, the older the less.
#[derive(Clone, Copy, Default)]
struct Drained {
    vectors: f64,
    seconds: f64,
}

/// A tail beside what it may hold.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Fullness {
    vectors: usize,
    /// Where acknowledgements begin to slow down, and where they are slowest.
    slow: (usize, usize),
    refuse_at: usize,
}

impl Fullness {
    /// The part of its room that it takes; from 1 on writes are refused.
    fn of_room(self) -> f64 {
        self.vectors as f64 / self.refuse_at.max(1) as f64
    }

    /// 0 while acknowledgements come at once, 1 when they are slowest.
    fn share(self) -> f64 {
        let (from, to) = self.slow;
        let over = self.vectors.saturating_sub(from) as f64 / to.saturating_sub(from).max(1) as f64;
        over.min(1.0)
    }
}

impl Inner {
    /// Vectors of this dimension that fit into the memory of a tail.
    pub(super) fn fitting(&self, dimension: usize) -> usize {
        // Float32 and a code.
        self.segments.tail_bytes / (5 * dimension.max(1))
    }

    /// Vectors that the tail of an index may hold.
    pub(super) fn tail_capacity(&self, index: &SegmentedIndex) -> usize {
        let seal_at = self.segments.growth.seal_at;
        let most = seal_at.saturating_mul(self.segments.tail_segments);
        most.min(self.fitting(index.dimension()).max(seal_at.saturating_mul(LEAST)))
    }

    /// The tail of the collection that is the fullest by this measure.
    fn fullest(&self, measure: fn(Fullness) -> f64) -> Option<Fullness> {
        let seal_at = self.segments.growth.seal_at;
        let is_burst = self.pressure.since(&self.pressure.burst_at) < BURST;
        let of_index = |index: &SegmentedIndex| {
            let refuse_at = self.tail_capacity(index);
            let steady = |segments: usize| seal_at.saturating_mul(segments).min(refuse_at);
            let slow = if is_burst { (refuse_at / 2, refuse_at) } else { (steady(STEADY.0), steady(STEADY.1)) };
            Fullness { vectors: index.tail_len(), slow, refuse_at }
        };
        let state = self.state.read();
        state.indexes.values().map(of_index).max_by(|a, b| measure(*a).total_cmp(&measure(*b)))
    }

    /// True if acknowledgements are slowed as far as they can be.
    pub(super) fn is_behind(&self) -> bool {
        self.fullest(Fullness::share).is_some_and(|fullness| fullness.share() >= 1.0)
    }

    /// Refuses a write that the index would have no room for.
    ///
    /// # Errors
    /// [`Error::Overloaded`].
    pub(super) fn check_room(&self) -> Result<()> {
        let Some(fullness) = self.fullest(Fullness::of_room).filter(|fullness| fullness.of_room() >= 1.0) else {
            return Ok(());
        };
        self.pressure.wake();
        // A tenth of the room.
        let wanted = (fullness.refuse_at / 10) as f64;
        let wait = Duration::from_secs_f64((wanted / self.pressure.rate()).clamp(0.1, 10.0));
        Err(Error::Overloaded {
            what: "the tail of vectors that no segment holds yet",
            depth: fullness.vectors as u64,
            capacity: fullness.refuse_at as u64,
            retry_after: wait,
        })
    }

    /// Waits until there is room, for a caller that is in no hurry.
    ///
    /// # Errors
    /// As [`Inner::check_room`], after two minutes.
    pub(super) fn wait_for_room(&self) -> Result<()> {
        let start = Instant::now();
        loop {
            match self.check_room() {
                Err(Error::Overloaded { .. }) if start.elapsed() < PATIENCE => std::thread::sleep(LOOK),
                outcome => return outcome,
            }
        }
    }

    /// How long an acknowledgement is to be held back so that, the longer the tail, the nearer writers come to what the index takes, and at last
    /// fall behind it.
    pub(super) fn hold_back(&self, items: usize) -> Duration {
        match self.fullest(Fullness::share).map_or(0.0, Fullness::share) {
            share if share > 0.0 => {
                self.pressure.turn(items, self.pressure.rate() * (FASTEST + share * (SLOWEST - FASTEST)))
            }
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when: the time of a segment that takes nothing from the tail counts for nothing; writers then run into a full tail instead of being
    /// slowed before.
    #[test]
    fn the_rate_is_what_the_tail_loses() {
        let check = |built: &[(usize, u64)], expected: f64| {
            let pressure = Pressure::new();
            built.iter().for_each(|&(from_tail, ms)| pressure.note_built(from_tail, Duration::from_millis(ms)));
            assert!((pressure.rate() - expected).abs() < 1e-9, "{built:?}: {} {expected}", pressure.rate());
        };
        check(&[], UNKNOWN_RATE);
        check(&[(0, 4_000)], UNKNOWN_RATE);
        check(&[(8_000, 2_000)], 4_000.0);
        check(&[(8_000, 2_000), (0, 4_000)], 800.0);
        check(&[(8_000, 2_000), (0, 4_000), (7_000, 500)], 3_000.0);
    }
}
