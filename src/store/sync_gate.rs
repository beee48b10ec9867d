//! Group commit: one thread makes the log durable for everyone who waits.

use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use crate::{Error, Result};

#[derive(Default)]
struct Tickets {
    /// Drawn by waiters, from 1.
    drawn: u64,
    /// All tickets up to this one are durable.
    durable: u64,
    failure: Option<Error>,
    stop: bool,
}

#[derive(Default)]
struct Shared {
    tickets: Mutex<Tickets>,
    work: Condvar,
    done: Condvar,
}

/// Coalesces waiters into one sync. After a failed sync nothing is known about what the disk holds, so the gate stays shut:
/// every later wait and [`SyncGate::check`] fails until the store is opened again.
pub(super) struct SyncGate {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl SyncGate {
    /// Starts the thread; `sync` makes everything written before its call durable.
    pub(super) fn start(sync: impl Fn() -> Result<()> + Send + 'static) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("store-sync".to_owned())
            .spawn(move || run(&of_thread, &sync))
            .map_err(|error| Error::Storage(format!("cannot start the sync thread: {error}")))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Returns once everything written before the call is durable. Blocks.
    pub(super) fn wait(&self) -> Result<()> {
        let mut tickets = self.shared.tickets.lock();
        tickets.drawn += 1;
        let mine = tickets.drawn;
        self.shared.work.notify_one();
        loop {
            if tickets.durable >= mine {
                return Ok(());
            }
            if let Some(failure) = &tickets.failure {
                return Err(failure.clone());
            }
            self.shared.done.wait(&mut tickets);
        }
    }

    /// Lets nothing through any more, because of a write that failed half way.
    pub(super) fn shut(&self, cause: &Error) {
        let mut tickets = self.shared.tickets.lock();
        if tickets.failure.is_none() {
            tickets.failure = Some(stopped("a write failed half way", cause));
        }
        self.shared.done.notify_all();
    }

    /// Fails if an earlier sync failed.
    pub(super) fn check(&self) -> Result<()> {
        self.shared.tickets.lock().failure.clone().map_or(Ok(()), Err)
    }
}

impl Drop for SyncGate {
    fn drop(&mut self) {
        self.shared.tickets.lock().stop = true;
        self.shared.work.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has been seen by its waiters as a failure.
            let _ = thread.join();
        }
    }
}

fn run(shared: &Shared, sync: &dyn Fn() -> Result<()>) {
    let mut tickets = shared.tickets.lock();
    loop {
        while tickets.drawn == tickets.durable && !tickets.stop {
            shared.work.wait(&mut tickets);
        }
        if tickets.drawn == tickets.durable || tickets.failure.is_some() {
            return;
        }
        let target = tickets.drawn;
        drop(tickets);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(sync))
            .unwrap_or_else(|_| Err(Error::Internal("the sync panicked".to_owned())));
        tickets = shared.tickets.lock();
        match outcome {
            Ok(()) => tickets.durable = target,
            Err(error) => tickets.failure = Some(stopped("the log could not be made durable", &error)),
        }
        shared.done.notify_all();
        if tickets.failure.is_some() {
            return;
        }
    }
}

fn stopped(what: &str, cause: &Error) -> Error {
    Error::FailedPrecondition {
        reason: "WRITES_STOPPED",
        message: format!("writes are stopped because {what} ({cause}); repair the disk and restart the server"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn waiters_share_a_sync() {
        let syncs = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&syncs);
        let gate = SyncGate::start(move || {
            std::thread::sleep(Duration::from_millis(2));
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
        .expect("a gate");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..10).for_each(|_| gate.wait().expect("a sync")));
            }
        });
        let syncs = syncs.load(Ordering::SeqCst);
        assert!((10..=40).contains(&syncs), "80 waits took {syncs} syncs");
    }

    #[test]
    fn a_failed_sync_shuts_the_gate() {
        let calls = AtomicU64::new(0);
        let gate = SyncGate::start(move || match calls.fetch_add(1, Ordering::SeqCst) {
            0 => Ok(()),
            _ => Err(Error::StorageFull("no room".to_owned())),
        })
        .expect("a gate");
        assert_eq!((gate.wait(), gate.check()), (Ok(()), Ok(())));
        assert_eq!(gate.wait().expect_err("a failure").reason(), "WRITES_STOPPED");
        assert_eq!(gate.check().expect_err("a failure").reason(), "WRITES_STOPPED");
        assert_eq!(gate.wait().expect_err("a failure").reason(), "WRITES_STOPPED");
    }

    #[test]
    fn a_gate_that_is_shut_stays_shut() {
        let gate = SyncGate::start(|| Ok(())).expect("a gate");
        assert_eq!(gate.wait(), Ok(()));
        gate.shut(&Error::StorageFull("no room".to_owned()));
        gate.shut(&Error::Internal("a later reason".to_owned()));
        let errors = [gate.check(), gate.wait()].map(|outcome| outcome.expect_err("a failure"));
        assert!(errors.iter().all(|error| error.reason() == "WRITES_STOPPED" && error.to_string().contains("no room")));
    }

    #[test]
    fn a_panicking_sync_is_a_failure() {
        let gate = SyncGate::start(|| panic!("on purpose")).expect("a gate");
        assert!(gate.wait().is_err());
    }
}
