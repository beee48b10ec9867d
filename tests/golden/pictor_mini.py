"""Writes pictor_mini.safetensors: what transformers and sentence-transformers make of pictures and texts with pictor-mini's two folders.

Usage: pictor_mini.py MODEL_FOLDER > …; run by scripts/golden.sh.
"""

import pathlib
import sys

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file, save_file
from sentence_transformers import SentenceTransformer

from tower_models import picture

HERE = pathlib.Path(__file__).parent
TEXTS = ["", "a red apple", "grinning face", "emoji of a fox", "heavy snow on a mountain", "猫", "A " * 300, "flag: Japan"]


def main():
    folder = pathlib.Path(sys.argv[1])
    network = transformers.ResNetModel.from_pretrained(folder / "vision").eval().float()
    weights = load_file(folder / "vision" / "model.safetensors")
    projection = torch.from_numpy(weights["visual_projection.weight"].astype(np.float32))
    pixels = np.stack([picture(number, 64, 64) for number in range(16)])
    with torch.no_grad():
        inputs = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
        images = network(inputs).pooler_output.flatten(1) @ projection.T
        images = torch.nn.functional.normalize(images, dim=-1)
    texts = SentenceTransformer(str(folder / "text"), device="cpu").encode(TEXTS, normalize_embeddings=True)
    save_file({"images": images.numpy(), "texts": np.asarray(texts, np.float32)}, HERE / "pictor_mini.safetensors")


main()
