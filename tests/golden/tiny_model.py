"""A BERT small enough to be made in a test: weights by a formula that tests/it/encoder/tiny.rs repeats."""

import json
import pathlib
import shutil

import numpy as np
from safetensors.numpy import save_file

FOLDER = pathlib.Path(__file__).parent / "tiny"


def shapes(config):
    """Shapes by checkpoint key; the key's position in this order is part of the formula."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    result = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], width),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], width),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], width),
        "embeddings.LayerNorm.weight": (width,),
        "embeddings.LayerNorm.bias": (width,),
    }
    for layer in range(config["num_hidden_layers"]):
        prefix = f"encoder.layer.{layer}."
        for name in ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"]:
            result[prefix + name + ".weight"] = (width, width)
            result[prefix + name + ".bias"] = (width,)
        result[prefix + "attention.output.LayerNorm.weight"] = (width,)
        result[prefix + "attention.output.LayerNorm.bias"] = (width,)
        result[prefix + "intermediate.dense.weight"] = (inner, width)
        result[prefix + "intermediate.dense.bias"] = (inner,)
        result[prefix + "output.dense.weight"] = (width, inner)
        result[prefix + "output.dense.bias"] = (width,)
        result[prefix + "output.LayerNorm.weight"] = (width,)
        result[prefix + "output.LayerNorm.bias"] = (width,)
    return result


def values(number, name, shape):
    """Element i of tensor `number`: a 32-bit hash of both in [-0.5, 0.5), scaled by the kind of tensor."""
    mask = np.uint64(0xFFFFFFFF)
    count = int(np.prod(shape))
    hashed = (np.arange(count, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(number * 2246822519 + 374761393)) & mask
    hashed ^= hashed >> np.uint64(15)
    hashed = (hashed * np.uint64(2246822519)) & mask
    hashed ^= hashed >> np.uint64(13)
    unit = hashed.astype(np.float64) / 2.0**32 - 0.5
    if name.endswith("LayerNorm.weight"):
        scaled = 1.0 + 0.5 * unit
    elif name.endswith("bias"):
        scaled = 0.2 * unit
    elif "embeddings" in name:
        scaled = 2.0 * unit
    else:
        scaled = 0.8 * unit
    return scaled.astype(np.float32).reshape(shape)


def write(folder, pooling=None):
    """Copies the tiny model's folder, adds its weights, and replaces the pooling if asked to."""
    shutil.copytree(FOLDER, folder, dirs_exist_ok=True)
    config = json.loads((folder / "config.json").read_text())
    tensors = {name: values(number, name, shape) for number, (name, shape) in enumerate(shapes(config).items())}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    if pooling is not None:
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


def write_tokenizer():
    """Writes the committed tokenizer.json: letters, digits, a few words; with padding and truncation that must be ignored."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    words = ["find", "text", "red", "shoe", "shoes", "##s", "##ing", "a", ":", ".", ",", "!", "猫"]
    pieces = specials + list(letters) + ["##" + letter for letter in letters] + words
    vocabulary = {}
    for piece in pieces:
        vocabulary.setdefault(piece, len(vocabulary))
    special = lambda name: {"id": name, "ids": [vocabulary[name]], "tokens": [name]}
    token = lambda name: {"SpecialToken": {"id": name, "type_id": 0}}
    tokenizer = {
        "version": "1.0",
        "truncation": {"max_length": 5, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": {
            "strategy": {"Fixed": 5}, "direction": "Right", "pad_to_multiple_of": None,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]",
        },
        "added_tokens": [
            {"id": vocabulary[name], "content": name, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True}
            for name in specials
        ],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, token("[SEP]")],
            "pair": [token("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, token("[SEP]"),
                     {"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
            "special_tokens": {"[CLS]": special("[CLS]"), "[SEP]": special("[SEP]")},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary},
    }
    (FOLDER / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False, indent=1) + "\n")
    return len(vocabulary)


if __name__ == "__main__":
    print(write_tokenizer())
