"""Attention of every position to every other, as the U-Net and the transformer use it."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def attend(qkv: Tensor, heads: int, turns: Tensor | None = None) -> Tensor:
    """Queries, keys and values side by side, (B, L, 3 · width) -> what was read, (B, L, width).

    Under autocast on a CPU the formula is written out: the gradient of torch's kernel takes several
    times as long there.

    Args:
        heads: a divisor of width.
        turns: what `rotations` gives, if queries and keys are to be turned by their positions.
    """
    q, k, v = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)  # (B, heads, L, head)
    if turns is not None:
        q, k = turned(q, turns), turned(k, turns)
    if qkv.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        h = scores.softmax(-1) @ v
    else:
        h = F.scaled_dot_product_attention(q, k, v)
    return h.transpose(1, 2).flatten(2)


def rotations(length: int, head: int, slowest: float = 1000.0) -> Tensor:
    """Cosines and sines of the angles of rotary positions, (2, length, head).

    Numbers j and j + head/2 of a query or key at position l are turned, as a point of a plane, by
    l · slowest^(−2j/head): a query times a key then depends on how far apart they stand, and on
    nothing else of where. head is even. Source: Su et al. 2021, "RoFormer", arXiv 2104.09864.
    """
    speeds = slowest ** (-torch.arange(0, head, 2) / head)
    angles = torch.arange(length)[:, None] * speeds.repeat(2)
    return torch.stack([angles.cos(), angles.sin()])


def turned(x: Tensor, turns: Tensor) -> Tensor:
    """x, (B, heads, L, head), with each position turned as `rotations` says."""
    cos, sin = turns.to(x.dtype)
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


Layer = TypeVar("Layer", bound=nn.Module)


def zeroed(layer: Layer) -> Layer:
    """The layer with all its parameters 0: what it is added to passes unchanged at first."""
    for weight in layer.parameters():
        nn.init.zeros_(weight)
    return layer
