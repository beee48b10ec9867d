#!/usr/bin/env python3
"""Builds the corpus that pictor-mini learns from: drawings of emoji by six vendors, with names, keywords and a split.

Noto, Twemoji, Fluent (modern and flat), EmojiOne 2 and the old Noto with its blobs are for training, OpenMoji is only ever measured
on; icons of five sets add concepts to the training side. Everything is fetched with `npm pack` and checked against hashes; SVG is rendered by the example `rasterise`. Writes OUT/drawings/drawings.jsonl, which
`pictor ingest drawings OUT/drawings/drawings.jsonl` reads, and with --write-split the table of families in recipes/.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
from collections import defaultdict
from pathlib import Path

from demo_corpus import CLDR, EMOJI, OPENMOJI, annotations, describe
from emoji_changes import changes_of, signed_codes
from icon_drawings import SETS, icon_items
from npm_packages import fail, fetch, read_json

ROOT = Path(__file__).resolve().parent.parent
TWITTER = (
    "emoji-datasource-twitter",
    "16.0.0",
    "sha512-7F+uCuHH+7Qnrc15P5tnbvKkg9E6tlzi4MnT2uW1RlN4pLYTza6cP/dstIfSDMtpjFLWuZewWg8jBbuL2eyELQ==",
)
FLUENT = (
    "fluentui-emoji",
    "1.3.0",
    "sha512-JTXXwqIie2rWTgOkIJDJxr0WtwTz2WU4kdOq8buLVThYwQ264aFR2jdTyuon2oEbLqqGMT64zI4btyn1saB2xw==",
)
# Sets of SVG texts by name: the vendor, and the package.
NAMED = (
    ("emojione", ("@iconify-json/emojione", "1.2.3",
                  "sha512-T9+T3HIbJNLKKsmxYKlaYhvnHYkz/HNYTV7SHCXVZPfeUi4FqskY70YeN8yYAZT8cCv7w5vJxS4Q1m8zb9CMMg==")),
    ("blob", ("@iconify-json/noto-v1", "1.2.5",
              "sha512-/DsVMius69Q0fRS53z7QK1TROSuar606jiIx+laXtdsYGMXpf6LtHBx6CGfoo3UHHb/XpBsw+1L1x3eyPqMuVA==")),
)
SPLIT = ROOT / "recipes" / "pictor-mini.split.tsv"
SALT = "pictor-mini 1"
TONES = {"1f3fb": "light", "1f3fc": "medium-light", "1f3fd": "medium", "1f3fe": "medium-dark", "1f3ff": "dark"}
PERSON = {"1f468": "1f9d1", "1f469": "1f9d1", "1f466": "1f9d2", "1f467": "1f9d2", "1f474": "1f9d3", "1f475": "1f9d3",
          "1f934": "1f478", "1f385": "1f936"}
COUPLES = {"1f46b", "1f46c", "1f46d"}
# Mean difference of 16 x 16 pixels, 0 to 1, below which two drawings of one vendor count as one.
NEAR = "0.02"
SIZE = "64"


def plain(code):
    """Lower case, without variation selectors."""
    return "-".join(point for point in code.lower().split("-") if point != "fe0f")


def family_of(concept):
    points = [PERSON.get(point, point) for point in concept.split("-")]
    points = [point for point in points if point not in ("200d", "2640", "2642")]
    if len(points) == 1 and points[0] in COUPLES:
        return "1f9d1-1f91d-1f9d1"
    return "-".join(points)


def slug(name):
    name = name.lower().replace("’", "").replace("'", "").replace("&", "and").replace("ñ", "n")
    return re.sub(r"[^a-z0-9]+", "-", name).strip("-")


def kind_of(entry, concept):
    category, sub = entry["category"], entry["subcategory"]
    if category == "Flags":
        return "flag"
    if re.fullmatch(r"1f5(5[0-9a-f]|6[0-7])", concept):
        return "clock"
    if sub == "arrow":
        return "arrow"
    if category == "Symbols":
        return "symbol"
    if sub.startswith("hand") or sub == "body-parts":
        return "hand"
    return "other"


class Families:
    """Families that turned out to be one are joined."""

    def __init__(self):
        self.parent = {}

    def find(self, name):
        self.parent.setdefault(name, name)
        while self.parent[name] != name:
            name = self.parent[name]
        return name

    def join(self, one, other):
        one, other = sorted((self.find(one), self.find(other)))
        self.parent[other] = one


def concepts_of(emoji, cldr):
    known, concepts = annotations(cldr), {}
    for entry in read_json(emoji, "package/emoji.json"):
        name, keywords = describe(entry, known)
        concept = plain(entry["unified"])
        concepts[concept] = {"name": name, "keywords": keywords, "kind": kind_of(entry, concept),
                             "group": entry["category"], "entry": entry}
    return concepts


def concept_of_codes(concepts):
    """The concept of every code; that of two people with two tones is not their code without tones."""
    table = {concept: concept for concept in concepts}
    for concept, about in concepts.items():
        for variation in about["entry"].get("skin_variations", {}).values():
            table[plain(variation["unified"])] = concept
    return table


def png_drawings(archive, vendor, folder, table):
    """Noto and Twemoji come as pictures of 64 pixels."""
    prefix = f"package/img/{'google' if vendor == 'noto' else 'twitter'}/64/"
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            base = member.name[len(prefix):]
            if member.isfile() and member.name.startswith(prefix) and "/" not in base and base.endswith(".png"):
                code = plain(base[:-4])
                if code in table:
                    path = folder / f"{vendor}-{code}.png"
                    path.write_bytes(tar.extractfile(member).read())
                    yield vendor, vendor, code, path.name


def svg_drawings(archive, pattern, folder):
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            found = re.fullmatch(pattern, member.name)
            if member.isfile() and found:
                path = folder / "svg" / member.name.replace("/", "_")
                path.write_bytes(tar.extractfile(member).read())
                yield found, path


def fluent_codes(concepts):
    """Codes by slugged name, with the five skin tones where a concept has them."""
    codes = {}
    for concept, about in concepts.items():
        base = slug(about["name"])
        codes.setdefault(base, concept)
        for variation in about["entry"].get("skin_variations", {}).values():
            tones = [point for point in plain(variation["unified"]).split("-") if point in TONES]
            if len(set(tones)) == 1:
                codes.setdefault(f"{base}-{TONES[tones[0]]}", plain(variation["unified"]))
    return codes


def named_drawings(archive, codes, folder):
    """Codes and SVG files of a set whose drawings are called by their names, tones within the name or behind it."""
    data = read_json(archive, "package/icons.json")
    names = {name: name for name in data["icons"]}
    names |= {alias: about["parent"] for alias, about in data.get("aliases", {}).items() if set(about) == {"parent"}}
    for name, drawn_as in names.items():
        toned = re.fullmatch(r"(.+?)-(light|medium-light|medium|medium-dark|dark)-skin-tone(-.+)?", name)
        code = codes.get(f"{toned[1]}{toned[3] or ''}-{toned[2]}" if toned else name)
        icon = data["icons"].get(drawn_as)
        if code and icon:
            box = f'{icon.get("left", 0)} {icon.get("top", 0)} {icon.get("width", data["width"])} {icon.get("height", data["height"])}'
            path = folder / "svg" / f"{drawn_as}-{code}.svg"
            path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{box}">{icon["body"]}</svg>')
            yield code, path


def run_example(name, *arguments):
    command = ["cargo", "run", "--release", "--quiet", "--example", name, "--", *arguments]
    result = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if result.returncode != 0:
        fail(f"{' '.join(command)} failed")
    return result.stdout


def draw(archives, folder, concepts, table):
    """All drawings as vendor, style, code, file."""
    (folder / "svg").mkdir(parents=True)
    drawings = list(png_drawings(archives[EMOJI], "noto", folder, table))
    drawings += png_drawings(archives[TWITTER], "twemoji", folder, table)
    jobs, codes = [], fluent_codes(concepts)
    for found, path in svg_drawings(archives[FLUENT], r"package/icons/(modern|flat)/(.+)\.svg", folder):
        style, code = f"fluent-{found[1]}", codes.get(found[2].removesuffix("-default"))
        if code:
            drawings.append(("fluent", style, code, f"{style}-{code}.png"))
            jobs.append((path, folder / f"{style}-{code}.png"))
    for found, path in svg_drawings(archives[OPENMOJI], r"package/color/svg/([0-9A-F-]+)\.svg", folder):
        code = plain(found[1])
        if code in table:
            drawings.append(("openmoji", "openmoji", code, f"openmoji-{code}.png"))
            jobs.append((path, folder / f"openmoji-{code}.png"))
    for vendor, package in NAMED:
        found = dict(named_drawings(archives[package], codes, folder))
        drawings += [(vendor, vendor, code, f"{vendor}-{code}.png") for code in found]
        jobs += [(path, folder / f"{vendor}-{code}.png") for code, path in found.items()]
    rasterise(jobs, folder)
    return drawings


def rasterise(jobs, folder):
    """Renders SVG files and forgets them."""
    list_of_jobs = folder / "svg" / "jobs.tsv"
    list_of_jobs.write_text("".join(f"{svg}\t{png}\n" for svg, png in jobs))
    run_example("rasterise", SIZE, str(list_of_jobs))
    shutil.rmtree(folder / "svg")


def split_of(family):
    """A tenth of the families is the test, a tenth the validation."""
    place = int.from_bytes(hashlib.sha256(f"{SALT} {family}".encode()).digest()[:8], "big") / 2**64
    return "test" if place < 0.1 else "validation" if place < 0.2 else "train"


def near_duplicates(folder, drawings, concepts):
    """Pairs of concepts that one vendor draws alike."""
    by_file = {}
    for vendor, style, code, file in drawings:
        # The split is older than the sets of `NAMED`, and families that are joined later would tear it.
        if code in concepts and vendor in ("noto", "twemoji", "fluent"):
            by_file[str(folder / file)] = (style, code)
    listed = folder / "near.tsv"
    listed.write_text("".join(f"{style}\t{file}\n" for file, (style, _) in sorted(by_file.items())))
    for line in run_example("near_duplicates", NEAR, str(listed)).splitlines():
        one, other = line.split("\t")
        yield by_file[one][1], by_file[other][1]
    listed.unlink()


def families_of(folder, drawings, concepts):
    families = Families()
    first = {}
    for concept, about in concepts.items():
        family = family_of(concept)
        keywords = frozenset(about["keywords"]) - {slug(about["name"]).replace("-", " ")}
        for key in (("name", slug(about["name"])), ("keywords", keywords) if len(keywords) > 1 else None):
            if key:
                families.join(family, first.setdefault(key, family))
    for one, other in near_duplicates(folder, drawings, concepts):
        families.join(family_of(one), family_of(other))
    return {concept: families.find(family_of(concept)) for concept in concepts}


def items(drawings, concepts, families, table):
    signed = signed_codes(concepts)
    for vendor, style, code, file in drawings:
        concept = table[code]
        about = concepts[concept]
        tones = [TONES[point] for point in code.split("-") if point in TONES]
        yield {
            "id": f"{style}/{code}",
            "image": file,
            "texts": {"name": about["name"]},
            "payload": {
                "vendor": vendor, "style": style, "code": code, "concept": concept, "toneless": not tones,
                "tone": tones[0] if tones else "none", "family": families[concept], "kind": about["kind"],
                "flippable": about["kind"] == "other", "group": about["group"], "name": about["name"],
                "keywords": about["keywords"], "split": split_of(families[concept]),
                **changes_of(code, about["name"], signed),
            },
        }


def icons(archives, folder, concepts, families, emoji):
    """The icons that do not look like a held-out emoji."""
    sides = {concept: split_of(family) for concept, family in families.items()}
    (folder / "svg").mkdir()
    jobs, found = icon_items(archives, folder, concepts, families, sides)
    rasterise(jobs, folder)
    own = {str(folder / item["image"]) for item in found}
    held_out = {str(folder / item["image"]) for item in emoji if item["payload"]["split"] != "train"}
    listed = folder / "near.tsv"
    listed.write_text("".join(f"all\t{file}\n" for file in sorted(own | held_out)))
    near = [set(line.split("\t")) for line in run_example("near_duplicates", NEAR, str(listed)).splitlines()]
    listed.unlink()
    alike = {file for pair in near if pair & held_out for file in pair & own}
    print(f"{len(alike)} icons look like held-out emoji and are left out")
    return [item for item in found if str(folder / item["image"]) not in alike]


def check(found):
    """Asserts that no name, keyword set or family stands on two sides."""
    sides = defaultdict(set)
    for item in found:
        about = item["payload"]
        for key in (("family", about["family"]), ("concept", about["concept"]), ("name", slug(about["name"]))):
            sides[key].add(about["split"])
    torn = [key for key, where in sides.items() if len(where) > 1]
    if torn:
        fail(f"the split tears {len(torn)} apart, such as {torn[0]}")


def build(folder, writes_split):
    folder.mkdir(parents=True, exist_ok=True)
    archives = {package: fetch(package, folder) for package in (EMOJI, TWITTER, FLUENT, OPENMOJI, CLDR, *SETS, *(package for _, package in NAMED))}
    concepts = concepts_of(archives[EMOJI], archives[CLDR])
    new, out = folder / "drawings.new", folder / "drawings"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    table = concept_of_codes(concepts)
    drawings = draw(archives, new, concepts, table)
    families = families_of(new, drawings, concepts)
    found = list(items(drawings, concepts, families, table))
    found += icons(archives, new, concepts, families, found)
    check(found)
    split = "concept\tfamily\tsplit\n" + "".join(
        f"{concept}\t{family}\t{split_of(family)}\n" for concept, family in sorted(families.items()))
    if writes_split:
        SPLIT.write_text(split)
    elif SPLIT.read_text() != split:
        fail(f"the split is not the one in {SPLIT.relative_to(ROOT)}")
    with open(new / "drawings.jsonl", "w", encoding="utf-8") as lines:
        for item in found:
            lines.write(json.dumps(item, ensure_ascii=False) + "\n")
    shutil.rmtree(out, ignore_errors=True)
    os.replace(new, out)
    return found, families


def report(found, families):
    for vendor in ("noto", "twemoji", "fluent", "emojione", "blob", "openmoji"):
        of = [item["payload"] for item in found if item["payload"]["vendor"] == vendor]
        concepts = {about["concept"] for about in of if about["toneless"]}
        print(f"{vendor}: {len(of)} drawings, {sum(about['toneless'] for about in of)} without tone, {len(concepts)} concepts")
    sizes = defaultdict(list)
    for concept, family in families.items():
        sizes[family].append(concept)
    splits = [split_of(family) for family in families.values()]
    print(f"{len(families)} concepts in {len(sizes)} families:", {side: splits.count(side) for side in sorted(set(splits))})
    print("largest families:", sorted(((len(of), family) for family, of in sizes.items()), reverse=True)[:8])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / ".deps" / "demo")
    parser.add_argument("--write-split", action="store_true", help="write the table of families instead of comparing")
    arguments = parser.parse_args()
    report(*build(arguments.out, arguments.write_split))


if __name__ == "__main__":
    main()
