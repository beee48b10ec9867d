//! The worker and its queue, around the tiny model.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use pictor::encode::registry::load;
use pictor::encode::torch::EncoderPlan;
use pictor::encode::{
    EncodeSettings, Encoder, EncoderHandle, EncoderInfo, EncoderInput, EncoderRegistry, Role, TextEmbedding,
};
use pictor::model::Precision;
use pictor::types::vector::UnitVector;
use pictor::{Error, Result};

use super::tiny::Tiny;
use super::{block_on, pools, settings};

/// What a test does to the network from outside.
#[derive(Default)]
struct Control {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_held: bool,
    panics_left: usize,
    /// Texts of this many tokens fail.
    bad_length: Option<usize>,
    /// Token counts of every batch that was run.
    batches: Vec<Vec<usize>>,
}

impl Control {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.changed.notify_all();
    }

    fn batches(&self) -> Vec<Vec<usize>> {
        self.state.lock().batches.clone()
    }
}

/// The tiny model with a hand on it.
struct Controlled {
    inner: Box<dyn Encoder>,
    control: Arc<Control>,
}

impl Encoder for Controlled {
    fn info(&self) -> &EncoderInfo {
        self.inner.info()
    }

    fn encode(&mut self, inputs: &[&EncoderInput]) -> Result<Vec<UnitVector>> {
        let lengths: Vec<_> = inputs.iter().map(|input| input.cost()).collect();
        let mut state = self.control.state.lock();
        state.batches.push(lengths.clone());
        while state.is_held {
            self.control.changed.wait(&mut state);
        }
        if state.panics_left > 0 {
            state.panics_left -= 1;
            drop(state);
            // As a call into libtorch with shapes that do not fit would.
            panic!("shapes do not fit");
        }
        if lengths.iter().any(|&length| state.bad_length == Some(length)) {
            return Err(Error::Internal("a bad input".to_owned()));
        }
        drop(state);
        self.inner.encode(inputs)
    }
}

struct Rig {
    tiny: Tiny,
    control: Arc<Control>,
    handle: EncoderHandle,
    loads: Arc<AtomicUsize>,
}

fn rig(change: impl FnOnce(&mut EncodeSettings)) -> Rig {
    let tiny = Tiny::new();
    let mut settings = EncodeSettings { batch_tokens: 64, ..settings(Precision::F32) };
    change(&mut settings);
    let plan = EncoderPlan::read(&tiny.folder, &settings).expect("plan");
    let (control, loads) = (Arc::new(Control::default()), Arc::new(AtomicUsize::new(0)));
    let (preprocessor, batch_tokens) = (plan.preprocessor(), plan.batch_tokens());
    let (loaders_control, loaders_loads) = (control.clone(), loads.clone());
    let loader = Box::new(move || {
        loaders_loads.fetch_add(1, Ordering::SeqCst);
        let inner = Box::new(plan.load()?);
        Ok(Box::new(Controlled { inner, control: loaders_control.clone() }) as Box<dyn Encoder>)
    });
    let handle = EncoderHandle::start(preprocessor, loader, batch_tokens, &settings, pools()).expect("start");
    control.change(|state| state.batches.clear());
    Rig { tiny, control, handle, loads }
}

impl Rig {
    fn documents(&self, texts: &[&str]) -> Result<Vec<TextEmbedding>> {
        let texts = texts.iter().map(|&text| text.to_owned()).collect();
        block_on(self.handle.encode_texts(texts, Role::Document, None))
    }

    /// Sends texts from another thread and comes back when they wait for the network, which is held.
    fn send(&self, texts: &[&str], role: Role) -> std::thread::JoinHandle<Result<Vec<TextEmbedding>>> {
        let before = self.handle.stats().waiting;
        let thread = self.spawn(texts, role);
        eventually(|| self.handle.stats().waiting >= before + texts.len());
        thread
    }

    /// Sends texts from another thread and comes back when they are accepted.
    fn spawn(&self, texts: &[&str], role: Role) -> std::thread::JoinHandle<Result<Vec<TextEmbedding>>> {
        let taken = |handle: &EncoderHandle| handle.stats().queue_depth + handle.stats().query_depth;
        let (handle, before) = (self.handle.clone(), taken(&self.handle));
        let texts: Vec<_> = texts.iter().map(|&text| text.to_owned()).collect();
        let n = texts.len();
        let thread = std::thread::spawn(move || block_on(handle.encode_texts(texts, role, None)));
        eventually(|| taken(&self.handle) >= before + n);
        thread
    }

    /// Holds the network in the middle of a batch of one text.
    fn hold(&self) -> std::thread::JoinHandle<Result<Vec<TextEmbedding>>> {
        self.control.change(|state| state.is_held = true);
        let held = self.spawn(&["hold"], Role::Document);
        eventually(|| !self.control.batches().is_empty());
        held
    }

    fn release(&self) {
        self.control.change(|state| state.is_held = false);
    }
}

fn eventually(mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < until, "it did not happen within 20 s");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Fails when a panic reaches the callers of other batches, ends the worker, or leaves it without a network.
#[test]
fn a_panic_costs_one_batch() {
    let rig = rig(|_| ());
    let before = rig.documents(&["red shoes"]).expect("before");
    rig.control.change(|state| state.panics_left = 1);
    let error = rig.documents(&["red shoes", "red"]).expect_err("the batch fails");
    assert!(matches!(&error, Error::Internal(message) if message.contains("shapes do not fit")), "{error}");
    assert_eq!(rig.documents(&["red shoes"]).expect("after"), before);
    let stats = rig.handle.stats();
    assert_eq!((stats.failures, stats.reloads, rig.loads.load(Ordering::SeqCst)), (1, 1, 2));
    assert!(stats.is_healthy && rig.handle.is_healthy());
}

#[test]
fn a_bad_input_fails_alone() {
    let rig = rig(|_| ());
    let held = rig.hold();
    // 12 tokens with the prompt and the specials.
    let bad = rig.send(&["a a a a a a a a"], Role::Document);
    let good = rig.send(&["a a a a a a a"], Role::Document);
    rig.control.change(|state| state.bad_length = Some(12));
    rig.release();
    assert!(held.join().expect("thread").is_ok());
    assert!(matches!(bad.join().expect("thread"), Err(Error::Internal(_))));
    assert!(good.join().expect("thread").is_ok(), "{:?}", rig.control.batches());
    // Both were in one batch, so this test would fail if a batch failed as a whole.
    assert!(rig.control.batches().contains(&vec![12, 11]), "{:?}", rig.control.batches());
    eventually(|| rig.handle.is_healthy());
}

#[test]
fn a_network_that_cannot_be_loaded_again_is_unhealthy_until_it_can() {
    let rig = rig(|_| ());
    let weights = rig.tiny.folder.path.join("model.safetensors");
    let bytes = std::fs::read(&weights).expect("read");
    std::fs::remove_file(&weights).expect("remove");
    rig.control.change(|state| state.panics_left = 1);
    rig.documents(&["red"]).expect_err("the network panics");
    let error = rig.documents(&["red"]).expect_err("there is no network");
    assert!(matches!(&error, Error::Unavailable { .. }) && error.retry_after().is_some(), "{error}");
    assert!(!rig.handle.is_healthy());
    std::fs::write(&weights, bytes).expect("write");
    // The self-probe heals it without a request.
    eventually(|| rig.handle.is_healthy());
    rig.documents(&["red"]).expect("it works again");
}

#[test]
fn a_full_queue_refuses_and_queries_keep_their_room() {
    let rig = rig(|settings| (settings.queue_capacity, settings.query_capacity) = (4, 2));
    let held = rig.hold();
    let queued = rig.send(&["a", "b", "c"], Role::Document);
    let error = rig.documents(&["d"]).expect_err("the queue is full");
    assert!(matches!(&error, Error::Overloaded { depth: 4, capacity: 4, .. }), "{error}");
    assert!(error.retry_after().is_some_and(|wait| wait >= Duration::from_millis(50)));
    let query = rig.send(&["a", "b"], Role::Query);
    assert!(matches!(block_on(rig.handle.encode_query("c", None)), Err(Error::Overloaded { .. })));
    assert_eq!(rig.handle.stats().refused, 2);
    rig.release();
    for thread in [held, queued, query] {
        thread.join().expect("thread").expect("accepted, so answered");
    }
    eventually(|| rig.handle.stats().queue_depth + rig.handle.stats().query_depth == 0);
    // Larger than the queue, but nothing is in its way.
    assert_eq!(rig.documents(&["a"; 9]).expect("alone").len(), 9);
}

/// Fails when the worker takes documents before queries that came later.
#[test]
fn queries_go_first() {
    let rig = rig(|_| ());
    let held = rig.hold();
    // 5 batches of 16-token documents, then a query of 5 tokens.
    let documents = rig.send(&["a b c d e f g h i j k l m n o p"; 20], Role::Document);
    let query = rig.send(&["a"], Role::Query);
    rig.release();
    for thread in [held, documents, query] {
        thread.join().expect("thread").expect("answered");
    }
    let batches = rig.control.batches();
    assert_eq!(batches.len(), 7, "{batches:?}");
    assert_eq!(batches[1], [5], "{batches:?}");
}

#[test]
fn abandoned_and_late_requests_are_skipped() {
    let rig = rig(|_| ());
    let held = rig.hold();
    let gave_up = block_on(async {
        let request = rig.handle.encode_texts(vec!["a b c".to_owned()], Role::Document, None);
        tokio::time::timeout(Duration::from_millis(50), request).await
    });
    assert!(gave_up.is_err());
    let deadline = Some(Instant::now() + Duration::from_millis(50));
    let late = block_on(rig.handle.encode_texts(vec!["a b c d".to_owned()], Role::Query, deadline));
    assert!(matches!(late, Err(Error::DeadlineExceeded { .. })));
    rig.release();
    held.join().expect("thread").expect("answered");
    eventually(|| rig.handle.stats().skipped == 2);
    eventually(|| rig.handle.stats().queue_depth + rig.handle.stats().query_depth == 0);
    assert_eq!(rig.control.batches().len(), 1);
}

#[test]
fn queries_are_cached_within_bytes() {
    let rig = rig(|settings| settings.cache_bytes = 4000);
    let query = |text: &str| block_on(rig.handle.encode_query(text, None)).expect("query");
    let (first, was_cached) = query("red shoes");
    assert!(!was_cached);
    let (second, was_cached) = query("red shoes");
    assert!(was_cached && first == second);
    assert_eq!((rig.handle.stats().cache_hits, rig.handle.stats().cache_misses), (1, 1));
    // A document of the same words is another vector: it has another prompt.
    assert_ne!(rig.documents(&["red shoes"]).expect("document")[0].vector, first.vector);
    // 4,000 bytes hold about 13 queries, so of 100 not all can be there.
    let texts: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    texts.iter().for_each(|text| drop(query(text)));
    let cached = texts.iter().filter(|text| query(text).1).count();
    assert!(cached < 50, "{cached}");
    let uncached = self::rig(|settings| settings.cache_bytes = 0);
    assert!((0..2).all(|_| !block_on(uncached.handle.encode_query("a", None)).expect("query").1));
}

#[test]
fn a_stopped_encoder_answers_what_it_accepted() {
    let rig = rig(|_| ());
    let held = rig.hold();
    let accepted = rig.send(&["a", "b"], Role::Document);
    let stopper = std::thread::spawn({
        let handle = rig.handle.clone();
        move || handle.stop()
    });
    eventually(|| matches!(rig.documents(&[]), Ok(empty) if empty.is_empty()));
    rig.release();
    held.join().expect("thread").expect("answered");
    accepted.join().expect("thread").expect("answered");
    stopper.join().expect("thread");
    assert!(matches!(rig.documents(&["a"]), Err(Error::Unavailable { .. })));
}

#[test]
fn concurrent_callers_share_a_load() {
    let tiny = Tiny::new();
    let registry = EncoderRegistry::open(&tiny.models, settings(Precision::F32)).expect("registry");
    assert!(registry.loaded().is_empty());
    let handles = block_on(futures::future::join_all((0..8).map(|number| {
        let registry = registry.clone();
        async move { registry.get(if number % 2 == 0 { "tiny" } else { "tiny@r1" }).await.expect("load") }
    })));
    assert!(handles.iter().all(|handle| Arc::ptr_eq(handle.info(), handles[0].info())));
    assert_eq!(registry.loaded().len(), 1);
    assert_eq!(registry.list().expect("list").len(), 1);
    registry.stop();
}

#[test]
fn oversized_texts_are_refused() {
    let tiny = Tiny::new();
    let handle = load(&tiny.folder, &settings(Precision::F32), pools()).expect("load");
    let texts = vec!["a".to_owned(), "a".repeat((1 << 20) + 1)];
    let error = block_on(handle.encode_texts(texts, Role::Document, None)).expect_err("too large");
    assert!(matches!(&error, Error::LimitExceeded { what, .. } if what == "texts[1]"), "{error}");
}
