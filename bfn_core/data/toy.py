"""Small data with a known law: where every result can be compared with the truth."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from bfn_core.beliefs import Condition, GaussianParameters
from bfn_core.checks import real
from bfn_core.distributions import Delta
from bfn_core.flows import ContinuousFlow
from bfn_core.model import BFN
from bfn_core.numerics import single


@dataclass(frozen=True)
class GaussianMixture:
    """A 1-D mixture of Gaussians with a common width, cut off at [−1, 1].

    Attributes:
        means: of the components.
        std: of every component.
        weights: of the components; equal by default.

    Raises:
        ValueError: no means, a std that is not above 0, or weights that are not one for each mean,
            nonnegative, with a sum above 0.
    """

    means: tuple[float, ...] = (-0.75, -0.25, 0.25, 0.75)
    std: float = 0.05
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        real("std", self.std, 0.0)
        if len(self.means) == 0:
            raise ValueError("means must hold at least one mean, got none")
        weights = self.weights
        if weights is None:
            return
        good = len(weights) == len(self.means) and min(weights) >= 0 and sum(weights) > 0
        if not (good and sum(weights) < math.inf):
            raise ValueError(
                f"weights must be {len(self.means)} numbers, nonnegative, with a sum above 0, "
                f"got {weights!r}"
            )

    def probs(self) -> Tensor:
        """The weights as probabilities, (J,)."""
        weights = torch.tensor(self.weights or [1.0] * len(self.means))
        return weights / weights.sum()

    def sample(self, count: int, generator: Generator | None = None) -> Tensor:
        """(count, 1); what falls outside [−1, 1] is moved to its edge."""
        which = torch.multinomial(self.probs(), count, replacement=True, generator=generator)
        x = torch.tensor(self.means)[which] + self.std * torch.randn(count, generator=generator)
        return x.clamp(-1, 1).unsqueeze(1)

    def density(self, x: Tensor) -> Tensor:
        """p(x), the shape of x, before the cut.

        Raises:
            ValueError: for what is no float tensor.
        """
        if not (isinstance(x, Tensor) and x.is_floating_point()):
            raise ValueError(f"x must be a float tensor, got {getattr(x, 'dtype', type(x))}")
        x = single(x)
        z = (x.unsqueeze(-1) - torch.tensor(self.means, dtype=x.dtype)) / self.std
        bumps = torch.exp(-0.5 * z.square()) / (self.std * (2 * torch.pi) ** 0.5)
        return bumps @ self.probs().to(x.dtype)

    def posterior(self, mean: Tensor, beta: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What x may be once messages are in, by Bayes' rule: a mixture again, before the cut.

        Args:
            mean: of the belief N(μ, 1/ρ) that starts at N(0, 1), any shape S; float.
            beta: the messages' total accuracy, ρ − 1; broadcast against `mean`.

        Returns:
            (weights, means, std): S + (J,) twice, and S.
        """
        beta = torch.as_tensor(beta, dtype=mean.dtype)
        told = (1 + beta) * mean  # accuracy times mean of all messages
        # The components come first until the end: softmax is slow over a last axis that is short.
        first = (-1, *[1] * told.dim())
        own = torch.tensor(self.means, dtype=mean.dtype).reshape(first)
        prior = self.probs().to(mean.dtype).reshape(first)
        score = (told * own - 0.5 * beta * own.square()) / (1 + beta * self.std**2)
        weights = (prior.log() + score).softmax(0)
        precision = self.std**-2 + beta
        means = (own / self.std**2 + told) / precision
        return weights.movedim(0, -1), means.movedim(0, -1), precision.rsqrt()

    def guess(self, mean: Tensor, beta: float | Tensor) -> Tensor:
        """x̂, the mean of `posterior`, the shape of `mean`: what the perfect network says."""
        weights, means, _ = self.posterior(mean, beta)
        return (weights * means).sum(-1)

    def grid(self, points: int = 801) -> tuple[Tensor, Tensor]:
        """Evenly spaced points (N, 1) on [−1, 1] and their probabilities (N,), for ExactBFN."""
        x = torch.linspace(-1, 1, points)
        weights = self.density(x)
        return x.unsqueeze(1), weights / weights.sum()


def ring(count: int, seed: int) -> Tensor:
    """Points of a ring, (count, 2): the angle even, the radius 0.7 ± 0.05."""
    generator = torch.Generator().manual_seed(seed)
    angle = 2 * torch.pi * torch.rand(count, generator=generator)
    radius = 0.7 + 0.05 * torch.randn(count, generator=generator)
    return radius.unsqueeze(1) * torch.stack([angle.cos(), angle.sin()], 1)


class _InDoubles(BFN):
    """A model without a network, in float64."""

    @property
    def _reference(self) -> Tensor:
        return torch.empty(0, dtype=torch.float64)


class PerfectMixture(_InDoubles):
    """The perfect network of a `GaussianMixture` before the cut, one number in float64.

    `ExactBFN` of the mixture's `grid` says nearly the same, at a cost that grows with the points.

    Args:
        mixture: the law of the data.
        sigma_1: as for ContinuousFlow.
    """

    def __init__(self, mixture: GaussianMixture, *, sigma_1: float) -> None:
        super().__init__(ContinuousFlow(sigma_1, data_range=None), None)
        self.mixture = mixture

    def output(
        self, theta: GaussianParameters, t: float | Tensor, *, condition: Condition = None
    ) -> Delta:
        """All mass on E[x | θ], (B, 1); the belief says all there is to know."""
        return Delta(self.mixture.guess(theta.mean, (theta.precision - 1).unsqueeze(1)))


class PerfectNormal(_InDoubles):
    """The perfect network of one number x ~ N(m, τ²), in float64: x̂ = (m + τ² s)/(1 + τ² β).

    Args:
        mean, std: m and τ.
        sigma_1: as for ContinuousFlow.
        clipped: whether x̂ is kept in [−1, 1], as that of trained networks is.
    """

    def __init__(self, mean: float, std: float, *, sigma_1: float, clipped: bool = False) -> None:
        limits = (-1.0, 1.0) if clipped else None
        super().__init__(ContinuousFlow(sigma_1, data_range=limits), None)
        self.mean, self.std = mean, std

    def output(
        self, theta: GaussianParameters, t: float | Tensor, *, condition: Condition = None
    ) -> Delta:
        """All mass on x̂, (B, 1); the belief says all there is to know."""
        beta = (theta.precision - 1).unsqueeze(1)
        s = (1 + beta) * theta.mean
        x = (self.mean + self.std**2 * s) / (1 + self.std**2 * beta)
        return Delta(x if self.flow.data_range is None else x.clamp(*self.flow.data_range))


def two_letters(strength: float) -> tuple[Tensor, Tensor]:
    """Words of two letters from A, B, C that agree more often than by chance.

    With probability `strength` the second letter copies the first, otherwise it is drawn anew.

    Returns:
        The nine words, (9, 2) int64, and their probabilities, (9,).
    """
    words = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    same = (words[:, 0] == words[:, 1]).double()
    return words, strength * same / 3 + (1 - strength) / 9
