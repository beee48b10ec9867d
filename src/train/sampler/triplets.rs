//! Each row is one composed query: its reference, its target, and a wording of the change.

use serde::Deserialize;

use super::order::ShuffledEpochs;
use super::{Row, Rows, Sampler};
use crate::train::data::{Corpus, Triplets};
use crate::train::piece::Piece;
use crate::{Error, Result};

pub(super) const PIECE: Piece<dyn Sampler> = Piece {
    name: "triplets",
    summary: "Composed queries: every query once in an epoch, or every group as often",
    source: "own",
    build: |settings| settings.read::<ByTriplets>().map(|triplets| Box::new(triplets) as Box<dyn Sampler>),
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByTriplets {
    /// True shows each group as often as the others, however few queries it has.
    #[serde(default)]
    even_groups: bool,
}

impl Sampler for ByTriplets {
    fn bind(&self, corpus: &Corpus, seed: u64) -> Result<Box<dyn Rows>> {
        let triplets = trained(corpus)?;
        let n_lists = if self.even_groups { triplets.groups.len() } else { 1 };
        let mut lists = vec![Vec::new(); n_lists];
        let mut n = 0;
        for number in triplets.trained() {
            let triplet = &triplets.all[number];
            if let Some(target) = triplet.target {
                lists[triplet.group % n_lists]
                    .push(Row { examples: vec![triplet.reference, target], triplet: Some(number) });
                n += 1;
            }
        }
        lists.retain(|list| !list.is_empty());
        let list = |(number, rows): (usize, Vec<Row>)| List {
            order: ShuffledEpochs::new(rows.len(), seed.wrapping_add(number as u64)),
            rows,
        };
        Ok(Box::new(BoundTriplets { lists: lists.into_iter().enumerate().map(list).collect(), n }))
    }
}

/// The composed queries of a corpus, of which some can be learned from.
fn trained(corpus: &Corpus) -> Result<&Triplets> {
    let missing = |message: &str| Error::invalid("recipe.sampler", message);
    let triplets = corpus.triplets.as_ref().ok_or_else(|| missing("composed queries come from [triplets]"))?;
    match triplets.trained().next() {
        Some(_) => Ok(triplets),
        None => Err(Error::FailedPrecondition {
            reason: "NOTHING_TO_TRAIN_ON",
            message: format!("none of the {} composed queries is on the training side", triplets.all.len()),
        }),
    }
}

struct List {
    rows: Vec<Row>,
    order: ShuffledEpochs,
}

struct BoundTriplets {
    /// At least one, none of them empty.
    lists: Vec<List>,
    n: usize,
}

impl Rows for BoundTriplets {
    fn rows(&mut self, first: u64, n: usize) -> Vec<Row> {
        let n_lists = self.lists.len() as u64;
        let row = |place: u64| {
            let list = &mut self.lists[(place % n_lists) as usize];
            list.rows[list.order.at(place / n_lists)].clone()
        };
        (first..first + n as u64).map(row).collect()
    }

    fn epoch(&self) -> usize {
        self.n
    }
}
