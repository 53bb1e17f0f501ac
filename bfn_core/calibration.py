"""Whether p_O is as sure as it may be: held against the data at chosen times.

L^∞ for numbers sees only the mean of p_O, and a loss that falls says nothing of whether a guess of
70 per cent comes true in 70 of 100 cases. The sampler draws from p_O and L^n charges for all of it,
so it matters. For each time the belief is drawn from the flow, p_O is made of it, and the true x is
looked up in p_O.

    coverage(bfn, x, times=(0.1, 0.5))       numbers in bins: is x as often inside as it should be?
    reliability(bfn, x, times=(0.1, 0.5))    classes: do guesses of p come true in a share p?

Standard errors are over examples, whose variables do not err independently. Variables that are
absent (`MissingFlow`) are left out.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor
from torch.distributions import Distribution

from bfn_core.beliefs import Condition, Data, cut, first, told
from bfn_core.checks import whole
from bfn_core.distributions import Binned, Categorical, DiscretisedNormal
from bfn_core.likelihood import Estimate
from bfn_core.missing import MissingFlow
from bfn_core.model import BFN
from bfn_core.modes import evaluating
from bfn_core.numerics import in_rows

PARTS = 20  # of [0, 1], in which ranks are counted


@dataclass(frozen=True)
class Coverage:
    """How often x lies in the middle of p_O, for each of some times.

    Attributes:
        times: t.
        levels: probabilities that the middle of p_O holds, such as 0.5.
        shares: for each time and level the share of x inside, which is the level if p_O is right;
            above it p_O is too wide, below it too narrow.
        ranks: (T, 20), the share of x in each twentieth of p_O; 1/20 everywhere if it is right.
        bits: for each time −log₂ p_O(x | θ; t) of a variable.
    """

    times: tuple[float, ...]
    levels: tuple[float, ...]
    shares: tuple[tuple[Estimate, ...], ...]
    ranks: Tensor
    bits: tuple[Estimate, ...]

    @property
    def worst(self) -> float:
        """The largest distance of a share from its level."""
        return max(abs(share.mean - level) for row in self.shares
                   for share, level in zip(row, self.levels, strict=True))


@dataclass(frozen=True)
class Reliability:
    """How often guesses come true, for each of some times and of some ranges of probability.

    A guess is that of class 1 where there are two classes, else that of the most likely class.

    Attributes:
        times: t.
        edges: (P + 1,), of the ranges of probability.
        guessed: (T, P), mean probability of the guesses in each range; NaN where there is none.
        true: (T, P), the share of them that came true.
        standard_error: (T, P), of that share.
        weight: (T, P), the share of all guesses that lie in each range; each row sums to 1.
    """

    times: tuple[float, ...]
    edges: Tensor
    guessed: Tensor
    true: Tensor
    standard_error: Tensor
    weight: Tensor

    @property
    def gap(self) -> Tensor:
        """(T,), the mean distance of guesses from what came true, their expected calibration
        error. Chance alone makes it a little larger than 0.
        """
        return (self.weight * (self.guessed - self.true).abs()).nansum(1)

    def first(self, count: int) -> "Reliability":
        """That of the first `count` times."""
        columns = (getattr(self, name)[:count] for name in _COLUMNS)
        return Reliability(self.times[:count], self.edges, *columns)

    def row(self) -> dict[str, Any]:
        """As JSON can hold it, for a record; null where there is no guess."""
        rows = {_in_words(name): [[None if math.isnan(value) else float(f"{value:.6g}")
                                   for value in row] for row in getattr(self, name).tolist()]
                for name in _COLUMNS}
        edges = [float(f"{edge:.6g}") for edge in self.edges.tolist()]
        gap = [round(gap, 6) for gap in self.gap.tolist()]
        return {"t": list(self.times), "edges": edges, **rows, "gap": gap}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Reliability":
        """What `row` wrote."""
        columns = (torch.tensor([[math.nan if value is None else value for value in line]
                                 for line in row[_in_words(name)]]) for name in _COLUMNS)
        return cls(tuple(row["t"]), torch.tensor(row["edges"]), *columns)


_COLUMNS = ("guessed", "true", "standard_error", "weight")


def _in_words(name: str) -> str:
    return name.replace("_", " ")


@torch.no_grad()
def coverage(
    bfn: BFN, x: Data, times: Iterable[float], levels: Iterable[float] = (0.5, 0.9),
    *, part: str | None = None, condition: Condition = None, batch_size: int = 64,
    generator: Generator | None = None,
) -> Coverage:
    """How often x lies inside the middle of p_O, for data in bins.

    x's rank in p_O is P(below its bin) + v P(its bin) with v uniform in [0, 1): drawn anew for
    every variable, so that the rank is exactly uniform if p_O is right, however few the bins
    (the randomised probability integral transform). x is in the middle that holds a probability c
    where its rank is within c/2 of ½.

    Args:
        bfn: the model, whose p_O is over bins; evaluated without dropout.
        x: data, (N, *shape), for mixed data a dict.
        times: t, each in [0, 1].
        levels: c, each in (0, 1).
        part: of mixed data, the one that is looked at.
        condition: what the network is told, (N, …) or a dict.
        batch_size: examples at a time.
        generator: for beliefs and ranks.

    Raises:
        ValueError: x, a time or a level is not valid, or p_O is not over bins.
    """
    times, levels = _several("times", times, 0.0, 1.0), _several("levels", levels, 0.0, 1.0)
    shares, ranks, bits = [], [], []
    for t in times:
        found = [_ranks(*guess, generator)
                 for guess in _guesses(bfn, x, t, part, condition, batch_size, generator)]
        rank, cost, there = (torch.cat([each[i] for each in found]).cpu() for i in range(3))
        inside = [((rank - 0.5).abs() < level / 2).double() for level in levels]
        shares.append(tuple(_mean(each, there) for each in inside))
        kept = rank[there]
        ranks.append(torch.histc(kept.float(), PARTS, 0.0, 1.0) / kept.numel())
        bits.append(_mean(cost, there).bits())
    return Coverage(times, levels, tuple(shares), torch.stack(ranks), tuple(bits))


@torch.no_grad()
def reliability(
    bfn: BFN, x: Data, times: Iterable[float], parts: int = 10,
    *, part: str | None = None, condition: Condition = None, batch_size: int = 64,
    generator: Generator | None = None,
) -> Reliability:
    """How often guesses of each probability come true, for classes.

    Args:
        bfn: the model, whose p_O is over classes; evaluated without dropout.
        x: data, (N, *shape), for mixed data a dict; at least two examples.
        times: t, each in [0, 1].
        parts: P, into which [0, 1] is cut evenly.
        part: of mixed data, the one that is looked at.
        condition: what the network is told, (N, …) or a dict.
        batch_size: examples at a time.
        generator: for beliefs.

    Raises:
        ValueError: x, a time or `parts` is not valid, or p_O is not over classes.

    Source of the diagram: Guo et al. 2017, "On Calibration of Modern Neural Networks",
    arXiv 1706.04599.
    """
    times, parts = _several("times", times, 0.0, 1.0), whole("parts", parts)
    rows = []
    for t in times:
        sums = torch.cat([
            _counts(*guess, parts)
            for guess in _guesses(bfn, x, t, part, condition, batch_size, generator)
        ])  # (N, 3, P)
        count, guessed, true = sums.sum(0)
        share = true / count
        # Of a ratio of two sums over examples: how each example departs from the common share.
        departure = sums[:, 2] - share * sums[:, 0]
        n = len(sums)
        error = (departure.square().sum(0) * (n / max(n - 1, 1))).sqrt() / count
        rows.append((guessed / count, share, error, count / count.sum()))
    columns = (torch.stack(column) for column in zip(*rows, strict=True))
    return Reliability(times, torch.linspace(0, 1, parts + 1), *columns)


def _several(name: str, values: Iterable[float], low: float, high: float) -> tuple[float, ...]:
    """Numbers from low to high, at least one.

    Raises:
        ValueError: naming them.
    """
    found = tuple(float(value) for value in values)
    if not found or not all(low <= value <= high for value in found):
        raise ValueError(f"{name} must be numbers from {low:g} to {high:g}, got {found}")
    return found


def _guesses(
    bfn: BFN, x: Data, t: float, part: str | None, condition: Condition, batch_size: int,
    generator: Generator | None,
) -> Iterator[tuple[Tensor, Tensor, Distribution]]:
    """x, which of its variables are there, and p_O at time t, for one batch after the other."""
    bfn.flow.check(x)
    for start in range(0, len(first(x)), whole("batch_size", batch_size)):
        piece = slice(start, start + batch_size)
        batch, beside = cut(x, piece), told(cut(condition, piece))
        theta = bfn.flow.sample_flow(batch, t, generator)
        with evaluating(bfn):
            output = bfn.output(theta, t, **beside)
        if isinstance(batch, dict):
            if part not in batch:
                raise ValueError(f"part must be one of {', '.join(batch)}, got {part!r}")
            batch, output = batch[part], output[part]
        flow = bfn.flow if part is None else bfn.flow.flows[part]
        there = torch.ones_like(batch, dtype=torch.bool)
        if isinstance(flow, MissingFlow):
            batch, there = flow.parts(batch)
        yield batch, there, output


def _mean(values: Tensor, there: Tensor) -> Estimate:
    """Over the variables that are there, (N, D); the error is that of a ratio of two sums."""
    mean, share = values[there].mean(), there.double().mean()
    found = Estimate.of(torch.where(there, values, mean).mean(1))
    return replace(found, standard_error=float(found.standard_error / share))


def _ranks(
    x: Tensor, there: Tensor, output: Distribution, generator: Generator | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Where in p_O each x lies, from 0 to 1, its cost in nats, and whether it is there, (B, D)."""
    if not isinstance(output, Binned | DiscretisedNormal):
        raise ValueError(f"p_O must be over bins, got {type(output).__name__}; "
                         "reliability is for classes, and a point has no width to judge")
    cost = -output.log_prob(x)
    v = torch.rand(x.shape, generator=generator, device=x.device, dtype=cost.dtype)
    rank = (output.cdf(x) - v * (-cost).exp()).clamp(0.0, 1.0)
    return in_rows(rank), in_rows(cost), in_rows(there)


def _counts(x: Tensor, there: Tensor, output: Distribution, parts: int) -> Tensor:
    """For each example and range of probability: guesses, their sum, and how many came true."""
    if not isinstance(output, Categorical):
        raise ValueError(f"p_O must be over classes, got {type(output).__name__}; "
                         "coverage is for numbers in bins")
    if output.probs.shape[-1] == 2:
        guess, true = output.probs[..., 1], x == 1
    else:
        guess, best = output.probs.max(-1)
        true = x == best
    guess, true, count = (in_rows(each.cpu().double()) for each in (guess, true, there))
    place = (guess * parts).long().clamp_(0, parts - 1)
    values = torch.stack([torch.ones_like(guess), guess, true], 1) * count.unsqueeze(1)
    sums = torch.zeros(len(x), 3, parts, dtype=torch.double)
    return sums.scatter_add_(2, place.unsqueeze(1).expand_as(values), values)
