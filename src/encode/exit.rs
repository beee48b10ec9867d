//! Keeps worker threads out of libtorch while the process ends.
//!
//! `exit` destroys libtorch's static objects under threads that still compute, which then crash the process after its work is
//! done. A stopped server has joined its workers; programs that merely end, such as tests, have not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

/// Read by every thread inside libtorch; written once, when the process ends.
static GATE: RwLock<()> = RwLock::new(());

/// How long an ending process waits for the batches in work.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs what calls libtorch; never returns if the process is ending. Calls must not be nested.
pub(super) fn inside_torch<T>(work: impl FnOnce() -> T) -> T {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let result = {
        let _open = GATE.read();
        work()
    };
    // What is registered later runs earlier. libtorch registers destructors when an object is first used, so the handler is
    // registered behind them: after the first call, the second, the fourth, …, which adds up to 64 at most.
    if (CALLS.fetch_add(1, Ordering::Relaxed) + 1).is_power_of_two() {
        // SAFETY: the handler is a plain function that lives as long as the program and does not unwind.
        if unsafe { libc::atexit(close) } != 0 {
            tracing::warn!("no room for an exit handler: ending while networks compute may crash");
        }
    }
    result
}

/// Waits for the threads inside libtorch and lets none in again; does nothing the second time.
extern "C" fn close() {
    static IS_CLOSED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    if IS_CLOSED.swap(true, Ordering::Relaxed) {
        return;
    }
    if let Some(closed) = GATE.try_write_for(PATIENCE) {
        std::mem::forget(closed);
    }
}
