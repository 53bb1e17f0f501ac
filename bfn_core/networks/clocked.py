"""A network for rows of a table, which is told the time of each column."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from bfn_core.clocks import Retimed
from bfn_core.data.iris_and_wine import LABEL, Scale, Table
from bfn_core.flows import ContinuousFlow, DiscreteFlow
from bfn_core.mixed import MixedFlow
from bfn_core.networks.mlp import MLP
from bfn_core.own_clocks import OwnClocks
from bfn_core.schedules import GeometricSchedule, QuadraticSchedule
from bfn_core.training.brief import fit

SIGMA_1, BETA_1 = 0.05, 3.0
PATHS = {"together": (1.0, 1.0), "class lags": (1.0, 3.0), "numbers lag": (3.0, 1.0)}


def table_flow(table: Table, path: str = "together") -> MixedFlow:
    """A part for each column; by the powers of `PATHS` numbers or the class may lag behind."""
    one, other = PATHS[path]
    numbers = ContinuousFlow(schedule=Retimed(GeometricSchedule(SIGMA_1), one))
    kinds = DiscreteFlow(len(table.classes), schedule=Retimed(QuadraticSchedule(BETA_1), other))
    if path == "together":
        numbers, kinds = ContinuousFlow(SIGMA_1), DiscreteFlow(len(table.classes), BETA_1)
    return MixedFlow(**dict.fromkeys(table.names, numbers), **{LABEL: kinds})


def table_model(table: Table, scale: Scale, *, hidden: int = 96, depth: int = 2) -> OwnClocks:
    """An untrained model of a table's rows."""
    flow = table_flow(table)
    spread = dict(zip(table.names, scale.scaled(table.numbers).std(0).tolist(), strict=True))
    network = TableNetwork(ContinuousFlow(SIGMA_1).gamma, spread, {LABEL: len(table.classes)},
                           hidden=hidden, depth=depth)
    return OwnClocks(flow, network)


def train(bfn: OwnClocks, x: dict[str, Tensor], steps: int, *, seed: int = 0) -> list[float]:
    """Train with `loss_apart`, 128 rows at a time; returns the mean loss of each step."""
    count = len(next(iter(x.values())))

    def draw(rng: Generator) -> dict[str, Tensor]:
        rows = torch.randint(count, (128,), generator=rng)
        return {name: column[rows] for name, column in x.items()}

    return fit(bfn, draw, steps, seed=seed, price=lambda b, rng: bfn.loss_apart(b, generator=rng))


class TableNetwork(nn.Module):
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
