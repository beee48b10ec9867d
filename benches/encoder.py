"""Texts a second: `pictor-server embed` against sentence-transformers, same texts, same threads, in turns in the same run.

Run by benches/encoder.sh, which sets up the Python side. Prints a table and writes raw numbers to benches/results/.

Usage: encoder.py --server target/release/pictor-server --model FOLDER --data FOLDER --out FILE [--threads N] [--rounds N]
"""

import argparse
import json
import pathlib
import platform
import random
import statistics
import subprocess
import tempfile
import time

import numpy as np
import sentence_transformers
import torch
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
# Batch sizes tried for sentence-transformers; the best one counts.
REFERENCE_BATCHES = [8, 32]

parser = argparse.ArgumentParser()
parser.add_argument("--server", required=True)
parser.add_argument("--model", required=True)
parser.add_argument("--data", required=True, type=pathlib.Path)
parser.add_argument("--out", required=True, type=pathlib.Path)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--rounds", type=int, default=3)
arguments = parser.parse_args()


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def descriptions():
    texts = sorted({json.dumps(pair, sort_keys=True) for pair in lines(arguments.data / "tldr" / "pairs.jsonl")})
    rows = [json.loads(text) for text in texts]
    longest = lambda row: max((value for value in row.values() if isinstance(value, str)), key=len)
    return random.Random(1).sample([longest(row) for row in rows], 2000)


corpus = lines(arguments.data / "cranfield" / "corpus.jsonl")
sets = {
    "abstracts": [(row["title"] + " " + row["text"]).strip() for row in corpus[:300]],
    "descriptions": descriptions(),
}
torch.set_num_threads(arguments.threads)
references = {name: SentenceTransformer(arguments.model, device="cpu", model_kwargs={"dtype": dtype}) for name, dtype in DTYPES.items()}


def reference(dtype, texts, batch):
    started = time.perf_counter()
    vectors = references[dtype].encode(texts, batch_size=batch, normalize_embeddings=True, convert_to_tensor=True)
    return time.perf_counter() - started, vectors.float().numpy()


def ours(dtype, texts):
    with tempfile.TemporaryDirectory() as folder:
        source, out = pathlib.Path(folder) / "texts.jsonl", pathlib.Path(folder) / "out.safetensors"
        source.write_text("".join(json.dumps(text) + "\n" for text in texts))
        command = [arguments.server, "embed", "--model", arguments.model, "--texts-jsonl", source, "--out", out,
                   "--device", "cpu", "--dtype", dtype, "--threads", str(arguments.threads)]
        stdout = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        # The report's last line is JSON; its time is tokenizing and encoding, without loading, as the reference's is.
        return json.loads(stdout.splitlines()[-1])["encode_seconds"], load_file(out)["texts"]


rows = []
for name, texts in sets.items():
    # Agreement is with f32 for both precisions: the reference's own bf16 pools and normalises in bf16 and strays further.
    _, exact = reference("f32", texts, 8)
    for dtype in DTYPES:
        seconds = {}
        agreement = 1.0
        for _round in range(arguments.rounds):
            elapsed, our_vectors = ours(dtype, texts)
            seconds.setdefault("pictor", []).append(elapsed)
            for batch in REFERENCE_BATCHES:
                elapsed, _ = reference(dtype, texts, batch)
                seconds.setdefault(f"sentence-transformers, batch {batch}", []).append(elapsed)
            agreement = min(agreement, float((our_vectors * exact).sum(axis=1).min()))
        best = {who: min(times) for who, times in seconds.items()}
        theirs = min(time for who, time in best.items() if who != "pictor")
        rows.append({"texts": name, "n": len(texts), "dtype": dtype, "seconds": seconds, "worst_cosine": agreement,
                     "texts_per_second": {who: len(texts) / time for who, time in best.items()},
                     "speedup": theirs / best["pictor"],
                     "speedup_of_medians": statistics.median(seconds[min((w for w in best if w != "pictor"), key=best.get)])
                     / statistics.median(seconds["pictor"])})
        print(f"{name:13} {dtype:5} pictor {len(texts) / best['pictor']:8.1f}/s  sentence-transformers {len(texts) / theirs:8.1f}/s  "
              f"x{theirs / best['pictor']:.2f}  worst cosine {agreement:.6f}", flush=True)

cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
revision = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True).stdout.strip()
arguments.out.parent.mkdir(parents=True, exist_ok=True)
arguments.out.write_text(json.dumps({
    "bench": "encoder", "revision": revision, "cpu": cpu, "threads": arguments.threads, "torch": torch.__version__,
    "sentence_transformers": sentence_transformers.__version__, "rows": rows,
}, indent=2) + "\n")
