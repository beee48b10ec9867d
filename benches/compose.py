"""The peer of compose.rs: the same network in torch, one picture and one text at a time, one thread."""

import json
import sys
import time

import torch
from torch.nn.functional import linear, normalize, relu


def main():
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    for d, p, h in ((384, 384, 768), (640, 2560, 5120)):
        shapes = {"text": (p, d), "image": (p, d), "hidden": (h, 2 * p), "output": (d, h), "share0": (h, 2 * p), "share3": (1, h)}
        w = {name: (torch.randn(shape) * 0.01, torch.randn(shape[0]) * 0.01) for name, shape in shapes.items()}
        image, text = torch.randn(1, d), torch.randn(1, d)

        def compose():
            both = torch.cat([relu(linear(text, *w["text"])), relu(linear(image, *w["image"]))], -1)
            residual = linear(relu(linear(both, *w["hidden"])), *w["output"])
            share = torch.sigmoid(linear(relu(linear(both, *w["share0"])), *w["share3"]))
            return normalize(residual + share * text + (1 - share) * image, dim=-1)

        with torch.no_grad():
            for repeat in range(1, 6):
                times = []
                for _ in range(400):
                    started = time.perf_counter()
                    compose()
                    times.append((time.perf_counter() - started) * 1000)
                times.sort()
                line = {"bench": "compose", "who": f"torch {torch.__version__} [{d}, {p}, {h}]", "repeat": repeat,
                        "calls": len(times), "p50_ms": times[200], "p99_ms": times[395]}
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
