"""Photographs step by step: what messages and guesses are worth, value by value and in levels.

Images are (N, 3, H, W) with values in [−1, 1]; the models are those of discretised data, with a
DiscretisedFlow.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from bfn_core.model import BFN, SamplingStep
from bfn_core.modes import evaluating
from bfn_core.networks.unet import NEIGHBOURS
from bfn_core.step_by_step import heard, watch

BIT = math.log(2.0)  # in nats


def levels(x, bins: int = 256):
    """A distance in [−1, 1] as a number of levels, of which each is 2/K wide."""
    return x * (bins / 2)


@dataclass(frozen=True)
class Walk:
    """What Bob believes and the network guesses while Alice sends n messages about some images.

    All but x and bfn have one entry for each of the T = n + 1 times 0, 1/n … 1.
    """

    bfn: BFN
    times: Tensor  # (T,)
    x: Tensor  # the images, (N, 3, H, W)
    beliefs: Tensor  # mean μ of the belief, (T, N, 3, H, W)
    guesses: Tensor  # mean of the output distribution, (T, N, 3, H, W)
    rates: Tensor  # price of the messages per unit of time, in bits, (T, N, 3, H, W)
    naming: Tensor  # −log₂ p_O(x), the price of x itself at that time, in bits, (T, N, 3, H, W)

    @property
    def spent(self) -> Tensor:
        """Bits of messages up to each time, (T, N, 3, H, W), by the trapezoid rule.

        At t = 0 the network is not asked, so the first piece has the price at its end.
        """
        width = 1 / (len(self.times) - 1)
        before = torch.cat([self.rates[1:2], self.rates[1:-1]])
        pieces = 0.5 * width * (self.rates[1:] + before)
        return torch.cat([torch.zeros_like(pieces[:1]), pieces.cumsum(0)])

    @property
    def bill(self) -> Tensor:
        """Bits of every value of every image: all messages, then the last step, (N, 3, H, W)."""
        return self.spent[-1] + self.naming[-1]

    def at(self, t: float) -> int:
        """The index of the time nearest to t."""
        return round(t * (len(self.times) - 1))

    def doubt(self, t: float) -> float:
        """Standard deviation of x by the messages alone, √((1 − γ)/γ); ∞ at t = 0."""
        gamma = float(self.bfn.flow.gamma(t))
        return math.sqrt((1 - gamma) / gamma) if gamma > 0 else math.inf


@torch.no_grad()
def walk(bfn: BFN, x: Tensor, n: int = 32, *, seed: int = 0) -> Walk:
    """Tell Bob about images in n messages, with one network call for each of the n + 1 times.

    Args:
        x: (N, 3, H, W), bin centres.
        seed: of the messages.
    """
    flow, generator = bfn.flow, Generator().manual_seed(seed)
    found: list[list] = [[], [], [], []]
    _, beliefs = heard(flow, x, n, generator=generator)
    with evaluating(bfn):
        for i, theta in enumerate(beliefs):
            output = bfn.output(theta, i / n)
            rate = flow.rate_cost(x, output, i / n) / BIT
            values = (theta.mean, output.mean, rate, -output.log_prob(x) / BIT)
            for kept, value in zip(found, values, strict=True):
                kept.append(value)
    return Walk(bfn, torch.linspace(0, 1, n + 1), x, *map(torch.stack, found))


def contrast(x: Tensor) -> Tensor:
    """How much each value differs from its four neighbours, in levels, on average: like x."""
    framed = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
    height, width = x.shape[-2:]
    others = [framed[..., i : i + height, j : j + width] for i, j in NEIGHBOURS]
    return levels(torch.stack([(other - x).abs() for other in others]).mean(0))


def by_contrast(walk: Walk, groups: int = 5) -> tuple[Tensor, Tensor]:
    """Mean contrast in levels, and mean bits per dimension, of equally many values each: flattest
    values first, those at edges last; (groups,) each.
    """
    measured = contrast(walk.x).flatten()
    order = measured.argsort(stable=True)
    parts = order[: len(order) // groups * groups].unflatten(0, (groups, -1))
    return measured[parts].mean(1), walk.bill.flatten()[parts].mean(1)


def record(
    bfn: BFN, shape, n_steps: int, *, generator: Generator | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The sampler's steps: (beliefs, guesses, doubts) and the samples.

    The first three are (n_steps + 1, *shape): means of the belief, means of the output
    distribution and standard deviations of the normals that it cuts into bins.
    """
    def look(step: SamplingStep):
        return step.theta.mean, step.output.mean, step.output.scale

    (beliefs, guesses, doubts), x = watch(bfn, shape, n_steps, look, generator=generator)
    return beliefs, guesses, doubts, x


def from_the_end(frames: Tensor, end: Tensor, side: int = 1) -> Tensor:
    """How far images are from what they become, in levels (root mean square), for every step.

    Args:
        frames: (T, N, 3, H, W).
        end: (N, 3, H, W).
        side: compare the means of squares so large, not single values.

    Returns:
        (T,).
    """
    apart = torch.nn.functional.avg_pool2d((frames - end).flatten(0, 1), side)
    return levels(apart.unflatten(0, frames.shape[:2]).square().mean((1, 2, 3, 4)).sqrt())
