//! Composed queries that a run learns from: a reference picture, a change in words, and the picture that is meant.
//!
//! Adding a source: one file that exports `PIECE`, its `mod` line, its line in [`ALL`].

mod cirr;
mod fashioniq;
mod files;
mod jsonl;
mod mined;

use std::collections::{BTreeMap, HashMap};

use super::corpus::Corpus;
use super::split::{Disjoint, Split};
use crate::Result;
use crate::train::piece::Piece;

/// Every source, alphabetic.
pub const ALL: &[&Piece<dyn TripletSource>] = &[&cirr::PIECE, &fashioniq::PIECE, &jsonl::PIECE, &mined::PIECE];

/// Where composed queries come from.
pub trait TripletSource: Send + Sync {
    /// Reads the queries over a corpus's items.
    ///
    /// # Errors
    /// `InvalidArgument` for its settings and files; `FailedPrecondition` if items are missing.
    fn read(&self, corpus: &Corpus) -> Result<Triplets>;

    /// True if it reads files of this machine, which jobs of a server may not.
    fn reads_files(&self) -> bool {
        true
    }
}

/// One composed query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Triplet {
    /// What its source calls it.
    pub name: String,
    /// The example whose picture is changed.
    pub reference: usize,
    /// The example that is meant; `None` in a test whose answers are not published.
    pub target: Option<usize>,
    /// Numbers of the wordings in [`Triplets::texts`]; one is drawn each time that the query is learned from.
    pub wordings: Vec<usize>,
    /// Wordings that no run learns from.
    pub held_out_wordings: Vec<usize>,
    /// The number of the kind of change or of the category in [`Triplets::groups`].
    pub group: usize,
    /// Examples that look alike, the target among them (CIRR's subsets).
    pub members: Vec<usize>,
    pub split: Split,
}

/// The composed queries of a corpus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Triplets {
    pub all: Vec<Triplet>,
    /// Distinct wordings.
    pub texts: Vec<String>,
    pub groups: Vec<String>,
    /// The examples that a group's queries of a split are looked for among, where the source says so.
    pub galleries: BTreeMap<(usize, Split), Vec<usize>>,
    numbers: HashMap<String, usize>,
}

impl Triplets {
    /// The number of a wording.
    fn text(&mut self, text: String) -> usize {
        let next = self.texts.len();
        *self.numbers.entry(text).or_insert_with_key(|text| {
            self.texts.push(text.clone());
            next
        })
    }

    /// The number of a group.
    fn group(&mut self, name: &str) -> usize {
        self.groups.iter().position(|known| known == name).unwrap_or_else(|| {
            self.groups.push(name.to_owned());
            self.groups.len() - 1
        })
    }

    /// Numbers of the queries that a run may learn from.
    pub fn trained(&self) -> impl Iterator<Item = usize> + '_ {
        let is_trained = |number: &usize| self.all[*number].split == Split::Train && self.all[*number].target.is_some();
        (0..self.all.len()).filter(is_trained)
    }

    /// Takes queries out of training whose items the run may not learn from.
    pub(super) fn keep_trained(&mut self, corpus: &Corpus) {
        let before = self.all.len();
        let is_learnable = |triplet: &Triplet| {
            let examples = [Some(triplet.reference), triplet.target];
            examples.into_iter().flatten().all(|example| {
                let example = &corpus.examples[example];
                example.is_trained && example.has_picture()
            })
        };
        self.all.retain(|triplet| triplet.split != Split::Train || is_learnable(triplet));
        if self.all.len() < before {
            let n = before - self.all.len();
            tracing::warn!(
                "{n} of {before} composed queries have items that the run may not learn from; they are left out"
            );
        }
    }

    /// Checks that no item is learned from that also stands in a query or gallery of another split.
    fn check_disjoint(&self, corpus: &Corpus) -> Result<()> {
        let mut disjoint = Disjoint::default();
        let mut note = |example: usize, split: Split| {
            // What is measured may share items: only learning from them leaks.
            let side = if split == Split::Train { Split::Train } else { Split::Test };
            disjoint.note("item", &corpus.examples[example].id, side)
        };
        for triplet in &self.all {
            for example in [Some(triplet.reference), triplet.target].into_iter().flatten() {
                note(example, triplet.split)?;
            }
        }
        Ok(())
    }

    /// A line for people: how many queries of each group and split there are.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, BTreeMap<String, usize>> {
        let mut counts: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        for triplet in &self.all {
            let of_group = counts.entry(self.groups[triplet.group].clone()).or_default();
            *of_group.entry(format!("{:?}", triplet.split).to_lowercase()).or_default() += 1;
        }
        counts
    }
}

/// Finds a corpus's examples by their items' ids.
struct Items<'c> {
    by_id: HashMap<&'c str, usize>,
    missing: Vec<String>,
}

impl<'c> Items<'c> {
    fn of(corpus: &'c Corpus) -> Self {
        let by_id = corpus.examples.iter().enumerate().map(|(number, example)| (example.id.as_str(), number));
        Self { by_id: by_id.collect(), missing: Vec::new() }
    }

    /// The example of an item; one that is not there is noted.
    fn find(&mut self, id: &str) -> Option<usize> {
        let found = self.by_id.get(id).copied();
        if found.is_none() {
            self.missing.push(id.to_owned());
        }
        found
    }

    /// Refuses missing items, unless the recipe skips their queries.
    fn check(mut self, place: &str, skip_missing: bool) -> Result<()> {
        self.missing.sort();
        self.missing.dedup();
        let Some(first) = self.missing.first() else { return Ok(()) };
        let message = format!("{} items are not in the collection, such as {first:?}", self.missing.len());
        if skip_missing {
            tracing::warn!("{place}: {message}; queries with them are left out");
            return Ok(());
        }
        Err(crate::Error::FailedPrecondition {
            reason: "ITEMS_MISSING",
            message: format!("{place}: {message}; ingest them, or set skip_missing"),
        })
    }
}
