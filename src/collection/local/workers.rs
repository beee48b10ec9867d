//! Threads that look after the indexes of a collection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::moment::Inner;
use super::seal::{Due, Work};
use crate::{Error, Result};

/// Of threads that make segments, -20 to 19.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 19;

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
    step_back();
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
                let outcome = inner.seal(key, &work, &shared.interrupt);
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

/// Gives searches and writers the processors first; threads that this one starts do so too.
fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS) {
        tracing::debug!(%error, "segments are made at the priority of searches");
    }
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
