"""Writes towers.json (configurations and tensor shapes) and towers.safetensors: what transformers and open_clip make of pictures and
texts with every dual encoder that is built, on weights by a formula."""

import json
import pathlib
import string
import tempfile

import numpy as np
import torch
import transformers as hf
from PIL import Image
from safetensors.numpy import load_file, save_file
from sentence_transformers import SentenceTransformer
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

import tiny_model
from tower_models import picture, weight

HERE = pathlib.Path(__file__).parent
TEXTS = ["", "a red shoe", "shoes", "find red shoes " * 12, "Find the text: RED, red_shoe!", "猫 a shoe", "x <|endoftext|> y"]
# Height and width of pictures that go through the preprocessing.
SIZES = [(24, 24), (40, 31), (27, 64)]
VISION = dict(hidden_size=48, intermediate_size=56, num_hidden_layers=2, num_attention_heads=3, image_size=24, patch_size=8)
TEXT = dict(hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=16)
BERT = dict(hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=24, vocab_size=88)
CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def clip_tokenizer():
    """CLIP's kind of tokenizer with a handful of merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("r", "e"), ("re", "d</w>"), ("s", "h"), ("o", "e"), ("sh", "oe"), ("sh", "oe</w>"), ("oe", "s</w>"), ("f", "i"), ("fi", "n")]
    pieces = alphabet + [letter + "</w>" for letter in alphabet] + [a + b for a, b in merges]
    pieces = list(dict.fromkeys(pieces)) + ["oe</w>", "<|startoftext|>", "<|endoftext|>"]
    merges.insert(4, ("o", "e</w>"))
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<|endoftext|>", end_of_word_suffix="</w>", continuing_subword_prefix=""))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    words = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(words), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    end, start = vocabulary["<|endoftext|>"], vocabulary["<|startoftext|>"]
    tokenizer.post_processor = processors.RobertaProcessing(("<|endoftext|>", end), ("<|startoftext|>", start), False, False)
    tokenizer.add_special_tokens([AddedToken("<|startoftext|>", special=True), AddedToken("<|endoftext|>", special=True)])
    return tokenizer


def siglip_tokenizer():
    """A unigram tokenizer that ends texts with </s>; the padding is no default id."""
    pieces = ["<pad>", "</s>", "<unk>", "▁"] + list(string.ascii_lowercase) + ["▁red", "▁shoe", "shoe", "▁a", "find", "s"]
    pieces = list(dict.fromkeys(pieces))
    tokenizer = Tokenizer(models.Unigram([(piece, -1.0 - 0.01 * number) for number, piece in enumerate(pieces)], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in ["<pad>", "</s>", "<unk>"]])
    return tokenizer


def canonical(text):
    kept = text.lower().translate(str.maketrans("", "", string.punctuation))
    return " ".join(kept.split())


def rows(tokenizer, limit, texts, words_only):
    """Ids of every text alone. `words_only`: special tokens that a text spells out are words."""
    tokenizer = Tokenizer.from_str(tokenizer.to_str())
    tokenizer.enable_truncation(limit)
    tokenizer.encode_special_tokens = words_only
    return [tokenizer.encode(text).ids for text in texts]


def drawn(names):
    return {name: weight(name, tuple(tensor.shape)) for name, tensor in names.items()}


def redraw(model):
    """Gives every tensor the numbers of the formula, by its name in the published file; gives names and shapes for the test."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        path = pathlib.Path(folder) / "model.safetensors"
        tensors = drawn(load_file(path))
        save_file(tensors, path, metadata={"format": "pt"})
        model = type(model).from_pretrained(folder, **({"add_pooling_layer": False} if isinstance(model, hf.ViTModel) else {}))
    return model, {name: list(values.shape) for name, values in tensors.items()}


def normalised(pictures, mean, std):
    """Pictures of the network's own size, straight to its input."""
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255.0
    return (pixels - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)


def processed(processor):
    """Pictures of all sizes through the family's own code on PIL."""
    files = [Image.fromarray(picture(10 + number, *size)) for number, size in enumerate(SIZES)]
    return processor(images=files, return_tensors="pt")["pixel_values"]


models_out, tensors_out = {}, {}


def record(name, model, processor, size, embed_image, embed_texts, **entry):
    """Runs the references for one model."""
    model.eval()
    direct = normalised([picture(number, size, size) for number in range(3)], entry.pop("mean"), entry.pop("std"))
    with torch.no_grad():
        images, files = embed_image(direct), embed_image(processed(processor)) if processor is not None else None
        texts = embed_texts()
    for kind, value in [("images", images), ("files", files), ("texts", texts)]:
        if value is not None:
            tensors_out[f"{name}.{kind}"] = np.ascontiguousarray(value.numpy(), dtype=np.float32)
    models_out[name] = entry | {"size": size}


def one_by_one(ids, run):
    return torch.cat([run(torch.tensor([row])) for row in ids])


def config_of(model):
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return json.loads((pathlib.Path(folder) / "config.json").read_text())


def preprocessor_of(processor):
    with tempfile.TemporaryDirectory() as folder:
        processor.save_pretrained(folder)
        return json.loads((pathlib.Path(folder) / "preprocessor_config.json").read_text())


clip_words, siglip_words = clip_tokenizer(), siglip_tokenizer()
bert_words = Tokenizer.from_file(str(tiny_model.FOLDER / "tokenizer.json"))
bert_words.no_padding()
n_clip = clip_words.get_vocab_size()


def add_clip(name, eos, size=24, **changes):
    text = TEXT | dict(vocab_size=n_clip, eos_token_id=eos, bos_token_id=n_clip - 2, pad_token_id=1)
    model = hf.CLIPModel(hf.CLIPConfig(text_config=text | changes, vision_config=VISION | changes, projection_dim=20))
    model, shapes = redraw(model)
    processor = hf.CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    resize = dict(interpolate_pos_encoding=True) if size != 24 else {}
    record(
        name, model, processor, size,
        lambda pixels: model.get_image_features(pixel_values=pixels, **resize).pooler_output,
        lambda: one_by_one(rows(clip_words, 16, TEXTS, True), lambda ids: model.get_text_features(input_ids=ids).pooler_output),
        mean=CLIP_MEAN, std=CLIP_STD, tokenizer="clip", config=config_of(model), preprocessor=preprocessor_of(processor), shapes=shapes,
    )


add_clip("clip", n_clip - 1)
add_clip("clip_largest_id", 2, hidden_act="gelu")
add_clip("clip_larger_pictures", n_clip - 1, size=40)


def add_siglip():
    text = TEXT | dict(vocab_size=siglip_words.get_vocab_size(), projection_size=48, pad_token_id=1, bos_token_id=0, eos_token_id=1)
    model = hf.SiglipModel(hf.SiglipConfig(text_config=text, vision_config=VISION))
    model, shapes = redraw(model)
    processor = hf.SiglipImageProcessorPil(size={"height": 24, "width": 24})
    ids = [row + [0] * (16 - len(row)) for row in rows(siglip_words, 16, [canonical(text) for text in TEXTS], True)]
    record(
        "siglip", model, processor, 24,
        lambda pixels: model.get_image_features(pixel_values=pixels).pooler_output,
        lambda: one_by_one(ids, lambda ids: model.get_text_features(input_ids=ids).pooler_output),
        mean=[0.5] * 3, std=[0.5] * 3, tokenizer="siglip", tokenizer_config={"tokenizer_class": "SiglipTokenizer", "pad_token": "<pad>"},
        config=config_of(model), preprocessor=preprocessor_of(processor), shapes=shapes,
    )


add_siglip()


def add_bert_pair(name, model, processor, mean, std):
    model, shapes = redraw(model)
    record(
        name, model, processor, 24,
        lambda pixels: model.get_image_features(pixel_values=pixels).pooler_output,
        lambda: one_by_one(
            rows(bert_words, 24, TEXTS, True),
            lambda ids: model.get_text_features(input_ids=ids, attention_mask=torch.ones_like(ids)).pooler_output,
        ),
        mean=mean, std=std, tokenizer="bert", config=config_of(model), preprocessor=preprocessor_of(processor), shapes=shapes,
    )


add_bert_pair(
    "chinese_clip", hf.ChineseCLIPModel(hf.ChineseCLIPConfig(text_config=BERT, vision_config=VISION, projection_dim=20)),
    hf.ChineseCLIPImageProcessorPil(size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24}), CLIP_MEAN, CLIP_STD,
)
pair = hf.VisionTextDualEncoderConfig.from_vision_text_configs
add_bert_pair(
    "vit_and_bert", hf.VisionTextDualEncoderModel(pair(hf.ViTConfig(**VISION), hf.BertConfig(**BERT), projection_dim=20)),
    hf.ViTImageProcessorPil(size={"height": 24, "width": 24}), [0.5] * 3, [0.5] * 3,
)
add_bert_pair(
    "clip_and_bert", hf.VisionTextDualEncoderModel(pair(hf.CLIPVisionConfig(**VISION), hf.BertConfig(**BERT), projection_dim=20)),
    hf.CLIPImageProcessorPil(size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24}), CLIP_MEAN, CLIP_STD,
)


def add_pictor():
    model = hf.ViTModel(hf.ViTConfig(**VISION), add_pooling_layer=False)
    model, shapes = redraw(model)
    shapes |= {"visual_projection.weight": [32, 48]}
    projection = torch.from_numpy(weight("visual_projection.weight", (32, 48)))
    processor = hf.ViTImageProcessorPil(size={"height": 24, "width": 24})
    with tempfile.TemporaryDirectory() as folder:
        tiny_model.write(pathlib.Path(folder))
        sentences = SentenceTransformer(folder, device="cpu")
        texts = torch.from_numpy(sentences.encode(TEXTS, prompt_name="passage", normalize_embeddings=True))
    record(
        "pictor", model, processor, 24,
        lambda pixels: model(pixel_values=pixels).last_hidden_state[:, 0] @ projection.T,
        lambda: texts, mean=[0.5] * 3, std=[0.5] * 3, tokenizer="bert", config=config_of(model),
        preprocessor=preprocessor_of(processor), shapes=shapes,
    )


add_pictor()


def add_open_clip():
    import open_clip

    vision = dict(image_size=24, layers=2, width=48, head_width=16, patch_size=8, mlp_ratio=1.25)
    text = dict(context_length=16, vocab_size=n_clip, width=32, heads=2, layers=2, mlp_ratio=1.25)
    model = open_clip.CLIP(20, vision, text, quick_gelu=True)
    tensors = drawn(model.state_dict())
    model.load_state_dict({name: torch.from_numpy(values) for name, values in tensors.items()})
    shapes = {name: list(values.shape) for name, values in tensors.items()}
    config = {
        "model_cfg": {"embed_dim": 20, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text},
        "preprocess_cfg": {"mean": CLIP_MEAN, "std": CLIP_STD, "interpolation": "bicubic", "resize_mode": "shortest"},
    }
    ids = [row + [0] * (16 - len(row)) for row in rows(clip_words, 16, TEXTS, True)]
    transform = open_clip.image_transform(24, is_train=False, mean=CLIP_MEAN, std=CLIP_STD, interpolation="bicubic", resize_mode="shortest")

    def processor(images, return_tensors):
        return {"pixel_values": torch.stack([transform(image) for image in images])}

    record(
        "open_clip", model, processor, 24, model.encode_image, lambda: one_by_one(ids, model.encode_text),
        mean=CLIP_MEAN, std=CLIP_STD, tokenizer="clip", open_clip_config=config, shapes=shapes,
    )


add_open_clip()

tokenizers_out = {"clip": json.loads(clip_words.to_str()), "siglip": json.loads(siglip_words.to_str())}
(HERE / "towers.tokenizers.json").write_text(json.dumps(tokenizers_out, ensure_ascii=False))
(HERE / "towers.json").write_text(json.dumps({"texts": TEXTS, "sizes": SIZES, "models": models_out}, ensure_ascii=False, separators=(",", ":")))
save_file(tensors_out, HERE / "towers.safetensors", metadata={"script": "tests/golden/towers.py"})
print({name: tensor.shape for name, tensor in tensors_out.items()})
