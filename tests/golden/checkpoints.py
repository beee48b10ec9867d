"""Writes checkpoint.*.pt[.gz], files of torch.save and torch.jit.save, and checkpoints.json: what is in them, and what open_clip computes with
the CLIPs among them. Weights repeat with a short period, so that the files pack well."""

import gzip
import json
import pathlib
import zipfile
from collections import OrderedDict

import numpy as np
import open_clip
import torch
from blake3 import blake3
from tower_models import hashed, picture, seed_of

HERE = pathlib.Path(__file__).parent
PERIOD = 97
CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
VOCABULARY = json.loads((HERE / "towers.tokenizers.json").read_text())["clip"]["model"]["vocab"]
# Ids of a text of the tests' tokenizer, its specials included.
TEXTS = ["a red shoe", "shoes"]
result = {"files": {}, "clips": {}}


def weight(name, shape):
    """As tower_models.weight, but element i has the number of element i mod 97."""
    count = int(np.prod(shape))
    unit = np.resize(hashed(seed_of(name), PERIOD), count)
    if name.endswith("running_var"):
        scaled = 1.0 + 0.5 * unit
    elif name.endswith("bias") or name.endswith("running_mean"):
        scaled = 0.2 * unit
    elif len(shape) == 1 and name.endswith("weight"):
        scaled = 1.0 + 0.5 * unit
    elif len(shape) < 2 or "embed" in name:
        scaled = 2.0 * unit
    else:
        scaled = 3.0 * unit / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(scaled.astype(np.float32).reshape(shape))


def write(name, payload, tensors, **settings):
    """Saves a file and records every tensor that it must give."""
    path = HERE / name.removesuffix(".gz")
    if isinstance(payload, torch.jit.ScriptModule):
        torch.jit.save(payload, path)
        leave_out_debugging(path)
    else:
        torch.save(payload, path, **settings)
    if name.endswith(".gz"):
        (HERE / name).write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        path.unlink()
    kinds = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64", torch.int32: "I32",
             torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "Bool"}
    described = {}
    for key, tensor in tensors.items():
        tensor = tensor.detach().contiguous()
        data = tensor.view(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
        described[key] = [kinds[tensor.dtype], list(tensor.shape), blake3(data).hexdigest()[:16]]
    result["files"][name] = described
    print(name, (HERE / name).stat().st_size)


def leave_out_debugging(path):
    """Nine tenths of a TorchScript archive of this size are code and where it came from, which differ from run to run; one file stays."""
    with zipfile.ZipFile(path) as archive:
        left_out = ("/code/__torch__/", ".debug_pkl", "/.data/")
        entries = [entry for entry in archive.infolist() if not any(part in entry.filename for part in left_out)]
        entries = [(entry, archive.read(entry)) for entry in entries]
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in entries:
            archive.writestr(entry, content)


def every_kind():
    base = torch.arange(24, dtype=torch.float32).view(4, 6) / 7
    kinds = OrderedDict()
    for kind in [torch.float64, torch.float32, torch.float16, torch.bfloat16]:
        kinds[str(kind).split(".")[1]] = (torch.arange(10) / 3 - 1).to(kind)
    for kind in [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]:
        kinds[str(kind).split(".")[1]] = torch.arange(5).to(kind) * 3
    kinds["bool"] = torch.tensor([True, False, True])
    views = {
        "whole": base, "transposed": base.t(), "column": base[:, 2], "corner": base[1:3, 2:5], "every_second": base[::2, ::3],
        "expanded": base[:1].expand(3, 6), "permuted": torch.arange(24).view(2, 3, 4).permute(2, 0, 1), "scalar": torch.tensor(1.5),
        "none": torch.zeros(0, 3), "parameter": torch.nn.Parameter(base[3]), 7: base[0, 0],
    }
    lists = [torch.ones(2), (torch.zeros(1), [torch.full((1, 1), -2.0)])]
    facts = {"epoch": 3, "big": -(2**40), "huge": 2**62, "loss": 0.1, "name": "höhe \U0001F600", "yes": True, "no": False, "nothing": None}
    payload = {"kinds": kinds, "views": views, "lists": lists, **facts}
    tensors = {f"kinds.{key}": tensor for key, tensor in kinds.items()} | {f"views.{key}": tensor for key, tensor in views.items()}
    tensors |= {"lists.0": lists[0], "lists.1.0": lists[1][0], "lists.1.1.0": lists[1][1][0]}
    write("checkpoint.pt", payload, tensors)
    write("checkpoint.protocol4.pt", payload, tensors, pickle_protocol=4)
    # Holds addresses, which differ from run to run.
    if not (HERE / "checkpoint.legacy.pt").exists():
        torch.save({"a": torch.ones(2)}, HERE / "checkpoint.legacy.pt", _use_new_zipfile_serialization=False)


def clip(name, embed, vision, half):
    text = dict(context_length=8, vocab_size=len(VOCABULARY), width=64, heads=1, layers=2, mlp_ratio=0.25)
    model = open_clip.CLIP(embed, vision | dict(head_width=64), text, quick_gelu=True).eval()
    tensors = {key: weight(key, tuple(tensor.shape)) for key, tensor in model.state_dict().items() if tensor.is_floating_point()}
    model.load_state_dict(tensors, strict=False)
    # The kind that the file holds; the reference computes in float32 with the rounded numbers.
    if half:
        model = model.half().float()
    size = vision["image_size"]
    pixels = torch.from_numpy(np.stack([picture(number, size, size) for number in range(2)])).permute(0, 3, 1, 2).float() / 255.0
    pixels = (pixels - torch.tensor(CLIP_MEAN).view(1, 3, 1, 1)) / torch.tensor(CLIP_STD).view(1, 3, 1, 1)
    ids = torch.tensor([row + [0] * (8 - len(row)) for row in token_rows()])
    with torch.no_grad():
        images, texts = model.encode_image(pixels), model.encode_text(ids)
    result["clips"][name] = {"size": size, "images": images.tolist(), "texts": texts.tolist(), "embed": embed}
    return model


def token_rows():
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(json.dumps(json.loads((HERE / "towers.tokenizers.json").read_text())["clip"]))
    return [tokenizer.encode(text).ids for text in TEXTS]


def with_facts(model):
    """OpenAI's archives hold these beside the weights."""
    for key, number in [("input_resolution", 64), ("context_length", 8), ("vocab_size", len(VOCABULARY))]:
        model.__dict__.pop(key, None)
        model.register_buffer(key, torch.tensor(number))
    return model


def state(model):
    return OrderedDict((key, tensor.clone()) for key, tensor in model.state_dict().items())


def combiner(dimension, projection, hidden):
    shapes = {
        "text_projection_layer.weight": (projection, dimension), "text_projection_layer.bias": (projection,),
        "image_projection_layer.weight": (projection, dimension), "image_projection_layer.bias": (projection,),
        "combiner_layer.weight": (hidden, 2 * projection), "combiner_layer.bias": (hidden,),
        "output_layer.weight": (dimension, hidden), "output_layer.bias": (dimension,),
        "dynamic_scalar.0.weight": (hidden, 2 * projection), "dynamic_scalar.0.bias": (hidden,),
        "dynamic_scalar.3.weight": (1, hidden), "dynamic_scalar.3.bias": (1,),
    }
    return OrderedDict((key, weight(key, shape)) for key, shape in shapes.items())


every_kind()
resnet = clip("resnet", 6, dict(layers=[1, 2, 1, 1], width=2, image_size=64, patch_size=None), False)
tensors = state(resnet)
write("checkpoint.clip4cir.pt.gz", {"epoch": 7, "CLIP": tensors}, {f"CLIP.{key}": tensor for key, tensor in tensors.items()})
transformer = clip("transformer", 6, dict(layers=2, width=64, image_size=16, patch_size=8, mlp_ratio=0.5), True)
transformer = with_facts(transformer).half()
scripted = torch.jit.script(transformer)
write("checkpoint.scripted.pt.gz", scripted, dict(scripted.state_dict()) | {"attn_mask": transformer.attn_mask})
tensors = combiner(6, 24, 48)
write("checkpoint.combiner.pt.gz", {"epoch": 2, "Combiner": tensors}, {f"Combiner.{key}": tensor for key, tensor in tensors.items()})
result["texts"] = TEXTS
(HERE / "checkpoints.json").write_text(json.dumps(result, ensure_ascii=False, separators=(",", ":")))
