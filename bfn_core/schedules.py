"""Accuracy schedules: how much of the truth has been sent by time t.

A schedule gives the accumulated accuracy β(t), which rises from β(0) = 0, and everything that
follows from it: the accuracy α_i = β(i/n) − β((i−1)/n) of message i of n, the rate α(t) = dβ/dt and
the inverse of β. Times and accuracies may be floats or tensors; the answer has the same form.

Source: Graves et al. 2023, "Bayesian Flow Networks", arXiv 2308.07037.
"""

import math
import operator
from dataclasses import dataclass
from numbers import Real

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


def whole(name: str, value: int, least: int = 1) -> int:
    """A whole number of at least `least` as Python's int, from NumPy's integers too.

    Raises ValueError, naming it, for anything else; True and False are no numbers here.
    """
    try:
        number = operator.index("" if isinstance(value, bool) else value)
    except TypeError:
        number = least - 1
    if number < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return number


def real(name: str, value: float, low: float, high: float = math.inf) -> float:
    """A number between `low` and `high`, and neither of them: NumPy's as Python's float, a tensor
    of one number as it is. Raises ValueError, naming it, for anything else.
    """
    number = isinstance(value, Real) or (isinstance(value, Tensor) and value.dim() == 0)
    if isinstance(value, bool) or not number or not low < value < high:
        bounds = f"lie between {low:g} and {high:g}"
        bounds = f"be above {low:g} and finite" if high == math.inf else bounds
        raise ValueError(f"{name} must {bounds}, got {value!r}")
    return value if isinstance(value, Tensor) else float(value)


def check_time(t: float | Tensor, wait: bool = False) -> None:
    """Raise ValueError unless every time lies in [0, 1]; on an accelerator only if `wait`."""
    if not isinstance(t, (Real, Tensor)):
        raise ValueError(f"t must be a number or a tensor (B,) in [0, 1], got {type(t)}")
    if (wait or not on_accelerator(t)) and not within(t, 0.0, 1.0):
        raise ValueError(f"t must lie in [0, 1], got {_shown(t)}")


def check_step(i: int | Tensor, n: int) -> tuple[int | Tensor, int]:
    """i and n, NumPy's integers as Python's. Raises ValueError unless n ≥ 1 and every i in 1…n."""
    n = whole("n", n)
    if not isinstance(i, Tensor):
        i = whole("i", i)
    if not on_accelerator(i) and not within(i, 1, n):
        raise ValueError(f"i must lie in 1…{n} for n = {n}, got {_shown(i)}")
    return i, n


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
        object.__setattr__(self, "sigma_1", real("sigma_1", self.sigma_1, 0.0, 1.0))

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
        i, n = check_step(i, n)
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
        object.__setattr__(self, "beta_1", real("beta_1", self.beta_1, 0.0))

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
        i, n = check_step(i, n)
        return self.beta_1 * (2 * i - 1) / n**2

    def time(self, beta: float | Tensor) -> float | Tensor:
        """The t at which the accumulated accuracy is `beta`: the inverse of β."""
        return (beta / self.beta_1) ** 0.5
