"""One number, told to someone who knows which numbers there are: the mathematics of 00 to 02.

What Bob's network knows is a mixture of Gaussians, so that every guess and density has a closed
form. Noise is handed in where a reader drags what it is added to. Equation numbers are those of
Graves et al., arXiv 2308.07037.
"""

import functools
import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.distributions import Normal

from bfn_core.beliefs import joined
from bfn_core.data.toy import GaussianMixture
from bfn_core.distributions import Delta
from bfn_core.flows import ContinuousFlow
from bfn_core.schedules import GeometricSchedule

# What Bob makes of the messages, and what they cost him


@dataclass(frozen=True)
class Exchange:
    """What Alice sent and what Bob made of it; belief i is the one after i messages.

    Attributes:
        x: what Alice tells him.
        y, alpha: the messages and their accuracies, (n,).
        mu, rho: mean and precision of Bob's belief, (n + 1,).
        guesses: what Bob expects x to be, by his belief alone and with a network, (2, n + 1).
    """

    x: float
    y: Tensor
    alpha: Tensor
    mu: Tensor
    rho: Tensor
    guesses: Tensor

    @functools.cached_property
    def bits(self) -> Tensor:
        """What the messages have cost so far, (2, n + 1): the sum of α/2 (x − x̂)² (96), in bits."""
        guess, flow = self.guesses[:, :-1], ContinuousFlow(0.02)  # σ₁ is in α already
        nats = flow.step_cost(torch.full_like(guess, self.x).T, Delta(guess.T), self.alpha)
        return torch.nn.functional.pad(nats.T.cumsum(1), (1, 0)) / math.log(2)


def exchange(x: float, sigma_1: float, noise: Tensor, data: GaussianMixture) -> Exchange:
    """Alice sends a message about x for each number of `noise`.

    Args:
        x: the number that she tells.
        sigma_1: the noise that is left at t = 1.
        noise: standard normal numbers, (n,), float64.
        data: what Bob's network knows about x; it is the perfect one.
    """
    n, flow = len(noise), ContinuousFlow(sigma_1)
    alpha = flow.alpha(torch.arange(1, n + 1, dtype=torch.float64), n)
    y = x + noise / alpha.sqrt()
    beliefs = [flow.prior((1,), dtype=torch.float64)]
    for message, accuracy in zip(y, alpha, strict=True):
        beliefs.append(flow.update(beliefs[-1], message.reshape(1), accuracy))
    theta = joined(beliefs)
    guesses = torch.stack([theta.mean, data.guess(theta.mean, theta.precision - 1)])
    return Exchange(x, y, alpha, theta.mean, theta.precision, guesses)


def drawn(
    n: int, sigma_1: float, noise: Tensor, data: GaussianMixture
) -> tuple[Tensor, Tensor]:
    """Samples of a mixture, drawn with its perfect network, and every belief on the way.

    Args:
        n: messages.
        sigma_1: the noise that is left at t = 1.
        noise: standard normal numbers, (at least n, B), float64.
        data: the mixture.

    Returns:
        The belief's mean at times 0, 1/n … 1, (n + 1, B), and the samples x̂, (B,).
    """
    flow = ContinuousFlow(sigma_1)
    theta = flow.prior(noise.shape[1:], dtype=torch.float64)
    mu = [theta.mean]
    for i in range(n):
        alpha = flow.alpha(i + 1, n)
        y = data.guess(theta.mean, flow.beta(i / n)) + noise[i] / math.sqrt(alpha)
        theta = flow.update(theta, y, alpha)  # y is the receiver's draw
        mu.append(theta.mean)
    return torch.stack(mu), data.guess(theta.mean, flow.beta(1.0))


# Where Bob's mean lies


def flow_at(x: float, beta: float) -> tuple[float, float]:
    """Mean and standard deviation of Bob's mean once accuracy `beta` has come, (77)."""
    gamma = beta / (1 + beta)
    return gamma * x, math.sqrt(gamma * (1 - gamma))


def flow_over_data(
    mu: Tensor, t: float | Tensor, data: GaussianMixture, *, sigma_1: float = 0.02
) -> Tensor:
    """The density of Bob's mean μ at time t when x is any of the data, not one: E_x p_F(μ | x; t).

    For one x it is N(γx, γ(1 − γ)) (77); a bump of the data of width `std` adds (γ std)².

    Args:
        mu, t: where, and when (in (0, 1]); their shapes are broadcast.
        data: the mixture that x is drawn from.
        sigma_1: the noise that is left at t = 1.
    """
    gamma = ContinuousFlow(sigma_1).schedule.gamma(torch.as_tensor(t, dtype=torch.float64))
    spread = (gamma * (1 - gamma) + (gamma * data.std) ** 2).sqrt()
    bumps = zip(data.means, data.probs().tolist(), strict=True)
    return torch.stack([w * Normal(gamma * m, spread).log_prob(mu).exp() for m, w in bumps]).sum(0)


# Ways to spend an accuracy

SPLITS = ("equal", "growing", "random")


def split(
    total: float, n: int, kind: str = "equal", generator: Generator | None = None
) -> Tensor:
    """Cut an accuracy into n parts, (n,) float64, that add up to it.

    Args:
        total: the accuracy to cut, above 0.
        n: how many parts.
        kind: "equal"; "growing", as the paper's schedule does (95); or "random".
        generator: of the random parts.

    Raises:
        ValueError: kind is none of these.
    """
    if kind not in SPLITS:
        raise ValueError(f"kind must be one of {SPLITS}, but is {kind!r}")
    if kind == "growing":
        schedule = GeometricSchedule((1 + total) ** -0.5)
        return torch.tensor([schedule.alpha(i, n) for i in range(1, n + 1)], dtype=torch.float64)
    parts = torch.ones(n, dtype=torch.float64)
    if kind == "random":
        parts = torch.rand(n, generator=generator, dtype=torch.float64).clamp(min=1e-3)
    return total * parts / parts.sum()
