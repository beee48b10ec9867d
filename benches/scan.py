"""The peers of scan.rs on the same vectors: faiss IndexFlatIP and numpy, one thread, one query at a time."""

import json
import sys
import time
from pathlib import Path

import faiss
import numpy as np

QUERIES, LIMIT = 200, 10


def report(who, count, dimension, repeat, seconds, ids):
    line = {
        "bench": "scan", "who": who, "count": count, "dimension": dimension, "repeat": repeat,
        "queries_per_second": QUERIES / seconds, "sum_of_ids": int(ids),
    }
    print(json.dumps(line), flush=True)


def by_faiss(index, query):
    return index.search(query[None], LIMIT)[1][0].sum()


def by_numpy(stored, query):
    scores = stored @ query
    return np.argpartition(scores, -LIMIT)[-LIMIT:].sum()


def main():
    faiss.omp_set_num_threads(1)
    for path in sorted(Path(sys.argv[1]).glob("*.f32")):
        count, dimension = map(int, path.stem.split("x"))
        every = np.fromfile(path, dtype="<f4").reshape(-1, dimension)
        stored, queries = np.ascontiguousarray(every[:count]), every[count:]
        index = faiss.IndexFlatIP(dimension)
        index.add(stored)
        for repeat in range(1, 6):
            for who, found in (
                (f"faiss IndexFlatIP {faiss.__version__}", lambda query: by_faiss(index, query)),
                (f"numpy {np.__version__}", lambda query: by_numpy(stored, query)),
            ):
                started = time.perf_counter()
                ids = sum(found(query) for query in queries)
                report(who, count, dimension, repeat, time.perf_counter() - started, ids)


main()
