"""The peer of filters.rs on the same items, queries and filters: Qdrant Edge with an index on every field, one thread, one query a call.

For each question it gets the fastest setting whose recall is at least .98: whole vectors or codes of eight bits that are scored again, the graph
with or without ACORN, the least `hnsw_ef` that suffices, or an exact search; if none is that good, the setting of the highest recall. The last
lines are queries a second beside Pictor's.
"""

import argparse
import json
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import qdrant_edge as qdrant

LIMIT, REPEATS, BATCH, RECALL = 10, 3, 1_000, 0.98
EF = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1_024)
COUNTS, VALUES = 100, 100
WHO = f"qdrant-edge {version('qdrant-edge-py')}"


def say(**line):
    print(json.dumps({**line, "bench": "filters", "who": WHO}), flush=True)
    return line


def build(folder, about, vectors, payloads, full_scan):
    """A shard whose only segment with points has a graph, with links for the indexed fields, and codes beside the vectors."""
    config = qdrant.EdgeConfig(
        vectors=qdrant.EdgeVectorParams(size=vectors.shape[1], distance=qdrant.Distance.Dot),
        hnsw_config=qdrant.HnswIndexConfig(m=16, ef_construct=200, full_scan_threshold=full_scan, max_indexing_threads=2),
        quantization_config=qdrant.ScalarQuantizationConfig(type=qdrant.ScalarType.Int8, always_ram=True),
        optimizers=qdrant.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=1),
        max_search_threads=1,
    )
    started = time.perf_counter()
    shard = qdrant.EdgeShard.create(folder, config)
    for field, is_number in about["fields"]:
        # What is only counted needs no links.
        keyword = qdrant.KeywordIndexParams(enable_hnsw=field not in about["facets"])
        kind = qdrant.FloatIndexParams() if is_number else keyword
        shard.update(qdrant.UpdateOperation.create_field_index(field, kind))
    for first in range(0, len(vectors), BATCH):
        rows = range(first, min(first + BATCH, len(vectors)))
        points = [qdrant.Point(id=row, vector=vectors[row].tolist(), payload=json.loads(payloads[row])) for row in rows]
        shard.update(qdrant.UpdateOperation.upsert_points(points))
    stored = time.perf_counter()
    while shard.optimize():
        pass
    info = shard.info()
    indexed = {field: found.points for field, found in info.payload_schema.items()}
    assert info.indexed_vectors_count == len(vectors), info.indexed_vectors_count
    assert indexed == {field: len(vectors) for field, _ in about["fields"]}, indexed
    say(items=len(vectors), dimension=vectors.shape[1], segments=info.segments_count, store_seconds=stored - started,
        build_seconds=time.perf_counter() - stored)
    return shard


def condition(asked):
    """A filter of the peer; none for a question without a condition."""
    if asked is None:
        return None
    match asked["operator"], asked["value"]:
        case "=", value:
            tested = {"match": qdrant.MatchValue(value)}
        case "<", value:
            tested = {"range": qdrant.RangeFloat(lt=value)}
        case ">=", value:
            tested = {"range": qdrant.RangeFloat(gte=value)}
    return qdrant.Filter(must=[qdrant.FieldCondition(asked["field"], **tested)])


def parameters(setting):
    exact = setting.get("exact", False)
    rescored = qdrant.QuantizationSearchParams(rescore=True, oversampling=2.0)
    whole = qdrant.QuantizationSearchParams(ignore=True)
    return qdrant.SearchParams(
        hnsw_ef=setting.get("ef"), exact=exact, quantization=rescored if setting.get("codes") else whole,
        acorn=qdrant.AcornSearchParams(enable=True, max_selectivity=1.0) if setting.get("acorn") else None,
    )


def ask(shard, queries, question, exact, setting):
    """Asks every query once: recall, queries a second and the median time of one."""
    filtered, params = condition(question["condition"]), parameters(setting)
    requests = [
        qdrant.QueryRequest(limit=LIMIT, query=qdrant.Query.Nearest(query), filter=filtered, params=params) for query in queries
    ]
    found, times = [], []
    for request in requests:
        started = time.perf_counter()
        hits = shard.query(request)
        times.append(time.perf_counter() - started)
        found.append([hit.id for hit in hits])
    hits = sum(len(set(ids) & set(wanted)) for ids, wanted in zip(found, exact))
    recall = hits / sum(map(len, exact))
    return {"recall": recall, "qps": len(times) / sum(times), "ms": statistics.median(times) * 1e3}


def tune(shard, queries, question, exact):
    """The fastest setting that finds enough; a family ends where it is slower than the best so far."""
    best, best_found = None, None

    def look(setting):
        nonlocal best, best_found
        found = ask(shard, queries, question, exact, setting)
        is_enough = found["recall"] >= RECALL
        rank = (is_enough, found["qps"] if is_enough else found["recall"])
        if best is None or rank > best_found["rank"]:
            best, best_found = setting, {**found, "rank": rank}
        return is_enough or (best_found["rank"][0] and found["qps"] < best_found["qps"])

    ask(shard, queries, question, exact, {"ef": EF[0]})
    is_filtered = question["condition"] is not None
    for codes in (True, False):
        for acorn in (False, True) if is_filtered else (False,):
            for ef in EF:
                if look({"ef": ef, "codes": codes, "acorn": acorn}):
                    break
    look({"exact": True})
    return best


def count(shard, about):
    """Counts of all fields, one call each, of all items and of a tenth; exact ones, and estimates."""
    tenth = next(question for question in about["questions"] if question["percent"] == 10.0)
    for of, asked in (("everything", None), (tenth["name"], tenth["condition"])):
        for exact in (True, False):
            medians = []
            for repeat in range(1, REPEATS + 1):
                times = []
                for _ in range(COUNTS):
                    started = time.perf_counter()
                    for field in about["facets"]:
                        shard.facet(qdrant.FacetRequest(field, limit=VALUES, exact=exact, filter=condition(asked)))
                    times.append(time.perf_counter() - started)
                medians.append(statistics.median(times) * 1e3)
                say(counts=of, exact=exact, repeat=repeat, ms=medians[-1])
            say(summary=f"counts of {of}", exact=exact, ms=statistics.median(medians))


def compare(found, folder):
    """Pictor's queries a second beside the peer's; only where both find enough is a ratio a comparison."""
    own = {line["summary"]: line for line in json.loads((folder / "pictor.json").read_text())}
    ratios = []
    for name, peer in found.items():
        ratio = own[name]["qps"] / peer["qps"]
        say(compared=name, ratio=ratio, pictor_recall=own[name]["recall"], pictor_qps=own[name]["qps"], recall=peer["recall"],
            qps=peer["qps"])
        if "unfiltered" not in name:
            ratios.append(ratio)
    least, median = min(ratios), statistics.median(ratios)
    say(least_ratio=least, median_ratio=median, is_held=least >= 0.7 and median > 1.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="what filters.rs has written")
    parser.add_argument("--full-scan", type=int, default=10_000, help="kilobytes of matches that are compared without the graph")
    arguments = parser.parse_args()
    folder = arguments.folder
    about = json.loads((folder / "set.json").read_text())
    queries = [np.load(folder / f"queries-{number}.npy").tolist() for number in (0, 1)]
    exact = [np.load(folder / f"exact-{place}.npy").tolist() for place in range(len(about["questions"]))]
    with tempfile.TemporaryDirectory(dir=folder) as data, open(folder / "payloads.jsonl", encoding="utf-8") as payloads:
        shard = build(data, about, np.load(folder / "vectors.npy"), payloads.readlines(), arguments.full_scan)
        asked = [(question, queries[question["queries"]], exact[place]) for place, question in enumerate(about["questions"])]
        settings = [tune(shard, own, question, wanted) for question, own, wanted in asked]
        lines = {question["name"]: [] for question in about["questions"]}
        for repeat in range(1, REPEATS + 1):
            for (question, own, wanted), setting in zip(asked, settings):
                found = ask(shard, own, question, wanted, setting)
                lines[question["name"]].append(say(question=question["name"], repeat=repeat, **setting, **found))
        found = {}
        for (question, _, _), setting in zip(asked, settings):
            name = question["name"]
            found[name] = {key: statistics.median(line[key] for line in lines[name]) for key in ("recall", "qps", "ms")}
            say(summary=name, percent=question["percent"], **setting, **found[name])
        count(shard, about)
        shard.close()
    compare(found, folder)


main()
