"""What a belief does not know yet, against the accuracy it was told: the curve behind every bill.

Let X be what is told, x itself or, of classes, K e_x, and κ the size of its noise (1, or √K). The
error of the guess at accumulated accuracy β,

    e(β) = E ‖X − X̂‖² / κ²            mmse(β), where the network is perfect,

is all that a bill is made of. In continuous time L^∞ = ½ ∫ e dβ, from 0 to β(1), on every schedule.
In n messages of a Gaussian receiver, each guessed with what was known before it,

    L^n = ½ Σ_i (β_i − β_{i−1}) e(β_{i−1}),

a left Riemann sum of the same curve; a schedule says where its steps lie. Small steps cost too much
by ¼ Σ α_i² (−e'), which is least for steps of even ∫ √(−e') dβ. (A receiver of classes or bins is a
mixture that expects its own doubt, and pays less: there the sum bounds L^n from above.)

Source: Graves et al. 2023, arXiv 2308.07037, for the bills; Guo, Shamai and Verdú 2005, "Mutual
information and minimum mean-square error in Gaussian channels", for ½ ∫ mmse as information.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Generator, Tensor

from bfn_core.beliefs import Condition, Data, first, told
from bfn_core.checks import whole
from bfn_core.data.toy import GaussianMixture
from bfn_core.likelihood import Estimate
from bfn_core.model import BFN
from bfn_core.modes import evaluating
from bfn_core.numerics import in_rows, wide
from bfn_core.schedules import Schedule, TableSchedule

FINE = 4000  # times at which a schedule is looked at
APART = 1 << 20  # added to a seed of noise, lest data drawn with the same seed be its own noise


@torch.no_grad()
def mmse(
    bfn: BFN, x: Data, t: float,
    *, condition: Condition = None, generator: Generator | None = None,
) -> Estimate:
    """e(β(t)): how far the guess is from what is told, E ‖X − X̂‖²/κ², summed over the variables.

    It is twice the rate of the continuous bill over β', so it does not depend on the schedule.

    Args:
        bfn: of one kind of data, trained or perfect.
        x: data, (N, *shape).
        t: in (0, 1]; near 0 for what nothing told leaves open.
        condition: what the network is told.
        generator: for the belief.

    Raises:
        ValueError: t at which β does not move, or what `bfn.loss` refuses.
    """
    rate = float(bfn.flow.schedule.rate(float(t)))
    if not rate > 0.0:
        raise ValueError(f"t must be a time at which accuracy is told, got {t}, where β' = {rate}")
    with evaluating(bfn):
        cost = bfn.loss(x, float(t), **told(condition), generator=generator)
    return Estimate.of(wide(cost) * (2.0 / rate))


@dataclass(frozen=True)
class ErrorCurve:
    """e(β) at some accuracies, and straight lines between them.

    Attributes:
        beta: (M,), ascending from 0 to β(1), float64.
        error: e(β), (M,), in squared units of X/κ; summed over variables.
    """

    beta: Tensor
    error: Tensor

    @classmethod
    def of(
        cls, bfn: BFN, x: Data, beta: Tensor,
        *, condition: Condition = None, seed: int = 0, first_time: float = 1e-4,
    ) -> "ErrorCurve":
        """Measure it, with the same noise at every accuracy, so that it is smooth.

        Args:
            bfn, x, condition: as for `mmse`.
            beta: (M,) accuracies, ascending from 0 to β(1) of the flow.
            seed: of the noise.
            first_time: stands for t = 0, at which some schedules do not move.
        """
        device, errors = first(x).device, []
        for accuracy in beta.double().tolist():
            t = min(1.0, max(first_time, float(bfn.flow.schedule.time(accuracy))))
            rng = torch.Generator(device).manual_seed(APART + seed)
            errors.append(mmse(bfn, x, t, condition=condition, generator=rng).mean)
        return cls(beta.double(), torch.tensor(errors, dtype=torch.float64))

    @cached_property
    def _told(self) -> Tensor:
        """½ ∫ e dβ up to each point, (M,): nats that have been told."""
        parts = self.beta.diff() * (self.error[1:] + self.error[:-1]) / 4
        return torch.cat([parts.new_zeros(1), parts.cumsum(0)])

    @property
    def least(self) -> float:
        """L^∞ in nats, whatever the schedule."""
        return float(self._told[-1])

    def at(self, beta: Any) -> Tensor:
        """e(β) on the lines; of any shape."""
        return _line(torch.as_tensor(beta, dtype=torch.float64), self.beta, self.error)

    def bill(self, beta: Any) -> float:
        """L^n in nats of messages up to accuracies 0 = β_0 < … < β_n, (n + 1,): the left sum."""
        beta = torch.as_tensor(beta, dtype=torch.float64)
        return float((beta.diff() * self.at(beta[:-1])).sum() / 2)

    def excess(self, schedule: Schedule, n: int) -> float:
        """L^n − L^∞ in nats of n messages at even times: the area between sum and curve."""
        return self.bill(grid(schedule, n)) - self.least

    def spread(self, schedule: Schedule) -> float:
        """Standard deviation in nats of a one-draw loss that comes of the time alone.

        With uniform t the loss is ½ β'(t) e(β(t)) on average over x and noise; this is how much
        that moves with t. It is 0 where every moment costs the same.
        """
        t = (torch.arange(FINE, dtype=torch.float64) + 0.5) / FINE
        cost = schedule.rate(t) * self.at(schedule.beta(t)) / 2
        return float((cost - cost.mean()).square().mean().sqrt())

    @property
    def falling(self) -> "ErrorCurve":
        """The curve without the rises that chance or an imperfect network give it."""
        return ErrorCurve(self.beta, self.error.cummin(0).values)

    def equal_bits(self) -> TableSchedule:
        """The schedule on which every moment, and every one of many messages, costs the same."""
        return self._even(self._told.diff())

    def finest(self) -> TableSchedule:
        """The schedule whose n messages cost least as n → ∞: even in ∫ √(−e') dβ."""
        fall, wide_step = -self.falling.error.diff(), self.beta.diff()
        return self._even((fall * wide_step).sqrt())

    def _even(self, parts: Tensor) -> TableSchedule:
        """The schedule on which equal parts take equal times; what is empty takes almost none.

        Raises:
            ValueError: every part is empty.
        """
        if not float(parts.sum()) > 0.0:
            raise ValueError("the curve's error must be above 0 for `equal_bits`, and fall for "
                             f"`finest`, got {self.error.min():g} to {self.error.max():g}")
        parts = parts.clamp(min=1e-9 * float(parts.sum()))
        t = torch.cat([parts.new_zeros(1), parts.cumsum(0)]) / parts.sum()
        t[-1] = 1.0
        return TableSchedule(t, self.beta)

    def best(self, n: int) -> Tensor:
        """The points of `beta` between which n messages cost least by the left sum, (n + 1,)."""
        steps = (self.beta.unsqueeze(0) - self.beta.unsqueeze(1)).clamp(min=0.0)
        return self.beta[cheapest(steps * self.error.unsqueeze(1) / 2, n)]


def mixture_curve(mixture: GaussianMixture, beta: Tensor, points: int = 2001) -> ErrorCurve:
    """The error of a perfect network for a mixture of normals: an integral over one number.

    Args:
        mixture: the law of the data, not cut off.
        beta: (M,) accuracies from 0 to β(1), float64.
        points: at which the noise is taken.
    """
    z = torch.linspace(-7, 7, points, dtype=torch.float64)
    share = (-0.5 * z * z).softmax(0)
    own = torch.tensor(mixture.means, dtype=torch.float64)
    probs = torch.tensor(mixture.weights or [1.0] * len(own), dtype=torch.float64)
    probs, narrow = probs / probs.sum(), mixture.std**2
    errors = [(probs * own.square()).sum() - (probs @ own) ** 2 + narrow]
    for b in beta[1:].tolist():
        # x + σ ε where x is of one component, (J, points), and what each says of x: in float64
        # throughout, which `mixture.posterior` is not.
        noise = torch.tensor(b**-0.5, dtype=torch.float64) ** 2
        place, wide_spread = own.unsqueeze(1) + (narrow + noise).sqrt() * z, narrow + noise
        off = place.unsqueeze(-1) - own
        weights = (probs.log() - 0.5 * off.square() / wide_spread).softmax(-1)
        within = own + narrow * off / wide_spread
        guess = (weights * within).sum(-1, keepdim=True)
        variance = (weights * (within - guess).square()).sum(-1) + narrow * noise / wide_spread
        errors.append(probs @ variance @ share)
    return ErrorCurve(beta, torch.stack(errors))


def belief_entropy(classes: int, beta: Tensor, count: int = 20_000, seed: int = 0) -> Tensor:
    """E H(θ) in nats of a belief about one of K classes, by draws of θ.

    The same noise at every accuracy, and with its opposite.

    Args:
        classes: K.
        beta: (M,) accuracies.
        count: draws, an even number.
        seed: of the noise.

    Returns:
        (M,), float64.
    """
    rng = torch.Generator().manual_seed(seed)
    noise = torch.randn(count // 2, classes, generator=rng, dtype=torch.float64)
    noise, found = torch.cat([noise, -noise]), []
    for b in beta.tolist():
        logits = (classes * b) ** 0.5 * noise
        logits[:, 0] += classes * b
        log = logits.log_softmax(-1)
        found.append(-(log.exp() * log).sum(-1).mean())
    return torch.stack(found)


def off_the_line(schedule: Schedule, classes: int, points: int = 41, **options) -> float:
    """The largest distance of E H(θ) from a straight line in t, as a share of its whole drop.

    Args:
        schedule: whose times they are.
        classes: K.
        points: times, evenly spread from 0 to 1.
        options: of `belief_entropy`.
    """
    t = torch.linspace(0, 1, points, dtype=torch.float64)
    entropy = belief_entropy(classes, schedule.beta(t), **options)
    line = torch.lerp(entropy[0], entropy[-1], t)
    return float((entropy - line).abs().max() / (entropy[0] - entropy[-1]))


def grid(schedule: Schedule, n: int) -> Tensor:
    """Accuracies at the times i/n, (n + 1,), float64; the first is 0."""
    t = torch.arange(whole("n", n) + 1, dtype=torch.float64) / n
    beta = schedule.beta(t)
    return torch.cat([beta.new_zeros(1), beta[1:]])


def cheapest(costs: Tensor, n: int) -> Tensor:
    """The cheapest way from the first point to the last in n steps ahead, (n + 1,) indices.

    Args:
        costs: costs[i, j] of a step from point i to point j > i, (M, M), M > n.

    Raises:
        ValueError: fewer than n + 1 points.
    """
    n, count = whole("n", n), len(costs)
    if count <= n:
        raise ValueError(f"costs must be of at least n + 1 = {n + 1} points, got {count}")
    ahead = torch.ones_like(costs, dtype=torch.bool).triu(1)
    costs = torch.where(ahead, costs, torch.inf)
    total, origins = costs[0], []
    for _ in range(n - 1):
        total, origin = (total.unsqueeze(1) + costs).min(0)
        origins.append(origin)
    way = [count - 1]
    for origin in reversed(origins):
        way.append(int(origin[way[-1]]))
    return torch.tensor([0, *reversed(way)])


@torch.no_grad()
def message_costs(
    bfn: BFN, x: Data, beta: Tensor,
    *, condition: Condition = None, seed: int = 0, first_time: float = 1e-4,
) -> Tensor:
    """What one message costs from any of some accuracies to any later one, (M, M), in nats.

    Means over x of the KL divergence between sender and receiver, for `cheapest`. The network is
    asked M times. Entry [i, j] is 0 for j ≤ i.

    Args:
        bfn, x, condition, seed, first_time: as for `ErrorCurve.of`.
        beta: (M,) accuracies, ascending from 0 to β(1).
    """
    flow, device, costs = bfn.flow, first(x).device, torch.zeros(len(beta), len(beta)).double()
    beta = beta.double()
    with evaluating(bfn):
        for i in range(len(beta) - 1):
            rng = torch.Generator(device).manual_seed(APART + seed)
            t = min(1.0, max(first_time, float(flow.schedule.time(float(beta[i])))))
            t = torch.full((len(first(x)),), t, device=device)
            output = bfn.output(flow.sample_flow(x, t, rng), t, **told(condition))
            for j in range(i + 1, len(beta)):
                cost = flow.step_cost(x, output, float(beta[j] - beta[i]), rng)
                costs[i, j] = in_rows(wide(cost)).sum(1).mean()
    return costs


@torch.no_grad()
def grid_bill(
    bfn: BFN, x: Data, beta: Sequence[float],
    *, condition: Condition = None, generator: Generator | None = None,
) -> Tensor:
    """One draw of L^n for each example, (B,) nats, of messages up to given accuracies.

    All n messages are costed, and not one at random as in `bfn.loss_n`; the network is asked at the
    time when its own schedule has the accuracy.

    Args:
        bfn: of one kind of data.
        x: data, (B, *shape).
        beta: 0 = β_0 < … < β_n = β(1), n + 1 numbers.
        condition: what the network is told.
        generator: for beliefs and messages.
    """
    flow: Any = bfn.flow
    total: Any = 0.0
    with evaluating(bfn):
        for known, after in pairwise(beta):
            t = torch.full((len(first(x)),), min(1.0, float(flow.schedule.time(float(known)))))
            t = t.to(first(x).device)
            theta = flow.sample_flow(x, t, generator)
            output = bfn.output(theta, t, **told(condition))
            cost = flow.step_cost(x, output, float(after) - float(known), generator)
            total = total + wide(in_rows(cost).sum(1))
    return total


def _line(value: Tensor, across: Tensor, up: Tensor) -> Tensor:
    """Straight lines through points, level beyond their ends."""
    place = torch.searchsorted(across, value.contiguous(), right=True).clamp(1, len(across) - 1)
    low, high = across[place - 1], across[place]
    share = ((value - low) / (high - low)).clamp(0.0, 1.0)
    return torch.lerp(up[place - 1], up[place], share)
