"""The Bayesian flow of one discrete variable, as a density over the simplex and as an entropy.

θ = softmax(y) with y Gaussian, so the flow distribution (185) is logistic-normal: everything about
it can be said in closed form or by one integral. Equation numbers are those of Graves et al.,
arXiv 2308.07037.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from bfn_core.flows import DiscreteFlow

EULER = 0.5772156649015329  # the mean of a Gumbel variable at location 0


def flow_logits(flow: DiscreteFlow, x: int, t: float) -> tuple[Tensor, Tensor]:
    """Mean (K,) and variance of y, where θ = softmax(y) is the flow: one message of accuracy β(t).

    The mean is shifted to sum to 0, which softmax cannot tell. At t = 0 there is no message.
    """
    if t == 0:
        return torch.zeros(flow.classes).double(), torch.zeros(()).double()
    sender = flow.sender(torch.tensor([x]), torch.tensor([flow.beta(t)], dtype=torch.float64))
    mean = sender.mean[0]
    return mean - mean.mean(), sender.variance[0, 0]


def flow_density(theta: Tensor, x: int, t: float, flow: DiscreteFlow, *, measure="area") -> Tensor:
    """The flow distribution p_F(θ | x; t) of one variable (185), as a density over the simplex.

    y is Gaussian and θ = softmax(y), so θ is logistic-normal. Its density depends on the measure:
    per "area" of the simplex, relative to beliefs spread evenly over it (which are 1 everywhere),
    or per unit of "log-ratio", in which a message moves every belief by the same step. The first is
    the second over √K (K−1)! Π_k θ_k, the Jacobian; near a corner it grows without a useful bound.

    Args:
      theta: beliefs, (..., K), inside the simplex.
      x: the true class, 0…K−1.
      t: time, in (0, 1].
      measure: "area" or "log-ratio".

    Returns:
        (...), float64.
    """
    if measure not in ("area", "log-ratio"):
        raise ValueError(f'measure must be "area" or "log-ratio", but is {measure!r}')
    centre, variance = flow_logits(flow, x, t)
    logs = theta.double().log()
    around = logs - logs.mean(-1, keepdim=True) - centre
    free = flow.classes - 1  # y has K components, but only their differences count
    log_density = -0.5 * around.square().sum(-1) / variance
    log_density = log_density - 0.5 * free * torch.log(2 * math.pi * variance)
    if measure == "area":
        jacobian = 0.5 * math.log(flow.classes) + math.lgamma(flow.classes) + logs.sum(-1)
        log_density = log_density - jacobian
    return log_density.exp()


def flow_ring(share: float, x: int, t: float, flow: DiscreteFlow, *, points=120) -> Tensor:
    """A closed curve in the triangle that holds this share of the flow; (points + 1, 3).

    In log-ratios the flow is a round Gaussian, so the curve is the image of a circle; along it the
    density per unit of log-ratio is 1 − share of its peak.
    """
    centre, variance = flow_logits(flow, x, t)
    radius = torch.sqrt(-2 * variance * math.log1p(-share))
    angle = torch.linspace(0, 2 * math.pi, points + 1, dtype=torch.float64).unsqueeze(-1)
    across, up = _axes(x)
    return (centre + radius * (angle.cos() * up + angle.sin() * across)).softmax(-1)


def _axes(x: int) -> tuple[Tensor, Tensor]:
    """Two directions at right angles, of length 1, in which log-ratios move: across, towards x."""
    up, across = torch.full((2, 3), -1.0, dtype=torch.float64)
    up[x], across[x], across[(x + 1) % 3] = 2.0, 0.0, 1.0
    return across / math.sqrt(2), up / math.sqrt(6)


@functools.lru_cache(maxsize=4096)
def _entropy(variance: float, classes: int) -> float:
    """`expected_entropy` at β K = variance."""
    if variance == 0:
        return math.log(classes)
    std = math.sqrt(variance)
    z = torch.linspace(-7, 7, 281, dtype=torch.float64)
    weights = torch.exp(-0.5 * z.square())
    step = 0.5  # fine enough: the functions are so smooth that sums on a grid are exact to 1e−8
    v = torch.arange(-5 - 7 * std, variance + 7 * std + 40, step, dtype=torch.float64)

    def below(level: Tensor) -> Tensor:
        """P(std · z + Gumbel < level)."""
        return torch.exp(-torch.exp(std * z - level.unsqueeze(-1))) @ weights / weights.sum()

    highest = below(v) ** (classes - 1) * below(v - variance)  # all K rivals stay below v
    mean = float(v[-1] + step / 2 - highest.sum() * step)
    return min(max(0.0, mean - EULER - variance), math.log(classes))


def expected_entropy(beta: float, classes: int) -> float:
    """Expected entropy of the belief about one of K equally likely classes, in nats.

    Messages of total accuracy β leave logits βK e_x + √(βK) z. A belief is calibrated, so its
    expected entropy is E[−ln θ_x] = E ln Σ_k e^(y_k) − E y_x; and ln Σ_k e^(y_k) is, up to a
    constant, the mean of the largest of y_k + Gumbel noise. That is one integral for any K.

    Args:
      beta: accumulated accuracy, at least 0.
      classes: K, at least 2.
    """
    if not beta >= 0:
        raise ValueError(f"beta must be at least 0, but is {beta}")
    return _entropy(float(beta) * classes, classes)
