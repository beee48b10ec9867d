"""Training pictures a second: `pictor-server train` beside a PyTorch loop with the same network, batch, loss and optimiser, same
threads, in turns; and what hiding half of the patches saves a transformer of 196 patches.

Both read 64-pixel pictures that are decoded already, and text vectors that are computed already. The pace is that of the steps
after the first fifth. Run by benches/train.sh. Prints a table, writes raw numbers.
"""

import argparse
import json
import pathlib
import platform
import socket
import statistics
import subprocess
import tempfile
import time

import numpy as np
import torch
import transformers
from PIL import Image

ROWS, VIEWS, ITEMS, SIDE, DIMENSION = 128, 2, 2048, 64, 384
RESNET = dict(embedding_size=64, hidden_sizes=[64, 128, 256, 320], depths=[2, 2, 2, 1], layer_type="basic", hidden_act="relu",
              downsample_in_first_stage=False, downsample_in_bottleneck=False, num_channels=3)
VIT = dict(hidden_size=192, num_hidden_layers=12, num_attention_heads=3, intermediate_size=768, image_size=224, patch_size=16,
           num_channels=3, hidden_act="gelu", layer_norm_eps=1e-12, qkv_bias=True)

parser = argparse.ArgumentParser()
parser.add_argument("--bin", required=True, type=pathlib.Path)
parser.add_argument("--models", required=True, type=pathlib.Path)
parser.add_argument("--out", required=True, type=pathlib.Path)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--steps", type=int, default=30)
parser.add_argument("--device", default="cpu")
arguments = parser.parse_args()
torch.set_num_threads(arguments.threads)


def toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(toml(entry) for entry in value) + "]"
    return json.dumps(value)


def recipe(vision, rows, views, dtype, steps, **more):
    size = vision["image_size"]
    preprocessor = dict(do_resize=True, size=dict(height=size, width=size), resample=2, do_rescale=True, rescale_factor=1 / 255,
                        do_normalize=True, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    terms = [dict(term="softmax", pair="images-texts")] + [dict(term="softmax", pair="images-images")] * (views > 1)
    tables = dict(
        name="bench", seed=1, corpus=dict(collection="pictures"), captions={"from": [dict(path="texts.name")]}, split={},
        model=dict(text="all-minilm-l6-v2", vision=vision, preprocessor=preprocessor),
        run=dict(steps=steps, batch=rows, checkpoint_every=10**9, dtype=dtype), sampler=dict(kind="items"),
        views=dict(kind="paired", pictures=views), objective=terms,
        parameters=[dict(match="text/.*", frozen=True), dict(match="vision/.*")],
        optimiser=dict(lr=0.001, betas=[0.9, 0.98], weight_decay=0.05, clip_norm=1.0), schedule=dict(shape="constant"), **more)
    return "".join(f"{key} = {toml(value)}\n" for key, value in tables.items())


def store_pictures(folder):
    """A store of pictures with names, made by the server and its client."""
    rng = np.random.default_rng(1)
    pictures = folder / "pictures"
    pictures.mkdir()
    with open(folder / "items.jsonl", "w") as lines:
        for number in range(ITEMS):
            pixels = np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
            Image.fromarray(pixels).save(pictures / f"{number}.png")
            lines.write(json.dumps(dict(id=str(number), image=f"pictures/{number}.png", texts=dict(name=f"picture number {number}"))) + "\n")
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    url = f"http://127.0.0.1:{ports[0]}"
    server = subprocess.Popen([arguments.bin / "pictor-server", "serve", "--data-dir", folder / "data", "--models-dir", arguments.models,
                               "--grpc", f"127.0.0.1:{ports[0]}", "--http", f"127.0.0.1:{ports[1]}"], stderr=subprocess.DEVNULL)
    client = [arguments.bin / "pictor", "--url", url, "--json"]
    try:
        for _ in range(200):
            if subprocess.run([*client, "status"], capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        for command in (["collection", "create", "pictures", "--vector-field", "unused=3"], ["ingest", "pictures", folder / "items.jsonl", "--no-journal"]):
            subprocess.run([*client, *command], check=True, capture_output=True)
    finally:
        server.terminate()
        server.wait()


def pace(times, rows, views):
    """Pictures a second after the first fifth; `times` are (step, seconds)."""
    first = next(entry for entry in times if entry[0] >= times[-1][0] // 5)
    return (times[-1][0] - first[0]) * rows * views / (times[-1][1] - first[1])


def ours(folder, name, text, rows, views):
    run = folder / name
    path = folder / f"{name}.toml"
    path.write_text(text)
    command = [arguments.bin / "pictor-server", "train", "--recipe", path, "--data-dir", folder / "data", "--models-dir", folder / "models",
               "--run", run, "--device", arguments.device, "--threads", str(arguments.threads)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise SystemExit(f"pictor-server train failed:\n{result.stderr}")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    lines = [line for line in lines if line["kind"] == "train"]
    return pace([(line["step"], line["seconds"]) for line in lines], rows, views), lines[-1]["values"]["loss"]


class Tower(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.network = transformers.ResNetModel(transformers.ResNetConfig(**RESNET))
        self.projection = torch.nn.Linear(RESNET["hidden_sizes"][-1], DIMENSION, bias=False)

    def forward(self, pixels):
        return torch.nn.functional.normalize(self.projection(self.network(pixels).pooler_output.flatten(1)).float(), dim=-1)


def both_ways(one, other, scale):
    logits = scale.exp() * one @ other.T
    labels = torch.arange(len(one), device=one.device)
    return (torch.nn.functional.cross_entropy(logits, labels) + torch.nn.functional.cross_entropy(logits.T, labels)) / 2


def peer(folder, dtype, steps):
    torch.manual_seed(1)
    device = arguments.device
    tower = Tower().to(device).train()
    scales = [torch.nn.Parameter(torch.tensor(1 / 0.07, device=device).log()) for _ in range(2)]
    matrices = [p for p in tower.parameters() if p.dim() > 1]
    others = [p for p in tower.parameters() if p.dim() <= 1] + scales
    optimiser = torch.optim.AdamW([dict(params=matrices, weight_decay=0.05), dict(params=others, weight_decay=0.0)], lr=0.001, betas=(0.9, 0.98))
    pictures = torch.stack([torch.from_numpy(np.array(Image.open(folder / f"pictures/{number}.png"))) for number in range(ITEMS)]).permute(0, 3, 1, 2).contiguous()
    texts = torch.nn.functional.normalize(torch.randn(ITEMS, DIMENSION), dim=-1).to(device)
    times, started = [], time.perf_counter()
    for step in range(1, steps + 1):
        rows = torch.randperm(ITEMS)[:ROWS]
        pixels = torch.cat([pictures[rows], pictures[rows]]).to(device).float().div(255).sub(0.5).div(0.5)
        with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=dtype == "bf16"):
            images = tower(pixels)
        one, other = images.chunk(2)
        own = texts[rows.to(device)]
        loss = (both_ways(one, own, scales[0]) + both_ways(other, own, scales[0])) / 2 + both_ways(one, other, scales[1])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*matrices, *others], 1.0)
        optimiser.step()
        if step % 10 == 0:
            last = loss.item()
            times.append((step, time.perf_counter() - started))
    return pace(times, ROWS, VIEWS), last


def main():
    rows, steps = [], arguments.steps
    with tempfile.TemporaryDirectory() as work:
        folder = pathlib.Path(work)
        (folder / "models").mkdir()
        (folder / "models" / "all-minilm-l6-v2").symlink_to((arguments.models / "all-minilm-l6-v2").resolve())
        store_pictures(folder)
        vision = dict(model_type="resnet", image_size=SIDE, **RESNET)
        for dtype in ("f32", "bf16"):
            rates = {"torch": [], "pictor": []}
            for number in range(arguments.rounds):
                rates["torch"].append(peer(folder, dtype, steps)[0])
                rates["pictor"].append(ours(folder, f"{dtype}-{number}", recipe(vision, ROWS, VIEWS, dtype, steps), ROWS, VIEWS)[0])
            ratio = statistics.median(rates["pictor"]) / statistics.median(rates["torch"])
            rows.append(dict(case=f"resnet {dtype}", pictures_per_second=rates, ratio=ratio))
            print(f"ResNet {dtype}: pictor {statistics.median(rates['pictor']):.0f} pictures/s, torch {statistics.median(rates['torch']):.0f}: ×{ratio:.2f}", flush=True)
        rates = {"whole": [], "half": []}
        vit = dict(model_type="vit", **VIT)
        for number in range(arguments.rounds):
            for name, more in (("whole", {}), ("half", dict(patch_drop=dict(share=0.5)))):
                text = recipe(vit, 16, 1, "auto", 20, **more)
                rates[name].append(ours(folder, f"vit-{name}-{number}", text, 16, 1)[0])
        ratio = statistics.median(rates["whole"]) / statistics.median(rates["half"])
        rows.append(dict(case="vit 196 patches", pictures_per_second=rates, step_time_ratio=ratio))
        print(f"ViT, 196 patches: step time with half of them hidden ×{ratio:.2f} ({statistics.median(rates['half']):.1f} against {statistics.median(rates['whole']):.1f} pictures/s)")
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True).stdout.strip()
    cpu = next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    result = dict(bench="train", commit=commit, machine=f"{cpu}, {arguments.threads} threads", device=arguments.device, python=platform.python_version(),
                  torch=torch.__version__, transformers=transformers.__version__, date=time.strftime("%FT%TZ", time.gmtime()),
                  rows=ROWS, views=VIEWS, side=SIDE, steps=steps, cases=rows)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


main()
