"""Writes adamw.json: five steps of torch's AdamW with a clipped norm, for tests/it/train/optimiser.rs.

Parameters and gradients are formulas that the test repeats. Run: python tests/golden/adamw.py > tests/golden/adamw.json
"""

import json
import math

import torch


def formula(seed, shape):
    values = [math.sin(seed + 0.7 * index) for index in range(math.prod(shape))]
    return torch.tensor(values, dtype=torch.float64).reshape(shape)


def main():
    matrix = torch.nn.Parameter(formula(1.0, (3, 4)))
    vector = torch.nn.Parameter(formula(2.0, (4,)))
    groups = [{"params": [matrix], "weight_decay": 0.1}, {"params": [vector], "weight_decay": 0.0, "lr": 0.005}]
    optimiser = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.98), eps=1e-8)
    norms = []
    for step in range(5):
        matrix.grad, vector.grad = formula(3.0 + step, (3, 4)) * 2, formula(4.0 + step, (4,)) * (0.01 if step == 2 else 1)
        norms.append(torch.nn.utils.clip_grad_norm_([matrix, vector], 1.0).item())
        optimiser.step()
    result = {"torch": torch.__version__, "norms": norms, "matrix": matrix.tolist(), "vector": vector.tolist()}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
