"""Writes prepare.json: what transformers' Pillow processors make of pictures, before they rescale and normalise.

The processors get RGB, as from Pillow's `convert`: given transparency, some lay it over white and some fail. Also open_clip's way, written out: Pillow's resize, then torchvision's CenterCrop, whose offset is Python's `round`.

Usage: prepare.py DATA_FOLDER
"""

import json
import pathlib
import sys

import numpy as np
import transformers
from blake3 import blake3
from PIL import Image
from transformers.models.chinese_clip.image_processing_pil_chinese_clip import ChineseCLIPImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

HERE = pathlib.Path(__file__).parent
FAMILIES = {
    "clip": CLIPImageProcessorPil, "chinese_clip": ChineseCLIPImageProcessorPil, "siglip": SiglipImageProcessorPil,
    "vit": ViTImageProcessorPil,
}
CONFIGS = [
    ("clip", {}),
    ("clip", {"size": {"shortest_edge": 225}, "crop_size": {"height": 224, "width": 224}}),
    ("clip", {"size": {"shortest_edge": 100}, "crop_size": 131, "resample": 2}),
    ("clip", {"size": {"height": 336, "width": 300}, "do_center_crop": False}),
    ("clip", {"size": 96, "crop_size": [64, 95], "resample": 1}),
    ("clip", {"do_resize": False, "crop_size": 333}),
    ("chinese_clip", {}),
    ("siglip", {}),
    ("siglip", {"size": {"height": 384, "width": 384}, "resample": 2}),
    ("vit", {}),
    ("vit", {"size": {"height": 64, "width": 64}, "resample": 4}),
]
OPEN_CLIP = [("shortest", 224, "bicubic"), ("shortest", 97, "bilinear"), ("longest", 225, "bicubic"), ("squash", 99, "bilinear")]
data = pathlib.Path(sys.argv[1])
paths = sorted((data / "coco/images").iterdir())[:8]
paths += [data / "images/formats" / name for name in ("hopper_orientation_5.jpg", "exif.png", "hopper.gif", "pil_sample_cmyk.jpg")]
paths += [data / "images/hostile" / name for name in ("transparent_background_text.png", "no_palette.gif")]


def digest(array):
    return blake3(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def open_clip(image, mode, size, name):
    """`longest` pads or cuts to a square, `shortest` cuts one."""
    filter = Image.Resampling[name.upper()]
    image = image.convert("RGB")
    width, height = image.size
    if mode == "squash":
        return np.asarray(image.resize((size, size), filter))
    if mode == "shortest":
        short, long = min(width, height), max(width, height)
        longer = int(size * long / short)
        width, height = (size, longer) if width <= height else (longer, size)
    else:
        ratio = max(height / size, width / size)
        width, height = round(width / ratio), round(height / ratio)
    pixels = np.asarray(image.resize((max(width, 1), max(height, 1)), filter))
    for axis in (0, 1):
        missing = size - pixels.shape[axis]
        if missing > 0:
            before = missing // 2
            pads = [(0, 0)] * 3
            pads[axis] = (before, missing - before)
            pixels = np.pad(pixels, pads)
        start = int(round((pixels.shape[axis] - size) / 2.0))
        pixels = pixels.take(range(start, start + size), axis)
    return pixels


cases = []
for path in paths:
    name = str(path.relative_to(data))
    for family, config in CONFIGS:
        processor = FAMILIES[family](**config, do_rescale=False, do_normalize=False)
        pixels = processor(Image.open(path).convert("RGB"), return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)
        assert pixels.dtype == np.uint8
        cases.append([name, family, config, digest(pixels)])
    for mode, size, filter in OPEN_CLIP:
        config = {"resize_mode": mode, "size": size, "interpolation": filter}
        cases.append([name, "open_clip", config, digest(open_clip(Image.open(path), mode, size, filter))])
result = {"script": "tests/golden/prepare.py", "transformers": transformers.__version__, "cases": cases}
lines = ",\n".join(json.dumps(case) for case in cases)
text = json.dumps({**result, "cases": []})[:-2] + "\n" + lines + "\n]}\n"
assert json.loads(text) == result
(HERE / "prepare.json").write_text(text)
print(len(cases), "cases")
