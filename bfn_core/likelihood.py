"""Code lengths of data under a BFN, estimated with their standard errors.

−ELBO = L^n + L^r (20), or L^∞ + L^r: nats per example that Alice pays to send x. Both terms are
averages over random times and messages, so an estimate comes with its standard error.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from bfn_core.batches import batches_of
from bfn_core.beliefs import Condition, Data, first, told
from bfn_core.checks import whole
from bfn_core.model import BFN, stratified
from bfn_core.modes import evaluating
from bfn_core.numerics import wide


@dataclass(frozen=True)
class Estimate:
    """A mean and its standard error.

    Attributes:
        mean: nats per example, unless scaled.
        standard_error: of the mean, over examples; NaN for a single example.
        count: examples.
    """

    mean: float
    standard_error: float
    count: int

    @classmethod
    def of(cls, values: Tensor) -> "Estimate":
        """From one value per example, (N,).

        Raises:
            ValueError: there is none.
        """
        if len(values) == 0:
            raise ValueError("values must hold at least one value, got none")
        values = wide(values)
        error = values.std() / math.sqrt(len(values)) if len(values) > 1 else math.nan
        return cls(float(values.mean()), float(error), len(values))

    def scaled(self, factor: float) -> "Estimate":
        return Estimate(self.mean * factor, self.standard_error * abs(factor), self.count)

    def bits(self, variables: int = 1) -> "Estimate":
        """Nats per example as bits per variable: per dimension, or per character."""
        return self.scaled(1.0 / (variables * math.log(2.0)))

    def __str__(self) -> str:
        return f"{self.mean:.4g} ± {self.standard_error:.2g}"


@dataclass(frozen=True)
class ELBO:
    """A code length and its two parts, in nats per example.

    Attributes:
        messages: L^n, or L^∞.
        reconstruction: L^r.
        total: their sum, −ELBO.
        n: number of messages, None for L^∞.
    """

    messages: Estimate
    reconstruction: Estimate
    total: Estimate
    n: int | None


@torch.no_grad()
def elbo(
    bfn: BFN, data: Data | Iterable[Tensor], n: int | None = None,
    *, repeats: int = 1, batch_size: int = 256, condition: Condition = None,
    generator: Generator | None = None,
) -> ELBO:
    """Estimate −ELBO over a data set.

    Each example is costed `repeats` times and averaged; the standard error is over examples. Its
    times are evenly spread, which lowers the error more than independent ones would. They are
    also stratified within a batch, which makes the true error a little smaller than the one stated.

    Args:
        bfn: the model; evaluated without dropout, and left in the mode it was in.
        data: (N, *shape), for mixed data a dict; or an iterable of batches of it; a batch may be a
            list or tuple of one tensor, as a DataLoader over a TensorDataset(x) makes it.
        n: number of messages; None for the continuous-time loss.
        repeats: draws per example, at least 1.
        batch_size: examples at a time, where data is one tensor, or a dict.
        condition: what the network is told, (N, …) or a dict; not with an iterable of batches.
        generator: for every draw.

    Raises:
        ValueError: no data or data of another kind, conditions that are not as many, a number below
            1, or costs that are no numbers,
            as a network that has diverged makes them.
    """
    repeats, batch_size = whole("repeats", repeats), whole("batch_size", batch_size)
    n = None if n is None else whole("n", n)
    batches = batches_of(data, condition, batch_size)

    def message_costs(x: Data, options: dict) -> list[Tensor]:
        start = stratified(len(first(x)), like=bfn._times_like(x), generator=generator)
        times = [(start + repeat / repeats) % 1.0 for repeat in range(repeats)]
        if n is None:
            return [bfn.loss(x, t, **options) for t in times]
        steps = [(t * n).long().clamp(max=n - 1) + 1 for t in times]
        return [bfn.loss_n(x, n, i, **options) for i in steps]

    messages, reconstruction = [], []
    with evaluating(bfn):
        for x, part in batches:
            options = {"generator": generator, **told(part)}
            costs = message_costs(x, options)
            finals = [bfn.reconstruction_loss(x, **options) for _ in range(repeats)]
            messages.append(torch.stack(costs))
            reconstruction.append(torch.stack(finals))
    if not messages or sum(part.shape[1] for part in messages) == 0:
        raise ValueError("data must hold at least one example, got none")
    # In float64, and only now, so that no batch waits for the device.
    sent, rest = (wide(torch.cat(part, 1)).mean(0) for part in (messages, reconstruction))
    for name, part in (("messages", sent), ("reconstruction", rest)):
        if wrong := int(part.isnan().sum()):
            raise ValueError(
                f"the cost of the {name} is not a number for {wrong:,} of {len(part):,} examples: "
                "the network's output holds NaN, or numbers too large"
            )
    return ELBO(Estimate.of(sent), Estimate.of(rest), Estimate.of(sent + rest), n)
