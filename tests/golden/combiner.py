"""Writes combiner.json: CLIP4Cir's Combiner and both of its losses in torch, for tests/it/compose.rs and tests/it/train/composed.rs.

The network and the losses are written from the formulas of Baldrati et al., "Composed Image Retrieval using Contrastive Learning
and Task-oriented CLIP-based Features" (TOMM 2023, arXiv 2308.11485): text and image projections with ReLU, text first in the
concatenation, an output of the residual, a sigmoid share of the text, and cross-entropy over rows at a scale of 100. Weights and
inputs are formulas that the tests repeat. Run: python tests/golden/combiner.py > tests/golden/combiner.json
"""

import json
import math

import torch
from torch.nn.functional import cross_entropy, linear, normalize, relu

D, P, H, ROWS = 6, 8, 10, 5
SHAPES = {
    "combiner_layer.bias": (H,),
    "combiner_layer.weight": (H, 2 * P),
    "dynamic_scalar.0.bias": (H,),
    "dynamic_scalar.0.weight": (H, 2 * P),
    "dynamic_scalar.3.bias": (1,),
    "dynamic_scalar.3.weight": (1, H),
    "image_projection_layer.bias": (P,),
    "image_projection_layer.weight": (P, D),
    "output_layer.bias": (D,),
    "output_layer.weight": (D, H),
    "text_projection_layer.bias": (P,),
    "text_projection_layer.weight": (P, D),
}


def formula(seed, shape, scale):
    values = [scale * math.sin(seed + 0.7 * index) for index in range(math.prod(shape))]
    return torch.tensor(values, dtype=torch.float64).reshape(shape).requires_grad_()


def combine(w, image, text):
    layer = lambda name, x: linear(x, w[name + ".weight"], w[name + ".bias"])
    both = torch.cat([relu(layer("text_projection_layer", text)), relu(layer("image_projection_layer", image))], -1)
    residual = layer("output_layer", relu(layer("combiner_layer", both)))
    share = torch.sigmoid(layer("dynamic_scalar.3", relu(layer("dynamic_scalar.0", both))))
    return normalize(residual + share * text + (1 - share) * image, dim=-1), share.squeeze(-1)


def loss(query, targets):
    logits = 100 * query @ normalize(targets, dim=-1).T
    return cross_entropy(logits, torch.arange(len(query)))


def numbers(tensor):
    return [round(value, 12) for value in tensor.detach().flatten().tolist()]


def main():
    weights = {name: formula(number + 1.0, shape, 0.5) for number, (name, shape) in enumerate(SHAPES.items())}
    images, texts, targets = (formula(seed, (ROWS, D), scale) for seed, scale in ((100.0, 2.0), (200.0, 1.5), (300.0, 2.5)))
    composed, shares = combine(weights, images, texts)
    second = loss(composed, targets)
    second.backward()
    result = {
        "torch": torch.__version__, "dimension": D, "projection": P, "hidden": H, "rows": ROWS,
        "shapes": {name: list(shape) for name, shape in SHAPES.items()},
        "composed": numbers(composed), "lambdas": numbers(shares), "stage2_loss": second.item(),
        "stage2_gradients": {name: numbers(tensor.grad) for name, tensor in weights.items()},
        "stage2_target_gradient": numbers(targets.grad),
    }
    images.grad = texts.grad = targets.grad = None
    query = normalize(images + texts, dim=-1)
    first = loss(query, targets)
    first.backward()
    result |= {
        "sum": numbers(query), "stage1_loss": first.item(), "stage1_image_gradient": numbers(images.grad),
        "stage1_text_gradient": numbers(texts.grad), "stage1_target_gradient": numbers(targets.grad),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
