//! Watches how well walks answer what is really asked: texts, pictures and composed queries lie differently to the stored vectors.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::graph::{Calibration, Segment};
use crate::Result;

/// Queries of a kind that are kept.
const KEPT: usize = 64;
/// One of so many queries is kept once there are enough.
const EVERY: u64 = 16;
/// New queries of a kind after which it is measured again.
const DUE: u64 = 1_024;
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
    /// At which number of queries it was measured.
    measured_at: AtomicU64,
    recent: Mutex<VecDeque<Vec<f32>>>,
    measured: Mutex<Option<(Calibration, usize)>>,
}

impl Canary {
    /// Takes note of a query; true if a measurement is due.
    pub fn note(&self, kind: QueryKind, query: &[f32]) -> bool {
        let of_kind = &self.kinds[kind as usize];
        let seen = of_kind.n_seen.fetch_add(1, Ordering::Relaxed);
        if (seen < KEPT as u64 || seen.is_multiple_of(EVERY))
            && let Some(mut recent) = of_kind.recent.try_lock()
        {
            if recent.len() == KEPT {
                recent.pop_front();
            }
            recent.push_back(query.to_vec());
        }
        of_kind.is_due()
    }

    /// Nodes to keep for queries of a kind.
    #[must_use]
    pub fn ef(&self, segment: &Segment, kind: QueryKind, recall: f32, limit: usize) -> usize {
        if let Some((measured, _)) = &*self.kinds[kind as usize].measured.lock() {
            return measured.ef(recall, limit);
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
            kind.measured_at.store(kind.n_seen.load(Ordering::Relaxed), Ordering::Relaxed);
            let queries: Vec<Vec<f32>> = kind.recent.lock().iter().cloned().collect();
            let calibration = segment.calibrate(&queries)?;
            *kind.measured.lock() = Some((calibration, queries.len()));
        }
        Ok(())
    }

    /// Forgets what was measured on a segment that is not used any more; queries are kept, and are asked of the next.
    pub fn forget(&self) {
        *self.self_retrieval.lock() = None;
        for kind in &self.kinds {
            *kind.measured.lock() = None;
            kind.measured_at.store(0, Ordering::Relaxed);
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
            let (calibration, queries) = measured.as_ref()?;
            let ef = calibration.ef(recall, 10);
            Some(KindReport { kind, recall: calibration.recall(ef), ef, queries: *queries })
        };
        QueryKind::ALL.into_iter().filter_map(report).collect()
    }
}

impl Kind {
    /// After the first [`KEPT`] queries, and then after every [`DUE`].
    fn is_due(&self) -> bool {
        let (seen, at) = (self.n_seen.load(Ordering::Relaxed), self.measured_at.load(Ordering::Relaxed));
        seen >= KEPT as u64 && (at == 0 || seen >= at + DUE)
    }
}
