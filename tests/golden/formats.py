"""Writes formats-NAME.safetensors: small files of every kind that Pillow writes, and what Pillow reads from them.

A tensor is a file's bytes. The metadata has, for each file and rule, its size and the BLAKE3 of its RGB pixels; `pictor_pixels`
says what the rules are.
"""

import io
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from pictor_pixels import digest

HERE = pathlib.Path(__file__).parent
# Not whole blocks of any format.
WIDTH, HEIGHT = 23, 19


def planes(count, seed=0):
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    each = [
        ((x * (7 + c) + y * (11 - 2 * c) + seed * 31) % 256 * 0.6 + (x // 5 + y // 4 + c) % 2 * 90).astype(np.uint8)
        for c in range(count)
    ]
    return np.stack(each, -1) if count > 1 else each[0]


rgb, grey = Image.fromarray(planes(3)), Image.fromarray(planes(1))
rgba, grey_alpha = Image.fromarray(planes(4), "RGBA"), Image.fromarray(planes(2), "LA")
cmyk = Image.fromarray(planes(4), "CMYK")
palette, bit = rgb.quantize(40), grey.convert("1")
wide = Image.fromarray(planes(1).astype(np.uint16) * 257 + 3)
files = {name: {} for name in ("jpeg", "png", "webp", "gif", "bmp", "tiff")}


def put(name, image, kind, **settings):
    buffer = io.BytesIO()
    image.save(buffer, format=kind.upper(), **settings)
    files[kind][name] = buffer.getvalue()


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def wide_png(colour, samples, interlaced):
    """Pillow writes neither interlaced PNGs nor colours of 16 bits."""
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = b"".join(
        b"\0" + row.tobytes() for left, top, across, down in passes for row in samples[top::down, left::across]
    )
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, samples.dtype.itemsize * 8, colour, 0, 0, interlaced)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + content


for number in range(3):
    put(f"subsampling-{number}", rgb, "jpeg", subsampling=number)
put("progressive", rgb, "jpeg", progressive=True)
put("restarts", rgb, "jpeg", restart_marker_blocks=1)
put("rgb", rgb, "jpeg", keep_rgb=True)
put("grey", grey, "jpeg")
put("cmyk", cmyk, "jpeg", quality=90)
put("coarse", rgb, "jpeg", quality=5)

modes = [("rgb", rgb), ("grey", grey), ("rgba", rgba), ("grey-alpha", grey_alpha), ("palette", palette), ("bit", bit)]
for name, image in modes + [("wide-grey", wide)]:
    put(name, image, "png")
put("palette-4-bits", rgb.quantize(9), "png")
put("palette-2-bits", rgb.quantize(4), "png")
put("palette-clear-colour", palette, "png", transparency=3)
put("palette-alpha", palette, "png", transparency=bytes(range(0, 200, 5)))
put("rgb-clear-colour", rgb, "png", transparency=rgb.getpixel((3, 4)))
put("grey-clear-colour", grey, "png", transparency=grey.getpixel((5, 5)))
for colour, count in [(0, 1), (2, 3), (4, 2), (6, 4)]:
    narrow = planes(count, 1)
    broad = (narrow.astype(np.uint16) * 251 + 77).astype(">u2")
    files["png"][f"interlaced-{colour}"] = wide_png(colour, narrow, True)
    files["png"][f"wide-{colour}"] = wide_png(colour, broad, False)
    files["png"][f"wide-interlaced-{colour}"] = wide_png(colour, broad, True)
put("animated", rgb, "png", save_all=True, append_images=[grey.convert("RGB")], duration=50)

put("lossy", rgb, "webp")
put("lossless", rgb, "webp", lossless=True)
put("lossy-alpha", rgba, "webp")
put("lossless-alpha", rgba, "webp", lossless=True, exact=True)
put("animated", rgb, "webp", save_all=True, append_images=[grey.convert("RGB")], duration=50)
put("animated-alpha", rgba, "webp", save_all=True, append_images=[rgb.convert("RGBA")], duration=50, lossless=True)

for name, image in [("rgb", rgb), ("grey", grey), ("palette", palette), ("bit", bit)]:
    put(name, image, "gif")
put("interlaced", palette, "gif", interlace=1)
put("clear-colour", palette, "gif", transparency=palette.getpixel((2, 2)))
put("animated", palette, "gif", save_all=True, append_images=[grey.convert("RGB").quantize(30)], duration=50)

for name, image in [("rgb", rgb), ("grey", grey), ("palette", palette), ("bit", bit), ("rgba", rgba)]:
    put(name, image, "bmp")

for name, image in modes + [("wide-grey", wide), ("cmyk", cmyk)]:
    put(f"{name}-lzw", image, "tiff", compression="tiff_lzw")
for name, image in [("rgb", rgb), ("palette-4-bits", rgb.quantize(9)), ("wide-grey", wide)]:
    put(name, image, "tiff")
put("rgb-deflate", rgb, "tiff", compression="tiff_adobe_deflate")
put("grey-packbits", grey, "tiff", compression="packbits")
put("bit-fax", bit, "tiff", compression="group4")
put("jpeg-inside", rgb, "tiff", compression="jpeg")

for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("jpeg", "png", "webp", "tiff"):
        # All eight once; the others show that each format is asked.
        if kind == "png" or orientation == 6:
            put(f"orientation-{orientation}", rgb, kind, exif=exif if kind == "tiff" else exif.tobytes())

for kind, group in files.items():
    metadata = {"script": "tests/golden/formats.py"}
    for name, content in group.items():
        for rule in ("pictor", "reference"):
            metadata[f"{name}.{rule}"] = digest(io.BytesIO(content), rule)
    tensors = {name: np.frombuffer(content, np.uint8) for name, content in group.items()}
    path = HERE / f"formats-{kind}.safetensors"
    save_file(tensors, path, metadata=metadata)
    print(path.name, len(group), path.stat().st_size)
