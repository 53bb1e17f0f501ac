"""Accuracy schedules: how much of the truth has been sent by time t.

A schedule gives the accumulated accuracy β(t), which rises from β(0) = 0, and its rate dβ/dt.
Everything else follows: the accuracy α_i = β(i/n) − β((i−1)/n) of message i of n, the share
γ = β/(1 + β) of the truth in a Gaussian belief's mean, and the time at which β has a value. Times
and accuracies may be floats or tensors; the answer has the same form. Flows check times; schedules
do not.

Source: Graves et al. 2023, "Bayesian Flow Networks", arXiv 2308.07037.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from bfn_core.checks import check_step, kind_of, real, whole

Form = TypeVar("Form", float, Tensor)


def _of(name: str, value: float | Tensor) -> Any:
    """torch's function of that name for a tensor, Python's for a number."""
    return getattr(torch if isinstance(value, Tensor) else math, name)(value)


class Schedule(ABC):
    """An accuracy schedule. A subclass gives `beta` and `rate`; where it knows better, more."""

    def __repr__(self) -> str:
        """Its name and attributes: what is packed says so which schedule its model had."""
        attributes = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({attributes})"

    @abstractmethod
    def beta(self, t: Form) -> Form:
        """Accumulated accuracy β(t): increasing, with β(0) = 0."""

    @abstractmethod
    def rate(self, t: Form) -> Form:
        """Accuracy spent per unit of time, dβ/dt."""

    def alpha(self, i: Any, n: int) -> Any:
        """Accuracy of message i of n, β(i/n) − β((i−1)/n) (11). ValueError for i outside 1…n."""
        i, n = check_step(i, n)
        return self.beta(i / n) - self.beta((i - 1) / n)

    def gamma(self, t: Form) -> Form:
        """γ(t) = β/(1 + β), the share of the truth in the mean (79)."""
        beta = self.beta(t)
        return beta / (1 + beta)

    def rest(self, t: Form) -> Form:
        """1 − γ(t) = 1/(1 + β), the prior's share: with all the digits that γ near 1 has lost."""
        return 1 / (1 + self.beta(t))

    def time(self, beta: Form) -> Form:
        """The t at which the accumulated accuracy is `beta`: the inverse of β, by bisection."""
        low: Any = 0.0 * beta
        high: Any = low + 1.0
        for _ in range(64 if _doubled(beta) else 30):
            middle = (low + high) / 2
            below: Any = self.beta(middle) < beta
            if isinstance(beta, Tensor):
                low, high = torch.where(below, middle, low), torch.where(below, high, middle)
            else:
                low, high = (middle, high) if below else (low, middle)
        return (low + high) / 2

    def at(self, t: Tensor) -> "Moment":
        """What holds at times t, of any shape."""
        return Moment(self, t)


def _doubled(value: float | Tensor) -> bool:
    return not isinstance(value, Tensor) or value.dtype == torch.float64


@dataclass(frozen=True)
class Moment:
    """A schedule at times t: β, dβ/dt, γ and 1 − γ, each of t's shape, computed when asked for."""

    schedule: Schedule
    t: Tensor

    @cached_property
    def beta(self) -> Tensor:
        """Accumulated accuracy β(t)."""
        return self.schedule.beta(self.t)

    @cached_property
    def rate(self) -> Tensor:
        """dβ/dt."""
        return self.schedule.rate(self.t)

    @cached_property
    def gamma(self) -> Tensor:
        """γ(t) = β/(1 + β)."""
        return self.schedule.gamma(self.t)

    @cached_property
    def rest(self) -> Tensor:
        """1 − γ(t)."""
        return self.schedule.rest(self.t)


@dataclass(frozen=True)
class GeometricSchedule(Schedule):
    """β(t) = σ₁^(−2t) − 1, the paper's for a Gaussian belief (72).

    With the prior N(0, 1) the precision of the belief is 1 + β(t), so its standard deviation
    falls from 1 to σ₁ and its entropy falls on a straight line.

    Args:
        sigma_1: standard deviation of the belief at t = 1, in (0, 1).

    Raises:
        ValueError: sigma_1 is not in (0, 1).
    """

    sigma_1: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma_1", real("sigma_1", self.sigma_1, 0.0, 1.0))

    @property
    def _rate(self) -> float:
        return -2.0 * math.log(self.sigma_1)

    def beta(self, t: Form) -> Form:
        """Accumulated accuracy β(t) (72); expm1 keeps its digits near t = 0."""
        return _of("expm1", self._rate * t)

    def rate(self, t: Form) -> Form:
        """α(t) = dβ/dt = −2 ln σ₁ σ₁^(−2t) (74)."""
        return self._rate * _of("exp", self._rate * t)

    def alpha(self, i: int | Tensor, n: int) -> Any:
        """σ₁^(−2i/n) (1 − σ₁^(2/n)), with digits that a difference would lose (95)."""
        i, n = check_step(i, n)
        return _of("exp", self._rate / n * i) * -math.expm1(-self._rate / n)

    def time(self, beta: Form) -> Form:
        """ln(1 + β)/(−2 ln σ₁)."""
        return _of("log1p", beta) / self._rate


@dataclass(frozen=True)
class _ToTotal(Schedule):
    """A schedule that is known by its total accuracy.

    Args:
        beta_1: accumulated accuracy at t = 1, above 0.

    Raises:
        ValueError: beta_1 is not above 0.
    """

    beta_1: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta_1", real("beta_1", self.beta_1, 0.0))


class LinearSchedule(_ToTotal):
    """β(t) = β(1) t: all messages are equally accurate."""

    def beta(self, t: Form) -> Form:
        """Accumulated accuracy β(t)."""
        return self.beta_1 * t

    def rate(self, t: Form) -> Form:
        """dβ/dt = β(1), at every t."""
        return self.beta_1 + 0.0 * t

    def alpha(self, i: int | Tensor, n: int) -> Any:
        """β(1)/n, for every message."""
        i, n = check_step(i, n)
        return self.beta_1 / n + 0.0 * i

    def time(self, beta: Form) -> Form:
        """β/β(1)."""
        return beta / self.beta_1


class QuadraticSchedule(_ToTotal):
    """β(t) = β(1) t², the paper's for a categorical belief (182)."""

    def beta(self, t: Form) -> Form:
        """Accumulated accuracy β(t) (182)."""
        return self.beta_1 * t * t

    def rate(self, t: Form) -> Form:
        """α(t) = dβ/dt = 2 β(1) t."""
        return 2.0 * self.beta_1 * t

    def alpha(self, i: int | Tensor, n: int) -> Any:
        """β(1) (2i − 1)/n² (193)."""
        i, n = check_step(i, n)
        return self.beta_1 * (2 * i - 1) / n**2

    def time(self, beta: Form) -> Form:
        """√(β/β(1))."""
        return _of("sqrt", beta / self.beta_1)


class CosineSchedule(_ToTotal):
    """β(t) = tan²(ct), that of cosine diffusion: a Gaussian belief's deviation falls as cos(ct)."""

    @property
    def _angle(self) -> float:
        return math.atan(math.sqrt(self.beta_1))

    def beta(self, t: Form) -> Form:
        """Accumulated accuracy β(t)."""
        return _of("tan", self._angle * t) ** 2

    def rate(self, t: Form) -> Form:
        """dβ/dt = 2c tan(ct) (1 + tan²(ct))."""
        tan = _of("tan", self._angle * t)
        return 2.0 * self._angle * tan * (1.0 + tan * tan)

    def time(self, beta: Form) -> Form:
        """atan(√β)/c."""
        return _of("atan", beta**0.5) / self._angle


@dataclass(frozen=True)
class EntropyLinearSchedule(Schedule):
    """β(t) = −(4/K) ln(1 − t + t e^(−Kβ(1)/4)): a categorical belief's entropy falls nearly evenly.

    Source: Tao and Abe 2024, "A Bayesian Flow Network Framework for Chemistry Tasks" (ChemBFN),
    arXiv 2407.20294.

    Args:
        classes: K ≥ 2.
        beta_1: accumulated accuracy at t = 1, above 0.

    Raises:
        ValueError: fewer than 2 classes, or beta_1 not above 0.
    """

    classes: int
    beta_1: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", whole("classes", self.classes, 2))
        object.__setattr__(self, "beta_1", real("beta_1", self.beta_1, 0.0))

    @property
    def _end(self) -> float:
        return self.classes * self.beta_1 / 4

    def _left(self, t: Form) -> Form:
        """1 − t + t e^(−Kβ(1)/4), which near t = 1 must not be a difference from 1."""
        return (1.0 - t) + t * math.exp(-self._end)

    def _log_left(self, t: Any) -> Any:
        """Its logarithm, with digits at either end, and at t = 1 with its slope."""
        less, late = math.expm1(-self._end), t >= 0.5
        if less > -0.5:  # all that is left at any t is near 1
            return _of("log1p", less * t)
        if not isinstance(t, Tensor):
            if t >= 1.0:
                return -self._end
            return math.log(self._left(t)) if late else math.log1p(less * t)
        early = torch.log1p(less * t.clamp(max=0.5))
        inner = torch.where(late & (t < 1.0), t, 0.5)
        inner = torch.logaddexp(torch.log1p(-inner), inner.log() - self._end)
        # The tangent at t = 1, as steep as single precision can hold.
        last = -self._end - math.expm1(min(self._end, 88.0)) * (t - 1.0)
        return torch.where(late, torch.where(t < 1.0, inner, last), early)

    def beta(self, t: Form) -> Form:
        """Accumulated accuracy β(t)."""
        return self._log_left(t) * (-4.0 / self.classes)

    def rate(self, t: Form) -> Form:
        """dβ/dt."""
        return -4.0 / self.classes * math.expm1(-self._end) / self._left(t)

    def time(self, beta: Form) -> Form:
        """(1 − e^(−Kβ/4))/(1 − e^(−Kβ(1)/4))."""
        return _of("expm1", -self.classes / 4 * beta) / math.expm1(-self._end)


@dataclass(frozen=True)
class LogLinearSchedule(_ToTotal):
    """β(t) = δ ((1 + β(1)/δ)^t − 1): ln(δ + β) rises on a straight line.

    δ is a precision that counts as known at t = 0. At δ = 1, that of the prior, it is the paper's
    geometric schedule (72); a small δ makes the log-SNR of diffusion, ln β, nearly a straight line
    from about ln δ, as in VDM (Kingma et al. 2021, arXiv 2107.00630), but with β(0) = 0; δ = 0.01
    is BSI's precision (Lienen et al. 2025, arXiv 2502.07580); δ → ∞ is linear in β.

    Args:
        beta_1: accumulated accuracy at t = 1, above 0.
        offset: δ, above 0.

    Raises:
        ValueError: beta_1 or offset not above 0.
    """

    offset: float

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "offset", real("offset", self.offset, 0.0))

    @property
    def _rate(self) -> float:
        return math.log1p(self.beta_1 / self.offset)

    def beta(self, t: Form) -> Form:
        """Accumulated accuracy β(t)."""
        return self.offset * _of("expm1", self._rate * t)

    def rate(self, t: Form) -> Form:
        """dβ/dt = ln(1 + β(1)/δ) (δ + β)."""
        return self._rate * self.offset * _of("exp", self._rate * t)

    def time(self, beta: Form) -> Form:
        """ln(1 + β/δ)/ln(1 + β(1)/δ)."""
        return _of("log1p", beta / self.offset) / self._rate


class StraightPathSchedule(_ToTotal):
    """β(t) = (ct/(1 − ct))², c = √β(1)/(1 + √β(1)): the schedule of flow matching.

    Its paths from noise to data, (1 − s) ε + s x, are straight at an even speed, and have the
    accuracy (s/(1 − s))². That is infinite at s = 1; here they end at s = c.

    Source: Lipman et al. 2022, "Flow Matching for Generative Modeling", arXiv 2210.02747.
    """

    @property
    def _end(self) -> float:
        return self.beta_1**0.5 / (1.0 + self.beta_1**0.5)

    def beta(self, t: Form) -> Form:
        """Accumulated accuracy β(t)."""
        share = self._end * t
        return (share / (1.0 - share)) ** 2

    def rate(self, t: Form) -> Form:
        """dβ/dt = 2 c² t/(1 − ct)³."""
        share = self._end * t
        return 2.0 * self._end * share / (1.0 - share) ** 3

    def time(self, beta: Form) -> Form:
        """√β/(c (1 + √β))."""
        root = _of("sqrt", beta)
        return root / (self._end * (1.0 + root))


class TableSchedule(Schedule):
    """β(t) by a table: between its points ln(1 + β) rises on straight lines.

    For schedules that were drawn by hand, fitted to a curve of errors (bfn_core.mmse), or learned.
    A table of the two ends alone is the paper's geometric schedule.

    Args:
        t: ascending, from 0 to 1, (M,), at least two; a tensor or numbers.
        beta: accumulated accuracy then, ascending from 0, (M,).

    Raises:
        ValueError: tables that are not as long as each other, or do not ascend, or with other ends.
    """

    def __init__(self, t: Any, beta: Any) -> None:
        self._t, self._beta = (torch.as_tensor(table, dtype=torch.float64, device="cpu").clone()
                               for table in (t, beta))
        for name, table in (("t", self._t), ("beta", self._beta)):
            good = table.dim() == 1 and len(table) > 1 and bool((table.diff() > 0).all())
            if not (good and float(table[0]) == 0.0 and bool(table.isfinite().all())):
                raise ValueError(f"{name} must be at least two numbers that ascend from 0, got "
                                 f"{table.tolist() if table.numel() < 9 else kind_of(table)}")
        if len(self._t) != len(self._beta) or float(self._t[-1]) != 1.0:
            raise ValueError("t must end at 1 and be as long as beta, got "
                             f"{len(self._t)} times to {float(self._t[-1]):g} and "
                             f"{len(self._beta)} accuracies")
        self._log = self._beta.log1p()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._t)} points to β = {float(self._beta[-1]):g})"

    @property
    def points(self) -> tuple[Tensor, Tensor]:
        """The times and the accuracies of the table, (M,) each, float64."""
        return self._t, self._beta

    def _on_line(self, value: Any, across: Tensor, up: Tensor) -> Any:
        """The straight lines through a table at `value`, and their slope there; in its form.

        Points of a table that single precision cannot tell apart are a jump, which has no slope.
        """
        of = value if isinstance(value, Tensor) else torch.tensor(value, dtype=across.dtype)
        across, up = across.to(of), up.to(of)
        width = across.diff()
        slopes = up.diff() / torch.where(width > 0, width, math.inf)
        place = torch.searchsorted(across, of.detach().contiguous(), right=True) - 1
        place = place.clamp(0, len(slopes) - 1)
        height = up[place] + slopes[place] * (of - across[place])
        height = torch.where(width[place] > 0, height, up[place + 1])  # a jump at the very end
        if isinstance(value, Tensor):
            return height, slopes[place]
        return float(height), float(slopes[place])

    def beta(self, t: Form) -> Form:
        """Accumulated accuracy β(t)."""
        return _of("expm1", self._on_line(t, self._t, self._log)[0])

    def rate(self, t: Form) -> Form:
        """dβ/dt, at a point of the table that of what comes after it."""
        height, slope = self._on_line(t, self._t, self._log)
        return slope * _of("exp", height)

    def time(self, beta: Form) -> Form:
        """The t at which ln(1 + β) is reached."""
        return self._on_line(_of("log1p", beta), self._log, self._t)[0]
