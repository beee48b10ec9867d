"""Pictures and texts a second with CLIP ViT-B/32: `pictor-server embed` beside transformers, same files, same threads, in turns.

Weights are drawn by chance: speed does not depend on them. Run by benches/dual_encoder.sh. Prints a table, writes raw numbers.

Usage: dual_encoder.py --server BINARY --models FOLDER --data FOLDER --out FILE [--threads N] [--rounds N]
"""

import argparse
import json
import pathlib
import platform
import statistics
import subprocess
import tempfile
import time

import numpy as np
import torch
import torchvision
import transformers
from PIL import Image
from safetensors.numpy import load_file
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

BATCH = 32

parser = argparse.ArgumentParser()
parser.add_argument("--server", required=True)
parser.add_argument("--models", required=True, type=pathlib.Path, help="where the model with weights by chance is kept")
parser.add_argument("--data", required=True, type=pathlib.Path)
parser.add_argument("--out", required=True, type=pathlib.Path)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--rounds", type=int, default=3)
arguments = parser.parse_args()
torch.set_num_threads(arguments.threads)


def make_tokenizer():
    """CLIP's tokenizer from the vocabulary that open_clip ships."""
    import gzip
    import open_clip

    path = pathlib.Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    merges = gzip.open(path).read().decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    merges = [tuple(merge.split()) for merge in merges]
    order = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    letters = [chr(byte) for byte in order] + [chr(256 + number) for number in range(256 - len(order))]
    pieces = letters + [letter + "</w>" for letter in letters] + ["".join(merge) for merge in merges]
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    tokenizer = Tokenizer(models.BPE({piece: number for number, piece in enumerate(pieces)}, merges, unk_token="<|endoftext|>", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    words = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(words), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.post_processor = processors.RobertaProcessing(("<|endoftext|>", 49407), ("<|startoftext|>", 49406), False, False)
    tokenizer.add_special_tokens([AddedToken("<|startoftext|>", special=True), AddedToken("<|endoftext|>", special=True)])
    return tokenizer


folder = arguments.models / "clip-vit-b-32-by-chance" / "1"
if not (folder / "tokenizer.json").exists():
    torch.manual_seed(1)
    transformers.CLIPModel(transformers.CLIPConfig(projection_dim=512)).save_pretrained(folder)
    transformers.CLIPImageProcessorPil().save_pretrained(folder)
    make_tokenizer().save(str(folder / "tokenizer.json"))
model = transformers.CLIPModel.from_pretrained(folder).eval()
fast = transformers.CLIPImageProcessor.from_pretrained(folder)
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.enable_padding(pad_id=49407, length=77)
tokenizer.enable_truncation(77)

photos = sorted((arguments.data / "coco" / "images").glob("*.jpg")) * 6
captions = [json.loads(line) for line in (arguments.data / "coco" / "captions.jsonl").read_text().splitlines()]
texts = [caption for row in captions for value in row.values() if isinstance(value, list) for caption in value if isinstance(caption, str)]
texts = texts or [row["caption"] for row in captions]
texts = (texts * 10)[:1000]


def batches(values):
    return [values[start : start + BATCH] for start in range(0, len(values), BATCH)]


def timed(run):
    started = time.perf_counter()
    with torch.no_grad():
        vectors = run()
    return time.perf_counter() - started, vectors.float().numpy()


def reference_pixels(pixels):
    return timed(lambda: torch.cat([model.get_image_features(pixel_values=batch).pooler_output for batch in pixels.split(BATCH)]))


def reference_files():
    def run():
        vectors = []
        for batch in batches(photos):
            pixels = fast(images=[Image.open(path).convert("RGB") for path in batch], return_tensors="pt")["pixel_values"]
            vectors.append(model.get_image_features(pixel_values=pixels).pooler_output)
        return torch.cat(vectors)

    return timed(run)


def reference_texts():
    def run():
        ids = [torch.tensor([encoding.ids for encoding in tokenizer.encode_batch(batch)]) for batch in batches(texts)]
        return torch.cat([model.get_text_features(input_ids=batch).pooler_output for batch in ids])

    return timed(run)


def ours(dtype, kind, values):
    with tempfile.TemporaryDirectory() as work:
        source, out = pathlib.Path(work) / "list", pathlib.Path(work) / "out.safetensors"
        source.write_text("".join(f"{value}\n" if kind == "images" else json.dumps(value) + "\n" for value in values))
        flag = "--images-from" if kind == "images" else "--texts-jsonl"
        command = [arguments.server, "embed", "--model", folder, flag, source, "--out", out, "--device", "cpu", "--dtype", dtype,
                   "--threads", str(arguments.threads), "--preprocess", "reference"]
        stdout = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return json.loads(stdout.splitlines()[-1])["encode_seconds"], load_file(out)[kind]


def agreement(found, expected):
    expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    return float((found * expected).sum(axis=1).min())


rows = []
with tempfile.TemporaryDirectory() as work:
    # Pictures that need no resizing and hardly any decoding: what is left is the network.
    small = []
    for number, path in enumerate(photos[:256]):
        picture = Image.open(path).convert("RGB").resize((224, 224))
        small.append(pathlib.Path(work) / f"{number}.bmp")
        picture.save(small[-1])
    pixels = fast(images=[Image.open(path) for path in small], return_tensors="pt")["pixel_values"]
    cases = [
        ("pixels", small, "images", lambda: reference_pixels(pixels)),
        ("files", photos, "images", reference_files),
        ("texts", texts, "texts", reference_texts),
    ]
    for name, values, kind, reference in cases:
        seconds = {"transformers f32": [], "pictor f32": [], "pictor auto": []}
        cosine = {}
        for _ in range(arguments.rounds):
            took, expected = reference()
            seconds["transformers f32"].append(took)
            for dtype in ["f32", "auto"]:
                took, found = ours(dtype, kind, values)
                seconds[f"pictor {dtype}"].append(took)
                cosine[f"pictor {dtype}"] = agreement(found, expected)
        median = {who: statistics.median(all_seconds) for who, all_seconds in seconds.items()}
        for who, all_seconds in seconds.items():
            ratio = median["transformers f32"] / median[who]
            print(f"{name:7} {who:17} {len(values) / median[who]:8.1f}/s  x{ratio:.2f}  worst cosine {cosine.get(who, 1.0):.6f}")
            rows.append({"input": name, "count": len(values), "who": who, "seconds": all_seconds, "ratio_of_medians": ratio, "worst_cosine": cosine.get(who)})

machine = next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
versions = {"transformers": transformers.__version__, "torch": torch.__version__, "torchvision": torchvision.__version__, "python": platform.python_version()}
arguments.out.write_text(json.dumps({"machine": machine, "threads": arguments.threads, "batch": BATCH, "versions": versions, "rows": rows}, indent=1) + "\n")
