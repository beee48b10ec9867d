//! The composed queries of one measurement, their vectors, and what each is looked for among.

use std::collections::{BTreeMap, BTreeSet};

use rand::seq::IndexedRandom as _;
use tch::{Kind, Tensor};

use super::{Selection, Wordings, no_queries};
use crate::encode::Role;
use crate::train::data::{Split, Triplet, Triplets};
use crate::train::eval::Subject;
use crate::train::eval::metrics::rank;
use crate::train::random::random_for;
use crate::{Error, Result};

/// Takes a query with its gallery's examples and their scores.
type Found<'f> = &'f mut dyn FnMut(&Triplet, &[usize], &[f32]);

/// Queries whose scores are held at once.
const AT_ONCE: usize = 256;

/// How queries are asked.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    pub wordings: Wordings,
    pub keeps_reference: bool,
}

/// Queries with their parts' vectors.
pub(super) struct Queries<'a> {
    triplets: &'a Triplets,
    numbers: Vec<usize>,
    rules: Rules,
    /// As the encoder gives them, `[queries, dimension]`.
    pub images: Tensor,
    pub texts: Tensor,
    /// Examples that each query's group is looked for among.
    galleries: BTreeMap<usize, Vec<usize>>,
    concepts: Vec<usize>,
}

/// What one way of composing found.
pub(super) struct Scored {
    /// The rank of each answered query's target.
    pub ranks: Vec<usize>,
    /// The target's rank among the query's members, of queries that have some.
    pub subset_ranks: Vec<usize>,
}

impl<'a> Queries<'a> {
    pub(super) fn read(name: &str, selection: &Selection, rules: Rules, subject: &Subject<'a>) -> Result<Self> {
        let corpus = subject.corpus;
        let missing = || Error::invalid(format!("recipe.eval.{name}"), "composed queries come from [triplets]");
        let triplets = corpus.triplets.as_ref().ok_or_else(missing)?;
        let split = Split::parse(name, &selection.split)?;
        let references: BTreeSet<usize> = corpus.matching(name, &selection.filter)?.into_iter().collect();
        let is_asked = |number: &usize| {
            let triplet = &triplets.all[*number];
            triplet.split == split
                && references.contains(&triplet.reference)
                && wording(triplets, *number, rules).is_some()
        };
        let numbers: Vec<usize> = (0..triplets.all.len()).filter(is_asked).collect();
        if numbers.is_empty() {
            return Err(no_queries(name, selection));
        }
        let by_filter: Vec<usize> = corpus
            .matching(name, &selection.gallery)?
            .into_iter()
            .filter(|&number| corpus.examples[number].has_picture())
            .collect();
        let groups: BTreeSet<usize> = numbers.iter().map(|&number| triplets.all[number].group).collect();
        let gallery = |&group: &usize| {
            (group, triplets.galleries.get(&(group, split)).cloned().unwrap_or_else(|| by_filter.clone()))
        };
        let galleries: BTreeMap<usize, Vec<usize>> = groups.iter().map(gallery).collect();
        for &number in &numbers {
            let triplet = &triplets.all[number];
            if triplet.target.is_some_and(|target| !galleries[&triplet.group].contains(&target)) {
                let message = format!("the target of {:?} is not in the gallery", triplet.name);
                return Err(Error::invalid(format!("recipe.eval.{name}.gallery"), message));
            }
        }
        let words: Vec<String> = numbers
            .iter()
            .filter_map(|&number| Some(triplets.texts[wording(triplets, number, rules)?].clone()))
            .collect();
        let shown: Vec<usize> = numbers.iter().map(|&number| triplets.all[number].reference).collect();
        let concepts = shown.iter().map(|&example| corpus.examples[example].concept).collect();
        let (images, texts) = (subject.raw_images(&shown)?, subject.raw_texts(&words, Role::Query)?);
        Ok(Self { triplets, numbers, rules, images, texts, galleries, concepts })
    }

    /// Ranks the targets for query vectors, normalised `[queries, dimension]`.
    pub(super) fn score(&self, vectors: &Tensor, subject: &Subject<'_>) -> Result<Scored> {
        let mut scored = Scored { ranks: Vec::new(), subset_ranks: Vec::new() };
        self.each(vectors, subject, &mut |triplet, gallery, scores| {
            let Some(target) = triplet.target else { return };
            let Some(at) = gallery.iter().position(|&other| other == target) else { return };
            // Drawings that are alike to the byte are one: right where the target is, out where the reference is.
            let shows = |place: usize, example: usize| {
                let examples = &subject.corpus.examples;
                gallery[place] == example || examples[gallery[place]].shows_the_same_as(&examples[example])
            };
            let is_out = |place: usize| {
                let is_reference = !self.rules.keeps_reference && shows(place, triplet.reference);
                place != at && (is_reference || shows(place, target))
            };
            scored.ranks.push(rank(scores, at, &is_out));
            if !triplet.members.is_empty() {
                let is_out =
                    |place: usize| gallery[place] == triplet.reference || !triplet.members.contains(&gallery[place]);
                scored.subset_ranks.push(rank(scores, at, &is_out));
            }
        })?;
        Ok(scored)
    }

    /// Gives each query with its gallery's examples and their scores.
    pub(super) fn each(&self, vectors: &Tensor, subject: &Subject<'_>, found: Found<'_>) -> Result<()> {
        let _no_gradients = tch::no_grad_guard();
        let of_galleries: BTreeMap<usize, Tensor> = self
            .galleries
            .iter()
            .map(|(&group, gallery)| Ok((group, subject.images(gallery)?.transpose(0, 1))))
            .collect::<Result<_>>()?;
        for (part, numbers) in self.numbers.chunks(AT_ONCE).enumerate() {
            let first = (part * AT_ONCE) as i64;
            let vectors = vectors.narrow(0, first, numbers.len() as i64);
            // All scores of the chunk at once for each group that it has.
            let groups: BTreeSet<usize> = numbers.iter().map(|&number| self.triplets.all[number].group).collect();
            let scores: BTreeMap<usize, Tensor> = groups
                .into_iter()
                .map(|group| {
                    (group, vectors.matmul(&of_galleries[&group]).to_kind(Kind::Float).to_device(tch::Device::Cpu))
                })
                .collect();
            for (row, &number) in numbers.iter().enumerate() {
                let triplet = &self.triplets.all[number];
                let row = Vec::<f32>::try_from(scores[&triplet.group].get(row as i64).contiguous())
                    .map_err(|error| Error::Internal(format!("scores cannot be read: {error}")))?;
                found(triplet, &self.galleries[&triplet.group], &row);
            }
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Queries whose target is known.
    pub(super) fn n_answered(&self) -> usize {
        self.answered().count()
    }

    fn answered(&self) -> impl Iterator<Item = (usize, &Triplet)> {
        let all = self.numbers.iter().enumerate().map(|(place, &number)| (place, &self.triplets.all[number]));
        all.filter(|(_, triplet)| triplet.target.is_some())
    }

    /// The names of the answered queries.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.answered().map(|(_, triplet)| format!("{}: {}", self.triplets.groups[triplet.group], triplet.name))
    }

    /// What each answered query's reference shows: queries about one thing are not independent.
    pub(super) fn clusters(&self) -> Vec<usize> {
        self.answered().map(|(place, _)| self.concepts[place]).collect()
    }

    /// The names of the groups that answered queries have.
    pub(super) fn groups(&self) -> BTreeSet<String> {
        self.answered().map(|(_, triplet)| self.triplets.groups[triplet.group].clone()).collect()
    }

    /// Ranks of the answered queries by group.
    pub(super) fn by_group(&self, ranks: &[usize]) -> BTreeMap<String, Vec<usize>> {
        let mut by_group: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for ((_, triplet), &rank) in self.answered().zip(ranks) {
            by_group.entry(self.triplets.groups[triplet.group].clone()).or_default().push(rank);
        }
        by_group
    }

    /// Queries that a run learns from.
    pub(super) fn trained(&self) -> usize {
        self.numbers.iter().filter(|&&number| self.triplets.all[number].split == Split::Train).count()
    }

    /// Pictures of the largest gallery.
    pub(super) fn gallery_size(&self) -> usize {
        self.galleries.values().map(Vec::len).max().unwrap_or_default()
    }
}

/// The wording that a query is measured with: always the same one of those that the rules allow.
fn wording(triplets: &Triplets, number: usize, rules: Rules) -> Option<usize> {
    let triplet = &triplets.all[number];
    let mut random = random_for(0, &triplet.name, &[triplet.group as u64]);
    match rules.wordings {
        Wordings::Trained => triplet.wordings.choose(&mut random).copied(),
        Wordings::HeldOut => triplet.held_out_wordings.choose(&mut random).copied(),
        Wordings::Wrong => {
            let other = (0..64).find_map(|_| {
                let other = triplets.all.choose(&mut random)?;
                let differs = other.wordings.iter().all(|wording| !triplet.wordings.contains(wording));
                (differs && other.split == triplet.split).then_some(other)
            });
            other?.wordings.choose(&mut random).copied()
        }
    }
}
