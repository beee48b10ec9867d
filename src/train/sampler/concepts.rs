//! Each row is one concept, shown by several items of different domains.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng as _;
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
        for group in &concepts.groups {
            settings.within("groups.share", group.share, 1e-6, 1.0)?;
        }
        Ok(Box::new(concepts))
    },
};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Concepts {
    /// Items of a row. Domains do not repeat while there are others; a concept with fewer items repeats them.
    drawings: usize,
    /// Concepts that are shown more or less often than their number says.
    #[serde(default)]
    groups: Vec<Group>,
}

/// Concepts with an item behind a filter, and not behind that of a group before.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    filter: String,
    /// The share of the rows; what the groups leave is for all other concepts.
    share: f64,
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
        let orders = self.orders(corpus, concepts.keys().copied().collect(), seed)?;
        let concepts = concepts.into_iter().map(|(concept, domains)| (concept, domains.into_values().collect()));
        Ok(Box::new(BoundConcepts { concepts: concepts.collect(), orders, drawings: self.drawings, seed }))
    }
}

impl Concepts {
    /// Each group's order of concepts with its share; without groups one order of all.
    fn orders(&self, corpus: &Corpus, all: BTreeSet<usize>, seed: u64) -> Result<Vec<(f64, Order)>> {
        let (mut left, mut orders) = (all, Vec::new());
        for (number, group) in self.groups.iter().enumerate() {
            let place = format!("recipe.sampler.groups[{number}].filter");
            let behind: BTreeSet<usize> =
                corpus.matching(&place, &group.filter)?.iter().map(|&number| corpus.examples[number].concept).collect();
            let (chosen, rest): (BTreeSet<usize>, BTreeSet<usize>) =
                left.iter().partition(|concept| behind.contains(concept));
            if chosen.is_empty() {
                return Err(Error::invalid(place, format!("no trained concept is behind {:?}", group.filter)));
            }
            orders.push((group.share, Order::new(chosen, seed)));
            left = rest;
        }
        let rest = 1.0 - self.groups.iter().map(|group| group.share).sum::<f64>();
        if left.is_empty() != (rest < 1e-9) {
            let message = format!("the groups leave {} concepts and {rest:.3} of the rows for them", left.len());
            return Err(Error::invalid("recipe.sampler.groups", message));
        }
        if !left.is_empty() {
            orders.push((rest, Order::new(left, seed)));
        }
        Ok(orders)
    }
}

/// A group's concepts in the order of their turns.
struct Order {
    concepts: Vec<usize>,
    turns: ShuffledEpochs,
}

impl Order {
    fn new(concepts: BTreeSet<usize>, seed: u64) -> Self {
        Self { turns: ShuffledEpochs::new(concepts.len(), seed), concepts: concepts.into_iter().collect() }
    }
}

struct BoundConcepts {
    /// Examples by concept and domain.
    concepts: BTreeMap<usize, Vec<Vec<usize>>>,
    /// The groups with their shares of the rows, which sum to 1.
    orders: Vec<(f64, Order)>,
    drawings: usize,
    seed: u64,
}

impl BoundConcepts {
    /// The group that a row is of, by chance. Its place in the group's order is that of the row, so that no state is kept.
    fn group(&self, place: u64) -> usize {
        if self.orders.len() == 1 {
            return 0;
        }
        let mut left = random_for(self.seed, "group", &[place]).random::<f64>();
        for (number, (share, _)) in self.orders.iter().enumerate() {
            if left < *share {
                return number;
            }
            left -= share;
        }
        self.orders.len() - 1
    }
}

impl Rows for BoundConcepts {
    fn rows(&mut self, first: u64, n: usize) -> Vec<Row> {
        (first..first + n as u64)
            .map(|place| {
                let mut random = random_for(self.seed, "drawings", &[place]);
                let group = self.group(place);
                let order = &mut self.orders[group].1;
                let concept = order.concepts[order.turns.at(place)];
                let mut domains: Vec<&Vec<usize>> = self.concepts[&concept].iter().collect();
                domains.shuffle(&mut random);
                let examples = domains.iter().cycle().take(self.drawings);
                Row::of(examples.filter_map(|items| items.choose(&mut random).copied()).collect())
            })
            .collect()
    }

    fn epoch(&self) -> usize {
        self.concepts.len()
    }
}
