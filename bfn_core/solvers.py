"""Fast ways from the prior to data: a belief follows an ordinary differential equation.

A BFN is a Gaussian channel. Let s be the sum of Bob's messages, each times its accuracy, and β the
accuracy that has accumulated. With ε ~ N(0, I), X what is told and κ the size of its noise,

    s = β X + √β κ ε       continuous, discretised:  s = (1 + β) μ,   X = x,      κ = 1
                           discrete:                 s = ln θ,        X = K e_x,  κ = √K

up to one number per variable in ln θ, which softmax takes out. In r = √β and v = s/r it reads
v = r X + κ ε, and the beliefs of

    dv/dr = X̂(v, r),  v(0) = κ ε,                where X̂ = E[X | θ] is x̂ = output.mean or K ê,

have at every time the law that messages give them: the probability-flow ODE, without a singularity
at t = 0. Euler's rule on it is DDIM (Song et al. 2020, arXiv 2010.02502), or BFN-Solver 1. More
exact rules need fewer steps. With a little noise in each step the law stays what it is:

    v' = r' X̂ + c (v − r X̂) + κ √(1 − c²) z,  c = (r/r')^η,  z ~ N(0, I)

is exact as long as X̂ does not change; η = 0 is the ODE, η = 1 a message of x' = x̂, the mean.

Source: Xue et al. 2024, "Unifying Bayesian Flow Networks and Diffusion Models through Stochastic
Differential Equations", arXiv 2404.15766, whose BFN-Solvers these are, but for the first step.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import Generator, Tensor

from bfn_core.beliefs import (
    CategoricalParameters,
    Condition,
    Data,
    GaussianParameters,
    Parameters,
    first,
    in_precision,
    told,
)
from bfn_core.checks import check_shape, whole, within
from bfn_core.distributions import Output
from bfn_core.flows import BayesianFlow
from bfn_core.mixed import MixedFlow
from bfn_core.model import BFN, SamplingStep
from bfn_core.modes import evaluating
from bfn_core.numerics import draw_normal

RULES = ("euler", "ab2", "heun", "midpoint")
SPACINGS = ("time", "root", "log")
FIRST = 0.3  # β after the first step of a logarithmic grid
Given = tuple[Data, Data]  # x, and which of it is known: (*shape) or (B, *shape), or dicts of them
Parts = dict[str, Any]  # by the names of mixed data; of other data, one part without a name


@dataclass(frozen=True)
class Solver:
    """Follows the ODE, or with `noise` its stochastic kin, in n steps.

    "ab2" does most with few calls. With 21, the shipped models of digits and text draw as well as
    with 51 of the ancestral sampler (assets/fast_samplers.json, notebooks/11_fast_samplers.ipynb).

    Args:
        rule: "euler", of first order, calls the network n + 1 times; "ab2" (Adams–Bashforth)
            extrapolates from the guess before, so that n + 2 calls give second order: its first
            step, which has no guess before it, is a midpoint step; "midpoint" and "heun" look
            ahead, half a step or a whole one, and take 2n + 1 calls.
        spacing: of the steps: "time", even in t as the paper's; "root", even in √β; "log", even
            in ln β once β has reached 0.3 (or a quarter of β(1), if that is less). In mixed data,
            the mean of the parts' times.
        noise: η between 0, none, and 1, as much as the paper's sampler draws.

    Raises:
        ValueError: another word for the rule or the spacing, or noise outside [0, 1].
    """

    rule: str = "midpoint"
    spacing: str = "time"
    noise: float = 0.0

    def __post_init__(self) -> None:
        _check_word("rule", self.rule, RULES)
        _check_word("spacing", self.spacing, SPACINGS)
        number = isinstance(self.noise, Real) and not isinstance(self.noise, bool)
        if not number or not within(self.noise, 0.0, 1.0):
            raise ValueError(f"noise must lie in [0, 1], got {self.noise!r}")
        object.__setattr__(self, "noise", float(self.noise))  # NumPy's as Python's

    def calls(self, n: int) -> int:
        """How often n steps call the network."""
        return whole("n", n) + {"euler": 1, "ab2": 2}.get(self.rule, n + 1)

    def steps(
        self, bfn: BFN, shape, n: int,
        *, condition: Condition = None, generator: Generator | None = None,
        given: Given | None = None, start: Data | None = None,
    ) -> Iterator[SamplingStep]:
        """The n + 1 beliefs and guesses, as samplers.Sampler has them.

        With noise, "midpoint" and "heun" first go back in time (see `_Channel.back`), and their
        steps are the beliefs there.

        Args:
            bfn, shape, n, condition, generator: as for a Sampler.
            given: values to hold: what is known is told as Alice would tell it, in X's place.
            start: ε at t = 0, standard normal numbers of the shape of θ's means or logits, or a
                dict of them; drawn by default. Without noise all else follows from it.
        """
        channel = _Channel(bfn, shape, condition, generator, given)
        times, ahead = spaced(bfn.flow, n, self.spacing), self.rule in ("heun", "midpoint")
        v, before = channel.noise(start), {}
        for i in range(n + 1):
            t, after = times[i], times[min(i + 1, n)]
            if ahead and self.noise:
                v, t = channel.back(v, t, after, self.noise)
            theta, output, x = channel.guess(v, t)
            yield SamplingStep(i, t, theta, output)
            if i == n:
                return
            use = x
            if ahead or (self.rule == "ab2" and not before):
                use = channel.look_ahead(v, t, after, x, self.rule == "heun")
            elif self.rule == "ab2":
                use = channel.extrapolate(times[i - 1], t, after, before, x)
            v = channel.step(v, t, after, use, 0.0 if ahead else self.noise)
            before = x


@dataclass(frozen=True)
class FixedNoise:
    """One draw of noise for all steps: v = r X̂ + κ z, with n + 1 calls. **Not the data's law.**

    ProtBFN's sampler. It looks good, as it sharpens: what it draws is more alike, and more likely,
    than data, and the more so the more steps it takes. For X ~ N(0, τ²), n → ∞, it comes to the
    fixed point x̂ = E[X | s = β x̂ + √β z] = τ² √β z: its spread τ² √β(1) in place of τ is bounded
    by nothing but the data's range. Wherever the law matters, take a `Solver`.

    Args:
        spacing: of the steps, as for `Solver`.

    Source: Atkinson et al. 2025, "Protein sequence modelling with Bayesian flow networks", Nature
    Communications 16 (ProtBFN). The limit is computed in notebooks/11_fast_samplers.ipynb.
    """

    spacing: str = "time"

    def __post_init__(self) -> None:
        _check_word("spacing", self.spacing, SPACINGS)

    def calls(self, n: int) -> int:
        """How often n steps call the network."""
        return whole("n", n) + 1

    def steps(
        self, bfn: BFN, shape, n: int,
        *, condition: Condition = None, generator: Generator | None = None,
        given: Given | None = None, start: Data | None = None,
    ) -> Iterator[SamplingStep]:
        """As `Solver.steps`."""
        channel = _Channel(bfn, shape, condition, generator, given)
        z = v = channel.noise(start)
        for i, t in enumerate(times := spaced(bfn.flow, n, self.spacing)):
            theta, output, x = channel.guess(v, t)
            yield SamplingStep(i, t, theta, output)
            v = _each(lambda x, r, z: r * x + z, x, channel.root(times[min(i + 1, n)]), z)


def steps_within(calls: int, sampler: Any) -> int:
    """The most steps that a sampler of this package takes with so many calls of the network.

    Raises:
        ValueError: not even one step does with so few.
    """
    steps = [n for n in range(1, whole("calls", calls)) if sampler.calls(n) <= calls]
    if not steps:
        raise ValueError(f"calls must be at least {sampler.calls(1)} for {sampler}, got {calls}")
    return steps[-1]


def spaced(flow: BayesianFlow, n: int, spacing: str = "time") -> list[float]:
    """The n + 1 times of a grid from 0 to 1; `spacing` as for `Solver`."""
    _check_word("spacing", spacing, SPACINGS)
    if spacing == "time":
        return [i / n for i in range(n + 1)]
    grids = [_even(part.schedule, n, spacing) for part in _parts(flow).values()]
    return [0.0, *(sum(times) / len(grids) for times in zip(*grids, strict=True)), 1.0]


def _even(schedule, n: int, spacing: str) -> list[float]:
    """The times between the first, 0, and the last, 1."""
    total = float(schedule.beta(1.0))
    if spacing == "root":
        return [float(schedule.time(total * (i / n) ** 2)) for i in range(1, n)]
    start = min(FIRST, total / 4)
    factor = (total / start) ** (1 / max(1, n - 1))
    return [float(schedule.time(start * factor**i)) for i in range(n - 1)]


class _Channel:
    """A BFN and its generator in v and r; each of the two is a dict of parts."""

    def __init__(self, bfn: BFN, shape, condition, generator, given: Given | None) -> None:
        self.bfn, self.beside, self.generator = bfn, told(condition), generator
        self.flows, self.mixed = _parts(bfn.flow), isinstance(bfn.flow, MixedFlow)
        like = bfn._reference
        prior = self._named(bfn.flow.prior(shape, dtype=like.dtype, device=like.device))
        self.like = {name: first(theta) for name, theta in prior.items()}  # (B, …) each
        self.categorical = {name: _is_categorical(theta) for name, theta in prior.items()}
        self.given = None if given is None else self._told(*given, like.dtype)

    def root(self, t: float) -> Parts:
        """r = √β(t)."""
        return {name: float(flow.schedule.beta(t)) ** 0.5 for name, flow in self.flows.items()}

    def noise(self, drawn: Data | None = None) -> Parts:
        """κ ε."""

        def one(like, categorical, *drawn):
            if drawn:
                check_shape("start", drawn[0].shape, like.shape)
            noise = drawn[0].to(like) if drawn else draw_normal(like, self.generator)
            return noise * like.shape[-1] ** 0.5 if categorical else noise

        given = [] if drawn is None else [self._named(drawn)]
        return _each(one, self.like, self.categorical, *given)

    def guess(self, v: Parts, t: float) -> tuple[Parameters, Output, Parts]:
        """The belief at time t, the network's output, and X̂."""
        theta = self._joined(_each(_belief, v, self.root(t), self.categorical))
        with torch.no_grad(), evaluating(self.bfn):
            output = self.bfn.output(theta, t, **self.beside)
            x = _each(_target, self._named(output), self.categorical)
        if self.given is not None:
            x = _each(lambda told, x: torch.where(told[0], told[1], x), self.given, x)
        return theta, output, x

    def step(self, v: Parts, t: float, after: float, x: Parts, noise: float) -> Parts:
        """v' from t to `after`, if X̂ is x all the way."""
        fresh = self.noise() if noise and t > 0 else _each(lambda part: 0.0, v)

        def one(v, r, new, x, z):
            keep = (r / new) ** noise if r > 0 else 1.0
            return new * x + keep * (v - r * x) + (1.0 - keep**2) ** 0.5 * z

        return _each(one, v, self.root(t), self.root(after), x, fresh)

    def back(self, v: Parts, t: float, after: float, noise: float) -> tuple[Parts, float]:
        """Unlearn: the belief at an earlier time, by the law of the past given the present.

        That law does not depend on x: s̃ | s ~ N((β̃/β) s, κ² β̃ (β − β̃)/β), which is
        ṽ = c v + κ √(1 − c²) z with c = r̃/r. From t to the next time a step of noise η keeps the
        share c = (r/r')^η of the noise, and so does the way back to r̃ = c r, after which the ODE
        may be followed to r' by any rule; a rule that looked ahead along the ODE while it added
        noise would guess with a bias.
        """
        if t == 0.0 or t == after:
            return v, t
        here, there = self.root(t), self.root(after)
        goals = _each(lambda r, new: (r * (r / new) ** noise) ** 2, here, there)
        earlier = max(self._times(goals))

        def one(v, r, old, z):
            return old / r * v + max(0.0, 1.0 - (old / r) ** 2) ** 0.5 * z

        return _each(one, v, here, self.root(earlier), self.noise()), earlier

    def look_ahead(self, v: Parts, t: float, after: float, x: Parts, whole_step: bool) -> Parts:
        """What X̂ comes to over a step, to second order, by a second guess: at its end or half way.

        With the second guess a share c of the step on it is X̂ + (X̂_c − X̂)/2c. Half way is half of
        the way in r; parts of mixed data share the time, and so the latest of their halves.
        """
        here, there, time = self.root(t), self.root(after), after
        if not whole_step:
            halves = _each(lambda r, new: (r + new) ** 2 / 4, here, there)
            time = max(self._times(halves))
        middle = self.root(time)
        ahead = _each(lambda v, r, mid, x: v + (mid - r) * x, v, here, middle, x)

        def one(x, second, r, mid, new):
            if mid == r:  # before a clock's start and after its end nothing is told
                return x
            return x + (second - x) * (new - r) / (2 * (mid - r))

        return _each(one, x, self.guess(ahead, time)[2], here, middle, there)

    def extrapolate(self, last: float, t: float, after: float, before: Parts, x: Parts) -> Parts:
        """What X̂ comes to over a step, to second order, from the guess one step before.

        X̂ is continued on a straight line in asinh r to half a step on. That is even in r where
        little is known, as the grid of discrete data is, and in ln r later, as that of continuous
        data is; in r alone, or ln r alone, one of the two grids would suffer.
        """

        def one(x, before, old, r, new):
            gone, step = math.asinh(r) - math.asinh(old), math.asinh(new) - math.asinh(r)
            if gone == 0.0:  # as there
                return x
            return x + (x - before) * (step / (2 * gone))

        return _each(one, x, before, self.root(last), self.root(t), self.root(after))

    def _times(self, beta: Parts) -> list[float]:
        """When each part has so much accuracy."""
        return [float(self.flows[name].schedule.time(b)) for name, b in beta.items()]

    def _named(self, value: Any) -> Parts:
        return value if self.mixed else {"": value}

    def _joined(self, parts: Parts) -> Any:
        return parts if self.mixed else parts[""]

    def _told(self, x: Data, known: Data, dtype: torch.dtype) -> Parts:
        """(known, X) of each part, ready to broadcast."""

        def one(x, known, like, categorical):
            if not categorical:
                return known, x
            x = torch.where(known, x, 0)  # a gap may be marked by what is no class
            hot = torch.nn.functional.one_hot(x, like.shape[-1])
            return known.unsqueeze(-1), like.shape[-1] * hot.to(dtype)

        x, known = self._named(in_precision(x, dtype)), self._named(known)
        return _each(one, x, known, self.like, self.categorical)


def _belief(v: Tensor, r: float, categorical: bool) -> Parameters:
    """θ from s = r v: μ = s/(1 + β) with ρ = 1 + β, or ln θ = s, normalised."""
    if categorical:
        return CategoricalParameters((r * v).log_softmax(-1))
    precision = torch.full((len(v),), 1.0 + r * r, dtype=v.dtype, device=v.device)
    return GaussianParameters(v * (r / (1.0 + r * r)), precision)


def _target(output: Output, categorical: bool) -> Tensor:
    """X̂: the mean of p_O, or K times its probabilities."""
    return output.probs * output.probs.shape[-1] if categorical else output.mean


def _is_categorical(theta: Parameters) -> bool:
    if not isinstance(theta, (GaussianParameters, CategoricalParameters)):
        raise ValueError(f"a Solver takes Gaussian and categorical beliefs, got {type(theta)}")
    return isinstance(theta, CategoricalParameters)


def _parts(flow: BayesianFlow) -> Parts:
    return flow.flows if isinstance(flow, MixedFlow) else {"": flow}


def _each(function: Callable, *values: Parts) -> Parts:
    """The function of each part."""
    return {name: function(*(value[name] for value in values)) for name in values[0]}


def _check_word(name: str, word: str, words: tuple[str, ...]) -> None:
    if word not in words:
        raise ValueError(f"{name} must be one of {', '.join(words)}, got {word!r}")
