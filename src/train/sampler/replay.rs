//! Goes on with a corpus that grows: everything new, and a part of what is older.

use std::collections::BTreeMap;

use rand::Rng as _;
use rand::seq::SliceRandom as _;
use serde::Deserialize;

use super::order::ShuffledEpochs;
use super::{Row, Rows, Sampler};
use crate::train::data::Corpus;
use crate::train::piece::Piece;
use crate::train::random::random_for;
use crate::types::Value;
use crate::{Error, Result};

pub(super) const PIECE: Piece<dyn Sampler> = Piece {
    name: "replay",
    summary: "The newest period's items and a buffer of older ones",
    source: "TiC-CLIP (arXiv 2310.16226)",
    build: |settings| {
        let replay: Replay = settings.read()?;
        if let Some(share) = replay.old_share {
            settings.within("old_share", share, 0.0, 1.0 - 1e-6)?;
        }
        Ok(Box::new(replay))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replay {
    /// The payload path of an item's period: numbers, times or words, whose order is that of time.
    period: String,
    strategy: Strategy,
    /// The share of the rows that show older items; without it every item of the buffer is shown alike.
    old_share: Option<f64>,
}

/// How many items of each older period stay in the buffer beside the n new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Strategy {
    /// None: Sequential.
    None,
    /// All: Cumulative-All.
    All,
    /// n / 2 of the last period, n / 4 of the one before, …: Cumulative-Exp.
    Exp,
    /// n altogether, as many of each: Cumulative-Equal.
    Equal,
}

/// A period as it is ordered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Period {
    Number(i64),
    /// Seconds and nanoseconds.
    Time(i64, u32),
    Word(String),
}

impl Period {
    fn of(value: Option<&Value>) -> Option<Self> {
        match value? {
            Value::Int(number) => Some(Self::Number(*number)),
            Value::Timestamp(time) => Some(Self::Time(time.seconds(), time.nanos())),
            Value::String(word) => Some(Self::Word(word.clone())),
            _ => None,
        }
    }
}

impl Replay {
    /// The trained items by period, oldest first.
    fn periods(&self, corpus: &Corpus) -> Result<Vec<Vec<usize>>> {
        let wrong = |message: String| Error::invalid("recipe.sampler.period", message);
        let mut periods: BTreeMap<Period, Vec<usize>> = BTreeMap::new();
        for number in corpus.trained() {
            let value = corpus.value(number, &self.period)?;
            let period = Period::of(value).ok_or_else(|| {
                let found = value.map_or("nothing", Value::type_name);
                let id = &corpus.examples[number].id;
                wrong(format!("item {id:?} holds {found} at {}, expected a number, a time or a word", self.period))
            })?;
            periods.entry(period).or_default().push(number);
        }
        let kinds: std::collections::HashSet<_> = periods.keys().map(std::mem::discriminant).collect();
        if kinds.len() > 1 {
            return Err(wrong(format!("{} holds values of several types, which have no order", self.period)));
        }
        Ok(periods.into_values().collect())
    }
}

/// The newest period's items, and those of older ones that stay.
fn buffer(mut periods: Vec<Vec<usize>>, strategy: Strategy, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let new = periods.pop().unwrap_or_default();
    let n_old = periods.len();
    let mut old = Vec::new();
    for (number, mut items) in periods.into_iter().enumerate() {
        let age = n_old - number;
        let quota = match strategy {
            Strategy::None => 0,
            Strategy::All => items.len(),
            Strategy::Exp => new.len().checked_shr(age as u32).unwrap_or(0),
            Strategy::Equal => new.len() / n_old,
        };
        items.shuffle(&mut random_for(seed, "replay", &[number as u64]));
        items.truncate(quota);
        items.sort_unstable();
        old.extend(items);
    }
    (new, old)
}

impl Sampler for Replay {
    fn bind(&self, corpus: &Corpus, seed: u64) -> Result<Box<dyn Rows>> {
        let (new, old) = buffer(self.periods(corpus)?, self.strategy, seed);
        let parts = match self.old_share {
            Some(share) if share > 0.0 => {
                if old.is_empty() {
                    let message = "no older item is in the buffer; leave it out, or take another strategy";
                    return Err(Error::invalid("recipe.sampler.old_share", message));
                }
                vec![(share, Part::new(old, seed)), (1.0, Part::new(new, seed))]
            }
            Some(_) => vec![(1.0, Part::new(new, seed))],
            None => vec![(1.0, Part::new([old, new].concat(), seed))],
        };
        Ok(Box::new(BoundReplay { parts, seed }))
    }
}

/// Items in the order of their turns.
struct Part {
    items: Vec<usize>,
    turns: ShuffledEpochs,
}

impl Part {
    fn new(items: Vec<usize>, seed: u64) -> Self {
        Self { turns: ShuffledEpochs::new(items.len(), seed), items }
    }
}

struct BoundReplay {
    /// Each with the chance of a row to be of it, if it is of none before.
    parts: Vec<(f64, Part)>,
    seed: u64,
}

impl Rows for BoundReplay {
    fn rows(&mut self, first: u64, n: usize) -> Vec<Row> {
        let seed = self.seed;
        let last = self.parts.len() - 1;
        (first..first + n as u64)
            .map(|place| {
                let drawn: f64 = random_for(seed, "replayed", &[place]).random();
                let chosen = self.parts.iter().position(|(chance, _)| drawn < *chance).unwrap_or(last);
                let Part { items, turns } = &mut self.parts[chosen].1;
                Row::of(vec![items[turns.at(place)]])
            })
            .collect()
    }

    fn epoch(&self) -> usize {
        self.parts.iter().map(|(_, part)| part.items.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four periods of 100, 300, 200 and 120 items.
    fn periods() -> Vec<Vec<usize>> {
        vec![(0..100).collect(), (100..400).collect(), (400..600).collect(), (600..720).collect()]
    }

    #[test]
    fn shares_of_the_buffer_are_exact() {
        let check = |strategy, expected: [usize; 3]| {
            let (new, old) = buffer(periods(), strategy, 7);
            assert_eq!(new, (600..720).collect::<Vec<_>>(), "{strategy:?}");
            let count = |range: std::ops::Range<usize>| old.iter().filter(|item| range.contains(item)).count();
            assert_eq!([count(0..100), count(100..400), count(400..600)], expected, "{strategy:?}");
            assert_eq!(old.len(), expected.iter().sum::<usize>(), "no item stands twice");
        };
        check(Strategy::None, [0, 0, 0]);
        check(Strategy::All, [100, 300, 200]);
        check(Strategy::Exp, [15, 30, 60]);
        check(Strategy::Equal, [40, 40, 40]);
        // A period that is smaller than its share gives all it has.
        let (_, old) = buffer(vec![vec![1], (2..50).collect(), (50..150).collect()], Strategy::Equal, 7);
        assert_eq!(old.len(), 1 + 48);
        assert_ne!(buffer(periods(), Strategy::Exp, 7), buffer(periods(), Strategy::Exp, 8), "the seed draws");
        assert_eq!(buffer(vec![vec![3, 4]], Strategy::Exp, 7), (vec![3, 4], vec![]));
    }

    #[test]
    fn rows_keep_the_share_and_can_be_asked_for_again() {
        let (new, old) = buffer(periods(), Strategy::Equal, 7);
        let parts = || vec![(0.3, Part::new(old.clone(), 7)), (1.0, Part::new(new.clone(), 7))];
        let mut bound = BoundReplay { parts: parts(), seed: 7 };
        let rows = bound.rows(0, 20_000);
        let n_old = rows.iter().filter(|row| row.examples[0] < 600).count() as f64;
        assert!((n_old / 20_000.0 - 0.3).abs() < 0.01, "{n_old}");
        assert_eq!(bound.rows(50, 10), rows[50..60], "a resumed run sees the same");
        assert_eq!(bound.epoch(), 240);
    }
}
