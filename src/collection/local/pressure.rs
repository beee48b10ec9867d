//! Keeps writers from getting ahead of the index: their acknowledgements slow down first, then they are refused.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::moment::Inner;
use crate::index::{SegmentedIndex, VectorIndex as _};
use crate::{Error, Result};

/// The part of its room from which on a tail slows acknowledgements down.
const SLOW_SHARE: usize = 2;
/// A tail may always hold so many segments.
const LEAST: usize = 2;
/// Vectors a second that an index takes, until it was measured.
const UNKNOWN_RATE: u64 = 2_000;
/// No acknowledgement is held back longer.
const SLOWEST: Duration = Duration::from_secs(2);
/// How long a job waits for room before it fails.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(50);

/// What one collection knows of its writers and of its index.
pub(super) struct Pressure {
    clock: Instant,
    /// Milliseconds of the clock at the last write.
    written_at: AtomicU64,
    /// Vectors a second that segments were lately made of.
    rate: AtomicU64,
    /// True if somebody should look whether a segment is due.
    is_new: AtomicBool,
}

impl Pressure {
    pub(super) fn new() -> Self {
        Self {
            clock: Instant::now(),
            written_at: AtomicU64::new(0),
            rate: AtomicU64::new(UNKNOWN_RATE),
            is_new: AtomicBool::new(true),
        }
    }

    pub(super) fn note_write(&self) {
        self.written_at.store(self.clock.elapsed().as_millis() as u64, Ordering::Relaxed);
        self.wake();
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
        self.clock.elapsed().saturating_sub(Duration::from_millis(self.written_at.load(Ordering::Relaxed)))
    }

    pub(super) fn note_built(&self, vectors: usize, time: Duration) {
        if vectors > 0 {
            let rate = (vectors as f64 / time.as_secs_f64().max(1e-3)) as u64;
            self.rate.store(rate.max(1), Ordering::Relaxed);
        }
    }
}

/// A tail beside what it may hold.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Fullness {
    vectors: usize,
    slow_at: usize,
    refuse_at: usize,
}

impl Fullness {
    /// 0 while acknowledgements come at once, 1 when writes are refused.
    fn share(self) -> f64 {
        let over = self.vectors.saturating_sub(self.slow_at) as f64;
        over / (self.refuse_at - self.slow_at).max(1) as f64
    }
}

impl Inner {
    /// The fullest tail of the collection.
    fn fullness(&self) -> Option<Fullness> {
        let (seal_at, tail_bytes) = (self.segments.growth.seal_at, self.segments.tail_bytes);
        let of_index = |index: &SegmentedIndex| {
            // Float32 and a code.
            let fits = tail_bytes / (5 * index.dimension().max(1));
            let refuse_at =
                seal_at.saturating_mul(self.segments.tail_segments).min(fits.max(seal_at.saturating_mul(LEAST)));
            Fullness { vectors: index.tail_len(), slow_at: refuse_at / SLOW_SHARE, refuse_at }
        };
        let state = self.state.read();
        state.indexes.values().map(of_index).max_by(|a, b| a.share().total_cmp(&b.share()))
    }

    /// Refuses a write that the index would have no room for.
    ///
    /// # Errors
    /// [`Error::Overloaded`].
    pub(super) fn check_room(&self) -> Result<()> {
        let Some(fullness) = self.fullness().filter(|fullness| fullness.vectors >= fullness.refuse_at) else {
            return Ok(());
        };
        self.pressure.wake();
        let rate = self.pressure.rate.load(Ordering::Relaxed).max(1);
        let excess = (fullness.vectors - fullness.slow_at) as u64;
        Err(Error::Overloaded {
            what: "the tail of vectors that no segment holds yet",
            depth: fullness.vectors as u64,
            capacity: fullness.refuse_at as u64,
            retry_after: Duration::from_millis((1_000 * excess / rate).clamp(100, 30_000)),
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
                Err(Error::Overloaded { .. }) if start.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
                outcome => return outcome,
            }
        }
    }

    /// Holds an acknowledgement back so that, the fuller the tail, the nearer writers come to what the index takes.
    pub(super) fn slow_down(&self, items: usize) {
        let share = self.fullness().map_or(0.0, Fullness::share).min(1.0);
        if share > 0.0 {
            let rate = self.pressure.rate.load(Ordering::Relaxed).max(1);
            std::thread::sleep(SLOWEST.min(Duration::from_secs_f64(share * items as f64 / rate as f64)));
        }
    }
}
