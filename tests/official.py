"""What the authors' code computed, for random weights and given noise, in tests/data."""

import json
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

DATA = Path(__file__).with_name("data")


def stored(name):
    """The tensors of tests/data/published_NAME.safetensors, by their names."""
    return load_file(DATA / f"published_{name}.safetensors")


def keys(file):
    """Names and shapes of all tensors in a published file, such as "mnist_ema.pt"."""
    text = (DATA / "published_keys.json").read_text("utf-8")
    return {name: tuple(shape) for name, shape in json.loads(text)[file].items()}


def by_formula(shape, key):
    """A parameter's values, made of its name alone, so that none need be stored."""
    n = math.prod(shape)
    x = np.arange(n, dtype=np.uint32) * np.uint32(0x9E3779B1)
    x += np.uint32(zlib.crc32(key.encode()))
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x85EBCA6B)
    x ^= x >> np.uint32(13)
    x *= np.uint32(0xC2B2AE35)
    x ^= x >> np.uint32(16)
    v = (2.0 * (x >> np.uint32(8)) + 1.0) / 2**24 - 1.0  # in (−1, 1)
    if len(shape) > 1:
        v *= math.sqrt(3 / (n // shape[0]))
    else:
        v = 1 + 0.3 * v if key.endswith(".weight") else 0.3 * v
    return torch.from_numpy(v.astype(np.float32)).reshape(shape)


def fill(network, prefix=""):
    """Give each parameter its values by the formula, in place; the prefix is a fixture's name."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(by_formula(parameter.shape, f"{prefix}net.{name}"))
    return network.eval()
