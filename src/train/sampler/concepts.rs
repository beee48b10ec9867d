//! Each row is one concept, shown by several items of different domains.

use std::collections::BTreeMap;

use rand::seq::{IndexedRandom as _, SliceRandom as _};

use super::order::ShuffledEpochs;
use super::{Row, Rows, Sampler};
use crate::train::data::Corpus;
use crate::train::piece::Piece;
use crate::train::random::random_for;
use crate::{Error, Result};

pub(super) const PIECE: Piece<dyn Sampler> = Piece {
    name: "concepts",
    summary: "Every concept once in an epoch, by items of different domains",
    source: "own",
    build: |settings| {
        let concepts: Concepts = settings.read()?;
        settings.within("drawings", concepts.drawings as f64, 1.0, 16.0)?;
        Ok(Box::new(concepts))
    },
};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Concepts {
    /// Items of a row. Domains do not repeat while there are others; a concept with fewer items repeats them.
    drawings: usize,
}

impl Sampler for Concepts {
    fn bind(&self, corpus: &Corpus, seed: u64) -> Result<Box<dyn Rows>> {
        let mut concepts: BTreeMap<usize, BTreeMap<usize, Vec<usize>>> = BTreeMap::new();
        for number in corpus.trained().filter(|&number| corpus.examples[number].has_picture()) {
            let example = &corpus.examples[number];
            concepts.entry(example.concept).or_default().entry(example.domain).or_default().push(number);
        }
        if concepts.is_empty() {
            return Err(Error::FailedPrecondition {
                reason: "NOTHING_TO_TRAIN_ON",
                message: "no trained item has a picture; the sampler \"concepts\" shows pictures".to_owned(),
            });
        }
        let concepts: Vec<Vec<Vec<usize>>> =
            concepts.into_values().map(|domains| domains.into_values().collect()).collect();
        let order = ShuffledEpochs::new(concepts.len(), seed);
        Ok(Box::new(BoundConcepts { concepts, order, drawings: self.drawings, seed }))
    }
}

struct BoundConcepts {
    /// Examples by concept and domain.
    concepts: Vec<Vec<Vec<usize>>>,
    order: ShuffledEpochs,
    drawings: usize,
    seed: u64,
}

impl Rows for BoundConcepts {
    fn rows(&mut self, first: u64, n: usize) -> Vec<Row> {
        (first..first + n as u64)
            .map(|place| {
                let mut random = random_for(self.seed, "drawings", &[place]);
                let mut domains: Vec<&Vec<usize>> = self.concepts[self.order.at(place)].iter().collect();
                domains.shuffle(&mut random);
                let examples = domains.iter().cycle().take(self.drawings);
                Row { examples: examples.filter_map(|items| items.choose(&mut random).copied()).collect() }
            })
            .collect()
    }

    fn epoch(&self) -> usize {
        self.order.n()
    }
}
