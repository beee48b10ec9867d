"""The peer of resize.rs on the same pictures: Pillow, one thread."""

import json
import time

import numpy as np
import PIL
from PIL import Image

SHAPES = [(640, 480, 298, 224), (2000, 1500, 298, 224), (4000, 3000, 512, 384), (128, 96, 298, 224)]
FILTERS = {name: Image.Resampling[name.upper()] for name in ("bicubic", "bilinear", "lanczos")}


def picture(width, height):
    index = np.arange(width * height * 3, dtype=np.uint32)
    noise = ((((index * np.uint32(2654435761)) >> np.uint32(16)) ^ index) * np.uint32(2246822519)) >> np.uint32(24)
    slope = index // np.uint32(3) % np.uint32(width) * np.uint32(191) // np.uint32(width)
    return Image.fromarray((noise // 4 + slope).astype(np.uint8).reshape(height, width, 3))


for width, height, new_width, new_height in SHAPES:
    image = picture(width, height)
    side = min(new_width, new_height)
    left, top = (new_width - side) // 2, (new_height - side) // 2
    for name, number in FILTERS.items():
        for kind in ("all", "crop"):
            for repeat in range(1, 4):
                done, started = 0, time.perf_counter()
                while time.perf_counter() - started < 1:
                    output = image.resize((new_width, new_height), number)
                    if kind == "crop":
                        output = output.crop((left, top, left + side, top + side))
                    done += 1
                seconds = time.perf_counter() - started
                line = {
                    "bench": "resize", "who": f"Pillow {PIL.__version__}", "from": [width, height],
                    "to": [new_width, new_height], "filter": name, "kind": kind, "repeat": repeat,
                    "milliseconds": seconds * 1e3 / done, "sum_of_bytes": int(np.asarray(output, dtype=np.int64).sum()),
                }
                print(json.dumps(line), flush=True)
