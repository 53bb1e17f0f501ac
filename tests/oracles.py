"""Data with a known law, and slow, plain forms of what bfn_core computes quickly."""

import math

import torch

from bfn_core import BFN, DiscreteFlow, DiscretisedFlow, Estimate
from bfn_core.distributions import Delta
from bfn_core.networks.transformer import Transformer


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(points: torch.Tensor, weights: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    """Points in the proportions of their weights, with the rounding left to chance."""
    index = torch.multinomial(weights, count, replacement=True, generator=generator(seed))
    return points[index]


def correlated_table(classes: int, size: int, seed: int = 0):
    """All K^D sequences, (K^D, D) int64, and uneven joint probabilities."""
    points = torch.cartesian_prod(*[torch.arange(classes)] * size).reshape(-1, size)
    weights = torch.rand(len(points), generator=generator(seed)) ** 3
    return points, weights / weights.sum()


def correlated_bins(flow: DiscretisedFlow, size: int, seed: int = 0):
    """The same over the bin centres of `flow`, float."""
    index, weights = correlated_table(flow.bins, size, seed)
    return flow.centres[index], weights


def table_entropy(weights: torch.Tensor) -> float:
    weights = weights.double() / weights.double().sum()
    return float(-(weights * weights.log()).sum())


def excess(bfn, x: torch.Tensor, seed: int) -> Estimate:
    """Σ_d H(X_d | θ₁) − H(X | θ₁) in nats, over beliefs about the examples x: what L^r takes more
    than it would if it named all variables together.
    """
    theta = bfn.flow.sample_flow(x, 1.0, generator(seed))
    posterior, points = bfn.posterior(theta), bfn.data.flatten(1)
    apart = torch.zeros(len(x), dtype=torch.float64)
    for values in points.T:
        _, index = values.unique(return_inverse=True)
        marginal = torch.zeros(len(x), int(index.max()) + 1, dtype=torch.float64)
        apart += torch.special.entr(marginal.index_add_(1, index, posterior)).sum(1)
    return Estimate.of(apart - torch.special.entr(posterior).sum(1))


def normal_grid(std: float, points: int) -> torch.Tensor:
    """Equally likely points (N, 1) that stand for N(0, std²)."""
    level = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    return (std * torch.special.ndtri(level)).float().unsqueeze(1)


class Normal(BFN):
    """The perfect network of x ~ N(m, τ²): x̂ = (m + τ² s)/(1 + τ² β), in float64."""

    def __init__(self, flow, mean=0.2, std=0.3):
        super().__init__(flow, None)
        self.mean, self.std, self.calls = mean, std, 0

    @property
    def _reference(self):
        return torch.empty(0, dtype=torch.float64)

    def output(self, theta, t, *, condition=None):
        self.calls += 1
        beta = (theta.precision - 1).unsqueeze(1)
        s = (1 + beta) * theta.mean
        return Delta((self.mean + self.std**2 * s) / (1 + self.std**2 * beta))


def brute_message_log_prob(y, log_probs, alpha):
    """ln Σ_k p_k N(y; α(K e_k − 1), αK I), each Gaussian written out, O(K²)."""
    classes = y.shape[-1]
    centres = alpha * (classes * torch.eye(classes, dtype=y.dtype) - 1)
    squared = (y.unsqueeze(-2) - centres).square().sum(-1) / (alpha * classes)
    log_normal = -0.5 * squared - 0.5 * classes * math.log(2 * math.pi * alpha * classes)
    return (log_probs + log_normal).logsumexp(-1)


def agree(estimate, truth: float, errors: float = 4.0) -> bool:
    """Whether an Estimate lies within `errors` standard errors of the truth."""
    return abs(estimate.mean - truth) < errors * estimate.standard_error


def triangle_grid(side):
    """Beliefs spread evenly over the triangle, (N, 3) float64: the centres of small triangles."""
    i, j = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    up = torch.stack([i + 1 / 3, j + 1 / 3], -1)[i + j < side]
    down = torch.stack([i + 2 / 3, j + 2 / 3], -1)[i + j < side - 1]
    two = torch.cat([up, down]).double() / side
    return torch.cat([two, 1 - two.sum(-1, keepdim=True)], -1)


# Networks that more than one file of tests asks.


class Copy(torch.nn.Module):
    """Hands the messages on: the noise is guessed to be 0, and as large as it is."""

    def forward(self, inputs, t):
        return torch.zeros(*inputs.shape, 2)


class Enlarging(torch.nn.Module):
    """Ink is likely where the mean of the block is above a half."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, inputs, t, condition=None):
        return torch.stack([-self.scale * condition, self.scale * condition], -1)


LINE = "the quick brown fox jumps over the lazy dog and the sleepy cat watches from a low wall "
LINE = (LINE * 2)[:128]


def language_model() -> BFN:
    """An untrained network of 27 letters, 128 at a time, whose guesses differ from its input."""
    torch.manual_seed(0)
    network = Transformer(27, 128, layers=1, heads=2, width=16)
    torch.nn.init.normal_(network.head.weight, std=0.02)
    return BFN(DiscreteFlow(27, 0.5625), network)


@torch.no_grad()
def shaken(network):
    """The network with weights of which none is 0, the same every time."""
    for number, weight in enumerate(network.parameters()):
        weight.copy_(0.3 * torch.randn(weight.shape, generator=generator(number)))
    return network
