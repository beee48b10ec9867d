//! Threads that look after the indexes of a collection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::moment::Inner;
use super::seal::{Due, Work};
use crate::{Error, Result};

/// Of threads that make segments, -20 to 19: a tenth of a processor that others want, and a quarter when the tail is too long for searches.
const NICENESS: i32 = 10;
const NICENESS_BEHIND: i32 = 5;

/// A thread that makes segments and one that measures them; whoever drops the last handle of a collection waits for their end.
#[derive(Default)]
pub(super) struct Workers {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// True if the segment that is being made should be given up.
    interrupt: AtomicBool,
    sealing: Mutex<Sealing>,
    wake: Condvar,
}

/// The thread that makes segments.
#[derive(Default)]
struct Sealing {
    is_alive: bool,
    /// True if something was written since the thread last looked.
    is_woken: bool,
    is_at_work: bool,
    /// True while what is made may wait.
    is_idle_work: bool,
    has_failed: bool,
}

impl Workers {
    /// Sees to it that segments are made where they are due, and walks measured with what was asked lately.
    pub(super) fn look_after(&self, inner: &Arc<Inner>) {
        if inner.pressure.take_new() {
            self.seal(inner);
        }
        if inner.is_measurement_due.swap(false, Ordering::Relaxed) {
            self.start("measure", inner, |inner, _| inner.measure());
        }
    }

    fn seal(&self, inner: &Arc<Inner>) {
        let mut sealing = self.shared.sealing.lock();
        sealing.is_woken = true;
        if sealing.is_alive {
            if sealing.is_idle_work && inner.is_tail_due() {
                self.shared.interrupt.store(true, Ordering::Relaxed);
            }
            self.shared.wake.notify_all();
        } else if !matches!(inner.due(), Due::Nothing) {
            sealing.is_alive = true;
            drop(sealing);
            if !self.start("seal", inner, seal_what_is_due) {
                self.shared.sealing.lock().is_alive = false;
                // The next call tries again.
                inner.pressure.wake();
            }
        }
    }

    /// True while a segment is made or due.
    ///
    /// # Errors
    /// [`Error::Storage`] if one could not be made; the log says why.
    pub(super) fn is_sealing(&self, inner: &Arc<Inner>) -> Result<bool> {
        self.look_after(inner);
        let is_due = matches!(inner.due(), Due::Now(..));
        let sealing = self.shared.sealing.lock();
        match sealing.has_failed && !sealing.is_at_work {
            true => Err(Error::Storage("a segment could not be made; the log says why".to_owned())),
            false if is_due && !sealing.is_alive => {
                Err(Error::Internal("the system starts no thread that makes segments".to_owned()))
            }
            false => Ok(sealing.is_at_work || is_due),
        }
    }

    /// False if the system starts no more threads.
    fn start(&self, name: &str, inner: &Arc<Inner>, work: impl FnOnce(&Inner, &Shared) + Send + 'static) -> bool {
        let (inner, shared) = (Arc::clone(inner), Arc::clone(&self.shared));
        let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || work(&inner, &shared));
        let mut threads = self.threads.lock();
        threads.retain(|thread| !thread.is_finished());
        match spawned {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                tracing::error!(%error, name, "cannot start a thread that looks after an index");
                return false;
            }
        }
        true
    }
}

/// Makes what is due until nothing is, and nothing will be if nobody writes.
fn seal_what_is_due(inner: &Inner, shared: &Shared) {
    let _if_it_panics = Panicking(shared);
    loop {
        // Before the end is looked for, because the end interrupts, too.
        shared.interrupt.store(false, Ordering::SeqCst);
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        shared.sealing.lock().is_woken = false;
        match inner.due() {
            Due::Now(key, work) => {
                {
                    let mut sealing = shared.sealing.lock();
                    (sealing.is_at_work, sealing.is_idle_work) = (true, matches!(work, Work::Idle(_)));
                }
                let outcome = at_lower_priority(inner, || inner.seal(key, &work, &shared.interrupt));
                let mut sealing = shared.sealing.lock();
                (sealing.is_at_work, sealing.is_idle_work) = (false, false);
                sealing.has_failed = matches!(&outcome, Err(error) if *error != Error::Cancelled);
                match outcome {
                    Ok(()) | Err(Error::Cancelled) => {}
                    Err(Error::NotFound { .. }) => return sealing.is_alive = false,
                    Err(error) => {
                        let collection = inner.id;
                        tracing::error!(%error, collection, "a segment could not be made; searches go on without it");
                        let until = Instant::now() + inner.segments.retry;
                        while !shared.stop.load(Ordering::Relaxed) && Instant::now() < until {
                            shared.wake.wait_until(&mut sealing, until);
                        }
                    }
                }
            }
            Due::Later(time) => {
                let mut sealing = shared.sealing.lock();
                if !sealing.is_woken && !shared.stop.load(Ordering::Relaxed) {
                    shared.wake.wait_for(&mut sealing, time);
                }
            }
            Due::Nothing => {
                let mut sealing = shared.sealing.lock();
                if !sealing.is_woken {
                    sealing.is_alive = false;
                    return;
                }
            }
        }
    }
}

/// Runs on a thread that gives searches and writers the processors first, and whose own threads do so too. A thread of its own for each segment,
/// because none gets back what it gave up.
fn at_lower_priority<T: Send>(inner: &Inner, work: impl FnOnce() -> T + Send) -> T {
    let niceness = if inner.is_behind() { NICENESS_BEHIND } else { NICENESS };
    std::thread::scope(|scope| {
        let work = scope.spawn(move || {
            step_back(niceness);
            work()
        });
        work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn step_back(niceness: i32) {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), niceness) {
        tracing::debug!(%error, "segments are made at the priority of searches");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = niceness;
}

/// Lets the next write start a thread in the place of one that panicked.
struct Panicking<'a>(&'a Shared);

impl Drop for Panicking<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut sealing = self.0.sealing.lock();
            let has_failed = true;
            *sealing = Sealing { has_failed, ..Sealing::default() };
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        {
            let _nobody_looks = self.shared.sealing.lock();
            self.shared.stop.store(true, Ordering::SeqCst);
            self.shared.interrupt.store(true, Ordering::SeqCst);
        }
        self.shared.wake.notify_all();
        for thread in self.threads.get_mut().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that looked after an index has panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collection::backend::{CollectionBackend as _, Durability, Indexing, ItemWrite, PartVector, UpsertMode};
    use crate::collection::schema::{FieldSource, FieldSpec};
    use crate::collection::{Catalog, CatalogSettings, LocalCollection, NewCollection, NewField, SegmentSettings};
    use crate::index::Growth;
    use crate::index::graph::BuildSettings;
    use crate::store::{Store, StoreSettings};
    use crate::types::vector::UnitVector;
    use crate::types::{ItemId, PartRef};

    const SEAL_AT: usize = 800;
    const DIMENSION: usize = 16;

    fn write(local: &LocalCollection, from: usize) {
        let write = |number: usize| {
            let part = PartRef::vector("own", 0);
            let wave = |at: usize| ((number * 7919 + 13) as f64 * (at + 1) as f64 * 0.618).sin() as f32;
            let vector = UnitVector::normalise((0..DIMENSION).map(wave).collect()).expect("a direction");
            ItemWrite {
                id: ItemId::new(&format!("item{number}")).expect("an id"),
                payload: Default::default(),
                media: vec![],
                texts: Default::default(),
                parts: vec![(part.clone(), [number as u8; 16])],
                vectors: vec![PartVector { field: "own".to_owned(), generation: 1, part, vector }],
                mode: UpsertMode::Upsert,
                indexing: Indexing::AtOnce,
                if_version: None,
            }
        };
        let writes = (from..from + SEAL_AT).map(write).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let acks = runtime.block_on(local.upsert(writes, Durability::Async)).expect("a batch");
        assert!(acks.iter().all(Result::is_ok));
    }

    fn wait_for(local: &LocalCollection, what: &str, is_there: impl Fn(&LocalCollection) -> bool) {
        let start = Instant::now();
        while !is_there(local) {
            assert!(start.elapsed().as_secs() < 120, "{what}: {:?}", local.stats().indexes);
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    /// Fails when: segments that are joined because nobody wrote keep a full tail waiting. Then there are two when the tail is in its segment, not
    /// three.
    #[test]
    fn an_idle_join_makes_way_for_a_full_tail() {
        let folder = tempfile::tempdir().expect("a folder");
        // Much work for few vectors, so that a join takes longer than anybody needs to write.
        let build = BuildSettings { m: 32, ef_construction: 2_000, ..BuildSettings::default() };
        let growth = Growth { seal_at: SEAL_AT, idle: std::time::Duration::from_millis(300), ..Growth::default() };
        let segments = SegmentSettings { growth, build, ..SegmentSettings::default() };
        let store = Store::open(folder.path(), &StoreSettings { memory_bytes: 16 << 20, ..StoreSettings::default() });
        let settings = CatalogSettings { segments, ..CatalogSettings::default() };
        let catalog = Catalog::open(store.expect("a store"), settings).expect("a catalog");
        let source = FieldSource::Vector { dimension: DIMENSION as u32, space: String::new() };
        let field = NewField { spec: FieldSpec { name: "own".to_owned(), source }, encoder: None };
        catalog
            .create(NewCollection { name: "c".to_owned(), fields: vec![field], ..NewCollection::default() })
            .expect("a collection");
        let local = catalog.resolve_local("c").expect("a collection");
        let report = |local: &LocalCollection| local.stats().indexes.remove(0);
        for number in 0..2 {
            write(&local, number * SEAL_AT);
            wait_for(&local, "a segment", |local| report(local).segments == number as u64 + 1);
        }
        wait_for(&local, "a join", |local| local.workers.shared.sealing.lock().is_idle_work);
        write(&local, 2 * SEAL_AT);
        wait_for(&local, "a third segment", |local| report(local).tail_vectors == 0);
        assert_eq!(report(&local).segments, 3);
    }
}
