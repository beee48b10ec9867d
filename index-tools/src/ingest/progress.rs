//! How the run is going: a bar on a terminal, else one JSON line a second on stderr.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::task::JoinHandle;

use super::record::Total;

/// Reports until it is dropped.
#[derive(Debug)]
pub struct Progress {
    total: Total,
    numbers: Arc<Numbers>,
    bar: Option<ProgressBar>,
    ticker: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Numbers {
    started: Instant,
    /// Where a resumed run began; its speed does not count what came before.
    resumed_at: u64,
    done: AtomicU64,
    rejected: AtomicU64,
    offset: AtomicU64,
}

impl Numbers {
    fn per_second(&self) -> f64 {
        let done = self.done.load(Ordering::Relaxed).saturating_sub(self.resumed_at);
        done as f64 / self.started.elapsed().as_secs_f64().max(1e-3)
    }

    fn line(&self, total: Total) -> serde_json::Value {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let mut line = json!({
            "done": load(&self.done), "total": null, "rejected": load(&self.rejected),
            "items_per_s": (self.per_second() * 10.0).round() / 10.0,
            "seconds": (self.started.elapsed().as_secs_f64() * 10.0).round() / 10.0,
        });
        match total {
            Total::Records(records) => line["total"] = records.into(),
            Total::Bytes(bytes) => {
                line["bytes_done"] = load(&self.offset).into();
                line["bytes_total"] = bytes.into();
            }
        }
        line
    }
}

impl Progress {
    /// Starts reporting.
    #[must_use]
    pub fn start(total: Total, resumed_at: u64) -> Self {
        let numbers = Arc::new(Numbers {
            started: Instant::now(),
            resumed_at,
            done: AtomicU64::new(resumed_at),
            rejected: AtomicU64::new(0),
            offset: AtomicU64::new(0),
        });
        if std::io::stderr().is_terminal() {
            return Self { total, numbers, bar: Some(bar(total)), ticker: None };
        }
        let reported = Arc::clone(&numbers);
        let ticker = tokio::spawn(async move {
            let mut second = tokio::time::interval(Duration::from_secs(1));
            second.tick().await;
            loop {
                second.tick().await;
                eprintln!("{}", reported.line(total));
            }
        });
        Self { total, numbers, bar: None, ticker: Some(ticker) }
    }

    /// Takes the number of settled records, the rejected ones among them, and the bytes of the source before them.
    pub fn update(&self, done: u64, rejected: u64, offset: u64) {
        self.numbers.done.store(done, Ordering::Relaxed);
        self.numbers.rejected.store(rejected, Ordering::Relaxed);
        self.numbers.offset.fetch_max(offset, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            match self.total {
                Total::Records(_) => bar.set_position(done),
                Total::Bytes(_) => bar.set_position(self.numbers.offset.load(Ordering::Relaxed)),
            }
            let rate = self.numbers.per_second();
            bar.set_message(format!("{done} records, {rejected} rejected, {rate:.0}/s"));
        }
    }

    /// Writes a line for people on stderr without breaking the bar.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }

    /// Records a second, and the seconds.
    #[must_use]
    pub fn speed(&self) -> (f64, f64) {
        (self.numbers.per_second(), self.numbers.started.elapsed().as_secs_f64())
    }
}

fn bar(total: Total) -> ProgressBar {
    let (length, template) = match total {
        Total::Records(records) => (records, "{wide_bar} {percent:>3} %  {msg}  {eta} left"),
        Total::Bytes(bytes) => (bytes, "{wide_bar} {bytes}/{total_bytes}  {msg}  {eta} left"),
    };
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(ticker) = &self.ticker {
            ticker.abort();
            eprintln!("{}", self.numbers.line(self.total));
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
