"""Writes cranfield.json: nDCG@10 of MiniLM on Cranfield by exact search, computed with sentence-transformers and numpy only.

A document is its title, a space, its text (the BEIR convention), stripped. Gain is the judgement itself, the discount is
log2(rank + 1), and the ideal ranking takes all judged documents: trec_eval's ndcg_cut_10. Queries without a relevant document
are left out. Equal scores rank by document id in the order of the file.

Usage: cranfield.py MODEL_FOLDER DATA_FOLDER
"""

import json
import pathlib
import sys

import numpy as np
import sentence_transformers
from sentence_transformers import SentenceTransformer

HERE = pathlib.Path(__file__).parent
data = pathlib.Path(sys.argv[2]) / "cranfield"


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


corpus, queries = lines(data / "corpus.jsonl"), lines(data / "queries.jsonl")
judgements = {}
for line in (data / "qrels" / "test.tsv").read_text().splitlines()[1:]:
    query, document, score = line.split("\t")
    judgements.setdefault(query, {})[document] = int(score)

model = SentenceTransformer(sys.argv[1], device="cpu")
documents = [(document["title"] + " " + document["text"]).strip() for document in corpus]
document_vectors = model.encode(documents, batch_size=32, normalize_embeddings=True)
query_vectors = model.encode([query["text"] for query in queries], batch_size=32, normalize_embeddings=True)
scores = query_vectors @ document_vectors.T


def discounted(gains):
    return sum(gain / np.log2(rank + 2) for rank, gain in enumerate(gains))


ndcg = {}
for query, row in zip(queries, scores):
    judged = judgements.get(query["_id"], {})
    ideal = discounted(sorted((gain for gain in judged.values() if gain > 0), reverse=True)[:10])
    if ideal == 0:
        continue
    best = np.argsort(-row, kind="stable")[:10]
    ndcg[query["_id"]] = discounted([max(judged.get(corpus[position]["_id"], 0), 0) for position in best]) / ideal

result = {
    "ndcg_at_10": float(np.mean(list(ndcg.values()))),
    "queries": len(ndcg),
    "documents": len(corpus),
    "document_text": "title + ' ' + text, stripped",
    "script": "tests/golden/cranfield.py",
    "sentence_transformers": sentence_transformers.__version__,
}
(HERE / "cranfield.json").write_text(json.dumps(result, indent=2) + "\n")
print(result)
