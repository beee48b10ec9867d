"""Writes perceptual.json: difference hashes of pictures. Those that are not reduced are checked against imagehash."""

import json
import pathlib

import imagehash
import numpy as np
from PIL import Image
from tower_models import picture

HERE = pathlib.Path(__file__).parent
# Height and width: none reduced, one side, both, boxes that do not fit.
SIZES = [(64, 72), (8, 9), (1, 1), (3, 200), (127, 143), (128, 144), (100, 500), (300, 90), (480, 640), (641, 479), (1000, 1500)]


def reduced(grey):
    """Means of boxes, halves rounded up; smaller boxes at the right and lower edge."""
    height, width = grey.shape
    down, across = max(1, height // 64), max(1, width // 72)
    rows = [grey[top : top + down] for top in range(0, height, down)]
    boxes = [[row[:, left : left + across] for left in range(0, width, across)] for row in rows]
    mean = [[(int(box.sum(dtype=np.int64)) + box.size // 2) // box.size for box in row] for row in boxes]
    return Image.fromarray(np.array(mean, dtype=np.uint8), "L"), down * across > 1


def difference_hash(pixels):
    small, is_reduced = reduced(np.asarray(Image.fromarray(pixels).convert("L")))
    cells = np.asarray(small.resize((9, 8), Image.Resampling.LANCZOS)).astype(int)
    bits = (cells[:, 1:] > cells[:, :-1]).flatten()
    text = "%016x" % int("".join("1" if bit else "0" for bit in bits), 2)
    if not is_reduced:
        assert text == str(imagehash.dhash(Image.fromarray(pixels))), text
    return text


cases = [
    (number, height, width, difference_hash(picture(number, height, width)))
    for number in range(4)
    for height, width in SIZES
]
lines = ",\n".join(json.dumps(case) for case in cases)
(HERE / "perceptual.json").write_text(f"[\n{lines}\n]\n")
