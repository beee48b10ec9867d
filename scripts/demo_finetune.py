#!/usr/bin/env python3
"""Shows a model going from finetuning to live service: recall before, finetune, embed again, switch, recall after.

The drawings of a vendor that the served model never saw come into a collection. All the while a client searches, and no search may
fail. Exits with 1 unless the better model is in use and finds more of what was held out. The address of the server is in PICTOR_URL;
demo_vendors.py has written the corpus. Python 3.9 or newer, nothing else.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAME = "vendors"
# Two minutes for all of it.
LIMIT = 120


class Pictor:
    def __init__(self, binary):
        self.binary = binary

    def json(self, *words):
        result = subprocess.run([self.binary, "--json", *words], stdout=subprocess.PIPE, check=False)
        if result.returncode != 0:
            sys.exit(f"demo: pictor {' '.join(words)} failed with exit code {result.returncode}")
        return [json.loads(line) for line in result.stdout.splitlines()]

    def show(self, *words):
        if subprocess.run([self.binary, *words], check=False).returncode != 0:
            sys.exit(f"demo: pictor {' '.join(words)} failed")


class Searcher(threading.Thread):
    """Searches by one drawing after the other until it is told to stop; notes failures and the slowest answer."""

    def __init__(self, binary, pictures):
        super().__init__(daemon=True)
        self.binary, self.pictures = binary, pictures
        self.is_over = threading.Event()
        self.seconds, self.failures = [], []

    def run(self):
        number = 0
        while not self.is_over.is_set():
            picture = self.pictures[number % len(self.pictures)]
            started = time.perf_counter()
            result = subprocess.run(
                [self.binary, "--json", "search", NAME, "--image", str(picture), "--limit", "5"],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
            self.seconds.append(time.perf_counter() - started)
            if result.returncode != 0 or len(result.stdout.splitlines()) != 5:
                self.failures.append(result.stderr.decode().strip())
            number += 1
            time.sleep(0.02)


def recalls(pictor, queries):
    lines = pictor.json("eval", NAME, "--queries", str(queries), "--filter", 'vendor = "noto"')
    return {line["metric"]: line for line in lines}, lines[0]["generation"]


def row(title, found, generation):
    figures = ", ".join(f"{name} {found[name]['value']:.3f}" for name in ("R@1", "R@5", "R@10"))
    print(f"demo: {title}, generation {generation}: {figures}  ({found['R@1']['queries']} held-out drawings)", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pictor", default=str(ROOT / "target" / "release" / "pictor"))
    parser.add_argument("--corpus", type=Path, default=ROOT / ".deps" / "demo" / "vendors")
    options = parser.parse_args()
    pictor, began = Pictor(options.pictor), time.perf_counter()
    pictor.json("collection", "create", NAME, "--image-field", "image=pictor-mini")
    pictor.show("ingest", NAME, str(options.corpus / "vendors.jsonl"), "--no-journal")
    queries = options.corpus / "held-out.jsonl"
    asked = [json.loads(line)["item"] for line in queries.read_text(encoding="utf-8").splitlines()]
    pictures = [options.corpus / f"{item.replace('/', '-')}.png" for item in asked[:50]]
    searcher = Searcher(options.pictor, pictures)
    searcher.start()
    before, first = recalls(pictor, queries)
    row("before", before, first)
    pictor.show("train", NAME, "--recipe", str(ROOT / "recipes" / "finetune-and-switch.toml"), "--watch")
    after, second = recalls(pictor, queries)
    row("after", after, second)
    print("demo: what changed in the rankings of stored items and their names", flush=True)
    pictor.show("eval", "drift", NAME, "--from", str(first), "--to", str(second))
    searcher.is_over.set()
    searcher.join()
    seconds, total = sorted(searcher.seconds), time.perf_counter() - began
    print(f"demo: {len(seconds)} searches all the while, {len(searcher.failures)} failed; median {seconds[len(seconds) // 2] * 1000:.0f} ms, "
          f"slowest {seconds[-1] * 1000:.0f} ms with the start of a process each")
    print(f"demo: from the first drawing to the better model in use: {total:.0f} s")
    if searcher.failures:
        sys.exit(f"demo: a search failed: {searcher.failures[0]}")
    if second == first or after["R@10"]["value"] <= before["R@10"]["value"]:
        sys.exit("demo: no better model is in use")
    if total > LIMIT:
        print(f"demo: that is more than the {LIMIT} s it should take")


if __name__ == "__main__":
    main()
