#!/usr/bin/env python3
"""Builds the corpus of the finetuning demonstration: each emoji without skin tone drawn by Noto and by OpenMoji.

OpenMoji is the vendor whose drawings pictor-mini never saw. Families (from recipes/pictor-mini.split.tsv) are divided anew: two
fifths are held out, of both vendors; the recipe was chosen while others of the families were held out. Needs OUT/corpus of demo_corpus.py and the example `rasterise`. Writes OUT/vendors/vendors.jsonl,
which `pictor ingest` reads, and OUT/vendors/held-out.jsonl for `pictor eval`: an OpenMoji drawing looks for Noto's of the same thing.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

from demo_corpus import OPENMOJI, item_id
from npm_packages import fail, fetch

ROOT = Path(__file__).resolve().parent.parent
FAMILIES = ROOT / "recipes" / "pictor-mini.split.tsv"
SALT = "vendors 1"
TRAINED = 0.6
SIZE = "64"
# Raised whenever the corpus is written differently.
FORMAT = "2"


def split_of(family):
    place = int.from_bytes(hashlib.sha256(f"{SALT} {family}".encode()).digest()[:8], "big") / 2**64
    return "train" if place < TRAINED else "test"


def families():
    lines = FAMILIES.read_text(encoding="utf-8").splitlines()[1:]
    return {concept: family for concept, family, _ in (line.split("\t") for line in lines)}


def openmoji_drawings(archive, wanted, folder):
    """Renders the wanted codes; gives those that there are."""
    jobs, found = [], {}
    (folder / "svg").mkdir()
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            named = re.fullmatch(r"package/color/svg/([0-9A-F-]+)\.svg", member.name)
            code = named and item_id(named[1])
            if member.isfile() and code in wanted and code not in found:
                svg, png = folder / "svg" / f"{code}.svg", folder / f"openmoji-{code}.png"
                svg.write_bytes(tar.extractfile(member).read())
                jobs.append(f"{svg}\t{png}\n")
                found[code] = png.name
    (folder / "svg" / "jobs.tsv").write_text("".join(jobs))
    subprocess.run([ROOT / "target/release/examples/rasterise", SIZE, folder / "svg" / "jobs.tsv"], check=True)
    shutil.rmtree(folder / "svg")
    return found


def build(out):
    corpus, folder = out / "corpus", out / "vendors"
    stamp = f"{FORMAT} {OPENMOJI[2]} {hashlib.sha256(FAMILIES.read_bytes()).hexdigest()} {(corpus / 'complete').read_text()}"
    if (folder / "complete").exists() and (folder / "complete").read_text() == stamp:
        return folder
    new = out / "vendors.new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    with open(corpus / "emoji.jsonl", encoding="utf-8") as lines:
        emoji = [item for item in map(json.loads, lines) if item["payload"]["skin_tone"] == "none"]
    family = families()
    emoji = [item for item in emoji if item["id"] in family]
    drawings = openmoji_drawings(fetch(OPENMOJI, out), {item["id"] for item in emoji}, new)
    items, queries = [], []
    for item in emoji:
        code = item["id"]
        if code not in drawings:
            continue
        shutil.copyfile(corpus / item["image"], new / f"noto-{code}.png")
        for vendor, image in (("noto", f"noto-{code}.png"), ("openmoji", drawings[code])):
            items.append({
                "id": f"{vendor}/{code}", "image": image, "texts": {"name": item["texts"]["name"]},
                "payload": {"vendor": vendor, "concept": code, "family": family[code], "split": split_of(family[code])},
            })
        if split_of(family[code]) == "test":
            queries.append({"item": f"openmoji/{code}", "targets": [f"noto/{code}"]})
    if len(items) < 3000:
        fail(f"expected more than 3,000 drawings by two vendors, found {len(items)}")
    for name, rows in (("vendors.jsonl", items), ("held-out.jsonl", queries)):
        (new / name).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    (new / "complete").write_text(stamp)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(new, folder)
    return folder


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / ".deps" / "demo")
    folder = build(parser.parse_args().out)
    n_items, n_queries = (len((folder / name).read_text().splitlines()) for name in ("vendors.jsonl", "held-out.jsonl"))
    print(f"two vendors: {n_items} drawings, {n_queries} of OpenMoji's are held out and look for Noto's")


if __name__ == "__main__":
    main()
