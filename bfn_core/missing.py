"""Data with missing values: a flow in which a variable may be absent from an example.

An absent variable sends no messages, so the belief about it stays the prior, and it costs nothing:
what is minimised is the bill of what is there. Where absence has nothing to do with the value that
is absent, this is the right way to learn from incomplete examples (Rubin 1976, "missing at
random"), and no row need be thrown away.
"""

import copy
import math
from dataclasses import replace
from typing import Any

import torch
from torch import Generator, Tensor

from bfn_core.beliefs import CategoricalParameters, Parameters
from bfn_core.checks import kind_of
from bfn_core.distributions import Output
from bfn_core.flows import BayesianFlow, DiscreteFlow, DiscretisedFlow, GaussianFlow
from bfn_core.numerics import in_rows, wide

ABSENT = -1  # of classes; of numbers it is NaN


class MissingFlow(BayesianFlow):
    """A flow whose data may have gaps: NaN among numbers, −1 among classes.

    What is drawn from it has no gaps. A network can see them, since the belief about an absent
    variable is exactly the prior's (`networks.tables.TableNetwork` does).

    Args:
        inner: the flow of what is there: continuous, discretised or discrete.

    Raises:
        ValueError: any other flow.
    """

    def __init__(self, inner: BayesianFlow) -> None:
        if not isinstance(inner, (GaussianFlow, DiscreteFlow)):
            raise ValueError("inner must be a continuous, discretised or discrete flow, got "
                             f"{inner!r}")
        self.inner, self.schedule = inner, inner.schedule

    def __repr__(self) -> str:
        return f"MissingFlow({self.inner})"

    def trusting(self) -> "MissingFlow":
        twin = copy.copy(self)
        twin.validate, twin.inner = False, self.inner.trusting()
        return twin

    @property
    def _filler(self) -> float:
        """A valid value, which stands where nothing is."""
        inner = self.inner
        return 1 / inner.bins - 1 if isinstance(inner, DiscretisedFlow) else 0

    def there(self, x: Tensor) -> Tensor:
        """Which variables of x are there, bool of its shape."""
        return x != ABSENT if isinstance(self.inner, DiscreteFlow) else ~x.isnan()

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x with a valid value in its gaps; and which variables are there, bool."""
        there = self.there(x)
        return torch.where(there, x, self._filler), there

    def check(self, x: Tensor) -> None:
        if not isinstance(x, Tensor):
            raise ValueError(f"x must be a tensor, got {kind_of(x)}")
        whole = x if x.is_complex() else self.parts(x)[0]
        self.inner.check(whole)

    def check_points(self, points: Tensor) -> None:
        self.inner.check_points(points)

    def prior(self, shape, *, dtype=None, device=None) -> Parameters:
        return self.inner.prior(shape, dtype=dtype, device=device)

    def _prior_for(self, x: Tensor) -> Parameters:
        return self.inner._prior_for(x)

    def update(self, theta: Parameters, y: Tensor, alpha: Any) -> Parameters:
        """A message that is NaN was never sent, and leaves the belief in its variable alone."""
        silent = y.isnan()
        return _where(silent, theta, self.inner.update(theta, torch.where(silent, 0.0, y), alpha))

    def sender(self, x: Tensor, alpha: Any) -> "_Sparse":
        """As the inner flow's; NaN, at no cost, about what is absent."""
        whole, there = self.parts(x)
        return _Sparse(self.inner.sender(whole, alpha), there)

    def sample_flow(
        self, x: Tensor, t: float | Tensor, generator: Generator | None = None
    ) -> Parameters:
        whole, there = self.parts(x)
        theta = self.inner.sample_flow(whole, t, generator)
        if isinstance(theta, CategoricalParameters):
            level = torch.full_like(theta.logits, -math.log(theta.logits.shape[-1]))
            return _where(~there.unsqueeze(-1), CategoricalParameters(level), theta)
        return _where(~there, replace(theta, mean=torch.zeros_like(theta.mean)), theta)

    def network_input(self, theta: Parameters) -> Tensor:
        return self.inner.network_input(theta)

    def output(self, raw: Tensor, theta: Parameters, t: float | Tensor) -> Output:
        return self.inner.output(raw, theta, t)

    def receiver(self, output: Output, alpha: Any) -> Any:
        return self.inner.receiver(output, alpha)

    def rate_cost(self, x: Tensor, output: Output, t: float | Tensor) -> Tensor:
        """0 for what is absent, as in the two costs below."""
        whole, there = self.parts(x)
        return torch.where(there, self.inner.rate_cost(whole, output, t), 0.0)

    def step_cost(
        self, x: Tensor, output: Output, alpha: Any, generator: Generator | None = None
    ) -> Tensor:
        whole, there = self.parts(x)
        return torch.where(there, self.inner.step_cost(whole, output, alpha, generator), 0.0)

    def final_cost(self, x: Tensor, output: Output) -> Tensor:
        whole, there = self.parts(x)
        return torch.where(there, self.inner.final_cost(whole, output), 0.0)

    def log_likelihood(self, theta: Parameters, points: Tensor) -> Tensor:
        """`points` have no gaps; about what is absent, whose belief is the prior's, nothing was
        sent, though a Gaussian belief has one precision for all.
        """
        score = self.inner.log_likelihood(theta, points)
        if isinstance(theta, CategoricalParameters):
            return score
        silent, sent = wide(in_rows(theta.mean == 0)), wide(theta.precision).unsqueeze(1) - 1
        return score + sent / 2 * (silent @ wide(in_rows(points)).square().T)

    def mixture(self, weights: Tensor, points: Tensor) -> Output:
        """`points` have no gaps."""
        return self.inner.mixture(weights, points)


class _Sparse:
    """A distribution of messages some of which are not sent."""

    def __init__(self, inner: Any, there: Tensor) -> None:
        self.inner, self.there = inner, there

    def sample(self, sample_shape=(), generator: Generator | None = None) -> Tensor:
        y = self.inner.sample(sample_shape, generator=generator)
        there = self.there.reshape(*self.there.shape, *[1] * (self.inner_dims(y, sample_shape)))
        return torch.where(there, y, math.nan)

    def inner_dims(self, y: Tensor, sample_shape) -> int:
        """1 where a message about one variable is a vector."""
        return y.dim() - len(sample_shape) - self.there.dim()

    def log_prob(self, y: Tensor) -> Tensor:
        """0 for what was not sent."""
        cost = self.inner.log_prob(torch.where(y.isnan(), 0.0, y))
        return torch.where(self.there, cost, 0.0)


def _where(old: Tensor, theta: Any, other: Any) -> Any:
    """The belief `theta` in the variables that are `old`, else `other`, with its precision."""
    if isinstance(theta, CategoricalParameters):
        return CategoricalParameters(torch.where(old, theta.logits, other.logits))
    return replace(other, mean=torch.where(old, theta.mean, other.mean))


def without_gaps(flow: BayesianFlow) -> BayesianFlow:
    """The flow of what is there: a MissingFlow's own one, and any other itself."""
    return flow.inner if isinstance(flow, MissingFlow) else flow
