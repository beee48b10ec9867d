//! The bounded queue between handles and an encoder's worker: two lanes, counted in slots: a text takes one, a picture as many
//! as its bytes weigh.
//!
//! A request takes its slots before it is prepared and gives them back when it is answered or dropped. A request larger than
//! a lane is accepted when the lane is empty: it could never fit otherwise, and the caps on requests bound it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::encoder::{EncoderInput, Role};
use crate::types::vector::UnitVector;
use crate::{Error, Result};

/// Whose turn it is: queries go ahead of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Query = 0,
    Document = 1,
}

impl Lane {
    #[must_use]
    pub const fn of(role: Role) -> Self {
        match role {
            Role::Query => Self::Query,
            Role::Document => Self::Document,
        }
    }
}

/// One input of a request.
pub struct Job {
    pub input: EncoderInput,
    pub request: Arc<Request>,
    /// Its place in the request's answer.
    pub position: usize,
}

/// A request that waits for all its vectors.
pub struct Request {
    lane: Lane,
    deadline: Option<Instant>,
    answer: Mutex<Answer>,
}

/// One result for each input of a request, in order; an error for the whole request if none of them has a result of its own.
pub type RequestAnswer = Result<Vec<Result<UnitVector>>>;

struct Answer {
    vectors: Vec<Option<Result<UnitVector>>>,
    n_missing: usize,
    /// Given back before the answer is sent, so that a caller who sends again at once finds its room free; a request that
    /// fails gives them back when its last input is dropped.
    slots: Option<Slots>,
    /// Taken when the answer is sent.
    sender: Option<oneshot::Sender<RequestAnswer>>,
}

impl Request {
    /// A request for `n_inputs` vectors; the answer goes to `sender`.
    #[must_use]
    pub fn new(
        slots: Slots,
        n_inputs: usize,
        deadline: Option<Instant>,
        sender: oneshot::Sender<RequestAnswer>,
    ) -> Arc<Self> {
        let lane = slots.lane;
        let (vectors, slots, sender) = (vec![None; n_inputs], Some(slots), Some(sender));
        Arc::new(Self { lane, deadline, answer: Mutex::new(Answer { vectors, n_missing: n_inputs, slots, sender }) })
    }

    /// True if somebody still waits; answers a request whose deadline has passed.
    pub fn is_wanted(&self, now: Instant) -> bool {
        let is_waiting = self.answer.lock().sender.as_ref().is_some_and(|sender| !sender.is_closed());
        if is_waiting && self.deadline.is_some_and(|deadline| deadline <= now) {
            self.fail(Error::DeadlineExceeded { what: "encoding" });
            return false;
        }
        is_waiting
    }

    /// Delivers one input's result; the last one sends the answer.
    pub fn deliver(&self, position: usize, vector: Result<UnitVector>) {
        let mut answer = self.answer.lock();
        if answer.vectors[position].replace(vector).is_none() {
            answer.n_missing -= 1;
        }
        if answer.n_missing == 0
            && let Some(sender) = answer.sender.take()
        {
            let vectors = std::mem::take(&mut answer.vectors).into_iter().flatten().collect();
            let slots = answer.slots.take();
            // The queue's lock is never taken inside this one.
            drop(answer);
            drop(slots);
            // A caller that gave up needs no answer.
            let _ = sender.send(Ok(vectors));
        }
    }

    /// Answers with an error; the request's other inputs are then unwanted.
    pub fn fail(&self, error: Error) {
        if let Some(sender) = self.answer.lock().sender.take() {
            let _ = sender.send(Err(error));
        }
    }
}

/// Room in a lane, given back on drop.
pub struct Slots {
    queue: Arc<Queue>,
    lane: Lane,
    n: usize,
}

impl Slots {
    #[must_use]
    pub fn lane(&self) -> Lane {
        self.lane
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        self.queue.state.lock().taken[self.lane as usize] -= self.n;
    }
}

/// What the worker finds when it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    Work,
    /// Nothing came for as long as the worker was ready to wait.
    Idle,
    Closed,
}

/// The queue of one encoder.
pub struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    /// Slots by lane.
    capacities: [usize; 2],
}

struct State {
    lanes: [VecDeque<Job>; 2],
    /// Slots of what is accepted and not yet answered, by lane.
    taken: [usize; 2],
    is_closed: bool,
    /// Inputs that the worker encodes in a second, lately; 0 before the first batch.
    rate: f64,
}

impl Queue {
    #[must_use]
    pub fn new(query_capacity: usize, document_capacity: usize) -> Arc<Self> {
        let state = State { lanes: [VecDeque::new(), VecDeque::new()], taken: [0, 0], is_closed: false, rate: 0.0 };
        let capacities = [query_capacity.max(1), document_capacity.max(1)];
        Arc::new(Self { state: Mutex::new(state), wake: Condvar::new(), capacities })
    }

    /// Takes `n` slots.
    ///
    /// # Errors
    /// `Overloaded` if they do not fit, `Unavailable` if the encoder has stopped.
    pub fn reserve(self: &Arc<Self>, lane: Lane, n: usize) -> Result<Slots> {
        let capacity = self.capacities[lane as usize];
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(stopped());
        }
        let depth = state.taken[lane as usize];
        if depth > 0 && depth + n > capacity {
            // Many wait for the same room: half the queue's time spreads them, where the time for `n` alone brings them all back.
            let retry_after = state.time_for(n.max(depth / 2));
            let (depth, capacity) = (depth as u64, capacity as u64);
            return Err(Error::Overloaded { what: "the encoder queue", depth, capacity, retry_after });
        }
        state.taken[lane as usize] += n;
        drop(state);
        Ok(Slots { queue: self.clone(), lane, n })
    }

    /// Queues prepared inputs of a request, each with its place in the answer.
    pub fn push(&self, request: &Arc<Request>, inputs: impl IntoIterator<Item = (usize, EncoderInput)>) {
        let mut state = self.state.lock();
        if state.is_closed {
            // The slots give themselves back under the same lock.
            drop(state);
            request.fail(stopped());
            return;
        }
        let job = |(position, input)| Job { input, request: request.clone(), position };
        state.lanes[request.lane as usize].extend(inputs.into_iter().map(job));
        drop(state);
        self.wake.notify_one();
    }

    /// Takes jobs from the front of a lane until they cost `budget`; at least one if there is one. Leaves out unwanted ones;
    /// the second number counts those.
    pub fn take(&self, lane: Lane, budget: usize) -> (Vec<Job>, u64) {
        let (mut jobs, mut unwanted) = (Vec::new(), Vec::new());
        let mut cost = 0;
        let now = Instant::now();
        let mut state = self.state.lock();
        while cost < budget
            && let Some(job) = state.lanes[lane as usize].pop_front()
        {
            if job.request.is_wanted(now) {
                cost += job.input.cost();
                jobs.push(job);
            } else {
                unwanted.push(job);
            }
        }
        drop(state);
        // Dropped outside the lock, because the last job of a request gives its slots back.
        let n_unwanted = unwanted.len() as u64;
        drop(unwanted);
        (jobs, n_unwanted)
    }

    /// Waits for work, at most `patience`.
    pub fn wait(&self, patience: Duration) -> Wake {
        let until = Instant::now() + patience;
        let mut state = self.state.lock();
        loop {
            if state.lanes.iter().any(|lane| !lane.is_empty()) {
                return Wake::Work;
            }
            if state.is_closed {
                return Wake::Closed;
            }
            if self.wake.wait_until(&mut state, until).timed_out() {
                return Wake::Idle;
            }
        }
    }

    /// Refuses new requests; the worker finishes what is queued and ends.
    pub fn close(&self) {
        self.state.lock().is_closed = true;
        self.wake.notify_all();
    }

    /// Remembers how fast the worker is.
    pub fn note_speed(&self, n_inputs: usize, took: Duration) {
        let rate = n_inputs as f64 / took.as_secs_f64().max(1e-6);
        let mut state = self.state.lock();
        state.rate = if state.rate == 0.0 { rate } else { 0.8 * state.rate + 0.2 * rate };
    }

    /// Inputs that are prepared and that the worker has not taken yet, in both lanes.
    pub fn waiting(&self) -> usize {
        self.state.lock().lanes.iter().map(VecDeque::len).sum()
    }

    /// Slots taken in a lane, and its capacity.
    pub fn depth(&self, lane: Lane) -> (usize, usize) {
        (self.state.lock().taken[lane as usize], self.capacities[lane as usize])
    }
}

impl State {
    /// How long the worker needs for `n` inputs, between 50 ms and 10 s.
    fn time_for(&self, n: usize) -> Duration {
        let seconds = if self.rate > 0.0 { n as f64 / self.rate } else { 0.2 };
        Duration::from_secs_f64(seconds.clamp(0.05, 10.0))
    }
}

fn stopped() -> Error {
    Error::Unavailable {
        what: "the encoder".to_owned(),
        message: "it has been stopped".to_owned(),
        retry_after: Duration::from_secs(1),
    }
}
