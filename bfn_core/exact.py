"""The perfect network: the Bayes-optimal output distribution for a finite data set.

What a network would learn at best is known when the data are a list of points: after Bob's
messages, each point is as likely as its weight times the likelihood of the messages under it. There
is nothing to train; losses and samples are those of the best possible network.

Its bill in continuous time is known as well. Messages cost what they tell, L^∞ = H(X) − H(X | θ₁).
The last fee names the variables one by one, L^r = Σ_d H(X_d | θ₁), so that for classes and bins

    L^∞ + L^r = H(X) + [Σ_d H(X_d | θ₁) − H(X | θ₁)].

The bracket is never negative. It is zero for a single variable, and it vanishes as β(1) grows: then
the bill is the entropy of the data.

Source: Graves et al. 2023, arXiv 2308.07037, for the flows; the posterior is Bayes' rule.
"""

import torch
from torch import Generator, Tensor

from bfn_core.beliefs import Condition, Data, Parameters, first
from bfn_core.checks import check_time
from bfn_core.distributions import Output
from bfn_core.flows import BayesianFlow
from bfn_core.model import BFN
from bfn_core.numerics import at_least_single, in_rows, placed, wide


class ExactBFN(BFN):
    """A BFN whose network is perfect for data that takes finitely many values.

    Args:
        flow: as for BFN.
        data: the points, (N, *shape); of the flow's dtype and range, without gaps. For mixed data
            a dict.
        weights: their probabilities, (N,), nonnegative, any positive sum; equal by default.

    Raises:
        ValueError: no points, points the flow does not take, or weights of the wrong shape, with
            negative entries, NaN, or a sum of zero.
    """

    def __init__(self, flow: BayesianFlow, data: Data, weights: Tensor | None = None) -> None:
        super().__init__(flow, None)
        if not isinstance(data, (Tensor, dict)) or (isinstance(data, dict) and not data):
            raise ValueError(f"data must be a tensor of points (N, *shape), got {type(data)}")
        if first(data).dim() < 1 or first(data).shape[0] == 0:
            raise ValueError("data must hold at least one point, shape (N, *shape), got none")
        flow.check_points(data)
        count, device = len(first(data)), first(data).device
        weights = torch.ones(count, device=device) if weights is None else weights
        weights = wide(torch.as_tensor(weights))
        if weights.shape != (count,):
            raise ValueError(f"weights must have shape ({count},), got {tuple(weights.shape)}")
        if not (bool((weights >= 0).all()) and 0 < float(weights.sum()) < float("inf")):
            raise ValueError("weights must be nonnegative and finite, with a sum above 0")
        self.names = list(data) if isinstance(data, dict) else None
        parts = data if isinstance(data, dict) else {"": data}
        for name, part in parts.items():
            self.register_buffer(_buffer(name), part)
        self.register_buffer("log_weights", (weights / weights.sum()).log())
        self._keep_wide()

    @property
    def data(self) -> Data:
        """The points, where the module is."""
        if self.names is None:
            return self.points
        return {name: getattr(self, _buffer(name)) for name in self.names}

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
        device = first(self.data).device
        self.log_weights = self.log_weights.to("cpu" if device.type == "mps" else device)

    @property
    def _reference(self) -> Tensor:
        points = first(self.data)
        dtype = points.dtype if points.is_floating_point() else torch.get_default_dtype()
        return torch.empty(0, dtype=at_least_single(dtype), device=points.device)

    def entropy(self) -> float:
        """Entropy of the data in nats, equal points counted once: what the best code pays.

        The bill of this network comes down to it as β(1) grows (see the top of this file).
        """
        parts = self.data.values() if self.names else [self.data]
        points = torch.cat([in_rows(part).cpu().double() for part in parts], 1)
        points, index = points.unique(dim=0, return_inverse=True)
        mass = torch.zeros(len(points), dtype=torch.float64)
        mass.index_add_(0, index, self.log_weights.exp().cpu())
        return float(-torch.special.xlogy(mass, mass).sum())

    @torch.no_grad()
    def posterior(self, theta: Parameters) -> Tensor:
        """How likely each point is given the belief, (B, N): ∝ its weight times the likelihood.

        Computed in float64, on the CPU where the device has none; returned in float32 there.
        """
        return placed(self._posterior(theta), first(self.data).device)

    def _posterior(self, theta: Parameters) -> Tensor:
        score = self.flow.log_likelihood(theta, self.data)
        return (self.log_weights.to(score.device) + score).softmax(-1)

    @torch.no_grad()
    def output(
        self, theta: Parameters, t: float | Tensor, *, condition: Condition = None
    ) -> Output:
        """The best p_O(x | θ; t): each variable's share of the joint posterior over the points.

        Continuous: all mass on the posterior mean. Discretised: probabilities of bins. Discrete:
        probabilities of classes. The belief says all there is to know; t is only checked.

        Raises:
            ValueError: t outside [0, 1], or a condition, of which this network knows nothing.
        """
        check_time(t)
        if condition is not None:
            raise ValueError("condition must be None: an ExactBFN knows its points and no more")
        return self.flow.mixture(self._posterior(theta), self.data)


def _buffer(name: str) -> str:
    """What a part's points are called in the module, where a name may have no dot."""
    return f"points{name and '_'}{name}".replace(".", "·")


def told_so_far(bfn: ExactBFN, times: Tensor, *, draws: int = 4, seed: int = 0) -> Tensor:
    """What messages have told by each pair of times, (kinds, places), on average: H(X) + E ln p.

    The gradient of this surface are the two rates at which the bill grows, so a path's bill depends
    on where it ends, and on nothing else.

    Args:
        bfn: perfect, of a MixedFlow with "kinds" and "places".
        times: (T,).
        draws: of the messages about each point, which counts as much as its weight.
        seed: of the messages.

    Returns:
        (T, T) in nats, float64.
    """
    data, own = bfn.data, bfn.log_weights.isfinite().nonzero().squeeze(1).repeat(draws)
    weights = (bfn.log_weights - bfn.log_weights.max()).exp()[own]
    scores = {}
    for name, flow in bfn.flow.flows.items():
        noise = Generator().manual_seed(seed + len(name))
        state = noise.get_state()
        scores[name] = []
        for t in times.tolist():  # the same noise at all times: a smooth surface
            noise.set_state(state)
            theta = flow.sample_flow(data[name][own], t, noise)
            scores[name].append(flow.log_likelihood(theta, data[name]))
    surface = torch.empty(len(times), len(times), dtype=torch.float64)
    for i, kinds in enumerate(scores["kinds"]):
        for j, places in enumerate(scores["places"]):
            log_posterior = (bfn.log_weights + kinds + places).log_softmax(-1)
            told = log_posterior.gather(1, own.unsqueeze(1)).squeeze(1) - bfn.log_weights[own]
            surface[i, j] = (weights * told).mean() / weights.mean()
    return surface
