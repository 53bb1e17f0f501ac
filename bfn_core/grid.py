"""Data on a grid: what it is worth to know that there is one, and samples of it as they form.

Equation numbers are those of Graves et al., arXiv 2308.07037.
"""

import functools
import math

import torch
from torch import Generator, Tensor

from bfn_core.beliefs import cut
from bfn_core.exact import ExactBFN
from bfn_core.flows import ContinuousFlow, DiscretisedFlow
from bfn_core.model import BFN, SamplingStep
from bfn_core.step_by_step import watch

BIT = math.log(2.0)  # in nats

# Six points of a 5 × 5 grid: (row, column) and how often they come.
POINTS = ((0, 1), (1, 3), (2, 0), (2, 2), (3, 4), (4, 1))
WEIGHTS = (4.0, 2.0, 1.0, 4.0, 3.0, 2.0)
GRID = 5
SIGMAS = (0.02, 0.5)  # the smallest and the largest σ₁ that there are bills for


def grid_models(sigma_1: float = 0.05, fine: int = 16) -> tuple[ExactBFN, ExactBFN]:
    """Two perfect networks for the same data, six points on a 5 × 5 grid.

    The first knows the points (DiscretisedFlow). The second is a continuous model of smooth data:
    it knows how much mass each cell of the grid holds, but not that all of it lies in the centre.
    Its data are `fine` × `fine` points evenly over each cell.

    Returns:
        (knowing, smooth), both ExactBFN.
    """
    flow = DiscretisedFlow(GRID, sigma_1)
    data, weights = flow.centres[torch.tensor(POINTS)], torch.tensor(WEIGHTS)
    inner = ((2 * torch.arange(fine) + 1) / fine - 1) / GRID
    cell = torch.cartesian_prod(inner, inner)
    spread = (data.unsqueeze(1) + cell).reshape(-1, 2)
    smooth = ExactBFN(ContinuousFlow(sigma_1), spread, weights.repeat_interleave(len(cell)))
    return ExactBFN(flow, data, weights), smooth


@functools.lru_cache(1)
def _bills(count: int = 80, repeats: int = 200, few: int = 10) -> tuple[Tensor, ...]:
    """ln ρ (count,), and bits paid until then by both networks, averaged over the data.

    The bill ½ ∫ E‖x − x̂‖² dβ up to an accuracy does not depend on σ₁, which only says when in t
    that accuracy is reached. So one run down to the smallest σ₁ serves every other. The network
    with many points hears only the first `few` of the messages, and its error is taken as the
    difference from the other's on the same messages, which varies little.
    """
    knowing, smooth = grid_models(SIGMAS[0])
    weights = torch.tensor(WEIGHTS) / sum(WEIGHTS)
    log_rho = torch.linspace(0, -2 * math.log(SIGMAS[0]), count)
    x = knowing.data.repeat(repeats, 1)
    part = few * len(POINTS)
    generator = torch.Generator().manual_seed(0)

    def errors(model, theta, x, t):
        squared = (x - model.output(theta, t).mean).square().sum(1)
        return squared.reshape(-1, len(POINTS)) @ weights

    rows = []
    for t in (log_rho / log_rho[-1]).tolist():
        theta = knowing.flow.sample_flow(x, t, generator)
        fewer = cut(theta, slice(part))
        known = errors(knowing, theta, x, t)
        extra = errors(smooth, fewer, x[:part], t) - known[:few]
        rows.append(torch.stack([known.mean(), known.mean() + extra.mean()]))
    rate = 0.5 * torch.stack(rows, 1) * log_rho.exp() / BIT  # per unit of ln ρ, as dβ = ρ d ln ρ
    paid = torch.cumulative_trapezoid(rate, log_rho)
    return log_rho, *torch.nn.functional.pad(paid, (1, 0))


def grid_bills(sigma_1: float) -> tuple[Tensor, Tensor, Tensor]:
    """t (points,), and the bits that the two networks of `grid_models` have paid by then."""
    log_rho, knowing, smooth = _bills()
    end = -2 * math.log(sigma_1)
    use = log_rho <= end + 1e-6
    return log_rho[use] / end, knowing[use], smooth[use]


def record(
    bfn: BFN, shape, n_steps: int, *, generator: Generator | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The sampler's steps of discretised data, and the samples, of `shape`.

    Returns:
        (beliefs, guesses, spreads, samples); of the first three, (n_steps + 1, *shape), the means
        of the belief, and the means and standard deviations of the output distribution.
    """
    def look(step: SamplingStep):
        output = step.output
        variance = output.probs @ output.centres.square() - output.mean.square()
        return step.theta.mean, output.mean, variance.clamp(min=0).sqrt()

    (beliefs, guesses, spreads), x = watch(bfn, shape, n_steps, look, generator=generator)
    return beliefs, guesses, spreads, x
