//! The thread that owns a network.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::batch::plan;
use super::encoder::{Encoder, EncoderInput};
use super::exit::inside_torch;
use super::health::Health;
use super::queue::{Job, Lane, Queue, Wake};
use crate::types::vector::UnitVector;
use crate::{Error, Result};

/// Loads the network; called again after it has panicked. Runs on the thread that will own the network.
pub type Loader = Box<dyn FnMut() -> Result<Box<dyn Encoder>> + Send>;

/// How long a healthy encoder may be idle before it proves that it still works.
const IDLE_BEFORE_PROBE: Duration = Duration::from_secs(30);
/// How long a failing encoder waits between attempts.
const FAILING_BEFORE_PROBE: Duration = Duration::from_secs(1);
/// Batches of documents that are planned together; more gives better company in length, fewer gives fairer turns.
const WINDOW_BATCHES: usize = 8;
/// Rounds of queries after which waiting documents get a turn.
const QUERY_ROUNDS: usize = 4;

/// A worker's state; all of it on its own thread.
pub(super) struct Worker {
    pub(super) queue: Arc<Queue>,
    pub(super) health: Arc<Health>,
    pub(super) loader: Loader,
    /// `None` after a panic, until it is loaded again.
    pub(super) encoder: Option<Box<dyn Encoder>>,
    /// Tokens of one batch, padding included.
    pub(super) batch_tokens: usize,
    /// A short text to prove the network with.
    pub(super) probe: EncoderInput,
}

impl Worker {
    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let mut planned: VecDeque<Vec<Job>> = VecDeque::new();
        let mut query_rounds = 0;
        loop {
            let documents_starve = query_rounds >= QUERY_ROUNDS;
            if !documents_starve {
                let batches = self.take(Lane::Query, 1);
                query_rounds += 1;
                if !batches.is_empty() {
                    batches.into_iter().for_each(|jobs| self.run_batch(jobs));
                    continue;
                }
            }
            query_rounds = 0;
            if planned.is_empty() {
                planned.extend(self.take(Lane::Document, WINDOW_BATCHES));
            }
            if let Some(jobs) = planned.pop_front() {
                self.run_batch(jobs);
                continue;
            }
            let is_healthy = self.health.is_healthy.load(Ordering::Acquire);
            match self.queue.wait(if is_healthy { IDLE_BEFORE_PROBE } else { FAILING_BEFORE_PROBE }) {
                Wake::Work => {}
                Wake::Idle => self.prove(),
                // Freeing the network calls libtorch, too.
                Wake::Closed => return inside_torch(|| drop(self.encoder.take())),
            }
        }
    }

    /// Takes about `n_batches` batches from a lane, grouped by length.
    fn take(&mut self, lane: Lane, n_batches: usize) -> Vec<Vec<Job>> {
        let (jobs, n_unwanted) = self.queue.take(lane, self.batch_tokens.saturating_mul(n_batches));
        Health::count(&self.health.skipped, n_unwanted);
        let costs: Vec<_> = jobs.iter().map(|job| job.input.cost()).collect();
        let mut jobs: Vec<_> = jobs.into_iter().map(Some).collect();
        plan(&costs, self.batch_tokens)
            .into_iter()
            .map(|batch| batch.into_iter().filter_map(|position| jobs[position].take()).collect())
            .collect()
    }

    /// Encodes what is still wanted and answers it.
    fn run_batch(&mut self, mut jobs: Vec<Job>) {
        let now = Instant::now();
        let n_planned = jobs.len();
        jobs.retain(|job| job.request.is_wanted(now));
        Health::count(&self.health.skipped, (n_planned - jobs.len()) as u64);
        if jobs.is_empty() {
            return;
        }
        match self.encode(&jobs.iter().map(|job| &job.input).collect::<Vec<_>>()) {
            Ok(vectors) => {
                self.queue.note_speed(jobs.len(), now.elapsed());
                jobs.iter().zip(vectors).for_each(|(job, vector)| job.request.deliver(job.position, Ok(vector)));
            }
            // One input may have spoilt the batch: alone, it fails alone.
            Err(_) if jobs.len() > 1 && self.encoder.is_some() => {
                for job in &jobs {
                    let alone = self.encode(&[&job.input]).and_then(|mut vectors| {
                        vectors.pop().ok_or_else(|| Error::Internal("an input without a vector".to_owned()))
                    });
                    job.request.deliver(job.position, alone);
                }
            }
            Err(error) => jobs.iter().for_each(|job| job.request.deliver(job.position, Err(error.clone()))),
        }
        if !self.health.is_healthy.load(Ordering::Acquire) {
            // Release the callers before proving anything.
            drop(jobs);
            self.prove();
        }
    }

    /// Loads the network if it is not there and encodes a short text.
    fn prove(&mut self) {
        let probe = self.probe.clone();
        if let Err(error) = self.encode(&[&probe]) {
            tracing::warn!("an encoder's self-probe failed: {error}");
        }
    }

    /// Runs the network on one batch, keeping the books. A panic costs the network, which the next call loads again.
    fn encode(&mut self, inputs: &[&EncoderInput]) -> Result<Vec<UnitVector>> {
        let result = inside_torch(|| self.encode_or_lose_network(inputs));
        self.health.is_healthy.store(result.is_ok(), Ordering::Release);
        match &result {
            Ok(_) => {
                let tokens: usize = inputs.iter().map(|input| input.cost()).sum();
                let longest = inputs.iter().map(|input| input.cost()).max().unwrap_or_default();
                Health::count(&self.health.batches, 1);
                Health::count(&self.health.inputs, inputs.len() as u64);
                Health::count(&self.health.tokens, tokens as u64);
                Health::count(&self.health.padding, (longest * inputs.len() - tokens) as u64);
            }
            Err(_) => Health::count(&self.health.failures, 1),
        }
        result
    }

    fn encode_or_lose_network(&mut self, inputs: &[&EncoderInput]) -> Result<Vec<UnitVector>> {
        if self.encoder.is_none() {
            let loaded = catch_unwind(AssertUnwindSafe(|| (self.loader)()))
                .unwrap_or_else(|panic| Err(Error::Internal(panic_message(&*panic))));
            let encoder = loaded.map_err(|error| Error::Unavailable {
                what: "the encoder".to_owned(),
                message: format!("its network cannot be loaded again: {error}"),
                retry_after: FAILING_BEFORE_PROBE,
            })?;
            self.encoder = Some(encoder);
            Health::count(&self.health.reloads, 1);
        }
        let Some(encoder) = self.encoder.as_mut() else {
            return Err(Error::Internal("the encoder has no network".to_owned()));
        };
        match catch_unwind(AssertUnwindSafe(|| encoder.encode(inputs))) {
            Ok(Ok(vectors)) if vectors.len() != inputs.len() => {
                Err(Error::Internal(format!("the network gave {} vectors for {} inputs", vectors.len(), inputs.len())))
            }
            Ok(result) => result,
            Err(panic) => {
                self.encoder = None;
                let message = panic_message(&*panic);
                tracing::error!("an encoder's network panicked and will be loaded again: {message}");
                Err(Error::Internal(format!("the network failed: {message}")))
            }
        }
    }
}

/// The first line of what a panic carried.
pub(super) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message");
    text.lines().next().unwrap_or_default().to_owned()
}
