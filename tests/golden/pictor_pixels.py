"""What Pillow makes of a file under each of the two rules, as an array of RGB.

`pictor`: turned upright by EXIF, laid over white; 16-bit grey becomes its high byte, which Pillow has no conversion for.
`reference`: `convert("RGB")` and nothing else.
"""

import numpy as np
from blake3 import blake3
from PIL import Image, ImageOps

# Whether a bomb goes off is for the tests to see.
Image.MAX_IMAGE_PIXELS = None


def pixels(file, rule):
    image = Image.open(file)
    image.load()
    if rule == "reference":
        return np.asarray(image.convert("RGB"))
    image = ImageOps.exif_transpose(image)
    if image.mode == "I;16":
        high = (np.asarray(image) >> 8).astype(np.uint8)
        return np.stack([high] * 3, -1)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return np.asarray(image.convert("RGB"))


def digest(file, rule):
    """Width, height and BLAKE3, or `refused`."""
    try:
        found = pixels(file, rule)
    except (OSError, SyntaxError, TypeError, ValueError):
        return "refused"
    return f"{found.shape[1]}x{found.shape[0]} {blake3(found.tobytes()).hexdigest()[:16]}"
