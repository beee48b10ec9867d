//! Queries from what the items say of themselves: pairs that share some values of their payloads and differ in one.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{Triplet, TripletSource, Triplets};
use crate::train::data::captions::value_at;
use crate::train::data::{Corpus, Split};
use crate::train::piece::Piece;
use crate::types::value::{Payload, Value};
use crate::{Error, Result};

pub(super) const PIECE: Piece<dyn TripletSource> = Piece {
    name: "mined",
    summary: "Pairs of items that share some payload values and differ in one, with wordings for the change",
    source: "own",
    build: |settings| {
        let mined: Mined = settings.read()?;
        if mined.change.is_empty() {
            return Err(settings.invalid("expected at least one [[triplets.change]]"));
        }
        for (number, change) in mined.change.iter().enumerate() {
            change.check().map_err(|message| settings.invalid(format!("change[{number}]: {message}")))?;
        }
        Ok(Box::new(mined))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mined {
    change: Vec<Change>,
}

/// One kind of change: "the same, with other values of `differs`".
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    name: String,
    /// Payload paths whose values both items share; items without one of them are left out.
    same: Vec<String>,
    /// The payload path whose value changes, or several that all change.
    differs: Paths,
    /// Words for values. If there are any, items whose values have none take no part; else a value stands for itself.
    #[serde(default)]
    words: BTreeMap<String, String>,
    /// Sentences with `{to}` and, if wanted, `{from}`; where several paths differ, with `{PATH.to}` and `{PATH.from}`.
    wordings: Vec<String>,
    /// Sentences that no run learns from.
    #[serde(default)]
    held_out: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Paths {
    One(String),
    Several(Vec<String>),
}

impl Paths {
    fn all(&self) -> &[String] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::Several(paths) => paths,
        }
    }
}

impl Change {
    fn check(&self) -> std::result::Result<(), String> {
        let paths = self.differs.all();
        if self.wordings.is_empty() || paths.is_empty() {
            return Err("expected at least one path in differs and one sentence in wordings".to_owned());
        }
        for place in self.places("to") {
            if let Some(sentence) = self.wordings.iter().chain(&self.held_out).find(|text| !text.contains(&place)) {
                return Err(format!("{sentence:?} has no {place} where the new value goes"));
            }
        }
        Ok(())
    }

    /// Where each path's value goes in a sentence.
    fn places(&self, side: &str) -> Vec<String> {
        match self.differs.all() {
            [_] => vec![format!("{{{side}}}")],
            paths => paths.iter().map(|path| format!("{{{path}.{side}}}")).collect(),
        }
    }

    /// Sentences for a change from values to others.
    fn fill(&self, sentences: &[String], from: &[String], to: &[String]) -> Vec<String> {
        let word = |value: &String| self.words.get(value).cloned().unwrap_or_else(|| value.clone());
        let sides = [(self.places("from"), from), (self.places("to"), to)];
        let fill = |sentence: &String| {
            sides.iter().fold(sentence.clone(), |sentence, (places, values)| {
                places.iter().zip(*values).fold(sentence, |text, (place, value)| text.replace(place, &word(value)))
            })
        };
        sentences.iter().map(fill).collect()
    }

    /// What an item says at paths; `None` if it says nothing at one of them.
    fn words_at(payload: &Payload, paths: &[String]) -> Result<Option<Vec<String>>> {
        paths.iter().map(|path| word_at(payload, path)).collect()
    }
}

impl TripletSource for Mined {
    fn read(&self, corpus: &Corpus) -> Result<Triplets> {
        let mut triplets = Triplets::default();
        for change in &self.change {
            let group = triplets.group(&change.name);
            let before = triplets.all.len();
            for alike in groups(corpus, change)?.into_values() {
                for reference in &alike {
                    let differs = |target: &&Item| reference.1.iter().zip(&target.1).all(|(from, to)| from != to);
                    for target in alike.iter().filter(differs) {
                        add(corpus, &mut triplets, change, group, reference, target);
                    }
                }
            }
            if triplets.all.len() == before {
                let message = format!("no two items share {:?} and differ in {:?}", change.same, change.differs.all());
                return Err(Error::invalid(format!("recipe.triplets.change {:?}", change.name), message));
            }
        }
        triplets.check_disjoint(corpus)?;
        Ok(triplets)
    }

    fn reads_files(&self) -> bool {
        false
    }
}

/// An example and its values of what changes.
type Item = (usize, Vec<String>);

/// Items by what they share. A thing that two items of one group show with the same values would be two right answers, so only the
/// first counts.
fn groups(corpus: &Corpus, change: &Change) -> Result<BTreeMap<Vec<String>, Vec<Item>>> {
    let mut groups: BTreeMap<Vec<String>, Vec<Item>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let has_words =
        |values: &Vec<String>| change.words.is_empty() || values.iter().all(|value| change.words.contains_key(value));
    for (number, example) in corpus.examples.iter().enumerate().filter(|(_, example)| example.has_picture()) {
        let shared = Change::words_at(&example.payload, &change.same)?;
        let values = Change::words_at(&example.payload, change.differs.all())?.filter(has_words);
        let (Some(shared), Some(values)) = (shared, values) else { continue };
        if seen.insert((shared.clone(), values.clone())) {
            groups.entry(shared).or_default().push((number, values));
        }
    }
    Ok(groups)
}

fn add(
    corpus: &Corpus,
    triplets: &mut Triplets,
    change: &Change,
    group: usize,
    (reference, from): &Item,
    (target, to): &Item,
) {
    let (one, other) = (&corpus.examples[*reference], &corpus.examples[*target]);
    // A pair that the split tears apart would show one side to the other.
    if one.split != other.split {
        return;
    }
    // Nothing changes between them that could be seen.
    if one.shows_the_same_as(other) {
        return;
    }
    // Of the training side only what may be learned from; the rest of it is neither learned nor measured.
    if one.split == Split::Train && !(one.is_trained && other.is_trained) {
        return;
    }
    let mut number = |sentences: &[String]| {
        change.fill(sentences, from, to).into_iter().map(|sentence| triplets.text(sentence)).collect()
    };
    let (wordings, held_out_wordings) = (number(&change.wordings), number(&change.held_out));
    triplets.all.push(Triplet {
        name: format!("{} -> {}", one.id, other.id),
        reference: *reference,
        target: Some(*target),
        wordings,
        held_out_wordings,
        group,
        members: Vec::new(),
        split: one.split,
    });
}

fn word_at(payload: &Payload, path: &str) -> Result<Option<String>> {
    Ok(match value_at(payload, path)? {
        Some(Value::String(word)) => Some(word.clone()),
        Some(Value::Int(number)) => Some(number.to_string()),
        Some(Value::Bool(is)) => Some(is.to_string()),
        _ => None,
    })
}
