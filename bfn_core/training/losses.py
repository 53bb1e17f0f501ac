"""What is minimised: the paper's L^∞, or a loss with the same minimum that is learned sooner, or
one that also asks for what L^∞ does not see.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bfn_core.beliefs import Data, per_example
from bfn_core.distributions import Categorical, DiscretisedNormal, Output
from bfn_core.flows import BayesianFlow, DiscreteFlow, DiscretisedFlow
from bfn_core.missing import MissingFlow, without_gaps
from bfn_core.mixed import MixedFlow
from bfn_core.numerics import in_rows
from bfn_core.training.scales import Settings
from bfn_core.training.tasks import TrainingError

KINDS = {  # the settings that change what is minimised, and the data they are for
    "cross_entropy": (DiscreteFlow, "discrete data"),
    "width_weight": (DiscretisedFlow, "discretised data"),
}


def added(settings: Settings) -> list[str]:
    """The settings by which something else than L^∞ is minimised."""
    return [name for name in KINDS if getattr(settings, name)]


def check_objective(settings: Settings, flow: BayesianFlow) -> None:
    """Raise TrainingError if a setting asks for a loss that none of the data has."""
    flows = list(flow.flows.values()) if isinstance(flow, MixedFlow) else [flow]
    flows = [without_gaps(part) for part in flows]
    for name in added(settings):
        kind, data = KINDS[name]
        if not any(isinstance(part, kind) for part in flows):
            raise TrainingError(f"the setting {name} is for {data}: leave it out")


def objective(
    flow: BayesianFlow,
    x: Data,
    output: Output,
    t: Tensor,
    settings: Settings,
) -> tuple[Tensor, Tensor]:
    """What a step makes smaller, and the integrand of L^∞, both per variable, (B, *shape).

    Discrete data: with `settings.cross_entropy` c the first is (1 − c) of L^∞ and
    c K β(1) t (−ln p_O(x | θ; t)), see `share_of_cross_entropy`.

    Discretised data: with `settings.width_weight` w it is L^∞ − w ln p_O(x | θ; t), see
    `with_widths`.

    Mixed data, (B, D): each part has what is meant for its kind. What is missing counts nothing.
    """
    if isinstance(flow, MixedFlow):
        parts = [objective(part, x[name], output[name], t, settings)
                 for name, part in flow.flows.items()]
        aims, costs = (torch.cat([in_rows(each) for each in both], 1)
                       for both in zip(*parts, strict=True))
        return aims, costs
    if isinstance(flow, MissingFlow):
        whole, there = flow.parts(x)
        aim, cost = objective(flow.inner, whole, output, t, settings)
        return torch.where(there, aim, 0.0), torch.where(there, cost, 0.0)
    if isinstance(flow, DiscreteFlow) and settings.cross_entropy:
        return share_of_cross_entropy(flow, x, output, t, settings.cross_entropy)
    if isinstance(flow, DiscretisedFlow) and settings.width_weight:
        return with_widths(flow, x, output, t, settings.width_weight)
    cost = flow.rate_cost(x, output, t)
    return cost, cost


def share_of_cross_entropy(
    flow: DiscreteFlow, x: Tensor, output: Categorical, t: Tensor, share: float
) -> tuple[Tensor, Tensor]:
    """(205) with −ln p_O(x) in the place of a share of ‖e_x − ê‖²; and (205).

    Both are least where p_O is what θ says of x, so the network learns the same; but the slope of
    the square in the logits vanishes where p_O is sure and wrong, that of the logarithm is largest
    there.
    """
    cost = flow.rate_cost(x, output, t)
    half = 0.5 * flow.classes * per_example(flow.schedule.rate(t), cost)
    return (1 - share) * cost - share * half * output.log_prob(x), cost


def with_widths(
    flow: DiscretisedFlow, x: Tensor, output: DiscretisedNormal, t: Tensor, weight: float
) -> tuple[Tensor, Tensor]:
    """The integrand of L^∞ (101) less w ln p_O(x | θ; t); and that integrand.

    L^∞ sees nothing of p_O but the mean of its bins, so it leaves the width to chance: a normal
    that is much too wide can have the right mean. But the sampler draws from p_O, and L^n charges
    for its width at every n < ∞. −ln p_O(x) is what x itself would cost if it were sent at time t.
    Both are least where p_O is what θ says of x.

    Both move mean and width together. Each alone does not hold: with the mean left to L^∞ and the
    width to −ln p_O, a normal that lies outside [−1, 1], as for a white pixel, may drift further
    and widen at no cost to either, until others drift with it.
    """
    cost = flow.rate_cost(x, output, t)
    return cost - weight * output.log_prob(x), cost
