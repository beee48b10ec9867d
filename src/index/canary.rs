//! Watches how well walks answer what is really asked: texts, pictures and composed queries lie differently to the stored vectors.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::graph::{Calibration, Segment};
use crate::Result;

/// Queries of a kind that are kept.
const KEPT: usize = 64;
/// One of so many queries is kept once there are enough.
const EVERY: u64 = 16;
/// New queries of a kind after which it is measured again, …
const DUE: u64 = 1_024;
/// … and the least time between two measurements, which take seconds of one core.
const PAUSE: Duration = Duration::from_secs(600);
/// What is aimed at for a kind that was not measured yet, and that stored vectors say little about.
const UNKNOWN_RECALL: f32 = 0.999;

/// What a query vector was made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueryKind {
    /// A vector of the caller, a stored item's, or a picture's: like what is stored.
    #[default]
    Image,
    Text,
    /// Several parts.
    Composed,
}

impl QueryKind {
    pub const ALL: [Self; 3] = [Self::Image, Self::Text, Self::Composed];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Text => "text",
            Self::Composed => "composed",
        }
    }
}

/// How well queries of one kind are answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KindReport {
    pub kind: QueryKind,
    /// The share of the true ten hits that walks find.
    pub recall: f32,
    /// Nodes that a walk for ten hits keeps.
    pub ef: usize,
    /// Queries that this was measured with.
    pub queries: usize,
}

/// Recent queries by kind, and what they showed.
#[derive(Default)]
pub struct Canary {
    kinds: [Kind; 3],
    /// The share of sampled vectors that find themselves.
    self_retrieval: Mutex<Option<f32>>,
    is_measuring: AtomicBool,
}

#[derive(Default)]
struct Kind {
    n_seen: AtomicU64,
    /// The number of queries from which on it is worth asking whether a measurement is due.
    due_at: AtomicU64,
    recent: Mutex<VecDeque<Vec<f32>>>,
    measured: Mutex<Option<Measured>>,
}

struct Measured {
    calibration: Calibration,
    queries: usize,
    /// When, and at which number of queries.
    at: (Instant, u64),
}

impl Canary {
    /// Takes note of a query; true if a measurement is due.
    pub fn note(&self, kind: QueryKind, query: &[f32]) -> bool {
        let of_kind = &self.kinds[kind as usize];
        let seen = of_kind.n_seen.fetch_add(1, Ordering::Relaxed) + 1;
        if (seen <= KEPT as u64 || seen.is_multiple_of(EVERY))
            && let Some(mut recent) = of_kind.recent.try_lock()
        {
            if recent.len() == KEPT {
                recent.pop_front();
            }
            recent.push_back(query.to_vec());
        }
        seen >= of_kind.due_at.load(Ordering::Relaxed).max(KEPT as u64) && of_kind.is_due()
    }

    /// Nodes to keep for queries of a kind.
    #[must_use]
    pub fn ef(&self, segment: &Segment, kind: QueryKind, recall: f32, limit: usize) -> usize {
        if let Some(measured) = &*self.kinds[kind as usize].measured.lock() {
            return measured.calibration.ef(recall, limit);
        }
        match kind {
            QueryKind::Image => segment.calibration().ef(recall, limit),
            QueryKind::Text | QueryKind::Composed => segment.calibration().ef(recall.max(UNKNOWN_RECALL), limit),
        }
    }

    /// Measures the kinds that are due, unless somebody does already, and how many vectors find themselves.
    ///
    /// # Errors
    /// [`crate::Error::Corruption`] if the segment is damaged.
    pub fn measure(&self, segment: &Segment) -> Result<()> {
        if self.is_measuring.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let outcome = self.measure_due(segment);
        self.is_measuring.store(false, Ordering::SeqCst);
        outcome
    }

    fn measure_due(&self, segment: &Segment) -> Result<()> {
        *self.self_retrieval.lock() = Some(segment.self_retrieval()?);
        for kind in &self.kinds {
            if !kind.is_due() {
                continue;
            }
            let at = (Instant::now(), kind.n_seen.load(Ordering::Relaxed));
            let queries: Vec<Vec<f32>> = kind.recent.lock().iter().cloned().collect();
            let calibration = segment.calibrate(&queries)?;
            *kind.measured.lock() = Some(Measured { calibration, queries: queries.len(), at });
        }
        Ok(())
    }

    /// Forgets what was measured on a segment that is not used any more; queries are kept, and are asked of the next.
    pub fn forget(&self) {
        *self.self_retrieval.lock() = None;
        for kind in &self.kinds {
            *kind.measured.lock() = None;
            kind.due_at.store(0, Ordering::Relaxed);
        }
    }

    /// The share of sampled vectors that find themselves, if it was measured.
    #[must_use]
    pub fn self_retrieval(&self) -> Option<f32> {
        *self.self_retrieval.lock()
    }

    /// What the kinds that were measured show, at the nodes that a recall takes.
    #[must_use]
    pub fn reports(&self, recall: f32) -> Vec<KindReport> {
        let report = |kind: QueryKind| {
            let measured = self.kinds[kind as usize].measured.lock();
            let Measured { calibration, queries, .. } = measured.as_ref()?;
            let ef = calibration.ef(recall, 10);
            Some(KindReport { kind, recall: calibration.recall(ef), ef, queries: *queries })
        };
        QueryKind::ALL.into_iter().filter_map(report).collect()
    }
}

impl Kind {
    /// After the first [`KEPT`] queries, and then after [`DUE`] more and a [`PAUSE`].
    fn is_due(&self) -> bool {
        let seen = self.n_seen.load(Ordering::Relaxed);
        let is_due = match &*self.measured.lock() {
            None => seen >= KEPT as u64,
            Some(Measured { at: (time, number), .. }) => seen >= number + DUE && time.elapsed() >= PAUSE,
        };
        if !is_due {
            self.due_at.store(seen + EVERY, Ordering::Relaxed);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_measured_once_enough_was_asked_and_then_seldom() {
        let canary = Canary::default();
        let due = |n: u64| (0..n).filter(|_| canary.note(QueryKind::Text, &[1.0])).count();
        assert_eq!(due(KEPT as u64 - 1), 0);
        assert_eq!(due(1), 1);
        let measured =
            |at: Instant| Measured { calibration: Calibration::default(), queries: 1, at: (at, KEPT as u64) };
        *canary.kinds[QueryKind::Text as usize].measured.lock() = Some(measured(Instant::now()));
        assert_eq!(due(10 * DUE), 0, "not again at once, whatever is asked");
        let Some(before) = Instant::now().checked_sub(PAUSE) else { return };
        *canary.kinds[QueryKind::Text as usize].measured.lock() = Some(measured(before));
        assert!(due(2 * EVERY) > 0);
        assert_eq!(canary.kinds[QueryKind::Text as usize].recent.lock().len(), KEPT);
        assert!(!canary.note(QueryKind::Image, &[1.0]), "kinds are apart");
        canary.forget();
        assert!(canary.reports(0.99).is_empty());
    }
}
