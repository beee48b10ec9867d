//! The upload: keeps spans in flight, resends what was not acknowledged, settles what was.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use pictor_proto::client::Client;
use pictor_proto::code_name;
use pictor_proto::v1;
use pictor_proto::v1::upsert_stream_response::Outcome;
use tokio::sync::mpsc;
use tonic::{Code, Status};

use super::backoff::Backoff;
use super::batch::Span;
use super::journal::{Journal, State};
use super::ledger::{Ledger, Settled};
use super::progress::Progress;
use super::rejects::Rejects;
use super::session::{Session, Target, is_passing, retry_hint};

/// How often the journal is written, at most.
const JOURNAL_INTERVAL: Duration = Duration::from_millis(300);
/// Spans that may be settled ahead of the first unsettled one, for each span in flight.
const AHEAD: usize = 16;

/// How to upload.
#[derive(Clone, Debug)]
pub struct Settings {
    pub target: Target,
    pub durability: v1::Durability,
    pub indexing: v1::Indexing,
    pub in_flight: usize,
    /// How long to go on while everything fails.
    pub retry_for: Duration,
    pub timeout: Duration,
}

/// What the upload writes to.
#[derive(Debug)]
pub struct Records {
    pub ledger: Ledger,
    pub journal: Option<Journal>,
    pub rejects: Rejects,
    pub rejects_file: Option<String>,
    pub progress: Progress,
}

/// Why the upload ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Every record is settled.
    Complete,
    /// The user asked to stop.
    Stopped,
}

/// A span that is not settled.
#[derive(Debug)]
struct Pending {
    span: Span,
    settled: Settled,
    /// Waits until then before it is sent again.
    again_at: Option<Instant>,
}

/// The running upload.
struct Upload<'a> {
    client: &'a Client,
    settings: &'a Settings,
    records: &'a mut Records,
    pending: BTreeMap<u64, Pending>,
    next_batch: u64,
    session: Option<Session>,
    connect_at: Instant,
    backoff: Backoff,
    /// Since when nothing has worked.
    trouble_since: Option<Instant>,
    /// The newest reason for trying again.
    trouble: Option<Status>,
    journal_at: Instant,
}

enum Event {
    Span(Option<Result<Span>>),
    Reply(Result<v1::UpsertStreamResponse, Status>),
    Due,
    Stop,
}

/// Uploads spans until there are no more, `stop` resolves, or it cannot go on. The journal is up to date afterwards, however
/// it ends.
///
/// # Errors
/// If the source cannot be read to its end, the server refuses for good, or nothing works for `retry_for`.
pub async fn run(
    client: &Client,
    settings: &Settings,
    records: &mut Records,
    spans: &mut mpsc::Receiver<Result<Span>>,
    stop: impl Future<Output = ()>,
) -> Result<End> {
    let now = Instant::now();
    let mut upload = Upload {
        client,
        settings,
        records,
        pending: BTreeMap::new(),
        next_batch: 0,
        session: None,
        connect_at: now,
        backoff: Backoff::default(),
        trouble_since: None,
        trouble: None,
        journal_at: now,
    };
    let end = upload.drive(spans, stop).await;
    let written = upload.write_journal(matches!(end, Ok(End::Complete)));
    let end = end?;
    written?;
    Ok(end)
}

impl Upload<'_> {
    async fn drive(&mut self, spans: &mut mpsc::Receiver<Result<Span>>, stop: impl Future<Output = ()>) -> Result<End> {
        let mut stop = std::pin::pin!(stop);
        let mut source_ended = false;
        let mut source_error = None;
        while !(source_ended && self.pending.is_empty()) {
            if self.connect(&mut stop).await? == Some(End::Stopped) {
                return Ok(End::Stopped);
            }
            let has_room = self.pending.len() < self.settings.in_flight
                && self.records.ledger.waiting() < self.settings.in_flight * AHEAD;
            let due = self.next_due();
            let event = tokio::select! {
                () = &mut stop => Event::Stop,
                reply = next_reply(&mut self.session) => Event::Reply(reply),
                span = spans.recv(), if has_room && !source_ended => Event::Span(span),
                () = sleep_until(due), if due.is_some() => Event::Due,
            };
            match event {
                Event::Stop => return Ok(End::Stopped),
                Event::Span(None) => source_ended = true,
                Event::Span(Some(Err(error))) => (source_ended, source_error) = (true, Some(error)),
                Event::Span(Some(Ok(span))) => self.take(span)?,
                Event::Reply(Ok(reply)) => self.answered(reply)?,
                Event::Reply(Err(status)) => self.lost(status)?,
                Event::Due => self.send_due(),
            }
            if self.journal_at.elapsed() >= JOURNAL_INTERVAL {
                self.write_journal(false)?;
            }
        }
        source_error.map_or(Ok(End::Complete), Err)
    }

    /// Opens a session if there is something to send and none is open.
    async fn connect(&mut self, stop: &mut (impl Future<Output = ()> + Unpin)) -> Result<Option<End>> {
        if self.session.is_some() || self.pending.is_empty() || Instant::now() < self.connect_at {
            return Ok(None);
        }
        // Everything that is pending was lost with the last session; what waits for its time goes on waiting.
        let now = Instant::now();
        let ready = self.pending.iter().filter(|(_, pending)| pending.again_at.is_none_or(|at| at <= now));
        let numbers: Vec<u64> = ready.map(|(number, _)| *number).collect();
        for number in &numbers {
            if let Some(pending) = self.pending.get_mut(number) {
                pending.again_at = None;
            }
        }
        let first = numbers.iter().filter_map(|number| self.request(*number)).collect();
        let opened = tokio::select! {
            opened = Session::open(self.client, &self.settings.target, first, self.settings.timeout) => opened,
            () = stop => return Ok(Some(End::Stopped)),
        };
        match opened {
            Ok(session) => {
                if self.trouble.is_some() {
                    self.records.progress.say("connected again");
                }
                self.session = Some(session);
            }
            Err(status) => self.lost(status)?,
        }
        Ok(None)
    }

    /// Takes a new span into flight; one without items is settled at once.
    fn take(&mut self, span: Span) -> Result<()> {
        if span.start == span.end {
            return Ok(());
        }
        let mut settled = Settled::default();
        settled.counts.rejected = span.rejects.len() as u64;
        if span.items.is_empty() {
            settled.rejects.clone_from(&span.rejects);
            return self.settle(&span, settled);
        }
        let number = self.add(span, settled);
        self.send(number);
        Ok(())
    }

    fn add(&mut self, mut span: Span, mut settled: Settled) -> u64 {
        settled.rejects.append(&mut span.rejects);
        let number = self.next_batch;
        self.next_batch += 1;
        self.pending.insert(number, Pending { span, settled, again_at: None });
        number
    }

    fn request(&self, number: u64) -> Option<v1::UpsertStreamRequest> {
        let items = self.pending.get(&number)?.span.items.iter().map(|loaded| loaded.item.clone()).collect();
        let upsert = v1::UpsertRequest {
            collection: self.settings.target.collection.clone(),
            items,
            mode: v1::UpsertMode::Upsert.into(),
            durability: self.settings.durability.into(),
            indexing: self.settings.indexing.into(),
        };
        Some(v1::UpsertStreamRequest { batch: number, upsert: Some(upsert) })
    }

    fn send(&mut self, number: u64) {
        if let Some(session) = &self.session
            && let Some(request) = self.request(number)
        {
            // If the stream has ended, the next reply says why, and everything is sent again.
            let _ = session.send(request);
        }
    }

    fn send_due(&mut self) {
        let now = Instant::now();
        let is_due = |pending: &Pending| pending.again_at.is_some_and(|at| at <= now);
        let due: Vec<u64> = self.pending.iter().filter(|(_, it)| is_due(it)).map(|(number, _)| *number).collect();
        if self.session.is_none() {
            return;
        }
        for number in due {
            if let Some(pending) = self.pending.get_mut(&number) {
                pending.again_at = None;
            }
            self.send(number);
        }
    }

    /// When something is to be done without an event: a batch to send again, or a connection to open.
    fn next_due(&self) -> Option<Instant> {
        if self.session.is_none() {
            return (!self.pending.is_empty()).then_some(self.connect_at);
        }
        self.pending.values().filter_map(|pending| pending.again_at).min()
    }

    fn answered(&mut self, reply: v1::UpsertStreamResponse) -> Result<()> {
        let number = reply.batch;
        let pending = self.pending.remove(&number);
        let pending = pending.with_context(|| format!("the server acknowledged batch {number}, which was not sent"))?;
        match reply.outcome {
            Some(Outcome::Upserted(upserted)) => self.upserted(number, pending, &upserted),
            Some(Outcome::Refused(refusal)) => self.refused(number, pending, &refusal),
            None => bail!("the server's answer to batch {number} is empty"),
        }
    }

    fn upserted(&mut self, number: u64, mut pending: Pending, reply: &v1::UpsertResponse) -> Result<()> {
        let items = std::mem::take(&mut pending.span.items);
        if reply.results.len() != items.len() {
            bail!("the server answered {} of {} items of a batch", reply.results.len(), items.len());
        }
        let n_items = items.len();
        let mut overloaded = None;
        for (loaded, result) in items.into_iter().zip(&reply.results) {
            let settled = &mut pending.settled;
            match result.error.as_ref().filter(|error| error.code != 0) {
                Some(error) if is_overload(error) => {
                    overloaded = Some(status_of(error));
                    pending.span.items.push(loaded);
                }
                Some(error) => {
                    settled.counts.rejected += 1;
                    settled.rejects.push(loaded.rejected(&error_word(error), &error.message));
                }
                None => {
                    settled.version = settled.version.max(result.version);
                    match result.outcome() {
                        v1::WriteOutcome::Created => settled.counts.created += 1,
                        v1::WriteOutcome::Unchanged => settled.counts.unchanged += 1,
                        v1::WriteOutcome::Updated | v1::WriteOutcome::Unspecified => settled.counts.updated += 1,
                    }
                }
            }
        }
        if pending.span.items.len() < n_items {
            self.worked();
        }
        let Some(status) = overloaded else {
            let Pending { span, mut settled, .. } = pending;
            settled.rejects.sort_by_key(|reject| reject.position);
            return self.settle(&span, settled);
        };
        self.try_again(number, pending, status, None)
    }

    fn refused(&mut self, number: u64, mut pending: Pending, refusal: &v1::BatchRefusal) -> Result<()> {
        let error = refusal.error.clone().unwrap_or_default();
        if refusal.retry_after_ms > 0 {
            let hint = Duration::from_millis(u64::from(refusal.retry_after_ms));
            return self.try_again(number, pending, status_of(&error), Some(hint));
        }
        let is_about_contents = matches!(Code::from_i32(error.code), Code::InvalidArgument | Code::OutOfRange)
            || error.reason == "LIMIT_EXCEEDED";
        if !is_about_contents {
            return Err(status_of(&error)).context("the server refused a batch");
        }
        // One of its items is at fault: halves find out which.
        self.worked();
        if let [only] = pending.span.items.as_slice() {
            pending.settled.counts.rejected += 1;
            pending.settled.rejects.push(only.rejected(&error_word(&error), &error.message));
            pending.settled.rejects.sort_by_key(|reject| reject.position);
            return self.settle(&pending.span, pending.settled);
        }
        let mut front = pending.span;
        let back_items = front.items.split_off(front.items.len() / 2);
        let Some(middle) = back_items.first().map(|loaded| loaded.position) else {
            bail!("the server refused an empty batch: {}", error.message);
        };
        let (front_rejects, back_rejects): (Vec<_>, Vec<_>) =
            std::mem::take(&mut pending.settled.rejects).into_iter().partition(|reject| reject.position <= middle);
        let back = Span { start: middle, end: front.end, items: back_items, rejects: Vec::new(), offset: front.offset };
        front.end = middle;
        let mut front_settled = pending.settled;
        let mut back_settled = Settled::default();
        // Counts of stored items stay with the front half; only their sum matters.
        back_settled.counts.rejected = back_rejects.len() as u64;
        front_settled.counts.rejected = front_rejects.len() as u64;
        (front_settled.rejects, back_settled.rejects) = (front_rejects, back_rejects);
        for (span, settled) in [(front, front_settled), (back, back_settled)] {
            let number = self.add(span, settled);
            self.send(number);
        }
        Ok(())
    }

    fn try_again(&mut self, number: u64, mut pending: Pending, why: Status, hint: Option<Duration>) -> Result<()> {
        self.give_up_if_stuck(&why)?;
        pending.again_at = Some(Instant::now() + self.backoff.next(hint));
        self.pending.insert(number, pending);
        self.trouble_with(why, "the server is busy");
        Ok(())
    }

    fn lost(&mut self, status: Status) -> Result<()> {
        self.session = None;
        if !is_passing(status.code()) {
            return Err(status).context("the upload failed");
        }
        self.give_up_if_stuck(&status)?;
        self.connect_at = Instant::now() + self.backoff.next(retry_hint(&status));
        self.trouble_with(status, "the connection is lost, trying again");
        Ok(())
    }

    fn trouble_with(&mut self, status: Status, what: &str) {
        if self.trouble.as_ref().is_none_or(|known| known.code() != status.code()) {
            self.records.progress.say(&format!("{what}: {} ({})", status.message(), code_name(status.code())));
        }
        self.trouble = Some(status);
    }

    fn give_up_if_stuck(&mut self, status: &Status) -> Result<()> {
        let since = *self.trouble_since.get_or_insert_with(Instant::now);
        if since.elapsed() < self.settings.retry_for {
            return Ok(());
        }
        let waited = self.settings.retry_for.as_secs_f64();
        Err(status.clone()).with_context(|| format!("nothing worked for {waited} s (--retry-for)"))
    }

    fn worked(&mut self) {
        self.trouble_since = None;
        self.backoff.reset();
        self.trouble = None;
    }

    fn settle(&mut self, span: &Span, settled: Settled) -> Result<()> {
        let records = &mut *self.records;
        let rejects = records.ledger.settle(span.start, span.end, settled);
        let progress = &records.progress;
        records.rejects.write(&rejects, |line| progress.say(line))?;
        progress.update(records.ledger.position(), records.ledger.counts().rejected, span.offset);
        Ok(())
    }

    fn write_journal(&mut self, complete: bool) -> Result<()> {
        self.journal_at = Instant::now();
        let records = &mut *self.records;
        // The rejects first: the journal must not know of more than the file holds.
        let rejects_bytes = records.rejects.sync()?;
        let Some(journal) = &records.journal else { return Ok(()) };
        journal.write(&State {
            position: records.ledger.position(),
            counts: *records.ledger.counts(),
            version: records.ledger.version(),
            rejects_bytes,
            rejects_file: records.rejects_file.clone(),
            complete,
        })
    }
}

/// Waits for ever if there is no session.
async fn next_reply(session: &mut Option<Session>) -> Result<v1::UpsertStreamResponse, Status> {
    match session {
        Some(session) => session.next().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at.into()).await;
    }
}

/// The item is good, the server was busy.
fn is_overload(error: &v1::ItemError) -> bool {
    matches!(Code::from_i32(error.code), Code::ResourceExhausted | Code::Unavailable | Code::DeadlineExceeded)
        && error.reason != "LIMIT_EXCEEDED"
}

fn status_of(error: &v1::ItemError) -> Status {
    Status::new(Code::from_i32(error.code), error.message.clone())
}

/// The error's stable word, or the name of its code.
fn error_word(error: &v1::ItemError) -> String {
    if error.reason.is_empty() { code_name(Code::from_i32(error.code)).to_owned() } else { error.reason.clone() }
}
