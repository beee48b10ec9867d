"""What the bench `graph`'s real sets are made of: OUT/texts.jsonl (distinct descriptions and commands of tldr pages, Cranfield's
sentences), and of the drawings, if they are there, OUT/pictures.txt and OUT/words.jsonl (distinct names and keywords)."""

import json
import re
import sys
from pathlib import Path


def write_texts(path, texts):
    path.write_text("".join(json.dumps(text) + "\n" for text in dict.fromkeys(texts)))


def texts_of(data):
    for line in open(data / "tldr" / "pairs.jsonl", encoding="utf-8"):
        pair = json.loads(line)
        yield pair["description"]
        yield pair["command"]
    for line in open(data / "cranfield" / "corpus.jsonl", encoding="utf-8"):
        for sentence in re.split(r"(?<=\.)\s+", json.loads(line)["text"]):
            if len(sentence.split()) > 2:
                yield sentence.strip()


def main():
    data, drawings, out = map(Path, sys.argv[1:])
    write_texts(out / "texts.jsonl", texts_of(data))
    if not (drawings / "drawings.jsonl").exists():
        return
    items = [json.loads(line) for line in open(drawings / "drawings.jsonl", encoding="utf-8")]
    pictures = [f"{(drawings / item['image']).absolute()}\n" for item in items]
    (out / "pictures.txt").write_text("".join(pictures))
    write_texts(out / "words.jsonl", (word for item in items for word in [item["payload"]["name"], *item["payload"]["keywords"]]))


main()
