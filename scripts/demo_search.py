#!/usr/bin/env python3
"""Runs the demonstration's searches with the `pictor` binary, shows them, and checks each.

A search passes if one of its expected ids is among the first five hits; one that does not makes the exit code 1.
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


def arguments(query):
    flags = []
    for name in ("text", "item", "minus", "filter"):
        if name in query:
            flags += [f"--{name}", query[name]]
    return ["search", "emoji", *flags, "--limit", str(TOP)]


def search(binary, query):
    started = time.perf_counter()
    result = subprocess.run([binary, "--json", *arguments(query)], stdout=subprocess.PIPE, check=False)
    seconds = time.perf_counter() - started
    if result.returncode != 0:
        sys.exit(f"demo: a search failed with exit code {result.returncode}: {shlex.join(arguments(query))}")
    return [json.loads(line) for line in result.stdout.splitlines()], seconds


def title(query):
    text = f"“{query['text']}”" if "text" in query else f"more like {query['item']}"
    if "minus" in query:
        text += f", but not “{query['minus']}”"
    return f"{text}, where {query['filter']}" if "filter" in query else text


def main():
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pictor", default=str(here.parent / "target" / "release" / "pictor"))
    parser.add_argument("--queries", type=Path, default=here / "demo_queries.json")
    options = parser.parse_args()
    queries = json.loads(options.queries.read_text(encoding="utf-8"))
    failed = 0
    for number, query in enumerate(queries, 1):
        hits, seconds = search(options.pictor, query)
        passed = len(hits) <= TOP and any(hit["id"] in query["expect"] for hit in hits)
        failed += not passed
        print(f"\n{number:2}. {title(query)}  ({seconds * 1000:.0f} ms)")
        for hit in hits:
            mark = "*" if hit["id"] in query["expect"] else " "
            name = hit["texts"]["name"][0]
            print(f"   {mark} {hit['score']:.3f}  {hit['payload']['emoji']}  {name}  [{hit['id']}]")
        if not passed:
            print(f"   FAILED: none of {', '.join(query['expect'])} is among the first {TOP}")
    print(f"\n{len(queries) - failed} of {len(queries)} searches found what was expected (*) among their first {TOP} hits")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
