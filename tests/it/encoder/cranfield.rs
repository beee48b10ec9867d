//! Search by meaning on Cranfield: nDCG@10 against the figure that `tests/golden/cranfield.py` computes without our code.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use pictor::encode::Role;
use pictor::index::{Everything, FlatIndex, IndexSearch, VectorIndex as _, VectorKey};
use pictor::model::Precision;
use pictor::types::vector::UnitVector;

use super::{encode, golden_folder, minilm};
use crate::support::test_data;

struct Collection {
    document_ids: Vec<String>,
    documents: Vec<String>,
    queries: Vec<(String, String)>,
    /// Judgement by document, by query.
    judgements: HashMap<String, HashMap<String, i32>>,
}

fn read(folder: &Path) -> Collection {
    let lines = |file: &str| -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(folder.join(file)).expect(file);
        text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).expect(line)).collect()
    };
    let string = |line: &serde_json::Value, name: &str| line[name].as_str().expect(name).to_owned();
    let corpus = lines("corpus.jsonl");
    let mut judgements: HashMap<String, HashMap<String, i32>> = HashMap::new();
    for line in std::fs::read_to_string(folder.join("qrels/test.tsv")).expect("qrels").lines().skip(1) {
        let [query, document, score] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        judgements.entry(query.to_owned()).or_default().insert(document.to_owned(), score.parse().expect(line));
    }
    Collection {
        document_ids: corpus.iter().map(|line| string(line, "_id")).collect(),
        // The BEIR convention.
        documents: corpus
            .iter()
            .map(|line| format!("{} {}", string(line, "title"), string(line, "text")).trim().to_owned())
            .collect(),
        queries: lines("queries.jsonl").iter().map(|line| (string(line, "_id"), string(line, "text"))).collect(),
        judgements,
    }
}

fn discounted(gains: impl IntoIterator<Item = i32>) -> f64 {
    gains.into_iter().zip(2..).map(|(gain, rank)| f64::from(gain) / f64::from(rank).log2()).sum()
}

/// trec_eval's ndcg_cut_10: linear gain, queries with a relevant document only.
fn ndcg_at_10(collection: &Collection, documents: &[Arc<UnitVector>], queries: &[Arc<UnitVector>]) -> f64 {
    let mut index = FlatIndex::new(documents[0].values.len(), None);
    let rows = (0..).zip(documents).map(|(item, document)| (VectorKey { item, part: 0 }, document.values.as_slice()));
    index.insert(&rows.collect::<Vec<_>>());
    let mut all = Vec::new();
    for ((id, _), query) in collection.queries.iter().zip(queries) {
        let Some(judged) = collection.judgements.get(id) else { continue };
        let mut ideal: Vec<_> = judged.values().copied().filter(|&gain| gain > 0).collect();
        ideal.sort_by_key(|&gain| std::cmp::Reverse(gain));
        if ideal.is_empty() {
            continue;
        }
        let ranked = index.search(&query.values, IndexSearch::exact(10), &Everything).expect("no disk").neighbours;
        let gain = |position: usize| judged.get(&collection.document_ids[position]).copied().unwrap_or(0).max(0);
        let found = discounted(ranked.iter().map(|found| gain(found.key.item as usize)));
        all.push(found / discounted(ideal.into_iter().take(10)));
    }
    assert!(all.len() > 100);
    all.iter().sum::<f64>() / all.len() as f64
}

/// Fails when vectors are wrong in a way that small golden sets miss, or bf16 costs accuracy.
#[test]
fn minilm_ranks_cranfield_as_the_reference_does() {
    const TEST: &str = "minilm_ranks_cranfield_as_the_reference_does";
    let Some(folder) = test_data("cranfield", TEST) else { return };
    let golden = std::fs::read(golden_folder().join("cranfield.json")).expect("cranfield.json");
    let golden: serde_json::Value = serde_json::from_slice(&golden).expect("JSON");
    let expected = golden["ndcg_at_10"].as_f64().expect("ndcg_at_10");
    let collection = read(&folder);
    let query_texts: Vec<_> = collection.queries.iter().map(|(_, text)| text).collect();
    let mut figures = Vec::new();
    for precision in [Precision::F32, Precision::Bf16] {
        let handle = minilm(precision);
        let documents = encode(&handle, &collection.documents, Role::Document);
        let queries = encode(&handle, &query_texts, Role::Query);
        let found = ndcg_at_10(&collection, &documents, &queries);
        println!("{TEST}: nDCG@10 {found:.5} in {}, reference {expected:.5}", precision.name());
        if precision == Precision::F32 {
            // Control: another document's vector in the place of each finds next to nothing. Neighbours are too much alike.
            let mut shifted = documents;
            shifted.rotate_left(collection.documents.len() / 2);
            assert!(ndcg_at_10(&collection, &shifted, &queries) < expected / 4.0);
        }
        figures.push(found);
    }
    assert!((figures[0] - expected).abs() <= 0.001, "f32 gives {:.5}, the reference {expected:.5}", figures[0]);
    assert!(figures[0] - figures[1] <= 0.005, "bf16 gives {:.5}, f32 {:.5}", figures[1], figures[0]);
}
