"""The number line on which notebooks 11 and 14 compare samplers and schedules, with known laws.

Its data are four bumps of unequal weight, told to β(1) = 2,499; beside them stands one normal, of
which more has a closed form. Without noise a sampler is a map from ε to x, and increasing: so
evenly spread quantiles of ε in place of random numbers show its error without any chance.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bfn_core.data.toy import GaussianMixture, PerfectMixture, PerfectNormal
from bfn_core.exact import ExactBFN
from bfn_core.flows import ContinuousFlow
from bfn_core.mmse import ErrorCurve, mixture_curve
from bfn_core.model import BFN
from bfn_core.samplers import Ancestral
from bfn_core.schedules import (
    CosineSchedule,
    GeometricSchedule,
    LinearSchedule,
    LogLinearSchedule,
    QuadraticSchedule,
    Schedule,
    StraightPathSchedule,
    TableSchedule,
)
from bfn_core.solvers import Solver

SIGMA_1 = 0.02
BETA_1 = SIGMA_1**-2 - 1
TOY = GaussianMixture(weights=(0.1, 0.2, 0.3, 0.4))
MEAN, STD = 0.2, 0.3  # of the one normal


@functools.cache
def perfect(points: int = 201) -> ExactBFN:
    """The perfect network of the four bumps, as so many points, in float64."""
    x, weights = TOY.grid(points)
    return ExactBFN(ContinuousFlow(SIGMA_1), x.double(), weights)


def _levels(count: int) -> Tensor:
    """½/count, 1½/count …: the middles of equally likely parts of a law, (count,) float64."""
    return (torch.arange(count, dtype=torch.float64) + 0.5) / count


def even_noise(count: int) -> Tensor:
    """ε at evenly spaced levels of N(0, 1), (count, 1), ascending."""
    return torch.special.ndtri(_levels(count)).unsqueeze(1)


def walk(
    bfn: BFN, method: Any, n: int, start: Tensor | None, *, count: int = 2000, seed: int = 0
) -> tuple[list[float], Tensor, Tensor]:
    """The way of a sampler from noise to data, of one number each.

    Args:
        bfn: of one continuous number.
        method: a Sampler; one that takes `start`, where there is one.
        n: steps.
        start: ε at t = 0, (B, 1); None for random numbers.
        count: B, where there is no start.
        seed: of what is random.

    Returns:
        Times, n + 1; v/√(1 + r²) = μ/√γ, which is ε at first and nearly x at last, (n + 1, B); and
        x̂ at the end, (B,).
    """
    rng = torch.Generator().manual_seed(seed)
    shape, options = (count, 1) if start is None else start.shape, {}
    if start is not None:
        options["start"] = start
    steps = list(method.steps(bfn, shape, n, condition=None, generator=rng, **options))
    times, paths = [step.t for step in steps], []
    for step in steps:
        share = bfn.flow.gamma(step.t)
        known = start if start is not None else torch.zeros(shape)
        paths.append(step.theta.mean / share**0.5 if share > 0 else known)
    return times, torch.stack(paths).squeeze(-1), steps[-1].output.mean.squeeze(-1)


def apart(x: Tensor, true: Tensor) -> float:
    """W₁ between samples and as many quantiles of the truth: how far, on average, to carry them.

    Args:
        x: (N,), in any order.
        true: (N,), ascending.
    """
    return float((x.double().sort().values - true).abs().mean())


@functools.cache
def quantiles(kind: str, count: int) -> Tensor:
    """(count,) evenly spread quantiles of the data: "bumps", or of x̂ for "normal" ones."""
    if kind == "normal":
        return MEAN + normal_end(STD) * even_noise(count)[:, 0]
    bfn = perfect()
    cdf = bfn.log_weights.exp().cumsum(0)
    return bfn.data[torch.searchsorted(cdf, _levels(count)).clamp(max=len(cdf) - 1), 0]


@functools.cache
def ends(kind: str, count: int) -> Tensor:
    """(count,) where exact paths lead from evenly spread noise: what a better rule comes to."""
    if kind == "normal":
        return quantiles(kind, count)
    if count <= 400:
        return walk(perfect(), Solver("midpoint"), 100, even_noise(count))[2]
    fine = ends(kind, 400)
    place = (_levels(count) * 400 - 0.5).clamp(0, 399)
    left = place.long().clamp(max=398)
    return torch.lerp(fine[left], fine[left + 1], place - left)


@functools.cache
def chance(count: int = 2000, seed: int = 0) -> float:
    """The distance of `count` random draws from the data itself: the floor of random samplers."""
    rng, bfn = torch.Generator().manual_seed(seed), perfect()
    rows = torch.multinomial(bfn.log_weights.exp(), count, replacement=True, generator=rng)
    return apart(bfn.data[rows, 0], quantiles("bumps", count))


@functools.lru_cache(4096)
def error(kind: str, method: Any, n: int) -> float:
    """W₁ of a sampler with n steps: of 200 quantiles, or of 2,000 random samples if it is noisy.

    Against where exact paths end, so that it falls to 0 with the steps, unless samples are random.
    For normal data and the ancestral sampler the exact spread is used: there is no chance in it.

    Args:
        kind: of the data, "bumps" or "normal".
        method: `Ancestral()`, a `Solver` or `FixedNoise`.
        n: steps.
    """
    ancestral = isinstance(method, Ancestral)
    if kind == "normal" and ancestral:
        return abs(ancestral_std(n) - normal_end(STD)) * (2 / math.pi) ** 0.5  # E|z| = √(2/π)
    bfn: BFN = PerfectNormal(MEAN, STD, sigma_1=SIGMA_1) if kind == "normal" else perfect()
    if kind == "bumps" and ancestral:  # the same guess; 201 points for each sample take too long
        bfn = PerfectMixture(TOY, sigma_1=SIGMA_1)
    start = None if ancestral or getattr(method, "noise", 0.0) > 0 else even_noise(200)
    x = walk(bfn, method, n, start)[2]
    return apart(x, ends(kind, len(x)))


def normal_end(std: float) -> float:
    """The standard deviation of the best estimate x̂ at t = 1 of N(m, std²) data."""
    return std**2 * BETA_1**0.5 / (1 + std**2 * BETA_1) ** 0.5


def ancestral_std(n: int, std: float = STD) -> float:
    """That of x̂ after n ancestral steps, in closed form: x̂ = a s + …, s' = s + α x̂ + √α z."""
    flow, variance, share = ContinuousFlow(SIGMA_1), 0.0, std**2
    for i in range(1, n + 1):
        alpha = flow.alpha(i, n)
        variance = (1 + alpha * share) ** 2 * variance + alpha
        share = std**2 / (1 + std**2 * flow.beta(i / n))
    return share * variance**0.5


def fixed_std(n: int, std: float, sigma_1: float = SIGMA_1) -> float:
    """Of x̂ after n steps of `FixedNoise` on N(0, std²) data: a' = τ²(β a + √β)/(1 + τ²β)."""
    flow, share = ContinuousFlow(sigma_1), 0.0
    for i in range(1, n + 1):
        beta = flow.beta(i / n)
        share = std**2 * (beta * share + beta**0.5) / (1 + std**2 * beta)
    return share


@functools.cache
def bumps_curve(points: int = 400) -> ErrorCurve:
    """What is not known of the four bumps at so many accuracies up to β(1), without chance."""
    beta = LogLinearSchedule(BETA_1, 0.05).beta(torch.linspace(0, 1, points, dtype=torch.float64))
    beta[-1] = BETA_1
    return mixture_curve(TOY, beta)


@functools.cache
def schedules() -> dict[str, Schedule]:
    """By name, all to the same β(1); two of them are made from the bumps' own curve."""
    return {
        "geometric (paper)": GeometricSchedule(SIGMA_1),
        "equal bits": bumps_curve().equal_bits(),
        "finest": bumps_curve().finest(),
        "log-SNR": LogLinearSchedule(BETA_1, 0.01),
        "quadratic": QuadraticSchedule(BETA_1),
        "flow matching": StraightPathSchedule(BETA_1),
        "cosine": CosineSchedule(BETA_1),
        "linear β": LinearSchedule(BETA_1),
    }


def bent(weights: Sequence[float]) -> TableSchedule:
    """A schedule to β(1) that spends time in these proportions on equal stretches of ln(1 + β)."""
    spent = torch.tensor([0.0, *weights], dtype=torch.float64).cumsum(0)
    told = torch.linspace(0, math.log1p(BETA_1), len(weights) + 1, dtype=torch.float64)
    return TableSchedule([*(spent / spent[-1]).tolist()[:-1], 1.0], told.expm1())
