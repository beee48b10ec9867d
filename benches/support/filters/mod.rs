//! What the bench `filters` stores and asks: clustered unit vectors, payloads that follow the vectors or do not, and questions with
//! their exact answers. `filters.py` reads all of it from a folder.

mod question;
mod vectors;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use pictor::distance;
use pictor::types::json::payload_to_json;
use pictor::types::{Payload, Value};
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde_json::json;

pub(crate) use question::Question;
use question::{EVERYTHING, KEYWORDS, Relation, SELECTIVITIES};
pub(crate) use vectors::best_of;
use vectors::{Clusters, by_nearness, ranks};

/// Hits wanted of every query.
pub(crate) const LIMIT: usize = 10;
pub(crate) const QUERIES: usize = 300;
/// Fields whose values are counted, with how many values each has; the first ones are the most common.
pub(crate) const FACETS: [(&str, usize); 5] =
    [("three", 3), ("five", 5), ("twenty", 20), ("hundred", 100), ("thousand", 1_000)];
/// Queries that are drawn for each that leans to the direction.
const DRAWN: usize = 40;

/// Everything that is stored and asked.
pub(crate) struct FilterSet {
    pub(crate) dimension: usize,
    pub(crate) count: usize,
    vectors: Vec<f32>,
    /// Drawn as the vectors are: any, and those that lean to the direction.
    queries: [Vec<f32>; 2],
    /// The first two are those without a filter, one for each set of queries.
    pub(crate) questions: Vec<Question>,
    /// Each item's place in a random order, and in that of nearness to the direction.
    ranks: [Vec<u32>; 2],
    facets: Vec<[usize; FACETS.len()]>,
}

impl FilterSet {
    /// Makes all of it from a fixed seed; `count` is a multiple of 1,000.
    pub(crate) fn new(count: usize, dimension: usize) -> Self {
        assert!(count.is_multiple_of(1_000), "expected thousands of items, got {count}");
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let clusters = Clusters::new(dimension, &mut random);
        let vectors = clusters.draw(count, &mut random);
        let direction = clusters.direction();
        let any = clusters.draw(QUERIES, &mut random);
        let drawn = clusters.draw(QUERIES * DRAWN, &mut random);
        let nearest = by_nearness(&drawn, &direction).into_iter().take(QUERIES);
        let leaning = nearest.flat_map(|query| drawn[query as usize * dimension..][..dimension].to_vec()).collect();
        let mut order: Vec<u32> = (0..count as u32).collect();
        order.shuffle(&mut random);
        let ranks = [order, by_nearness(&vectors, &direction)].map(|order| ranks(&order));
        let mut value = |values: usize| (random.random::<f64>().powi(2) * values as f64) as usize;
        let facets = (0..count).map(|_| FACETS.map(|(_, values)| value(values))).collect();
        let mut set = Self { dimension, count, vectors, queries: [any, leaning], questions: vec![], ranks, facets };
        let everything =
            [Relation::Independent, Relation::Near].map(|relation| set.question(relation, EVERYTHING, false));
        let mut questions = Vec::from(everything);
        for relation in Relation::ALL {
            questions.extend(SELECTIVITIES.map(|per_mille| set.question(relation, per_mille, false)));
            questions.extend(KEYWORDS.map(|per_mille| set.question(relation, per_mille, true)));
        }
        set.questions = questions;
        set.answer();
        set
    }

    fn question(&self, relation: Relation, per_mille: usize, is_keyword: bool) -> Question {
        let ranks = &self.ranks[relation.order()];
        let is_match = |item: &u32| relation.is_match(ranks[*item as usize], self.count, per_mille);
        let matches = (0..self.count as u32).filter(is_match).collect();
        Question { relation, per_mille, is_keyword, matches, exact: vec![] }
    }

    /// Compares every query with every vector.
    fn answer(&mut self) {
        for (number, queries) in self.queries.iter().enumerate() {
            let is_asked = |place: &usize| self.questions[*place].queries() == number;
            let asked: Vec<usize> = (0..self.questions.len()).filter(is_asked).collect();
            let answers = |query: &[f32]| -> Vec<Vec<u32>> {
                let dot = |vector| distance::dot(query, vector);
                let scores: Vec<f32> = self.vectors.chunks(self.dimension).map(dot).collect();
                let matches = |place: usize| self.questions[place].matches.iter();
                let best = |place: &usize| best_of(LIMIT, matches(*place).map(|&item| (item, scores[item as usize])));
                asked.iter().map(best).collect()
            };
            let found: Vec<Vec<Vec<u32>>> = queries.par_chunks(self.dimension).map(answers).collect();
            for answers in found {
                for (&place, answer) in asked.iter().zip(answers) {
                    self.questions[place].exact.push(answer);
                }
            }
        }
    }

    /// Fields to index, with true for those of numbers.
    pub(crate) fn fields() -> Vec<(String, bool)> {
        let numbers = [Relation::Independent, Relation::Near].map(|relation| (relation.field().to_owned(), true));
        let keywords = |relation: Relation| KEYWORDS.map(|per_mille| (relation.keyword(per_mille), false));
        let facets = FACETS.map(|(field, _)| (field.to_owned(), false));
        numbers.into_iter().chain(Relation::ALL.into_iter().flat_map(keywords)).chain(facets).collect()
    }

    pub(crate) fn vector(&self, item: usize) -> &[f32] {
        &self.vectors[item * self.dimension..][..self.dimension]
    }

    pub(crate) fn queries(&self, question: &Question) -> impl Iterator<Item = &[f32]> {
        self.queries[question.queries()].chunks(self.dimension)
    }

    pub(crate) fn payload(&self, item: usize) -> Payload {
        let mut payload = Payload::new();
        for relation in Relation::ALL {
            let rank = self.ranks[relation.order()][item];
            payload.insert(relation.field().to_owned(), Value::Double(f64::from(rank) / self.count as f64));
            for per_mille in KEYWORDS {
                let word = if relation.is_match(rank, self.count, per_mille) { "yes" } else { "no" };
                payload.insert(relation.keyword(per_mille), Value::String(word.to_owned()));
            }
        }
        let facet = |((field, _), value): ((&str, usize), usize)| (field.to_owned(), Value::String(word(value)));
        payload.extend(FACETS.into_iter().zip(self.facets[item]).map(facet));
        payload
    }

    /// The values of every facet with how many of these items have them: the most frequent first, equally frequent ones in their order.
    pub(crate) fn facets(&self, items: &[u32], limit: usize) -> Vec<Vec<(Value, u64)>> {
        let facet = |place: usize| {
            let mut counts = BTreeMap::<String, u64>::new();
            for &item in items {
                *counts.entry(word(self.facets[item as usize][place])).or_default() += 1;
            }
            let mut counts: Vec<(String, u64)> = counts.into_iter().collect();
            counts.sort_by_key(|(_, count)| Reverse(*count));
            counts.into_iter().take(limit).map(|(word, count)| (Value::String(word), count)).collect()
        };
        (0..FACETS.len()).map(facet).collect()
    }

    /// Writes what a peer needs.
    pub(crate) fn write(&self, folder: &Path) {
        let vectors = |name: &str, values: &[f32]| {
            write_npy(&folder.join(name), "<f4", values.len() / self.dimension, bytemuck::cast_slice(values));
        };
        vectors("vectors.npy", &self.vectors);
        vectors("queries-0.npy", &self.queries[0]);
        vectors("queries-1.npy", &self.queries[1]);
        for (place, question) in self.questions.iter().enumerate() {
            let (path, ids) = (folder.join(format!("exact-{place}.npy")), question.exact.concat());
            write_npy(&path, "<u4", question.exact.len(), bytemuck::cast_slice(&ids));
        }
        let mut file = BufWriter::new(std::fs::File::create(folder.join("payloads.jsonl")).expect("a file"));
        for item in 0..self.count {
            let payload = serde_json::Value::Object(payload_to_json(&self.payload(item)));
            writeln!(file, "{payload}").expect("written");
        }
        file.flush().expect("written");
        let questions: Vec<_> = self.questions.iter().map(Question::to_json).collect();
        let about = json!({"fields": Self::fields(), "facets": FACETS.map(|(field, _)| field), "questions": questions});
        std::fs::write(folder.join("set.json"), about.to_string()).expect("written");
    }
}

/// A facet's value.
fn word(value: usize) -> String {
    format!("word {value}")
}

/// Writes rows of numbers of four bytes.
fn write_npy(path: &Path, kind: &str, rows: usize, data: &[u8]) {
    let columns = data.len() / 4 / rows;
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    // Data begins at a multiple of 64 bytes: ten are before the header, one is the end of its line.
    let length = (11 + header.len()).next_multiple_of(64) - 11;
    let header = format!("{header:<length$}\n");
    let start = [b"\x93NUMPY\x01\x00".as_slice(), &(header.len() as u16).to_le_bytes(), header.as_bytes()].concat();
    let written =
        std::fs::File::create(path).and_then(|mut file| file.write_all(&start).and_then(|()| file.write_all(data)));
    written.expect("written");
}
