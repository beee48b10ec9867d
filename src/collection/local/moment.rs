//! An index and a snapshot of the store that agree.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use super::plan::Changes;
use super::pressure::Pressure;
use super::records::{RecordCache, RecordGate};
use super::seal::SegmentSettings;
use super::state::State;
use crate::collection::schema::CollectionSchema;
use crate::store::{Batch, Counters, Snapshot, Store};
use crate::{Error, Result};

/// A collection's shared insides. Locks are taken in the order `writer`, `state`.
pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) id: u32,
    /// Held by the one writer; the counters that its next write starts from.
    pub(super) writer: Mutex<Counters>,
    /// Odd while store and index may disagree; stays odd if a writer dies in between.
    epoch: AtomicU64,
    pub(super) state: RwLock<State>,
    /// The state's schema once more, for asynchronous threads, which must not wait for a search to let go of the state.
    pub(super) published: ArcSwap<CollectionSchema>,
    pub(super) pool: Option<Arc<rayon::ThreadPool>>,
    pub(super) segments: SegmentSettings,
    pub(super) record_cache: RecordCache,
    pub(super) record_gate: RecordGate,
    pub(super) pressure: Pressure,
    /// True if enough was asked that walks should be measured.
    pub(super) is_measurement_due: AtomicBool,
}

/// An index and a snapshot, as [`Look`] says. The index is locked for writers as long as `state` lives.
pub(super) struct Moment<'a> {
    pub(super) state: RwLockReadGuard<'a, State>,
    pub(super) snapshot: Snapshot<'a>,
    /// Of the state when the snapshot was taken; odd if a write was on its way, which the snapshot may have or not.
    pub(super) epoch: u64,
}

/// How a reader takes its moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Without waiting: the snapshot may hold a write that the index does not have yet. What the index names is then either
    /// missing from the snapshot, or has the parts that the index knows; internal ids are never used again.
    AtOnce,
    /// Index and snapshot agree.
    Agreed,
}

/// How often a reader looks again, and the pause between, before it waits for the writer.
const LOOKS: usize = 100;
const PAUSE: Duration = Duration::from_micros(50);

impl Inner {
    pub(super) fn new(
        store: Store,
        state: State,
        pool: Option<Arc<rayon::ThreadPool>>,
        segments: SegmentSettings,
        record_cache: RecordCache,
    ) -> Self {
        let (id, counters) = (state.schema.id, state.counters);
        let published = ArcSwap::new(Arc::clone(&state.schema));
        let (writer, epoch, state) = (Mutex::new(counters), AtomicU64::new(0), RwLock::new(state));
        let (pressure, record_gate, is_measurement_due) = (Pressure::new(), RecordGate::default(), false.into());
        Self {
            store,
            id,
            writer,
            epoch,
            state,
            published,
            pool,
            segments,
            record_cache,
            record_gate,
            pressure,
            is_measurement_due,
        }
    }

    /// Reads without waiting for writers; if what the index names is missing, once more with an agreed moment.
    ///
    /// # Errors
    /// As [`Inner::moment`] and as `work`.
    pub(super) fn read<T>(&self, work: impl Fn(Look) -> Result<T>) -> Result<T> {
        match work(Look::AtOnce) {
            Err(Error::Corruption(_)) => work(Look::Agreed),
            outcome => outcome,
        }
    }

    /// The collection as of now.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it was dropped, [`Error::Internal`] if a writer died half way.
    pub(super) fn moment(&self, look: Look) -> Result<Moment<'_>> {
        if look == Look::AtOnce {
            // In this order, so that the index is never newer than the snapshot.
            let (state, epoch) = (self.state.read(), self.epoch());
            return Moment { state, snapshot: self.store.snapshot(), epoch }.checked();
        }
        for _ in 0..LOOKS {
            if let Some(moment) = self.look() {
                return moment.checked();
            }
            std::thread::sleep(PAUSE);
        }
        let _no_writer = self.writer.lock();
        self.moment_without_writer()
    }

    /// As [`Inner::moment`], for a caller that holds `writer`.
    pub(super) fn moment_without_writer(&self) -> Result<Moment<'_>> {
        self.look().ok_or_else(half_written)?.checked()
    }

    /// A moment, unless a write is on its way.
    fn look(&self) -> Option<Moment<'_>> {
        // The guard keeps a committed write from being applied, so the epoch can only tell of commits that began.
        let state = self.state.read();
        let before = self.epoch.load(Ordering::SeqCst);
        if !before.is_multiple_of(2) {
            return None;
        }
        let snapshot = self.store.snapshot();
        (self.epoch() == before).then_some(Moment { state, snapshot, epoch: before })
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Commits a batch and applies its changes; readers see both or neither. The caller holds `writer`.
    ///
    /// # Errors
    /// As [`Store::commit`]; nothing is changed then.
    pub(super) fn commit(&self, batch: Batch<'_>, apply: impl FnOnce(&mut State)) -> Result<()> {
        if !self.epoch.load(Ordering::SeqCst).is_multiple_of(2) {
            return Err(half_written());
        }
        self.epoch.fetch_add(1, Ordering::SeqCst);
        let outcome = self.store.commit(batch);
        let mut state = self.state.write();
        if outcome.is_ok() {
            apply(&mut state);
        }
        self.epoch.fetch_add(1, Ordering::SeqCst);
        drop(state);
        self.pressure.note_write();
        outcome
    }

    /// Commits a planned batch of item writes. The caller holds `writer`.
    pub(super) fn commit_changes(&self, batch: Batch<'_>, changes: Changes, counters: Counters) -> Result<()> {
        self.commit(batch, |state| {
            self.forget_records(&changes, state.counters.next_internal);
            state.apply(changes, counters);
        })
    }

    /// The description as of now.
    pub(super) fn schema(&self) -> Arc<CollectionSchema> {
        self.published.load_full()
    }
}

impl Moment<'_> {
    fn checked(self) -> Result<Self> {
        if self.state.is_dropped { Err(dropped(&self.state.schema)) } else { Ok(self) }
    }
}

pub(super) fn dropped(schema: &CollectionSchema) -> Error {
    Error::NotFound { kind: "collection", name: schema.name.clone() }
}

fn half_written() -> Error {
    Error::Internal("a write died before the index had it; restart the server".to_owned())
}
