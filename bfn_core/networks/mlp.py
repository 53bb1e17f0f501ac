"""A residual MLP with time features: the plain network for small data of any kind."""

import math

import torch
from torch import Tensor, nn


def octaves(count: int) -> Tensor:
    """Frequencies of `clock`, (count,): a quarter of a turn between t = 0 and 1, a half, …"""
    return math.pi * 2.0 ** torch.arange(count) / 2


def clock(t: Tensor, frequencies: Tensor) -> Tensor:
    """What a small network reads of the time t, (B,): sines, then cosines, (B, 2 F)."""
    phase = t.unsqueeze(1) * frequencies  # (B, F)
    return torch.cat([phase.sin(), phase.cos()], 1)


class ResidualBlock(nn.Module):
    """x + MLP(norm(x))."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class MLP(nn.Module):
    """Residual blocks over a flattened belief and Fourier features of the time.

    Called as network(inputs, t): inputs (B, *shape) or (B, *shape, K), t (B,).

    Args:
        size: numbers per example that it reads; for discrete data D·K.
        outputs: shape of the raw output without the batch, such as (D, K).
        hidden: width of the blocks.
        depth: number of blocks.
        dropout: in each block.
        frequencies: pairs of sines and cosines of t.
    """

    def __init__(
        self,
        size: int,
        outputs: tuple[int, ...],
        *,
        hidden: int = 256,
        depth: int = 3,
        dropout: float = 0.0,
        frequencies: int = 4,
    ) -> None:
        super().__init__()
        self.outputs = tuple(outputs)
        self.frequencies: Tensor
        self.register_buffer("frequencies", octaves(frequencies))
        self.inlet = nn.Linear(size + 2 * frequencies, hidden)
        self.body = nn.Sequential(*[ResidualBlock(hidden, dropout) for _ in range(depth)])
        self.head = nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, math.prod(self.outputs)))

    def forward(self, inputs: Tensor, t: Tensor) -> Tensor:
        features = torch.cat([inputs.flatten(1), clock(t, self.frequencies)], 1)
        return self.head(self.body(self.inlet(features))).reshape(-1, *self.outputs)
