#!/usr/bin/env python3
"""Builds the demonstration corpus: 3,786 emoji with a picture, a name, keywords and a group each, and drawings to search by.

Pictures and groups come from emoji-datasource-google (Noto Emoji), names and keywords from cldr-annotations-full; both are
fetched once with `npm pack` and checked against their hashes. Writes OUT/emoji.jsonl and OUT/images/*.png, which
`pictor ingest emoji OUT/emoji.jsonl` reads, and OUT/queries/*.svg: OpenMoji's drawings of what demo_queries.json asks by picture,
with queries.tsv, which the example `rasterise` reads. Python 3.9 or newer, nothing else.
"""

import argparse
import hashlib
import json
import os
import shutil
import tarfile
from pathlib import Path

from npm_packages import fail, fetch, read_json

# name, version, the registry's integrity value
EMOJI = (
    "emoji-datasource-google",
    "16.0.0",
    "sha512-ZRexfzs7MVoLnmzZmNsO4TKhnAJp5D++Vm6PpUpH/jEQQlemp3l88CjZ+DoZ2faM9R4QxZkOPJCoT8DlPhfQ3A==",
)
CLDR = (
    "cldr-annotations-full",
    "48.2.0",
    "sha512-DV7A+rEcgUSNTRsVGNGqBZRmAkGfwhGHO5Q1dRwzBoBnVrHWp804JP7/QJdEc66iHmx3+zLWVIMCFLm0lW7PUQ==",
)
OPENMOJI = (
    "openmoji",
    "17.0.0",
    "sha512-EBnYrNGdcdw+OSXmENeNE1yBNRu6tOraTmoOyUbJkTmvT/+XETp8RZLSJFzD3lrPc5N9CzsyPnRTk0Vp4UaI9w==",
)
N_EMOJI = 3786
QUERIES = Path(__file__).resolve().parent / "demo_queries.json"
# Raised whenever the corpus is written differently.
FORMAT = "2"

SKIN_TONES = {
    "1F3FB": "light",
    "1F3FC": "medium-light",
    "1F3FD": "medium",
    "1F3FE": "medium-dark",
    "1F3FF": "dark",
}


def characters(code):
    return "".join(chr(int(point, 16)) for point in code.split("-"))


def item_id(code):
    """The code points without the variation selector, as in 1f44b-1f3fb."""
    return "-".join(point for point in code.lower().split("-") if point != "fe0f")


def annotations(cldr):
    """Name and keywords by character, without the variation selector."""
    raw = read_json(cldr, "package/annotations/en/annotations.json")["annotations"]["annotations"]
    return {
        text.replace("\ufe0f", ""): (entry["tts"][0], entry.get("default", []))
        for text, entry in raw.items()
        if "tts" in entry
    }


def describe(entry, known):
    """Name and keywords of an emoji; sequences that CLDR leaves to derivation are derived from their parts."""
    text = characters(entry["unified"]).replace("\ufe0f", "")
    if text in known:
        return known[text]
    if entry["subcategory"].endswith("-flag"):
        place = entry["name"][: -len(" Flag")] if entry["name"].endswith(" Flag") else entry["name"]
        return f"flag: {place}", ["flag", place]
    keywords = []
    for part in text.split("\u200d"):
        for keyword in known.get(part, ("", []))[1]:
            if keyword not in keywords:
                keywords.append(keyword)
    return entry["name"].lower(), keywords


def record(code, image, entry, name, keywords, tones):
    item = {
        "id": item_id(code),
        "texts": {"name": name},
        "image": f"images/{image}",
        "payload": {
            "emoji": characters(code),
            "code": code,
            "short_name": entry["short_name"],
            "group": entry["category"],
            "subgroup": entry["subcategory"],
            "skin_tone": tones[0] if len(tones) == 1 else tones,
        },
    }
    if keywords:
        # One text: the keywords stand for one meaning together, each alone for many.
        item["texts"]["keywords"] = ", ".join(keywords)
    return item


def records(emoji, cldr):
    known = annotations(cldr)
    for entry in sorted(read_json(emoji, "package/emoji.json"), key=lambda entry: entry["sort_order"]):
        name, keywords = describe(entry, known)
        if entry["has_img_google"]:
            yield record(entry["unified"], entry["image"], entry, name, keywords, ["none"])
        for tone_codes, variation in entry.get("skin_variations", {}).items():
            if not variation["has_img_google"]:
                continue
            tones = list(dict.fromkeys(SKIN_TONES[tone] for tone in tone_codes.split("-")))
            tone_words = [f"{tone} skin tone" for tone in tones]
            derived = f"{name}{',' if ':' in name else ':'} {', '.join(tone_words)}"
            yield record(variation["unified"], variation["image"], entry, derived, keywords + tone_words, tones)


def write_queries(openmoji, out):
    """The drawings that searches by picture start from, and the table of what they become."""
    wanted = {query["image"] for query in json.loads(QUERIES.read_text(encoding="utf-8")) if "image" in query}
    out.mkdir()
    with tarfile.open(openmoji, "r:gz") as tar:
        for name in sorted(wanted):
            source = tar.extractfile(f"package/color/svg/{name[:-len('.png')].upper()}.svg")
            (out / name).with_suffix(".svg").write_bytes(source.read())
    final = out.parent.parent / "corpus" / "queries"
    lines = [f"{(final / name).with_suffix('.svg')}\t{final / name}\n" for name in sorted(wanted)]
    (out / "queries.tsv").write_text("".join(lines))


def build(folder):
    folder.mkdir(parents=True, exist_ok=True)
    emoji, cldr, openmoji = (fetch(package, folder) for package in (EMOJI, CLDR, OPENMOJI))
    stamp = f"{FORMAT} {EMOJI[2]} {CLDR[2]} {hashlib.sha256(QUERIES.read_bytes()).hexdigest()}"
    out = folder / "corpus"
    if (out / "complete").exists() and (out / "complete").read_text() == stamp:
        return out
    new = folder / "corpus.new"
    shutil.rmtree(new, ignore_errors=True)
    (new / "images").mkdir(parents=True)
    prefix = "package/img/google/64/"
    with tarfile.open(emoji, "r:gz") as tar:
        for member in tar:
            base = member.name[len(prefix) :]
            if member.isfile() and member.name.startswith(prefix) and "/" not in base and base.endswith(".png"):
                (new / "images" / base).write_bytes(tar.extractfile(member).read())
    items = list(records(emoji, cldr))
    missing = [item["image"] for item in items if not (new / item["image"]).exists()]
    if len(items) != N_EMOJI or len({item["id"] for item in items}) != N_EMOJI or missing:
        fail(f"expected {N_EMOJI} emoji with pictures, found {len(items)}, {len(missing)} of them without")
    with open(new / "emoji.jsonl", "w", encoding="utf-8") as lines:
        for item in items:
            lines.write(json.dumps(item, ensure_ascii=False) + "\n")
    write_queries(openmoji, new / "queries")
    (new / "complete").write_text(stamp)
    shutil.rmtree(out, ignore_errors=True)
    os.replace(new, out)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent / ".deps" / "demo")
    out = build(parser.parse_args().out)
    print(f"demo corpus: {N_EMOJI} emoji in {out}")


if __name__ == "__main__":
    main()
