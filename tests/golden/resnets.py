"""Writes resnets.json (configurations and tensor shapes) and resnets.safetensors: what open_clip makes of pictures with OpenAI's ResNets, on
weights by a formula. RN50 and RN50x4 have their published image towers; the text tower is small, for it is compared in towers.py."""

import json
import pathlib

import numpy as np
import open_clip
import torch
from safetensors.numpy import save_file
from tower_models import picture, weight

HERE = pathlib.Path(__file__).parent
CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
N_TEXT = len(json.loads((HERE / "towers.tokenizers.json").read_text())["clip"]["model"]["vocab"])
TEXT = dict(context_length=16, vocab_size=N_TEXT, width=32, heads=2, layers=1, mlp_ratio=1.25)


def scaled(name, shape):
    """As tower_models.weight, but variances are positive, and what a layer adds is small, as in a trained network of many layers."""
    values = weight(name, shape)
    if name.endswith("running_var"):
        return (1.0 + 0.25 * values).astype(np.float32)
    if name.endswith("bn3.weight"):
        return (0.25 * values).astype(np.float32)
    return values


models, tensors = {}, {}
for name, embed, layers, width, side in [
    ("small", 20, [1, 2, 1, 1], 8, 64),
    ("odd", 12, [1, 1, 2, 1], 6, 96),
    ("RN50", 1024, [3, 4, 6, 3], 64, 224),
    ("RN50x4", 640, [4, 6, 10, 6], 80, 288),
]:
    head = 64 if width >= 64 else 32
    vision = dict(image_size=side, layers=layers, width=width, patch_size=None, head_width=head)
    model = open_clip.CLIP(embed, vision, TEXT, quick_gelu=True).eval()
    shapes = {key: list(tensor.shape) for key, tensor in model.state_dict().items() if tensor.is_floating_point()}
    model.load_state_dict({key: torch.from_numpy(scaled(key, tuple(shape))) for key, shape in shapes.items()}, strict=False)
    pixels = torch.from_numpy(np.stack([picture(number, side, side) for number in range(2)])).permute(0, 3, 1, 2).float() / 255.0
    pixels = (pixels - torch.tensor(CLIP_MEAN).view(1, 3, 1, 1)) / torch.tensor(CLIP_STD).view(1, 3, 1, 1)
    with torch.no_grad():
        tensors[f"{name}.images"] = np.ascontiguousarray(model.encode_image(pixels).numpy())
    config = {
        "model_cfg": {"embed_dim": embed, "quick_gelu": True, "vision_cfg": vision, "text_cfg": TEXT},
        "preprocess_cfg": {"mean": CLIP_MEAN, "std": CLIP_STD, "interpolation": "bicubic", "resize_mode": "shortest"},
    }
    models[name] = {"tokenizer": "clip", "open_clip_config": config, "size": side, "shapes": shapes}
    found = tensors[f"{name}.images"]
    unit = found / np.linalg.norm(found, axis=1, keepdims=True)
    print(name, found.shape, "norms", np.linalg.norm(found, axis=1), "cosine of the two pictures", float(unit[0] @ unit[1]))
(HERE / "resnets.json").write_text(json.dumps({"models": models}, separators=(",", ":")))
save_file(tensors, HERE / "resnets.safetensors", metadata={"script": "tests/golden/resnets.py"})
