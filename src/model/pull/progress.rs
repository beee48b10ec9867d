//! What people see while a pull runs: lines on standard error, few of them if nobody sits there.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Between two looks at a terminal, and between two lines of a log.
const INTERVALS: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(15)];

/// How far a pull is.
pub(crate) struct Progress {
    total: u64,
    /// Bytes of all files that are there.
    done: u64,
    /// Bytes that came over the network, those included that had to be thrown away.
    received: u64,
    started: Instant,
    shown: Instant,
    is_terminal: bool,
    is_line_open: bool,
}

impl Progress {
    pub(crate) fn start() -> Self {
        let now = Instant::now();
        let is_terminal = std::io::stderr().is_terminal();
        Self { total: 0, done: 0, received: 0, started: now, shown: now, is_terminal, is_line_open: false }
    }

    pub(crate) fn set_total(&mut self, bytes: u64) {
        self.total = bytes;
    }

    /// This many bytes were there before the pull began.
    pub(crate) fn kept(&mut self, bytes: u64) {
        self.done += bytes;
    }

    /// This many bytes of a file were thrown away.
    pub(crate) fn dropped(&mut self, bytes: u64) {
        self.done = self.done.saturating_sub(bytes);
    }

    /// This many bytes of a file arrived.
    pub(crate) fn received(&mut self, bytes: u64, path: &str) {
        self.done += bytes;
        self.received += bytes;
        if self.shown.elapsed() >= INTERVALS[usize::from(!self.is_terminal)] {
            self.shown = Instant::now();
            let line = self.line(path);
            if self.is_terminal {
                write(format_args!("\r\x1b[K{line}"));
                self.is_line_open = true;
            } else {
                write(format_args!("{line}\n"));
            }
        }
    }

    pub(crate) fn received_bytes(&self) -> u64 {
        self.received
    }

    /// Says something once.
    pub(crate) fn note(&mut self, message: &str) {
        let start = if std::mem::take(&mut self.is_line_open) { "\r\x1b[K" } else { "" };
        write(format_args!("{start}{message}\n"));
    }

    fn line(&self, path: &str) -> String {
        let seconds = self.started.elapsed().as_secs_f64();
        progress_line(self.done, self.total, self.received as f64 / seconds.max(1e-3), path)
    }
}

fn progress_line(done: u64, total: u64, bytes_per_second: f64, path: &str) -> String {
    let percent = (done * 100).checked_div(total).unwrap_or(100);
    format!("{percent:3} %  {} of {}  {:.1} MB/s  {path}", megabytes(done), megabytes(total), bytes_per_second / 1e6)
}

/// Bytes for people.
pub(crate) fn megabytes(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        10_000_000..10_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

fn write(text: std::fmt::Arguments<'_>) {
    // A pull whose terminal is gone still goes on.
    let _ = std::io::stderr().write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_how_far_and_how_fast() {
        let line = progress_line(45_300_000, 90_600_000, 12_340_000.0, "model.safetensors");
        assert_eq!(line, " 50 %  45.3 MB of 90.6 MB  12.3 MB/s  model.safetensors");
        assert_eq!(progress_line(0, 0, 0.0, "x"), "100 %  0 B of 0 B  0.0 MB/s  x");
        assert_eq!(megabytes(12_345), "12.3 kB");
        assert_eq!(megabytes(12_340_000_000), "12.34 GB");
    }
}
