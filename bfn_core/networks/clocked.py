"""A network for rows of a table, which is told the time of each column."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bfn_core.networks.mlp import MLP


class ClockedNetwork(nn.Module):
    """Guesses the columns of a row: reads and writes a dict of them, and reads each one's time.

    Numbers are (B, 1) each, classes (B, 1, K). A residual MLP over all of it side by side. As in
    `PointNetwork`, a number is read in units of its own spread, and of its noise only what is not
    plain from the belief is left to learn (Karras et al. 2022, arXiv 2206.00364).

    Args:
        gamma: γ(t) of the numbers' flow.
        spread: standard deviation of each number, by name.
        classes: how many classes a column has, by name.
        hidden, depth, dropout: of the MLP.
    """

    def __init__(
        self, gamma: Callable[[Tensor], Tensor], spread: dict[str, float],
        classes: dict[str, int], *, hidden: int = 128, depth: int = 2, dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.gamma, self.numbers, self.classes = gamma, list(spread), classes
        self.spread: Tensor
        self.register_buffer("spread", torch.tensor([*spread.values()]))
        count = len(spread) + sum(classes.values())
        clocks = 2 * len(spread) + 2 * len(classes)
        self.body = MLP(count + clocks, (count,), hidden=hidden, depth=depth, dropout=dropout,
                        frequencies=0)

    def forward(self, inputs: dict[str, Tensor], times: dict[str, Tensor]) -> dict[str, Tensor]:
        first = next(iter(times.values()))
        gamma = torch.ones(len(first), 0)
        read, clocks = [], []
        if self.numbers:
            t = torch.stack([times[name] for name in self.numbers], 1)
            gamma = self.gamma(t).clamp(1e-9, 1 - 1e-6)
            whole = 1 - gamma + gamma * self.spread**2  # variance of v = μ/√γ
            v = torch.cat([inputs[name] for name in self.numbers], 1) / gamma.sqrt()
            scale = self.spread * (gamma / whole).sqrt()
            read += [v / whole.sqrt()]
            clocks += [t, scale]
        for name, k in self.classes.items():
            read.append(inputs[name].flatten(1) * k - 1)
            clocks += [times[name].unsqueeze(1), times[name].unsqueeze(1).sqrt()]
        raw = self.body(torch.cat(read + clocks, 1), first)
        moved, *logits = raw.split([len(self.numbers), *self.classes.values()], 1)
        out = {}
        if self.numbers:
            noise = (1 - gamma).sqrt() * v / whole - scale * moved
            out = dict(zip(self.numbers, noise.split(1, 1), strict=True))
        for (name, _), own in zip(self.classes.items(), logits, strict=True):
            out[name] = own.unsqueeze(1) + inputs[name].clamp(min=1e-9).log()
        return out
