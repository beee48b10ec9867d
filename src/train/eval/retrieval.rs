//! Whether the right thing is found: recall and median rank, from pictures or texts to pictures or texts.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::{Evaluator, Measured, Subject};
use crate::encode::Role;
use crate::train::data::{Corpus, Split};
use crate::train::piece::Piece;
use crate::{Error, Result};

pub(super) const PIECE: Piece<dyn Evaluator> = Piece {
    name: "retrieval",
    summary: "Recall and median rank of the first item of the same concept",
    source: "own; recall as in Flickr30k and COCO retrieval (arXiv 1504.00325)",
    build: |settings| {
        let retrieval: Retrieval = settings.read()?;
        if retrieval.k.contains(&0) {
            return Err(settings.invalid("k: expected numbers of at least 1"));
        }
        for (key, split) in [("query.split", &retrieval.query.split), ("gallery.split", &retrieval.gallery.split)] {
            if let Some(split) = split {
                Split::parse(&format!("{}.{key}", settings.place), split)?;
            }
        }
        Ok(Box::new(retrieval))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Retrieval {
    name: String,
    query: Side,
    gallery: Side,
    #[serde(default = "default_k")]
    k: Vec<usize>,
    #[serde(default)]
    at_end: bool,
}

/// Which items stand on a side, and what is taken of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Side {
    #[serde(rename = "of")]
    what: What,
    #[serde(default)]
    filter: String,
    /// Without it items of every split.
    split: Option<String>,
    /// For texts: the number of the caption source, whose first text is taken.
    #[serde(default)]
    caption: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum What {
    Pictures,
    /// Each text once for a concept.
    Texts,
}

fn default_k() -> Vec<usize> {
    vec![1, 5, 10]
}

/// A side's vectors and what each stands for.
struct Entries {
    /// `[entries, dimension]`
    vectors: Tensor,
    examples: Vec<usize>,
    concepts: Vec<usize>,
    names: Vec<String>,
}

impl Side {
    fn entries(&self, place: &str, role: Role, subject: &Subject<'_>) -> Result<Entries> {
        let corpus = subject.corpus;
        let mut numbers = corpus.matching(place, &self.filter)?;
        if let Some(split) = &self.split {
            let split = Split::parse(place, split)?;
            numbers.retain(|&number| corpus.examples[number].split == split);
        }
        let entries = match self.what {
            What::Pictures => {
                numbers.retain(|&number| corpus.examples[number].has_picture());
                self.check(place, &numbers)?;
                let names = numbers.iter().map(|&number| corpus.examples[number].id.clone()).collect();
                Entries {
                    vectors: subject.images(&numbers)?,
                    concepts: concepts(corpus, &numbers),
                    examples: numbers,
                    names,
                }
            }
            What::Texts => {
                let mut seen = BTreeSet::new();
                let (mut examples, mut texts) = (Vec::new(), Vec::new());
                for number in numbers {
                    let example = &corpus.examples[number];
                    let text = example.captions.get(self.caption).and_then(|texts| texts.first());
                    if let Some(text) = text.filter(|text| seen.insert((example.concept, text.as_str()))) {
                        examples.push(number);
                        texts.push(text.clone());
                    }
                }
                self.check(place, &examples)?;
                Entries {
                    vectors: subject.texts(&texts, role)?,
                    concepts: concepts(corpus, &examples),
                    examples,
                    names: texts,
                }
            }
        };
        Ok(entries)
    }

    /// How many of the entries a run learns from: trained pictures, texts of trained concepts.
    fn trained(&self, entries: &Entries, corpus: &Corpus) -> usize {
        let concepts: BTreeSet<usize> = match self.what {
            What::Pictures => BTreeSet::new(),
            What::Texts => corpus.trained().map(|number| corpus.examples[number].concept).collect(),
        };
        let of =
            |(example, concept): (&usize, &usize)| corpus.examples[*example].is_trained || concepts.contains(concept);
        entries.examples.iter().zip(&entries.concepts).filter(|entry| of(*entry)).count()
    }

    fn check(&self, place: &str, numbers: &[usize]) -> Result<()> {
        if numbers.is_empty() {
            let message =
                format!("no item has {:?} behind filter {:?} and split {:?}", self.what, self.filter, self.split);
            return Err(Error::invalid(place, message));
        }
        Ok(())
    }
}

fn concepts(corpus: &Corpus, numbers: &[usize]) -> Vec<usize> {
    numbers.iter().map(|&number| corpus.examples[number].concept).collect()
}

impl Evaluator for Retrieval {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_for_the_end(&self) -> bool {
        self.at_end
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Measured> {
        let queries = self.query.entries(&format!("{}.query", self.name), Role::Query, subject)?;
        let gallery = self.gallery.entries(&format!("{}.gallery", self.name), Role::Document, subject)?;
        // An item does not find itself.
        let excludes_itself = self.query.what == What::Pictures && self.gallery.what == What::Pictures;
        let ranks = ranks(&queries, &gallery, excludes_itself);
        let found: Vec<(String, usize)> =
            queries.names.iter().zip(&ranks).filter_map(|(name, rank)| rank.map(|rank| (name.clone(), rank))).collect();
        if found.is_empty() {
            let message = format!("{}: no query has a right answer in the gallery", self.name);
            return Err(Error::invalid("recipe.eval", message));
        }
        let mut sorted: Vec<usize> = found.iter().map(|(_, rank)| *rank).collect();
        sorted.sort_unstable();
        let (n, n_gallery) = (sorted.len(), gallery.examples.len());
        let median = (sorted[(n - 1) / 2] + sorted[n / 2]) as f64 / 2.0;
        let mut figures: Vec<(String, f64)> = self
            .k
            .iter()
            .map(|&k| (format!("R@{k}"), sorted.iter().filter(|&&rank| rank <= k).count() as f64 / n as f64))
            .collect();
        figures.push(("median_rank".to_owned(), median));
        figures.push(("queries".to_owned(), n as f64));
        figures.push(("gallery".to_owned(), n_gallery as f64));
        let trained_queries = self.query.trained(&queries, subject.corpus);
        Ok(Measured { figures, ranks: found, trained_queries, ..Measured::default() })
    }
}

/// The rank of each query's best right answer, from 1; wrong answers of the same score stand before it. `None` without a right
/// answer in the gallery.
fn ranks(queries: &Entries, gallery: &Entries, excludes_itself: bool) -> Vec<Option<usize>> {
    let scores =
        queries.vectors.matmul(&gallery.vectors.transpose(0, 1)).to_device(tch::Device::Cpu).to_kind(Kind::Float);
    (0..queries.examples.len())
        .map(|query| {
            let row: Vec<f32> = Vec::try_from(scores.get(query as i64)).unwrap_or_default();
            let others = || {
                let is_other =
                    move |place: &usize| !excludes_itself || gallery.examples[*place] != queries.examples[query];
                (0..row.len()).filter(is_other)
            };
            let is_right = |place: &usize| gallery.concepts[*place] == queries.concepts[query];
            let best = others().filter(is_right).map(|place| row[place]).reduce(f32::max)?;
            // What is not below the best stands before it, so that scores that are no numbers find nothing.
            let is_before = |place: &usize| row[*place].partial_cmp(&best) != Some(Ordering::Less);
            Some(1 + others().filter(|place| !is_right(place) && is_before(place)).count())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(vectors: &[[f32; 2]], concepts: &[usize], first: usize) -> Entries {
        let values: Vec<f32> = vectors.iter().flatten().copied().collect();
        Entries {
            vectors: Tensor::from_slice(&values).view([vectors.len() as i64, 2]),
            examples: (first..first + vectors.len()).collect(),
            concepts: concepts.to_vec(),
            names: vec![String::new(); vectors.len()],
        }
    }

    #[test]
    fn ranks_count_the_wrong_answers_before_the_first_right_one() {
        let gallery = entries(&[[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.8, 0.6]], &[0, 1, 2, 0], 10);
        let queries = entries(&[[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [1.0, 0.0]], &[0, 0, 1, 7], 0);
        // The second and the third query's right answer has the same score as a wrong one.
        assert_eq!(ranks(&queries, &gallery, true), [Some(1), Some(2), Some(3), None]);
        // The same items on both sides: a query does not find itself.
        assert_eq!(ranks(&gallery, &gallery, true), [Some(2), None, None, Some(2)]);
        assert_eq!(ranks(&gallery, &gallery, false), [Some(1), Some(2), Some(1), Some(2)]);
        let broken = entries(&[[f32::NAN, 0.0]], &[0], 0);
        assert_eq!(ranks(&broken, &gallery, false), [Some(3)], "a network that gives no numbers finds nothing");
    }
}
