//! Answers to queries whose targets are not published, in the form that CIRR's server takes.

use serde_json::{Map, Value, json};

use super::queries::Queries;
use crate::Result;
use crate::train::eval::Subject;
use crate::train::eval::metrics::best;
use crate::train::progress::to_json;
use tch::Tensor;

/// Hits of a query over the whole gallery, and over its subset.
const RECALL: usize = 50;
const SUBSET: usize = 3;

/// Two files: `NAME.recall.json` and `NAME.recall_subset.json`, each query's hits by its name. Items stand for the data set's names:
/// the last part of their ids without its ending.
pub(super) fn files(
    name: &str,
    queries: &Queries<'_>,
    vectors: &Tensor,
    subject: &Subject<'_>,
) -> Result<Vec<(String, String)>> {
    let start = |metric: &str| {
        let entries = [("version", "rc2"), ("metric", metric)].map(|(key, value)| (key.to_owned(), json!(value)));
        Map::from_iter(entries)
    };
    let (mut whole, mut subset) = (start("recall"), start("recall_subset"));
    let image = |example: usize| -> Value {
        let id = &subject.corpus.examples[example].id;
        let file = id.rsplit('/').next().unwrap_or(id);
        json!(file.rsplit_once('.').map_or(file, |(stem, _)| stem))
    };
    queries.each(vectors, subject, &mut |triplet, gallery, scores| {
        let is_reference = |place: usize| gallery[place] == triplet.reference;
        let is_out = |place: usize| is_reference(place) || !triplet.members.contains(&gallery[place]);
        let names = |places: Vec<usize>| places.into_iter().map(|place| image(gallery[place])).collect::<Value>();
        whole.insert(triplet.name.clone(), names(best(scores, RECALL, &is_reference)));
        if !triplet.members.is_empty() {
            subset.insert(triplet.name.clone(), names(best(scores, SUBSET, &is_out)));
        }
    })?;
    let file = |metric: &str, mut answers: Map<String, Value>| {
        answers.sort_keys();
        (format!("{name}.{metric}.json"), to_json(&Value::Object(answers)))
    };
    Ok(vec![file("recall", whole), file("recall_subset", subset)])
}
