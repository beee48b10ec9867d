//! Each row is one item; an epoch shows every trained item once.

use super::order::ShuffledEpochs;
use super::{Row, Rows, Sampler};
use crate::Result;
use crate::train::data::Corpus;
use crate::train::piece::Piece;

pub(super) const PIECE: Piece<dyn Sampler> = Piece {
    name: "items",
    summary: "Every trained item once in an epoch",
    source: "own",
    build: |settings| settings.read::<Items>().map(|items| Box::new(items) as Box<dyn Sampler>),
};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Items {}

impl Sampler for Items {
    fn bind(&self, corpus: &Corpus, seed: u64) -> Result<Box<dyn Rows>> {
        let items: Vec<usize> = corpus.trained().collect();
        Ok(Box::new(BoundItems { order: ShuffledEpochs::new(items.len(), seed), items }))
    }
}

struct BoundItems {
    items: Vec<usize>,
    order: ShuffledEpochs,
}

impl Rows for BoundItems {
    fn rows(&mut self, first: u64, n: usize) -> Vec<Row> {
        (first..first + n as u64).map(|place| Row::of(vec![self.items[self.order.at(place)]])).collect()
    }

    fn epoch(&self) -> usize {
        self.order.n()
    }
}
