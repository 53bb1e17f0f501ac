"""What is minimised: the paper's L^∞, or a loss with the same minimum that is learned sooner."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Distribution

from bfn_core.beliefs import per_example
from bfn_core.flows import BayesianFlow, DiscreteFlow
from bfn_core.training.scales import Settings
from bfn_core.training.tasks import TrainingError


def objective(
    cost: Tensor,
    flow: BayesianFlow,
    x: Tensor,
    output: Distribution,
    t: Tensor,
    settings: Settings,
) -> Tensor:
    """What a step makes smaller, per variable, (B, *shape), given the integrand `cost` of L^∞.

    With `settings.cross_entropy` c it is (1 − c) of that and c K β(1) t (−ln p_O(x | θ; t)): for
    discrete data (205) with −ln p_O(x) in the place of ‖e_x − ê‖². Both are least where p_O is
    what θ says of x, so the network learns the same; but the slope of the square in the logits
    vanishes where p_O is sure and wrong, that of the logarithm is largest there.

    Raises TrainingError if it is asked for and the data are not discrete.
    """
    share = settings.cross_entropy
    if not share:
        return cost
    if not isinstance(flow, DiscreteFlow):
        raise TrainingError("the setting cross_entropy is for discrete data: leave it out")
    half = 0.5 * flow.classes * per_example(flow.schedule.rate(t), cost)
    return (1 - share) * cost - share * half * output.log_prob(x)
