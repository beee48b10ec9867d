"""Writes resize.json: BLAKE3 of what Pillow's resize makes of formula pictures, for 60 size pairs, RGB and L, and its filters."""

import json
import pathlib

import numpy as np
import PIL
from blake3 import blake3
from PIL import Image

HERE = pathlib.Path(__file__).parent
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
# Width and height of the input, then of the output.
SIZES = [
    # Down.
    (640, 480, 299, 224), (640, 480, 224, 224), (480, 640, 224, 299), (500, 375, 299, 224), (1024, 768, 512, 384),
    (333, 517, 224, 348), (257, 255, 64, 63), (800, 600, 8, 6), (301, 199, 100, 67), (256, 256, 128, 128),
    (225, 225, 224, 224), (720, 405, 398, 224), (1000, 10, 224, 2), (96, 96, 95, 94), (512, 512, 378, 378),
    # Up.
    (128, 128, 224, 224), (64, 64, 256, 256), (100, 75, 299, 224), (17, 23, 224, 303), (32, 32, 33, 33),
    (224, 224, 225, 225), (3, 5, 96, 160), (50, 50, 512, 512), (13, 7, 416, 224), (96, 64, 336, 224),
    # Up along one axis, down along the other.
    (300, 100, 224, 224), (100, 300, 224, 224), (37, 411, 224, 56), (411, 37, 56, 224), (128, 500, 129, 499),
    # One axis or both unchanged.
    (224, 224, 224, 224), (224, 300, 224, 224), (300, 224, 224, 224), (64, 48, 64, 96), (64, 48, 128, 48),
    # Odd sizes and primes.
    (223, 227, 113, 109), (101, 103, 211, 223), (7, 11, 13, 17), (499, 503, 31, 29), (3, 3, 7, 7),
    (227, 131, 64, 37), (65, 63, 15, 17), (9, 15, 8, 14), (19, 1, 7, 1), (333, 333, 222, 222),
    # One pixel.
    (1, 1, 1, 1), (1, 1, 224, 224), (640, 480, 1, 1), (1, 100, 1, 50), (100, 1, 50, 1),
    (1, 100, 224, 224), (2, 2, 1, 1), (1, 2, 2, 1), (5, 5, 1, 224), (1, 1, 3, 500),
    # Extreme aspect.
    (5000, 2, 224, 224), (2, 5000, 224, 224), (4096, 1, 224, 3), (1, 4096, 3, 224), (3000, 17, 39529, 3),
]
assert len(SIZES) == len(set(SIZES)) == 60


def picture(width, height, channels):
    """Noise over a gradient; extremes are common, so that clipping is tested."""
    index = np.arange(width * height * channels, dtype=np.uint32)
    noise = (index * np.uint32(2654435761)) >> np.uint32(16)
    noise = ((noise ^ index) * np.uint32(2246822519)) >> np.uint32(24)
    slope = (index // np.uint32(channels) % np.uint32(width)) * np.uint32(255) // np.uint32(width)
    mixed = np.where(index % np.uint32(5) == 0, (noise & 1) * 255, (noise + slope) // 2)
    return mixed.astype(np.uint8).reshape((height, width) if channels == 1 else (height, width, channels))


digests = {}
for width, height, new_width, new_height in SIZES:
    for mode, channels in (("RGB", 3), ("L", 1)):
        image = Image.fromarray(picture(width, height, channels))
        assert image.mode == mode
        for name, number in FILTERS.items():
            output = image.resize((new_width, new_height), number)
            digest = blake3(output.tobytes()).hexdigest()[:16]
            digests[f"{width}x{height} {new_width}x{new_height} {mode} {name}"] = digest
result = {"script": "tests/golden/resize.py", "pillow": PIL.__version__, "digests": digests}
(HERE / "resize.json").write_text(json.dumps(result, indent=0) + "\n")
print(len(digests), "digests")
