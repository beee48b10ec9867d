//! Watches how well walks answer what is really asked: texts, pictures and composed queries lie differently to the stored vectors.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
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

/// Recent queries of an index, by kind.
#[derive(Default)]
pub struct Canary {
    kinds: [Kind; 3],
}

#[derive(Default)]
struct Kind {
    n_seen: AtomicU64,
    /// The number of queries from which on a measurement is worth its time.
    due_at: AtomicU64,
    recent: Mutex<VecDeque<Vec<f32>>>,
    measured_at: Mutex<Option<Instant>>,
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
        of_kind.is_due(seen)
    }

    /// The kinds that enough was asked of, with what was asked; from here on they count as measured.
    pub fn take_due(&self) -> Vec<(QueryKind, Vec<Vec<f32>>)> {
        let is_due = |kind: &QueryKind| {
            let of_kind = &self.kinds[*kind as usize];
            of_kind.is_due(of_kind.n_seen.load(Ordering::Relaxed))
        };
        let due: Vec<QueryKind> = QueryKind::ALL.into_iter().filter(is_due).collect();
        for kind in &due {
            let of_kind = &self.kinds[*kind as usize];
            of_kind.due_at.store(of_kind.n_seen.load(Ordering::Relaxed) + DUE, Ordering::Relaxed);
            *of_kind.measured_at.lock() = Some(Instant::now());
        }
        due.into_iter().map(|kind| (kind, self.recent(kind))).collect()
    }

    /// The kinds that enough was asked of at any time, with what was asked lately.
    #[must_use]
    pub fn known(&self) -> Vec<(QueryKind, Vec<Vec<f32>>)> {
        let all = QueryKind::ALL.into_iter().map(|kind| (kind, self.recent(kind)));
        all.filter(|(_, queries)| queries.len() == KEPT).collect()
    }

    fn recent(&self, kind: QueryKind) -> Vec<Vec<f32>> {
        self.kinds[kind as usize].recent.lock().iter().cloned().collect()
    }
}

impl Kind {
    /// After the first [`KEPT`] queries, and then after [`DUE`] more and a [`PAUSE`].
    fn is_due(&self, seen: u64) -> bool {
        seen >= self.due_at.load(Ordering::Relaxed).max(KEPT as u64) && {
            let is_due = self.measured_at.lock().is_none_or(|at| at.elapsed() >= PAUSE);
            if !is_due {
                self.due_at.store(seen + EVERY, Ordering::Relaxed);
            }
            is_due
        }
    }
}

/// What was measured of a segment's walks.
#[derive(Default)]
pub struct SegmentWatch {
    kinds: [Mutex<Option<Measured>>; 3],
    /// The share of sampled vectors that find themselves.
    self_retrieval: Mutex<Option<f32>>,
}

struct Measured {
    calibration: Calibration,
    queries: usize,
}

impl SegmentWatch {
    /// Nodes to keep for queries of a kind.
    #[must_use]
    pub fn ef(&self, segment: &Segment, kind: QueryKind, recall: f32, limit: usize) -> usize {
        if let Some(measured) = &*self.kinds[kind as usize].lock() {
            return measured.calibration.ef(recall, limit);
        }
        match kind {
            QueryKind::Image => segment.calibration().ef(recall, limit),
            QueryKind::Text | QueryKind::Composed => segment.calibration().ef(recall.max(UNKNOWN_RECALL), limit),
        }
    }

    /// Measures walks with what was asked, and how many vectors find themselves.
    ///
    /// # Errors
    /// [`crate::Error::Corruption`] if the segment is damaged.
    pub fn measure(&self, segment: &Segment, asked: &[(QueryKind, Vec<Vec<f32>>)]) -> Result<()> {
        *self.self_retrieval.lock() = Some(segment.self_retrieval()?);
        for (kind, queries) in asked {
            let calibration = segment.calibrate(queries)?;
            *self.kinds[*kind as usize].lock() = Some(Measured { calibration, queries: queries.len() });
        }
        Ok(())
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
            let measured = self.kinds[kind as usize].lock();
            let Measured { calibration, queries } = measured.as_ref()?;
            let ef = calibration.ef(recall, 10);
            Some(KindReport { kind, recall: calibration.recall(ef), ef, queries: *queries })
        };
        QueryKind::ALL.into_iter().filter_map(report).collect()
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
        let [(QueryKind::Text, queries)] = &canary.take_due()[..] else { panic!("texts alone are due") };
        assert_eq!(queries.len(), KEPT);
        assert_eq!(due(10 * DUE), 0, "not again at once, whatever is asked");
        assert!(canary.take_due().is_empty());
        let Some(before) = Instant::now().checked_sub(PAUSE) else { return };
        *canary.kinds[QueryKind::Text as usize].measured_at.lock() = Some(before);
        assert!(due(2 * EVERY) > 0);
        assert_eq!(canary.known().len(), 1);
        assert!(!canary.note(QueryKind::Image, &[1.0]), "kinds are apart");
    }
}
