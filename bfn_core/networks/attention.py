"""Attention of every position to every other, as the U-Net and the transformer use it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def attend(qkv: Tensor, heads: int) -> Tensor:
    """Queries, keys and values side by side, (B, L, 3 · width) -> what was read, (B, L, width).

    heads: a divisor of width. On a CPU it is computed in float32 also under autocast to bf16, in
    which the gradient of torch's kernel takes several times as long there.
    """
    q, k, v = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)  # (B, heads, L, head)
    if qkv.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        with torch.autocast("cpu", enabled=False):
            h = F.scaled_dot_product_attention(q.float(), k.float(), v.float())
    else:
        h = F.scaled_dot_product_attention(q, k, v)
    return h.transpose(1, 2).flatten(2)
