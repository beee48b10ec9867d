"""Computes FashionIQ's and CIRR's figures from a data set's folder and vectors, for tests/it/train/triplets.rs.

Written from the protocols alone (FashionIQ: arXiv 1905.12794; CIRR: arXiv 2108.04024; both as CLIP4Cir, arXiv 2308.11485, evaluates
them) and in plain Python. Run: python3 composed_metrics.py (fashioniq|cirr) FOLDER VECTORS.json, where VECTORS.json holds
{"images": {name: vector}, "queries": {text of the query's key: vector}} of unit length. Prints the figures, and for CIRR both
submission files, as one JSON object.
"""

import json
import pathlib
import sys


def read(path):
    return json.loads(path.read_text())


CLOSEST = [1.0]


def ranking(query, names, images, target=None):
    scored = [(sum(a * b for a, b in zip(query, images[name])), name) for name in names]
    own = [score for score, name in scored if name == target]
    CLOSEST[0] = min([CLOSEST[0]] + [abs(score - own[0]) for score, name in scored if own and name != target])
    return [name for _, name in sorted(scored, key=lambda pair: -pair[0])]


def share(hits):
    return sum(hits) / len(hits)


def fashioniq(folder, images, queries):
    figures = {}
    categories = sorted(path.name.split(".")[1] for path in (folder / "captions").glob("cap.*.val.json"))
    for category in categories:
        names = read(folder / f"image_splits/split.{category}.val.json")
        found = []
        for number, entry in enumerate(read(folder / f"captions/cap.{category}.val.json")):
            found.append(ranking(queries[f"{category}.val.{number}"], names, images, entry["target"]).index(entry["target"]))
        for k in (10, 50):
            figures[f"{category}.R@{k}"] = share([place < k for place in found])
    for k in (10, 50):
        figures[f"mean.R@{k}"] = share([figures[f"{category}.R@{k}"] for category in categories])
    figures["average"] = (figures["mean.R@10"] + figures["mean.R@50"]) / 2
    return {"figures": figures}


def cirr(folder, images, queries):
    figures, whole, subset = {}, {"version": "rc2", "metric": "recall"}, {"version": "rc2", "metric": "recall_subset"}
    names = list(read(folder / "cirr/image_splits/split.rc2.val.json"))
    places, inside = [], []
    for entry in read(folder / "cirr/captions/cap.rc2.val.json"):
        found = [name for name in ranking(queries[str(entry["pairid"])], names, images, entry["target_hard"]) if name != entry["reference"]]
        places.append(found.index(entry["target_hard"]))
        inside.append([name for name in found if name in entry["img_set"]["members"]].index(entry["target_hard"]))
    for k in (1, 5, 10, 50):
        figures[f"R@{k}"] = share([place < k for place in places])
    for k in (1, 2, 3):
        figures[f"Rs@{k}"] = share([place < k for place in inside])
    figures["average"] = (figures["R@5"] + figures["Rs@1"]) / 2
    names = list(read(folder / "cirr/image_splits/split.rc2.test1.json"))
    for entry in read(folder / "cirr/captions/cap.rc2.test1.json"):
        found = [name for name in ranking(queries[str(entry["pairid"])], names, images) if name != entry["reference"]]
        whole[str(entry["pairid"])] = found[:50]
        subset[str(entry["pairid"])] = [name for name in found if name in entry["img_set"]["members"]][:3]
    return {"figures": figures, "recall": whole, "recall_subset": subset}


if __name__ == "__main__":
    vectors = read(pathlib.Path(sys.argv[3]))
    result = {"fashioniq": fashioniq, "cirr": cirr}[sys.argv[1]](pathlib.Path(sys.argv[2]), vectors["images"], vectors["queries"])
    # How near another picture's score comes to a target's: nearer than rounding, and a rank would say nothing.
    result["closest"] = CLOSEST[0]
    print(json.dumps(result, sort_keys=True))
