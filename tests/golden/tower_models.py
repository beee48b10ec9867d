"""Dual encoders small enough to be made in a test: weights and pictures by formulas that tests/it/encoder/towers/ repeats."""

import numpy as np


def hashed(seed, count):
    """Element i: a 32-bit hash of seed and i in [-0.5, 0.5)."""
    mask = np.uint64(0xFFFFFFFF)
    values = (np.arange(count, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(seed)) & mask
    values ^= values >> np.uint64(15)
    values = (values * np.uint64(2246822519)) & mask
    values ^= values >> np.uint64(13)
    return values.astype(np.float64) / 2.0**32 - 0.5


def seed_of(name):
    """FNV-1a, 32 bits."""
    seed = 2166136261
    for byte in name.encode():
        seed = ((seed ^ byte) * 16777619) & 0xFFFFFFFF
    return seed


def weight(name, shape):
    """The numbers of a tensor: a hash of its name and position, scaled by the kind of tensor."""
    unit = hashed(seed_of(name), int(np.prod(shape)))
    if name.endswith("bias"):
        scaled = 0.2 * unit
    elif len(shape) == 1 and name.endswith("weight"):
        scaled = 1.0 + 0.5 * unit
    elif len(shape) < 2 or (len(shape) < 4 and any(word in name for word in ["embed", "token", "probe"])):
        scaled = 2.0 * unit
    else:
        scaled = 4.5 * unit / np.sqrt(np.prod(shape[1:]))
    return scaled.astype(np.float32).reshape(shape)


def picture(number, height, width):
    """RGB bytes: slow waves with some noise, so that resampling and cropping leave marks."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    channels = []
    for channel in range(3):
        wave = np.sin(rows * (0.11 + 0.07 * channel) + number) + np.cos(columns * (0.13 + 0.05 * number) - channel)
        noise = hashed(1000 * number + channel, height * width).reshape(height, width)
        channels.append(np.clip(np.floor(127.5 + 50.0 * wave + 40.0 * noise), 0, 255))
    return np.stack(channels, axis=-1).astype(np.uint8)
