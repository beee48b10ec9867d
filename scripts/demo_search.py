#!/usr/bin/env python3
"""Runs the demonstration's searches with the `pictor` binary, shows them, checks each, and lists those of pictures for a sheet.

A search passes if one of its expected ids is among the first five hits; one that does not makes the exit code 1. OUT/sheet.jsonl
is what the example `contact_sheet` draws.
The address of the server is in PICTOR_URL. Python 3.9 or newer, nothing else.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

TOP = 5


def arguments(query, corpus):
    flags = []
    for name in ("text", "item", "modify", "minus", "filter", "field", "composer"):
        if name in query:
            flags += [f"--{name}", query[name]]
    if "image" in query:
        flags += ["--image", str(corpus / "queries" / query["image"])]
    return ["search", "emoji", *flags, "--limit", str(TOP)]


def search(binary, query, corpus):
    started = time.perf_counter()
    words = arguments(query, corpus)
    result = subprocess.run([binary, "--json", *words], stdout=subprocess.PIPE, check=False)
    seconds = time.perf_counter() - started
    if result.returncode != 0:
        sys.exit(f"demo: a search failed with exit code {result.returncode}: {shlex.join(words)}")
    return [json.loads(line) for line in result.stdout.splitlines()], seconds


def title(query):
    if "modify" in query:
        shown = f"OpenMoji's drawing {query['image']}" if "image" in query else query["item"]
        by = f" by the {query['composer']}" if "composer" in query else ""
        return f"{shown}, changed{by}: “{query['modify']}”"
    if "image" in query:
        return f"OpenMoji's drawing {query['image']}"
    text = f"“{query['text']}”" if "text" in query else f"more like {query['item']}"
    if query.get("field") == "image":
        text += " among the pictures"
    if "minus" in query:
        text += f", but not “{query['minus']}”"
    return f"{text}, where {query['filter']}" if "filter" in query else text


def main():
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pictor", default=str(here.parent / "target" / "release" / "pictor"))
    parser.add_argument("--corpus", type=Path, default=here.parent / ".deps" / "demo" / "corpus")
    parser.add_argument("--queries", type=Path, default=here / "demo_queries.json")
    options = parser.parse_args()
    queries = json.loads(options.queries.read_text(encoding="utf-8"))
    with open(options.corpus / "emoji.jsonl", encoding="utf-8") as lines:
        pictures = {item["id"]: str(options.corpus / item["image"]) for item in map(json.loads, lines)}
    failed, rows = 0, []
    for number, query in enumerate(queries, 1):
        hits, seconds = search(options.pictor, query, options.corpus)
        passed = len(hits) <= TOP and any(hit["id"] in query["expect"] for hit in hits)
        failed += not passed
        print(f"\n{number:2}. {title(query)}  ({seconds * 1000:.0f} ms)")
        for hit in hits:
            mark = "*" if hit["id"] in query["expect"] else " "
            name = hit["texts"]["name"][0]
            print(f"   {mark} {hit['score']:.3f}  {hit['payload']['emoji']}  {name}  [{hit['id']}]")
        if query.get("field") == "image":
            asked = {"text": query.get("text")}
            if "image" in query or "item" in query:
                shown = str(options.corpus / "queries" / query["image"]) if "image" in query else pictures[query["item"]]
                asked = {"composed": [shown, query["modify"]]} if "modify" in query else {"image": shown}
            rows.append({"query": asked, "hits": [
                {"image": pictures[hit["id"]], "label": hit["texts"]["name"][0], "is_expected": hit["id"] in query["expect"]}
                for hit in hits]})
        if not passed:
            print(f"   FAILED: none of {', '.join(query['expect'])} is among the first {TOP}")
    (options.corpus / "sheet.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print(f"\n{len(queries) - failed} of {len(queries)} searches found what was expected (*) among their first {TOP} hits")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
