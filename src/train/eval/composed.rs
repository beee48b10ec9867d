//! Whether composed queries find what is meant: recall over a gallery, by kind of change, beside baselines.

mod baselines;
mod queries;
mod submission;

use std::collections::BTreeMap;

use serde::Deserialize;

use super::metrics::{not_better, recall};
use super::{Evaluator, Measured, Subject};
use crate::train::data::Split;
use crate::train::piece::Piece;
use crate::{Error, Result};
use baselines::{Baselines, Ranked};
use queries::{Queries, Rules};

pub(super) const PIECE: Piece<dyn Evaluator> = Piece {
    name: "composed",
    summary: "Recall of composed queries, by kind of change, beside picture, words, sums and great circles alone",
    source: "FashionIQ (arXiv 1905.12794), CIRR (arXiv 2108.04024) and CLIP4Cir (arXiv 2308.11485) for their protocols",
    build: |settings| {
        let composed: Composed = settings.read()?;
        for (key, split) in composed.splits() {
            Split::parse(&format!("{}.{key}", settings.place), split)?;
        }
        if composed.k.iter().flatten().any(|&k| k == 0) {
            return Err(settings.invalid("k: expected numbers of at least 1"));
        }
        Ok(Box::new(composed))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Composed {
    name: String,
    #[serde(flatten)]
    of: Selection,
    #[serde(default)]
    protocol: Protocol,
    k: Option<Vec<usize>>,
    #[serde(default)]
    wordings: Wordings,
    /// True looks for the reference too; the protocol's rule without it.
    keep_reference: Option<bool>,
    /// Measures the simple ways too, tuned on other queries.
    baselines: Option<Selection>,
    #[serde(default)]
    at_end: bool,
}

/// Which queries, and what they are looked for among.
#[derive(Clone, Debug, Deserialize)]
struct Selection {
    split: String,
    /// A filter over the references' payloads.
    #[serde(default)]
    filter: String,
    /// A filter over payloads; galleries that the queries' source names count before it.
    #[serde(default)]
    gallery: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Protocol {
    #[default]
    Generic,
    FashionIq,
    Cirr,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Wordings {
    #[default]
    Trained,
    HeldOut,
    /// Another query's words, with another kind of change or another value: what is found then is found by the picture.
    Wrong,
}

impl Composed {
    fn splits(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let of_baselines = self.baselines.iter().map(|selection| ("baselines.split", selection.split.as_str()));
        [("split", self.of.split.as_str())].into_iter().chain(of_baselines)
    }

    fn rules(&self) -> Rules {
        Rules {
            wordings: self.wordings,
            keeps_reference: self.keep_reference.unwrap_or(self.protocol == Protocol::FashionIq),
        }
    }

    fn depths(&self) -> Vec<usize> {
        self.k.clone().unwrap_or_else(|| match self.protocol {
            Protocol::FashionIq => vec![10, 50],
            Protocol::Generic | Protocol::Cirr => vec![1, 5, 10, 50],
        })
    }
}

impl Evaluator for Composed {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_for_the_end(&self) -> bool {
        self.at_end
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Measured> {
        let queries = Queries::read(&self.name, &self.of, self.rules(), subject)?;
        let vectors = subject.compose(&queries.images, &queries.texts)?;
        let scored = queries.score(&vectors, subject)?;
        let mut measured = Measured {
            figures: self.figures(&queries, &scored),
            ranks: queries.names().zip(&scored.ranks).map(|(name, &rank)| (name, rank)).collect(),
            trained_queries: queries.trained(),
            files: Vec::new(),
        };
        if queries.n_answered() < queries.len() {
            measured.files = submission::files(&self.name, &queries, &vectors, subject)?;
        }
        if let Some(tuned_on) = &self.baselines {
            let rules = Rules { wordings: Wordings::Trained, ..self.rules() };
            let validation = Queries::read(&self.name, tuned_on, rules, subject)?;
            let baselines = Baselines::measure(&queries, &validation, subject)?;
            measured.figures.extend(compare(&queries, &scored.ranks, &baselines));
        }
        Ok(measured)
    }
}

impl Composed {
    fn figures(&self, queries: &Queries<'_>, scored: &queries::Scored) -> Vec<(String, f64)> {
        let (depths, n_groups) = (self.depths(), queries.groups().len());
        let mut figures: BTreeMap<String, f64> = BTreeMap::new();
        let by_group = queries.by_group(&scored.ranks);
        for &k in &depths {
            figures.insert(format!("R@{k}"), recall(&scored.ranks, k));
            let of_groups: Vec<f64> = by_group.values().map(|ranks| recall(ranks, k)).collect();
            if n_groups > 1 {
                figures.insert(format!("mean.R@{k}"), of_groups.iter().sum::<f64>() / of_groups.len().max(1) as f64);
                figures.extend(by_group.iter().map(|(group, ranks)| (format!("{group}.R@{k}"), recall(ranks, k))));
            }
        }
        for k in [1, 2, 3].into_iter().filter(|_| !scored.subset_ranks.is_empty()) {
            figures.insert(format!("Rs@{k}"), recall(&scored.subset_ranks, k));
        }
        let value = |figures: &BTreeMap<String, f64>, name: &str| figures.get(name).copied();
        let average = match self.protocol {
            Protocol::Generic => None,
            Protocol::FashionIq => {
                let mean =
                    |k: usize| value(&figures, &format!("mean.R@{k}")).or_else(|| value(&figures, &format!("R@{k}")));
                Some((mean(10), mean(50)))
            }
            Protocol::Cirr => Some((value(&figures, "R@5"), value(&figures, "Rs@1"))),
        };
        if let Some((Some(one), Some(other))) = average {
            figures.insert("average".to_owned(), (one + other) / 2.0);
        }
        figures.insert("queries".to_owned(), scored.ranks.len() as f64);
        figures.insert("gallery".to_owned(), queries.gallery_size() as f64);
        figures.into_iter().collect()
    }
}

/// The trained model beside the best of the simple ways.
fn compare(queries: &Queries<'_>, ranks: &[usize], baselines: &Baselines) -> Vec<(String, f64)> {
    let mut figures = Vec::new();
    for (name, Ranked { ranks, weight }) in &baselines.by_name {
        for k in [1, 10] {
            figures.push((format!("{name}.R@{k}"), recall(ranks, k)));
        }
        figures.extend(weight.map(|weight| (format!("{name}.weight"), weight)));
    }
    let best = baselines.by_name.values().max_by(|a, b| recall(&a.ranks, 1).total_cmp(&recall(&b.ranks, 1)));
    if let Some(best) = best {
        let (error, best_error) = (1.0 - recall(ranks, 1), 1.0 - recall(&best.ranks, 1));
        figures.push(("best_baseline.R@1".to_owned(), recall(&best.ranks, 1)));
        figures.push(("best_baseline.R@10".to_owned(), recall(&best.ranks, 10)));
        figures.push(("error_ratio".to_owned(), error / best_error.max(1e-12)));
        figures.push(("p".to_owned(), not_better(ranks, &best.ranks, &queries.clusters(), 1, 0)));
    }
    for group in queries.groups() {
        let of = |ranked: &Ranked| queries.by_group(&ranked.ranks).get(&group).map_or(0.0, |ranks| recall(ranks, 1));
        let best = baselines.by_name.values().map(of).fold(0.0, f64::max);
        figures.push((format!("{group}.best_baseline.R@1"), best));
    }
    figures
}

fn no_queries(name: &str, selection: &Selection) -> Error {
    let message =
        format!("no composed query is in split {:?} behind the filter {:?}", selection.split, selection.filter);
    Error::invalid(format!("recipe.eval.{name}"), message)
}
