"""Binary data as numbers: the same messages, read as a message about x = ±1.

Of a class c ∈ {0, 1} a message of accuracy α says y ~ N(α (2 e_c − 1), 2 α I) (157). Only the
difference of its two numbers tells anything, and half of it over α is

    (y₁ − y₀) / 2α ~ N(x, 1/α),    x = 2c − 1,

which is the sender of continuous data. After messages whose accuracies add up to β, the belief
N(μ, 1/(1 + β)) about x and the probabilities θ know the same: ln θ₁/θ₀ = 2 (1 + β) μ. So a network
of binary data is one of numbers too, and what works with Gaussian noise works with it: it may be
turned, as in `fill(…, basis=…)`.
"""

import torch

from bfn_core.beliefs import CategoricalParameters, Condition, GaussianParameters, per_example, told
from bfn_core.distributions import Delta
from bfn_core.flows import ContinuousFlow, DiscreteFlow
from bfn_core.model import BFN


class Signs(BFN):
    """A BFN of binary data (DiscreteFlow with K = 2) as one of numbers −1 and 1.

    Its guess is the mean 2 p_O(1) − 1, and its L^∞ is that of the BFN of classes. Samples are
    means, near −1 or 1 but not on them: x > 0 is the class.

    Args:
        bfn: of classes 0 and 1; its network is not changed, and is shared.

    Raises:
        ValueError: it is for other data.
    """

    def __init__(self, bfn: BFN) -> None:
        if not isinstance(bfn.flow, DiscreteFlow) or bfn.flow.classes != 2:
            raise ValueError(f"bfn must be for binary data, a DiscreteFlow(2, …), got {bfn.flow}")
        super().__init__(ContinuousFlow(schedule=bfn.flow.schedule), None)
        self.classes = bfn

    @property
    def _reference(self) -> torch.Tensor:
        return self.classes._reference

    def output(
        self, theta: GaussianParameters, t: float | torch.Tensor, *, condition: Condition = None
    ) -> Delta:
        """All mass on the mean of p_O, (B, *shape); see BFN.output."""
        total = theta.mean * per_example(theta.precision, theta.mean)  # Σ α y
        logits = torch.stack([-total, total], -1).log_softmax(-1)
        guess = self.classes.output(CategoricalParameters(logits), t, **told(condition))
        return Delta(2 * guess.probs[..., 1] - 1)
