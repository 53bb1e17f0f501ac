"""Accuracy schedules: how much of the truth has been sent by time t.

A schedule gives the accumulated accuracy β(t), which rises from β(0) = 0, and everything that
follows from it: the accuracy α_i = β(i/n) − β((i−1)/n) of message i of n, the rate α(t) = dβ/dt and
the inverse of β. Times and accuracies may be floats or tensors; the answer has the same form.

Source: Graves et al. 2023, "Bayesian Flow Networks", arXiv 2308.07037.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


def _exp(value: float | Tensor) -> float | Tensor:
    return torch.exp(value) if isinstance(value, Tensor) else math.exp(value)


def _expm1(value: float | Tensor) -> float | Tensor:
    return torch.expm1(value) if isinstance(value, Tensor) else math.expm1(value)


def _log1p(value: float | Tensor) -> float | Tensor:
    return torch.log1p(value) if isinstance(value, Tensor) else math.log1p(value)


def within(value: float | Tensor, low: float, high: float) -> bool:
    """Whether every entry of `value` lies in [low, high]; NaN does not."""
    if not isinstance(value, Tensor):
        return low <= value <= high
    if torch.compiler.is_compiling() or value.numel() == 0:
        return True  # a test on values would cut a compiled graph in two
    smallest, largest = torch.aminmax(value.detach())
    return bool((smallest >= low) & (largest <= high))


def _shown(value: float | Tensor) -> str:
    if not isinstance(value, Tensor):
        return repr(value)
    return f"values from {value.min().item():g} to {value.max().item():g}"


def on_accelerator(value: float | Tensor) -> bool:
    """Whether reading a value of this tensor would wait for a device."""
    return isinstance(value, Tensor) and value.device.type != "cpu"


def check_time(t: float | Tensor, wait: bool = False) -> None:
    """Raise ValueError unless every time lies in [0, 1]; on an accelerator only if `wait`."""
    if (wait or not on_accelerator(t)) and not within(t, 0.0, 1.0):
        raise ValueError(f"t must lie in [0, 1], got {_shown(t)}")


def check_step(i: int | Tensor, n: int) -> None:
    """Raise ValueError unless n ≥ 1 and every message index lies in 1…n."""
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"n must be a whole number of at least 1, got {n!r}")
    if not on_accelerator(i) and not within(i, 1, n):
        raise ValueError(f"i must lie in 1…{n} for n = {n}, got {_shown(i)}")


@dataclass(frozen=True)
class GeometricSchedule:
    """β(t) = σ₁^(−2t) − 1, for a Gaussian belief (72).

    With the prior N(0, 1) the precision of the belief is 1 + β(t), so its standard deviation
    falls from 1 to σ₁ and its entropy falls on a straight line.

    Args:
        sigma_1: standard deviation of the belief at t = 1, in (0, 1).

    Raises:
        ValueError: sigma_1 is not in (0, 1).
    """

    sigma_1: float

    def __post_init__(self) -> None:
        if not 0.0 < self.sigma_1 < 1.0:
            raise ValueError(f"sigma_1 must lie between 0 and 1, got {self.sigma_1!r}")

    @property
    def _rate(self) -> float:
        return -2.0 * math.log(self.sigma_1)

    def beta(self, t: float | Tensor) -> float | Tensor:
        """Accumulated accuracy β(t) (72); expm1 keeps its digits near t = 0."""
        check_time(t)
        return _expm1(self._rate * t)

    def rate(self, t: float | Tensor) -> float | Tensor:
        """Accuracy spent per unit of time, α(t) = dβ/dt = −2 ln σ₁ σ₁^(−2t) (74)."""
        check_time(t)
        return self._rate * _exp(self._rate * t)

    def gamma(self, t: float | Tensor) -> float | Tensor:
        """γ(t) = β/(1 + β) = 1 − σ₁^(2t), the share of the truth in the mean (80)."""
        check_time(t)
        return -_expm1(-self._rate * t)

    def rest(self, t: float | Tensor) -> float | Tensor:
        """1 − γ(t) = σ₁^(2t), the prior's share: with all its digits, which γ near 1 has lost."""
        check_time(t)
        return _exp(-self._rate * t)

    def alpha(self, i: int | Tensor, n: int) -> float | Tensor:
        """Accuracy of message i of n, σ₁^(−2i/n) (1 − σ₁^(2/n)) (95)."""
        check_step(i, n)
        return _exp(self._rate / n * i) * -math.expm1(-self._rate / n)

    def time(self, beta: float | Tensor) -> float | Tensor:
        """The t at which the accumulated accuracy is `beta`: the inverse of β."""
        return _log1p(beta) / self._rate


@dataclass(frozen=True)
class QuadraticSchedule:
    """β(t) = β(1) t², for a categorical belief (182).

    Args:
        beta_1: accumulated accuracy at t = 1, above 0.

    Raises:
        ValueError: beta_1 is not above 0.
    """

    beta_1: float

    def __post_init__(self) -> None:
        if not 0.0 < self.beta_1 < math.inf:
            raise ValueError(f"beta_1 must be above 0 and finite, got {self.beta_1!r}")

    def beta(self, t: float | Tensor) -> float | Tensor:
        """Accumulated accuracy β(t) (182)."""
        check_time(t)
        return self.beta_1 * t * t

    def rate(self, t: float | Tensor) -> float | Tensor:
        """Accuracy spent per unit of time, α(t) = dβ/dt = 2 β(1) t."""
        check_time(t)
        return 2.0 * self.beta_1 * t

    def alpha(self, i: int | Tensor, n: int) -> float | Tensor:
        """Accuracy of message i of n, β(1) (2i − 1)/n² (193)."""
        check_step(i, n)
        return self.beta_1 * (2 * i - 1) / n**2

    def time(self, beta: float | Tensor) -> float | Tensor:
        """The t at which the accumulated accuracy is `beta`: the inverse of β."""
        return (beta / self.beta_1) ** 0.5
