"""Graph indexes side by side: queries a second by recall on one thread, and seconds to build on two.

Writes the sets of vectors, calls the bench `graph` for Pictor's index, and runs the peers on the same numbers. A hit counts if its
score is at least the exact tenth less 1e-6. Every line is raw; the last ones, for each set, are queries a second at a recall, by
straight lines between the measured points, medians over repeats.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import faiss
import hnswlib
import numpy as np
import qdrant_edge as qdrant
from usearch.index import Index as UsearchIndex

LIMIT, QUERIES = 10, 2_000
EF = (10, 12, 16, 20, 24, 32, 40, 48, 64, 96, 128, 200, 400)
GRID = ((16, 200), (32, 200))


def clustered(count, dimension, seed):
    """Unit vectors around a centre for each fifty of them, at a distance of 0.8 from it before they are normalised."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((max(count // 50, 1), dimension), dtype=np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    every = np.empty((count + QUERIES, dimension), dtype=np.float32)
    for first in range(0, len(every), 50_000):
        part = every[first:first + 50_000]
        part[:] = random.standard_normal(part.shape, dtype=np.float32) * np.float32(0.8 / dimension**0.5)
        part += centres[random.integers(0, len(centres), len(part))]
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return every[:count], every[count:]


def write_set(folder, name, base, queries):
    exact = faiss.IndexFlatIP(base.shape[1])
    exact.add(base)
    ids = exact.search(queries, LIMIT)[1]
    tenths = np.einsum("qd,qd->q", queries.astype(np.float64), base[ids[:, -1]].astype(np.float64))
    for what, values in (("base", base), ("queries", queries), ("tenths", tenths)):
        values.astype("<f4").tofile(folder / f"{name}.{what}.f32")
    return tenths.astype(np.float32)


def embeddings(path):
    """The one float32 tensor of a safetensors file, as unit vectors without repetition."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        (tensor,) = (about for name, about in header.items() if name != "__metadata__")
        every = np.frombuffer(file.read(), dtype="<f4").reshape(tensor["shape"])
    return np.ascontiguousarray(every / np.linalg.norm(every, axis=1, keepdims=True))


def say(**line):
    print(json.dumps(line), flush=True)
    return line


class Peer:
    """An index with its name, how it is built and how it is asked."""

    def __init__(self, name, build, ask, settings=EF):
        self.name, self.build, self.ask, self.settings = name, build, ask, settings


def hnswlib_peer(m, efc):
    def build(base):
        index = hnswlib.Index("ip", base.shape[1])
        index.init_index(len(base), M=m, ef_construction=efc)
        index.add_items(base, num_threads=2)
        return index

    def ask(index, queries, ef):
        index.set_ef(ef)
        return index.knn_query(queries, k=LIMIT, num_threads=1)[0]

    return Peer(f"hnswlib {version('hnswlib')} m={m} efc={efc}", build, ask)


def faiss_peer(name, make, set_effort, settings=EF):
    def build(base):
        faiss.omp_set_num_threads(2)
        index = make(base.shape[1], base)
        return index

    def ask(index, queries, effort):
        faiss.omp_set_num_threads(1)
        set_effort(index, effort)
        return index.search(queries, LIMIT)[1]

    return Peer(f"faiss {faiss.__version__} {name}", build, ask, settings)


def faiss_hnsw(m, efc):
    def make(dimension, base):
        index = faiss.IndexHNSWFlat(dimension, m, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = efc
        index.add(base)
        return index

    def effort(index, ef):
        index.hnsw.efSearch = ef

    return faiss_peer(f"HNSWFlat m={m} efc={efc}", make, effort)


def faiss_sq8(m, efc):
    kept = {}

    def make(dimension, base):
        codes = faiss.IndexHNSWSQ(dimension, faiss.ScalarQuantizer.QT_8bit, m, faiss.METRIC_INNER_PRODUCT)
        codes.hnsw.efConstruction = efc
        index = faiss.IndexRefineFlat(codes)
        index.train(base)
        index.add(base)
        index.k_factor = 3
        kept[id(index)] = codes
        return index

    def effort(index, ef):
        kept[id(index)].hnsw.efSearch = max(ef, 3 * LIMIT)

    return faiss_peer(f"HNSWSQ8 m={m} efc={efc} refine x3", make, effort)


def faiss_ivf_pq():
    def make(dimension, base):
        index = faiss.index_factory(dimension, f"IVF256,PQ{dimension // 4}x4fs,RFlat", faiss.METRIC_INNER_PRODUCT)
        index.train(base)
        index.add(base)
        return index

    def effort(index, effort):
        faiss.extract_index_ivf(index.base_index).nprobe, index.k_factor = effort

    settings = [(probes, factor) for factor in (4, 16) for probes in (1, 2, 4, 8, 16, 32, 64, 128)]
    return faiss_peer("IVF256,PQ fast-scan,refine", make, effort, settings)


def usearch_peer(m, efc, dtype):
    def build(base):
        index = UsearchIndex(ndim=base.shape[1], metric="ip", dtype=dtype, connectivity=m, expansion_add=efc)
        index.add(np.arange(len(base)), base, threads=2)
        return index

    def ask(index, queries, ef):
        index.expansion_search = ef
        return index.search(queries, LIMIT, threads=1).keys.astype(np.int64)

    return Peer(f"usearch {version('usearch')} {dtype} m={m} efc={efc}", build, ask)


def qdrant_peer(m, efc):
    def build(base):
        config = qdrant.EdgeConfig(
            vectors=qdrant.EdgeVectorParams(size=base.shape[1], distance=qdrant.Distance.Dot),
            hnsw_config=qdrant.HnswIndexConfig(m=m, ef_construct=efc, full_scan_threshold=10, max_indexing_threads=2),
            quantization_config=qdrant.ScalarQuantizationConfig(type=qdrant.ScalarType.Int8, always_ram=True),
            optimizers=qdrant.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=1),
            max_search_threads=1,
        )
        folder = tempfile.TemporaryDirectory()
        shard = qdrant.EdgeShard.create(folder.name, config)
        for first in range(0, len(base), 5_000):
            rows = range(first, min(first + 5_000, len(base)))
            points = [qdrant.Point(id=row, vector=base[row].tolist()) for row in rows]
            shard.update(qdrant.UpdateOperation.upsert_points(points))
        shard.optimize()
        return shard, folder

    def ask(index, queries, ef):
        quantization = qdrant.QuantizationSearchParams(rescore=True, oversampling=2.0)
        params = qdrant.SearchParams(hnsw_ef=ef, quantization=quantization)
        requests = [
            qdrant.QueryRequest(limit=LIMIT, query=qdrant.Query.Nearest(query.tolist()), params=params) for query in queries
        ]
        started = time.perf_counter()
        found = [index[0].query(request) for request in requests]
        seconds = time.perf_counter() - started
        ids = np.array([[hit.id for hit in hits] + [-1] * (LIMIT - len(hits)) for hits in found])
        return ids, seconds

    return Peer(f"qdrant-edge {version('qdrant-edge-py')} int8 m={m} efc={efc} rescore x2", build, ask)


def peers(few):
    grid = GRID[:1] if few else GRID
    for m, efc in grid:
        yield hnswlib_peer(m, efc)
        yield faiss_hnsw(m, efc)
        yield faiss_sq8(m, efc)
        for dtype in ("f32", "f16", "i8"):
            yield usearch_peer(m, efc, dtype)
        yield qdrant_peer(m, efc)
    yield faiss_ivf_pq()


HNSWLIB_MEMORY = '''
import sys, hnswlib, numpy
path, queries, dimension, asked = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
index = hnswlib.Index("ip", dimension)
index.load_index(path)
index.set_ef(32)
queries = numpy.fromfile(queries, dtype="<f4").reshape(-1, dimension)
for first in range(0, asked, len(queries)):
    index.knn_query(queries, k=10, num_threads=1)
print(open("/proc/self/status").read())
'''


def hnswlib_memory(folder, name, index, dimension):
    """Bytes that are resident, and those that are no file's, of a process that has loaded the index and asked 20,000 times."""
    path = folder / "hnswlib.index"
    index.save_index(str(path))
    queries = folder / f"{name}.queries.f32"
    command = [sys.executable, "-c", HNSWLIB_MEMORY, str(path), str(queries), str(dimension), "20000"]
    status = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    path.unlink()
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return {key: int(fields[field].split()[0]) * 1024 for key, field in (("resident", "VmRSS"), ("anonymous", "RssAnon"))}


def recall_of(ids, base, queries, tenths):
    ids = np.where(ids < 0, 0, ids)
    scores = np.einsum("qkd,qd->qk", base[ids].astype(np.float64), queries.astype(np.float64))
    return float((scores >= tenths[:, None] - 1e-6).sum() / ids.size)


def measure(peer, index, base, queries, tenths, repeat, lines, name):
    for effort in peer.settings:
        started = time.perf_counter()
        ids = peer.ask(index, queries, effort)
        seconds = time.perf_counter() - started
        if isinstance(ids, tuple):
            ids, seconds = ids
        recall = recall_of(ids.astype(np.int64), base, queries, tenths)
        lines.append(say(repeat=repeat, ef=effort, recall=recall, qps=len(queries) / seconds, index=peer.name, set=name))


def at_recall(points, wanted):
    """Queries a second at a recall: the best over straight lines between neighbouring points of rising recall."""
    points = sorted(points)
    reached = [qps for recall, qps in points if recall >= wanted]
    best = max(reached, default=None)
    for (low, fast), (high, slow) in zip(points, points[1:]):
        if low < wanted <= high and high > low:
            best = max(best or 0.0, fast + (slow - fast) * (wanted - low) / (high - low))
    return best


def summary(name, lines):
    for wanted in (0.99, 0.999):
        for index in sorted({line["index"] for line in lines}):
            by_repeat = {}
            for line in lines:
                if line["index"] == index and "qps" in line:
                    by_repeat.setdefault(line["repeat"], []).append((line["recall"], line["qps"]))
            found = [at_recall(points, wanted) for points in by_repeat.values()]
            found = [qps for qps in found if qps]
            say(set=name, index=index, at_recall=wanted, qps=round(statistics.median(found)) if found else None)


def run_set(arguments, name, base, queries):
    folder = arguments.folder
    tenths = write_set(folder, name, base, queries)
    say(set=name, vectors=len(base), dimension=base.shape[1], queries=len(queries))
    lines, built = [], []
    own = [("insertion", m, efc) for m, efc in (GRID[:1] if arguments.few else GRID)]
    own += [("hnsw_rs", *GRID[0]), ("hnsw_rs-f32", *GRID[0])] if arguments.library else []
    for peer in peers(arguments.few):
        if not peer.name.startswith(tuple(arguments.only.split(","))):
            continue
        started = time.perf_counter()
        index = peer.build(base)
        say(set=name, index=peer.name, build_seconds=time.perf_counter() - started)
        built.append((peer, index))
        if peer.name.startswith("hnswlib") and len(base) > 500_000:
            say(set=name, index=peer.name, **hnswlib_memory(folder, name, index, base.shape[1]))
    for repeat in range(1, arguments.repeats + 1):
        for builder, m, efc in own:
            command = [arguments.bench, str(folder), name, builder, str(m), str(efc), "1"]
            for line in subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines():
                line = json.loads(line)
                if "repeat" in line:
                    line["repeat"] = repeat
                lines.append(say(**line))
        for peer, index in built:
            measure(peer, index, base, queries, tenths, repeat, lines, name)
    summary(name, lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("bench", help="the program of the bench `graph`")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--few", action="store_true", help="M = 16 only")
    parser.add_argument("--library", action="store_true", help="also the builders over hnsw_rs")
    parser.add_argument("--only", default="", help="beginnings of peers' names")
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--real", type=Path, help="a safetensors file of `pictor-server embed`; 2,000 of its vectors ask")
    parser.add_argument("--queries", type=Path, help="other vectors to ask with, as --real")
    arguments = parser.parse_args()
    if arguments.real is None:
        run_set(arguments, f"clustered-{arguments.count}", *clustered(arguments.count, 512, 1))
        return
    every = embeddings(arguments.real)
    if arguments.queries:
        run_set(arguments, arguments.real.stem, every, embeddings(arguments.queries)[:QUERIES])
        return
    asks = np.zeros(len(every), dtype=bool)
    asks[np.random.default_rng(1).choice(len(every), QUERIES, replace=False)] = True
    run_set(arguments, arguments.real.stem, np.ascontiguousarray(every[~asks]), np.ascontiguousarray(every[asks]))


main()
