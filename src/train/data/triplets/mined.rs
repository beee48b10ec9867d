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

/// One kind of change: "the same, with another value of `differs`".
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    name: String,
    /// Payload paths whose values both items share; items without one of them are left out.
    same: Vec<String>,
    /// The payload path whose value changes.
    differs: String,
    /// Only pairs whose values are among these, where given.
    from: Option<Vec<String>>,
    to: Option<Vec<String>>,
    /// Words for values, for `{from}` and `{to}`; a value without words stands for itself.
    #[serde(default)]
    words: BTreeMap<String, String>,
    /// Sentences with `{to}` and, if wanted, `{from}`; or, behind a value in `wordings_of`, sentences for that value.
    #[serde(default)]
    wordings: Vec<String>,
    /// Sentences that no run learns from.
    #[serde(default)]
    held_out: Vec<String>,
    /// Sentences for single values of the target, in the place of `wordings`.
    #[serde(default)]
    wordings_of: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    held_out_of: BTreeMap<String, Vec<String>>,
}

impl Change {
    fn check(&self) -> std::result::Result<(), String> {
        if self.wordings.is_empty() && self.wordings_of.is_empty() {
            return Err("wordings: expected at least one sentence".to_owned());
        }
        let all = self.wordings.iter().chain(&self.held_out);
        match all.into_iter().find(|sentence| !sentence.contains("{to}")) {
            None => Ok(()),
            Some(sentence) => Err(format!("{sentence:?} has no {{to}} where the new value goes")),
        }
    }

    /// The sentences for a change to `to` and those held out.
    fn sentences(&self, from: &str, to: &str) -> [Vec<String>; 2] {
        let words = |value: &str| self.words.get(value).cloned().unwrap_or_else(|| value.to_owned());
        let fill = |sentences: &[String]| -> Vec<String> {
            sentences.iter().map(|text| text.replace("{from}", &words(from)).replace("{to}", &words(to))).collect()
        };
        let trained = self.wordings_of.get(to).unwrap_or(&self.wordings);
        let held_out = self.held_out_of.get(to).unwrap_or(&self.held_out);
        [fill(trained), fill(held_out)]
    }

    fn takes(&self, from: &str, to: &str) -> bool {
        let is_in =
            |list: &Option<Vec<String>>, value: &str| list.as_ref().is_none_or(|list| list.iter().any(|v| v == value));
        from != to && is_in(&self.from, from) && is_in(&self.to, to)
    }
}

impl TripletSource for Mined {
    fn read(&self, corpus: &Corpus) -> Result<Triplets> {
        let mut triplets = Triplets::default();
        for change in &self.change {
            let group = triplets.group(&change.name);
            let before = triplets.all.len();
            for alike in groups(corpus, change)?.into_values() {
                for (reference, from) in &alike {
                    for (target, to) in &alike {
                        if !change.takes(from, to) {
                            continue;
                        }
                        // Several items of one value are one family's; a query means one of them.
                        add(corpus, &mut triplets, change, group, (*reference, from), (*target, to))?;
                    }
                }
            }
            if triplets.all.len() == before {
                let message = format!("no two items share {:?} and differ in {:?}", change.same, change.differs);
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

/// Examples that share all but one value, each with that value.
type Alike = Vec<(usize, String)>;

/// Items by what they share, each with its value of what changes. A thing that two items of one group show with the same value would
/// be two right answers, so only the first counts.
fn groups(corpus: &Corpus, change: &Change) -> Result<BTreeMap<Vec<String>, Alike>> {
    let mut groups: BTreeMap<Vec<String>, Alike> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (number, example) in corpus.examples.iter().enumerate().filter(|(_, example)| example.has_picture()) {
        let word = |path: &str| -> Result<Option<String>> { word_at(&example.payload, path) };
        let shared: Option<Vec<String>> = change.same.iter().map(|path| word(path)).collect::<Result<_>>()?;
        let (Some(shared), Some(value)) = (shared, word(&change.differs)?) else { continue };
        if seen.insert((shared.clone(), value.clone())) {
            groups.entry(shared).or_default().push((number, value));
        }
    }
    Ok(groups)
}

fn add(
    corpus: &Corpus,
    triplets: &mut Triplets,
    change: &Change,
    group: usize,
    (reference, from): (usize, &str),
    (target, to): (usize, &str),
) -> Result<()> {
    let (one, other) = (&corpus.examples[reference], &corpus.examples[target]);
    if one.split != other.split {
        return Err(Error::FailedPrecondition {
            reason: "SPLIT_LEAKS",
            message: format!(
                "{:?} and {:?} differ in {:?} only and stand on two sides: give them one family (recipe.split.family)",
                one.id, other.id, change.differs
            ),
        });
    }
    // Nothing changes between them that could be seen.
    if one.shows_the_same_as(other) {
        return Ok(());
    }
    // Of the training side only what may be learned from; the rest of it is neither learned nor measured.
    if one.split == Split::Train && !(one.is_trained && other.is_trained) {
        return Ok(());
    }
    let [trained, held_out] = change.sentences(from, to);
    let wordings = trained.into_iter().map(|sentence| triplets.text(sentence)).collect();
    let held_out_wordings = held_out.into_iter().map(|sentence| triplets.text(sentence)).collect();
    triplets.all.push(Triplet {
        name: format!("{} -> {}", one.id, other.id),
        reference,
        target: Some(target),
        wordings,
        held_out_wordings,
        group,
        members: Vec::new(),
        split: one.split,
    });
    Ok(())
}

fn word_at(payload: &Payload, path: &str) -> Result<Option<String>> {
    Ok(match value_at(payload, path)? {
        Some(Value::String(word)) => Some(word.clone()),
        Some(Value::Int(number)) => Some(number.to_string()),
        Some(Value::Bool(is)) => Some(is.to_string()),
        _ => None,
    })
}
