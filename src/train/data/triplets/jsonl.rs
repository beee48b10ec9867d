//! A file of queries: one JSON object a line, `{"reference": ID, "modification": TEXT or [TEXTS], "target": ID}`.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::files::read_text;
use super::{Items, Triplet, TripletSource, Triplets};
use crate::train::data::{Corpus, Split};
use crate::train::piece::Piece;
use crate::{Error, Result};

pub(super) const PIECE: Piece<dyn TripletSource> = Piece {
    name: "jsonl",
    summary: "Queries from a file: reference, modification, target, and if wanted members, group, split, held_out",
    source: "own",
    build: |settings| settings.read::<Jsonl>().map(|jsonl| Box::new(jsonl) as Box<dyn TripletSource>),
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Jsonl {
    path: PathBuf,
    #[serde(default)]
    skip_missing: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    reference: String,
    modification: Wordings,
    target: Option<String>,
    #[serde(default)]
    members: Vec<String>,
    #[serde(default)]
    group: String,
    /// Wordings that no run learns from.
    #[serde(default)]
    held_out: Vec<String>,
    /// `train`, `validation` or `test`; without it the reference's side in the recipe's split.
    split: Option<String>,
    #[serde(default)]
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Wordings {
    One(String),
    Several(Vec<String>),
}

impl TripletSource for Jsonl {
    fn read(&self, corpus: &Corpus) -> Result<Triplets> {
        let text = read_text(&self.path)?;
        let (mut triplets, mut items) = (Triplets::default(), Items::of(corpus));
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            let place = format!("{} line {number}", self.path.display());
            self.add(&place, line, corpus, &mut items, &mut triplets)?;
        }
        items.check(&self.path.display().to_string(), self.skip_missing)?;
        if triplets.all.is_empty() {
            return Err(Error::invalid(self.path.display().to_string(), "the file has no query"));
        }
        triplets.check_disjoint(corpus)?;
        Ok(triplets)
    }
}

impl Jsonl {
    fn add(
        &self,
        place: &str,
        line: &str,
        corpus: &Corpus,
        items: &mut Items<'_>,
        triplets: &mut Triplets,
    ) -> Result<()> {
        let line: Line = serde_json::from_str(line).map_err(|error| Error::invalid(place, error.to_string()))?;
        let wordings = match line.modification {
            Wordings::One(wording) => vec![wording],
            Wordings::Several(wordings) => wordings,
        };
        if wordings.is_empty() || wordings.iter().any(|wording| wording.trim().is_empty()) {
            return Err(Error::invalid(place, "modification: expected a text, or a list with at least one"));
        }
        let reference = items.find(&line.reference);
        let target = line.target.as_ref().map(|target| items.find(target));
        let members: Vec<Option<usize>> = line.members.iter().map(|member| items.find(member)).collect();
        let (Some(reference), Some(members)) = (reference, members.into_iter().collect::<Option<Vec<_>>>()) else {
            return Ok(());
        };
        let target = match target {
            Some(None) => return Ok(()),
            Some(found) => found,
            None => None,
        };
        if !members.is_empty() && target.is_some_and(|target| !members.contains(&target)) {
            return Err(Error::invalid(place, "members: the target is not among them"));
        }
        let split = match &line.split {
            Some(split) => Split::parse(place, split)?,
            None => corpus.examples[reference].split,
        };
        let name = line.name.unwrap_or_else(|| file_name(&self.path, triplets.all.len()));
        let group = triplets.group(&line.group);
        let wordings = wordings.into_iter().map(|wording| triplets.text(wording)).collect();
        let held_out_wordings = line.held_out.into_iter().map(|wording| triplets.text(wording)).collect();
        triplets.all.push(Triplet { name, reference, target, wordings, held_out_wordings, group, members, split });
        Ok(())
    }
}

fn file_name(path: &Path, number: usize) -> String {
    format!("{}#{number}", path.file_name().unwrap_or_default().to_string_lossy())
}
