"""Writes tiny.safetensors: what sentence-transformers makes of the tiny model, with each pooling and prompt."""

import json
import pathlib
import tempfile

from safetensors.numpy import save_file
from sentence_transformers import SentenceTransformer

import tiny_model

HERE = pathlib.Path(__file__).parent
TEXTS = json.loads((HERE / "tiny.texts.json").read_text())
POOLINGS = {
    "cls": None,
    "mean_without_prompt": {"embedding_dimension": 32, "pooling_mode": "mean", "include_prompt": False},
}

tensors = {}
for pooling, config in POOLINGS.items():
    with tempfile.TemporaryDirectory() as folder:
        tiny_model.write(pathlib.Path(folder), config)
        model = SentenceTransformer(folder, device="cpu")
        for role, prompt in [("query", "query"), ("document", "passage")]:
            tensors[f"{pooling}.{role}"] = model.encode(TEXTS, prompt_name=prompt, normalize_embeddings=True)
save_file(tensors, HERE / "tiny.safetensors", metadata={"script": "tests/golden/tiny.py"})
print({name: tensor.shape for name, tensor in tensors.items()})
