//! A shared allowance of bytes for pictures that are being decoded.

use parking_lot::{Condvar, Mutex};

use super::header::ImageHeader;

/// Counts the bytes of decodings in work and lets the next ones wait.
#[derive(Debug)]
pub struct DecodeBudget {
    total: u64,
    free: Mutex<u64>,
    freed: Condvar,
}

impl DecodeBudget {
    /// An allowance of `total` bytes.
    #[must_use]
    pub fn new(total: u64) -> Self {
        Self { total, free: Mutex::new(total), freed: Condvar::new() }
    }

    /// What decoding a picture takes at most, in bytes.
    #[must_use]
    pub fn cost(header: &ImageHeader) -> u64 {
        header.decoded_bytes
    }

    /// Waits until `bytes` are free and takes them until the result is dropped.
    ///
    /// Who wants more than there is in total gets all of it, alone.
    #[must_use]
    pub fn acquire(&self, bytes: u64) -> DecodeShare<'_> {
        let bytes = bytes.min(self.total);
        let mut free = self.free.lock();
        while *free < bytes {
            self.freed.wait(&mut free);
        }
        *free -= bytes;
        DecodeShare { budget: self, bytes }
    }

    /// Bytes that nobody holds.
    #[must_use]
    pub fn free(&self) -> u64 {
        *self.free.lock()
    }
}

/// A part of a [`DecodeBudget`], given back when dropped.
#[derive(Debug)]
pub struct DecodeShare<'a> {
    budget: &'a DecodeBudget,
    bytes: u64,
}

impl Drop for DecodeShare<'_> {
    fn drop(&mut self) {
        *self.budget.free.lock() += self.bytes;
        // Those who wait want different amounts, so each has to look.
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn the_total_is_never_exceeded() {
        let budget = DecodeBudget::new(100);
        let (held, most) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..8_u64 {
                let (budget, held, most) = (&budget, &held, &most);
                scope.spawn(move || {
                    for step in 0..200 {
                        let wanted = (thread * 37 + step * 11) % 130;
                        let _share = budget.acquire(wanted);
                        let now = held.fetch_add(wanted.min(100), Ordering::SeqCst) + wanted.min(100);
                        most.fetch_max(now, Ordering::SeqCst);
                        std::thread::yield_now();
                        held.fetch_sub(wanted.min(100), Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(most.into_inner() <= 100 && budget.free() == 100);
    }
}
