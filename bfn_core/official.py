"""The habits of the authors' own code, for figures that are to be equal to the paper's.

The authors' code takes some liberties with the formulas, small and not so small. Whoever compares
with the published figures to the last digit needs them, and nobody else: here they are, each as a
subclass of the flow that has it otherwise.

                            bfn_core                             the authors' code
    p_O, discretised        any σ                                σ in [10⁻³, 10], |ln σ_ε| ≤ 10
    ln p_O, discretised     the exact mass of the bin            below 10⁻⁵: the density times width
    L^n, discretised        (116)                                no weight of p_R below 1.2 · 10⁻⁷
    L^r, continuous         −ln N(x; x̂, σ₁²), of a density       −ln of the mass of the bin of x
    L^n, discrete           one mixture over the vector (190)    a product of K mixtures, too high

The published weights for discretised data were trained with the first of these, so it belongs to
the models: `BoundedDiscretisedFlow` has it and no other.

How much too high the product of mixtures is, for a network that knows no more than the messages
told, about uniform classes (tests/test_published.py measures it): with the paper's settings for
MNIST (K = 2, β(1) = 9) 11 % at n = 10 and 1 % at n = 100; for text8 (K = 27, β(1) = 0.5625) 3 % and
0.2 %.

Left out, as nothing that shows in an average: γ at t < 10⁻⁵, and β(t) at t > 1 − 10⁻⁶, which lose
digits there. Left out too: dropout was on when the authors drew samples.

Source: github.com/nnaisense/bayesian-flow-networks, as its results show it; equations of Graves et
al. 2023, arXiv 2308.07037. The tests compare with numbers that the authors' code computed.
"""

import math

import torch
from torch import Generator, Tensor

from bfn_core.beliefs import GaussianParameters, per_example
from bfn_core.distributions import (
    Binned,
    BinnedMessage,
    Categorical,
    DiscretisedNormal,
    Gaussian,
    Output,
    bin_centres,
    bin_index,
)
from bfn_core.flows import ContinuousFlow, DiscreteFlow, DiscretisedFlow
from bfn_core.numerics import pick
from bfn_core.schedules import Schedule

LEAST_STD, MOST_STD = 1e-3, 10.0  # of p_O, discretised data
MOST_LOG = 10.0  # of |ln σ_ε|
LEAST_MASS = 1e-5  # of a bin; below it the density is taken
LEAST_WEIGHT = torch.finfo(torch.float32).eps  # of a bin in the receiver, 1.2e−7


class OfficialNormal(DiscretisedNormal):
    """A normal gathered into bins; the probability of one below 10⁻⁵ is its density at the bin's
    centre times the bin's width, in the outer bins too.
    """

    def log_prob(self, x: Tensor) -> Tensor:
        exact = super().log_prob(x)
        centre = bin_centres(self.bins, self.loc)[bin_index(x, self.bins)]
        density = Gaussian(self.loc, self.scale**-2).log_prob(centre) + math.log(2 / self.bins)
        return torch.where(exact >= math.log(LEAST_MASS), exact, density)


class BoundedDiscretisedFlow(DiscretisedFlow):
    """Discretised data; p_O is never narrower than σ = 10⁻³, nor wider than 10.

    Arguments and errors as for DiscretisedFlow.
    """

    def output(
        self, raw: Tensor, theta: GaussianParameters, t: float | Tensor
    ) -> DiscretisedNormal:
        """A normal gathered into bins, as DiscretisedFlow has it, within the bounds."""
        normal = super().output(raw, theta, t)
        _, noise, _ = self._denoise(theta, t)
        scale = normal.scale.clamp(noise * math.exp(-MOST_LOG), noise * math.exp(MOST_LOG))
        return DiscretisedNormal(normal.loc, scale.clamp(LEAST_STD, MOST_STD), self.bins)


class OfficialDiscretisedFlow(BoundedDiscretisedFlow):
    """Discretised data, with all that the authors' code does otherwise.

    Arguments and errors as for DiscretisedFlow.
    """

    def output(self, raw: Tensor, theta: GaussianParameters, t: float | Tensor) -> OfficialNormal:
        """A normal gathered into bins, within the bounds; improbable bins by their density."""
        normal = super().output(raw, theta, t)
        return OfficialNormal(normal.loc, normal.scale, self.bins)

    def receiver(self, output: DiscretisedNormal | Binned, alpha: float | Tensor) -> BinnedMessage:
        """As (113), with no bin's weight below 1.2 · 10⁻⁷, and all normalised again."""
        return super().receiver(_floored(output), alpha)

    def step_cost(
        self, x: Tensor, output: DiscretisedNormal | Binned, alpha: float | Tensor,
        generator: Generator | None = None,
    ) -> Tensor:
        """ln p_S(y) − ln p_R(y) for one y, with that receiver."""
        return super().step_cost(x, _floored(output), alpha, generator)


def _floored(output: DiscretisedNormal | Binned) -> Binned:
    return Binned(output.log_probs.clamp(min=math.log(LEAST_WEIGHT)).log_softmax(-1))


class OfficialContinuousFlow(ContinuousFlow):
    """Continuous data that were bins: in the end x costs −ln of the probability of its bin, under
    N(x̂, σ₁²), or for 16 bins N(x̂, (0.7 σ₁)²).

    Args:
        sigma_1: as for ContinuousFlow.
        bins: K ≥ 2, of [−1, 1].
        data_range, schedule: as for ContinuousFlow.
    """

    def __init__(
        self, sigma_1: float | None = None, bins: int = 256,
        *, data_range: tuple[float, float] | None = (-1.0, 1.0), schedule: Schedule | None = None,
    ) -> None:
        super().__init__(sigma_1, data_range=data_range, schedule=schedule)
        self.bins = bins

    def _shown(self) -> str:
        return f"{super()._shown()}, bins={self.bins}"

    def final_cost(self, x: Tensor, output: Output) -> Tensor:
        """−ln P(bin of x), in nats."""
        std = torch.full_like(output.mean, self.sigma_1 * (0.7 if self.bins == 16 else 1.0))
        return -OfficialNormal(output.mean, std, self.bins).log_prob(x)


class OfficialDiscreteFlow(DiscreteFlow):
    """Discrete data; L^n is not (190), but higher: see `cost_of`.

    Arguments and errors as for DiscreteFlow.
    """

    def step_cost(
        self, x: Tensor, output: Categorical, alpha: float | Tensor,
        generator: Generator | None = None,
    ) -> Tensor:
        """The price of one y ~ p_S by `cost_of`."""
        y = self.sender(x, alpha).sample(generator=generator)
        return self.cost_of(y, x, output, alpha)

    def cost_of(self, y: Tensor, x: Tensor, output: Categorical, alpha: float | Tensor) -> Tensor:
        """ln p_S(y) less Σ_k ln(p_k N(y_k; α(K − 1), αK) + (1 − p_k) N(y_k; −α, αK)).

        Each component of y gets a mixture of its own, as if the others did not tell which class is
        meant. Over the base N(−α, αK) the first density is e^u, u = y + α(1 − K/2).
        """
        alpha = per_example(alpha, output.log_probs)
        u = y + alpha * (1 - self.classes / 2)
        other = torch.log1p(-output.probs)  # −∞ for a class that is certain
        return pick(u, x) - torch.logaddexp(other, output.log_probs + u).sum(-1)

