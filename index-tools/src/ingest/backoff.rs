//! How long to wait before trying again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// Doubles with every failure in a row.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure: at least the server's hint, at least the doubled time, up to a quarter more so that
    /// clients that failed together do not come back together.
    pub fn next(&mut self, hint: Option<Duration>) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let wait = doubled.max(hint.unwrap_or_default());
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        wait + wait.mul_f64(0.25 * f64::from(clock.subsec_micros() % 1000) / 1000.0)
    }

    /// Something worked.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_honour_hints() {
        let mut backoff = Backoff::default();
        let first = backoff.next(None);
        assert!(first >= FIRST && first <= FIRST.mul_f64(1.25));
        assert!(backoff.next(Some(Duration::from_secs(60))) >= Duration::from_secs(60));
        for _ in 0..100 {
            assert!(backoff.next(None) <= LONGEST.mul_f64(1.25));
        }
        assert!(backoff.next(None) >= LONGEST);
        backoff.reset();
        assert!(backoff.next(None) <= FIRST.mul_f64(1.25));
    }
}
