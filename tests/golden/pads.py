"""Writes pads.json: what CLIP4Cir's preprocessing makes of pictures before it normalises them. Its margins are written out here; padding,
resizing and cropping are torchvision's on Pillow."""

import json
import pathlib

import numpy as np
import torchvision.transforms.functional as F
from blake3 import blake3
from PIL import Image
from torchvision.transforms import CenterCrop, InterpolationMode, Resize
from tower_models import picture

HERE = pathlib.Path(__file__).parent
# Height and width.
SIZES = [
    (480, 640), (640, 480), (31, 40), (40, 31), (3, 300), (300, 3), (1, 50), (50, 1), (224, 224), (224, 280), (224, 281), (224, 283),
    (97, 333), (600, 211), (288, 1000), (1, 1), (500, 401), (360, 288), (288, 360), (1700, 90),
]
RULES = [("target", 1.25), ("target", 1.5), ("target", 3.0), ("square", None)]
RESIZES = [(224, "bicubic"), (288, "bicubic"), (97, "bilinear"), (64, "nearest"), (300, "lanczos")]


def margins(rule, ratio, width, height):
    longer, shorter = max(width, height), min(width, height)
    if rule == "square":
        return int((longer - width) / 2), int((longer - height) / 2)
    if longer / shorter < ratio:
        return 0, 0
    side = longer / ratio
    return max(int((side - width) / 2), 0), max(int((side - height) / 2), 0)


cases = []
for number, (height, width) in enumerate(SIZES):
    for rule, ratio in RULES:
        for side, filter in RESIZES:
            # A grey picture is padded and resized as one, as in their code, which turns it to RGB at the end.
            for mode in ["RGB", "L"] if number < 4 else ["RGB"]:
                image = Image.fromarray(picture(number, height, width)).convert(mode)
                across, down = margins(rule, ratio, width, height)
                padded = F.pad(image, [across, down, across, down], 0, "constant")
                resized = Resize(side, InterpolationMode(filter))(padded)
                found = np.asarray(CenterCrop(side)(resized).convert("RGB"))
                assert found.shape == (side, side, 3)
                pad = {"kind": rule} | ({"ratio": ratio} if ratio else {})
                cases.append([number, height, width, mode, pad, side, filter, blake3(found.tobytes()).hexdigest()[:16]])
lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
(HERE / "pads.json").write_text("[\n" + lines + "\n]\n")
print(len(cases), "cases")
