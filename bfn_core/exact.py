"""The perfect network: the Bayes-optimal output distribution for a finite data set.

What a network would learn at best is known when the data are a list of points: after Bob's
messages, each point is as likely as its weight times the likelihood of the messages under it. There
is nothing to train; losses and samples are those of the best possible network.

Source: Graves et al. 2023, arXiv 2308.07037, for the flows; the posterior is Bayes' rule.
"""

import torch
from torch import Tensor
from torch.distributions import Distribution

from bfn_core.distributions import Binned, Categorical, Delta, at_least_single, placed, wide
from bfn_core.flows import (
    BayesianFlow,
    CategoricalParameters,
    ContinuousFlow,
    DiscretisedFlow,
    GaussianParameters,
)
from bfn_core.model import BFN
from bfn_core.schedules import check_time


class ExactBFN(BFN):
    """A BFN whose network is perfect for data that takes finitely many values.

    Args:
        flow: as for BFN.
        data: the points, (N, *shape); of the flow's dtype and range.
        weights: their probabilities, (N,), nonnegative, any positive sum; equal by default.

    Raises:
        ValueError: no points, points the flow does not take, or weights of the wrong shape, with
            negative entries, NaN, or a sum of zero.
    """

    def __init__(self, flow: BayesianFlow, data: Tensor, weights: Tensor | None = None) -> None:
        super().__init__(flow, None)
        if not isinstance(data, Tensor):
            raise ValueError(f"data must be a tensor of points (N, *shape), got {type(data)}")
        if data.dim() < 1 or data.shape[0] == 0:
            raise ValueError("data must hold at least one point, shape (N, *shape), got none")
        flow.check(data)
        if weights is None:
            weights = torch.ones(data.shape[0], device=data.device)
        weights = wide(torch.as_tensor(weights))
        if weights.shape != data.shape[:1]:
            raise ValueError(
                f"weights must have shape ({data.shape[0]},), got {tuple(weights.shape)}"
            )
        if not (bool((weights >= 0).all()) and 0 < float(weights.sum()) < float("inf")):
            raise ValueError("weights must be nonnegative and finite, with a sum above 0")
        self.register_buffer("data", data)
        self.register_buffer("log_weights", (weights / weights.sum()).log())
        self._keep_wide()

    def _apply(self, fn, *args, **kwargs):
        # What moves a module, or changes its dtype, would make float64 where there is none.
        weights = self._buffers["log_weights"]
        self._buffers["log_weights"] = None
        super()._apply(fn, *args, **kwargs)
        self._buffers["log_weights"] = weights
        self._keep_wide()
        return self

    def _keep_wide(self) -> None:
        """log_weights: float64, on the device of the data, or on the CPU if that has none."""
        device = self.data.device
        self.log_weights = self.log_weights.to("cpu" if device.type == "mps" else device)

    @property
    def _reference(self) -> Tensor:
        dtype = self.data.dtype if self.data.is_floating_point() else torch.get_default_dtype()
        return torch.empty(0, dtype=at_least_single(dtype), device=self.data.device)

    def entropy(self) -> float:
        """Entropy of the data in nats, equal points counted once: what the best code pays."""
        points, index = self.data.flatten(1).cpu().unique(dim=0, return_inverse=True)
        mass = torch.zeros(len(points), dtype=torch.float64)
        mass.index_add_(0, index, self.log_weights.exp().cpu())
        return float(-torch.special.xlogy(mass, mass).sum())

    @torch.no_grad()
    def posterior(self, theta: GaussianParameters | CategoricalParameters) -> Tensor:
        """How likely each point is given the belief, (B, N), float64; float32 on mps.

        Discrete: ∝ w_j Π_d θ_d(x_jd). Gaussian: ∝ w_j exp(ρμ·x_j − (ρ − 1)/2 ‖x_j‖²), the prior
        N(0, 1) taken out of the belief. It is computed in float64, on the CPU where the device has
        none, because the exponents reach 1/σ₁².
        """
        return placed(self._posterior(theta), self.data.device)

    def _posterior(self, theta: GaussianParameters | CategoricalParameters) -> Tensor:
        if isinstance(theta, CategoricalParameters):
            logits = wide(theta.logits.flatten(1, -2))  # (B, D, K)
            points = self.data.flatten(1).to(logits.device)
            score = torch.zeros(len(logits), len(points), dtype=logits.dtype, device=logits.device)
            for k in range(logits.shape[-1]):
                score += logits[..., k] @ (points == k).double().T
        else:
            points, mean = wide(self.data.flatten(1)), wide(theta.mean.flatten(1))
            precision = wide(theta.precision).unsqueeze(1)  # (B, 1)
            score = precision * mean @ points.T - (precision - 1) / 2 * points.square().sum(1)
        return (self.log_weights + score).softmax(-1)

    @torch.no_grad()
    def output(
        self, theta: GaussianParameters | CategoricalParameters, t: float | Tensor
    ) -> Distribution:
        """The best p_O(x | θ; t): each variable's share of the joint posterior over the points.

        Continuous: all mass on the posterior mean. Discretised: probabilities of bins. Discrete:
        probabilities of classes. The belief says all there is to know; t is only checked.
        """
        check_time(t)
        weights = self._posterior(theta)
        shape, like = (len(weights), *self.data.shape[1:]), self._reference
        if isinstance(self.flow, DiscretisedFlow):
            index, size = self.flow.index(self.data), self.flow.bins
            log_probs = self._marginals(weights, index, size).reshape(*shape, size)
            return Binned(log_probs.to(like.dtype).to(like.device))
        if isinstance(self.flow, ContinuousFlow):
            mean = weights @ wide(self.data.flatten(1))
            return Delta(mean.reshape(shape).to(like.dtype).to(like.device))
        size = self.flow.classes
        log_probs = self._marginals(weights, self.data, size).reshape(*shape, size)
        return Categorical(log_probs.to(like.dtype).to(like.device))

    @staticmethod
    def _marginals(weights: Tensor, index: Tensor, size: int) -> Tensor:
        """ln Σ_j w_j [index_jd = k], (B, D, K)."""
        index = index.flatten(1).to(weights.device)
        probs = [weights @ (index == k).double() for k in range(size)]
        return torch.stack(probs, -1).log()
