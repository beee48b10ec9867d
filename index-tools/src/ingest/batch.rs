//! The reader thread: loads records and cuts them into spans that travel as one batch.

use anyhow::Result;
use pictor_proto::v1;
use prost::Message as _;
use tokio::sync::mpsc;

use super::record::{Caps, Place, Reader, Reject, code};
use super::rejects::RejectLine;
use crate::units;

/// A record that was read, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// From 0.
    pub position: u64,
    pub place: String,
    pub item: v1::Item,
}

impl Loaded {
    /// A reject of this record.
    #[must_use]
    pub fn rejected(&self, code: &str, reason: &str) -> RejectLine {
        RejectLine {
            id: Some(self.item.id.clone()),
            position: self.position + 1,
            place: self.place.clone(),
            code: code.to_owned(),
            reason: reason.to_owned(),
        }
    }
}

/// Neighbouring records: the items to send and the ones that cannot be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span {
    /// Positions `start..end`.
    pub start: u64,
    pub end: u64,
    pub items: Vec<Loaded>,
    pub rejects: Vec<RejectLine>,
    /// Bytes of the source up to the last record.
    pub offset: u64,
}

/// When a span is full.
#[derive(Clone, Copy, Debug)]
pub struct BatchSize {
    pub items: usize,
    pub bytes: usize,
}

/// Reads the source on a thread of its own, from record `skip` on and at most to record `limit`. The channel holds one span,
/// so that memory stays at a few batches. The last message is an error if the source could not be read to its end.
pub fn spawn(
    mut reader: Box<dyn Reader>,
    caps: Caps,
    size: BatchSize,
    skip: u64,
    limit: Option<u64>,
) -> mpsc::Receiver<Result<Span>> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        if let Err(error) = read(reader.as_mut(), &caps, size, skip, limit, &sender) {
            // Nobody listens any more if the upload has failed.
            let _ = sender.blocking_send(Err(error));
        }
    });
    receiver
}

fn read(
    reader: &mut dyn Reader,
    caps: &Caps,
    size: BatchSize,
    skip: u64,
    limit: Option<u64>,
    sender: &mpsc::Sender<Result<Span>>,
) -> Result<()> {
    let mut span = Span { start: skip, end: skip, ..Span::default() };
    let mut span_bytes = 0;
    let mut position = 0;
    while limit.is_none_or(|limit| position < limit) {
        let place = match reader.advance() {
            Ok(Some(place)) => place,
            Ok(None) => break,
            Err(error) => {
                // What was read before is stored all the same.
                let _ = sender.blocking_send(Ok(span));
                return Err(error);
            }
        };
        let Place { text, offset } = place;
        if position >= skip {
            match reader.load().and_then(|item| check_size(item, caps)) {
                Ok((item, bytes)) => {
                    if !span.items.is_empty() && span_bytes + bytes > size.bytes {
                        let next = Span { start: position, end: position, ..Span::default() };
                        if sender.blocking_send(Ok(std::mem::replace(&mut span, next))).is_err() {
                            return Ok(());
                        }
                        span_bytes = 0;
                    }
                    span_bytes += bytes;
                    span.items.push(Loaded { position, place: text, item });
                }
                Err(Reject { id, code, reason }) => {
                    span.rejects.push(RejectLine { id, position: position + 1, place: text, code, reason });
                }
            }
            span.end = position + 1;
            span.offset = offset;
            if span.items.len() >= size.items || span.rejects.len() >= size.items {
                let next = Span { start: span.end, end: span.end, ..Span::default() };
                if sender.blocking_send(Ok(std::mem::replace(&mut span, next))).is_err() {
                    return Ok(());
                }
                span_bytes = 0;
            }
        }
        position += 1;
    }
    if span.end > span.start {
        let _ = sender.blocking_send(Ok(span));
    }
    Ok(())
}

fn check_size(item: v1::Item, caps: &Caps) -> Result<(v1::Item, usize), Reject> {
    let bytes = item.encoded_len();
    if bytes as u64 > caps.item_bytes {
        let (size, cap) = (units::bytes(bytes as u64), units::bytes(caps.item_bytes));
        let reason = format!("the item has {size}, over the cap of {cap} for one message");
        return Err(Reject::new(code::LIMIT_EXCEEDED, reason).of(&item.id));
    }
    Ok((item, bytes))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::record::Total;
    use super::*;

    type Record = (Place, Result<v1::Item, Reject>);

    /// Reads a source to its end, or to where it cannot be read on.
    pub(crate) fn read_all(reader: &mut dyn Reader) -> Vec<Record> {
        let mut records = Vec::new();
        while let Ok(Some(place)) = reader.advance() {
            records.push((place, reader.load()));
        }
        records
    }

    /// Each record's place, and its id or the code of its reject.
    pub(crate) fn summary(records: &[Record]) -> Vec<String> {
        let line = |(place, outcome): &Record| match outcome {
            Ok(item) => format!("{} {}", place.text, item.id),
            Err(reject) => format!("{} {}", place.text, reject.code),
        };
        records.iter().map(line).collect()
    }

    /// Counts up to `count`; every tenth record is bad, the others are `bytes` long.
    struct Counter {
        next: u64,
        count: u64,
        bytes: usize,
    }

    impl Reader for Counter {
        fn total(&self) -> Total {
            Total::Records(self.count)
        }

        fn advance(&mut self) -> Result<Option<Place>> {
            self.next += 1;
            Ok((self.next <= self.count).then(|| Place { text: self.next.to_string(), offset: self.next }))
        }

        fn load(&mut self) -> Result<v1::Item, Reject> {
            if self.next.is_multiple_of(10) {
                return Err(Reject::bad("a tenth"));
            }
            Ok(v1::Item { id: "x".repeat(self.bytes), ..Default::default() })
        }
    }

    fn spans(count: u64, bytes: usize, size: BatchSize, skip: u64, limit: Option<u64>) -> Vec<Span> {
        let caps = Caps { item_bytes: 1000, ..Caps::default() };
        let mut receiver = spawn(Box::new(Counter { next: 0, count, bytes }), caps, size, skip, limit);
        std::iter::from_fn(|| receiver.blocking_recv()).map(|span| span.expect("a span")).collect()
    }

    #[test]
    fn spans_cover_the_source_without_gaps() {
        for (count, skip, limit, items, bytes) in
            [(105, 0, None, 8, 1 << 20), (105, 33, None, 8, 250), (105, 0, Some(50), 100, 90), (30, 30, None, 8, 100)]
        {
            let spans = spans(count, 100, BatchSize { items, bytes }, skip, limit);
            let mut expected = skip;
            for span in &spans {
                assert_eq!(span.start, expected);
                assert_eq!((span.items.len() + span.rejects.len()) as u64, span.end - span.start);
                assert!(span.items.len() <= items && span.items.len() <= (bytes / 102).max(1));
                expected = span.end;
            }
            assert_eq!(expected, limit.unwrap_or(count).max(skip));
        }
        assert_eq!(spans(5, 1001, BatchSize { items: 8, bytes: 100 }, 0, None)[0].rejects.len(), 5);
    }
}
