"""Prints what comparing pixels alone finds in the drawings of scripts/drawings_corpus.py: OpenMoji's drawing → Noto's.

Usage: pixel_baseline.py DRAWINGS_FOLDER. A drawing is 16 × 16 pixels on white, compared by their squared distance; a control for
the figures of pictor-mini. Needs numpy and Pillow.
"""

import json
import pathlib
import sys

import numpy as np
from PIL import Image


def pixels(path):
    drawing = Image.open(path).convert("RGBA")
    white = Image.new("RGBA", drawing.size, "white")
    small = Image.alpha_composite(white, drawing).convert("RGB").resize((16, 16), Image.Resampling.BOX)
    return np.asarray(small, np.float32).ravel()


def main():
    folder = pathlib.Path(sys.argv[1])
    items = [json.loads(line)["payload"] | json.loads(line) for line in open(folder / "drawings.jsonl", encoding="utf-8")]
    items = [item for item in items if item["vendor"] in ("openmoji", "noto") and item["toneless"]]
    vectors = {item["id"]: pixels(folder / item["image"]) for item in items}
    for name, split, kinds in [
        ("a.openmoji-noto", "train", ()),
        ("a.openmoji-noto.x", "train", ("flag", "clock")),
        ("b.openmoji-noto.x", "test", ("flag", "clock")),
    ]:
        chosen = [item for item in items if item["kind"] not in kinds]
        gallery = [item for item in chosen if item["vendor"] == "noto"]
        queries = [item for item in chosen if item["vendor"] == "openmoji" and item["split"] == split]
        stored = np.stack([vectors[item["id"]] for item in gallery])
        concepts = np.array([item["concept"] for item in gallery])
        ranks = []
        for query in queries:
            distances = ((stored - vectors[query["id"]]) ** 2).sum(1)
            targets = concepts == query["concept"]
            if targets.any():
                ranks.append(1 + int((distances < distances[targets].min()).sum()))
        ranks = np.array(ranks)
        recall = {f"R@{k}": round(float((ranks <= k).mean()), 3) for k in (1, 10)}
        print(name, recall, f"{len(ranks)} queries, gallery {len(gallery)}, chance R@10 {10 / len(gallery):.4f}")


main()
