"""The sender, output and receiver distributions.

All are factorised over the variables of an example: with x of shape (B, *shape), `log_prob` gives
(B, *shape), in nats (one value per variable), and `sample(generator=g)` gives equal draws for equal
generators. A message about a discrete variable is a vector of K numbers; it counts as one event.
Whatever comes in 16 bits is computed and drawn in single precision.

Source: Graves et al. 2023, arXiv 2308.07037.
"""

import math
from functools import cached_property
from types import MappingProxyType
from typing import Any

import torch
from torch import Generator, Tensor
from torch.distributions import Distribution, constraints

from bfn_core.discretised_mean import discretised_mean
from bfn_core.numerics import (
    add_at,
    at_least_single,
    draw_index,
    draw_normal,
    log_ndtr,
    log_softmax,
    pick,
    single,
)

_LOG_2PI = math.log(2.0 * math.pi)

# p_O: which of the classes below it is depends on the flow, so a type checker is told no more.
Output = Any  # of mixed data a mixed.Joint


class Drawn(Distribution):
    """What the classes below share: no argument checks, and draws that take a generator."""

    arg_constraints: Any = MappingProxyType({})
    support: Any = constraints.real
    mean: Any = None  # a Tensor; the base class has a property here, which would forbid setting it

    def __init__(self, batch_shape, event_shape=()) -> None:
        super().__init__(torch.Size(batch_shape), torch.Size(event_shape), validate_args=False)

    @torch.no_grad()
    def sample(self, sample_shape=(), generator: Generator | None = None) -> Tensor:
        """Independent draws, (*sample_shape, *batch_shape, *event_shape)."""
        return self._draw(generator, tuple(sample_shape))

    def _draw(self, generator: Generator | None, prefix: tuple[int, ...]) -> Tensor:
        raise NotImplementedError


class Gaussian(Drawn):
    """N(mean, 1/precision) for each variable: the sender and receiver of continuous data.

    Args:
        mean: (B, *shape).
        precision: broadcasts against mean.
    """

    def __init__(self, mean: Tensor, precision: Tensor) -> None:
        super().__init__(mean.shape)
        self.mean = single(mean)
        self.precision = single(precision)

    @property
    def variance(self) -> Tensor:
        return (1.0 / self.precision).expand_as(self.mean)

    def _draw(self, generator: Generator | None, prefix: tuple[int, ...]) -> Tensor:
        return self.mean + draw_normal(self.mean, generator, prefix) * self.precision.rsqrt()

    def log_prob(self, y: Tensor) -> Tensor:
        squared = self.precision * (y - self.mean).square()
        return 0.5 * (self.precision.log() - _LOG_2PI - squared)


class Delta(Drawn):
    """All mass on one value: the output distribution of continuous data (85).

    Its log_prob is that of a density: +∞ on the value, −∞ elsewhere.
    """

    def __init__(self, mean: Tensor) -> None:
        super().__init__(mean.shape)
        self.mean = mean

    @property
    def mode(self) -> Tensor:
        return self.mean

    @property
    def variance(self) -> Tensor:
        return torch.zeros_like(self.mean)

    def _draw(self, generator: Generator | None, prefix: tuple[int, ...]) -> Tensor:
        return self.mean.expand(*prefix, *self.mean.shape).clone()

    def log_prob(self, x: Tensor) -> Tensor:
        return torch.where(x == self.mean, math.inf, -math.inf)


class Categorical(Drawn):
    """Probabilities over K classes: the output distribution of discrete data (176).

    Args:
        logits: (B, *shape, K); need not be normalised. There is no special case for K = 2.
    """

    support = constraints.nonnegative_integer

    def __init__(self, logits: Tensor) -> None:
        super().__init__(logits.shape[:-1])
        self.log_probs = log_softmax(single(logits))  # (B, *shape, K)

    @cached_property
    def probs(self) -> Tensor:
        return self.log_probs.exp()

    @property
    def mode(self) -> Tensor:
        return self.log_probs.argmax(-1)

    @property
    def mean(self) -> Tensor:
        """The expected class index; meaningful where the classes are ordered, as for K = 2."""
        classes = torch.arange(self.probs.shape[-1], device=self.probs.device)
        return self.probs @ classes.to(self.probs.dtype)

    def entropy(self) -> Tensor:
        """Nats per variable, (B, *shape)."""
        return -(self.probs * self.log_probs.nan_to_num(neginf=0.0)).sum(-1)

    def _draw(self, generator: Generator | None, prefix: tuple[int, ...]) -> Tensor:
        return draw_index(self.probs, generator, prefix)

    def log_prob(self, x: Tensor) -> Tensor:
        return pick(self.log_probs, x)


class CategoricalMessage(Drawn):
    """A message about discrete data: N(α(K e_k − 1), αK I) with class k drawn from `log_probs`.

    With a one-hot `log_probs` it is the sender (157), with those of the output distribution the
    receiver (189, 190). All K components share a covariance and ‖K e_k − 1‖ does not depend on k,
    so ln p(y) = base(y) + logsumexp_k(ln p_k + y_k): one mixture over whole vectors, in O(K).

    Args:
        log_probs: (B, *shape, K), normalised.
        alpha: accuracy, broadcasts against log_probs.
    """

    def __init__(self, log_probs: Tensor, alpha: Tensor) -> None:
        super().__init__(log_probs.shape[:-1], log_probs.shape[-1:])
        self.log_probs = single(log_probs)
        self.alpha = single(alpha)

    @property
    def mean(self) -> Tensor:
        return self.alpha * (self._event_shape[0] * self.log_probs.exp() - 1.0)

    @property
    def variance(self) -> Tensor:
        """Of each component of y, (B, *shape, K): αK, and α²K² p(1 − p) from the mixture."""
        k, probs = self._event_shape[0], self.log_probs.exp()
        return self.alpha * k + (self.alpha * k).square() * probs * (1.0 - probs)

    def _draw(self, generator: Generator | None, prefix: tuple[int, ...]) -> Tensor:
        k = self._event_shape[0]
        noise = draw_normal(self.log_probs, generator, prefix)
        y = noise * (self.alpha * k).sqrt() - self.alpha
        index = draw_index(self.log_probs.exp(), generator, prefix)
        return add_at(y, index, self.alpha * k)

    def log_prob(self, y: Tensor) -> Tensor:
        k, alpha = self._event_shape[0], self.alpha
        squared = y.square() + 2.0 * alpha * y + alpha.square() * (k - 1)  # sums to ‖…‖² + 2αK y_k
        base = squared / (alpha * k) + torch.log(2.0 * math.pi * alpha * k)
        return (self.log_probs + y).logsumexp(-1) - 0.5 * base.sum(-1)


def bin_centres(bins: int, like: Tensor) -> Tensor:
    """k_c = (2k + 1)/K − 1 for k = 0…K−1, (K,), on the device of `like` and in its dtype, in single
    precision at least.
    """
    dtype = at_least_single(like.dtype)
    return (2 * torch.arange(bins, dtype=dtype, device=like.device) + 1) / bins - 1


def bin_index(x: Tensor, bins: int) -> Tensor:
    """The bin that holds each x in [−1, 1], int64."""
    return ((single(x) + 1) * (0.5 * bins)).floor().long().clamp_(0, bins - 1)


class Binned(Drawn):
    """Probabilities over K bins of [−1, 1]; values are bin centres.

    Args:
        log_probs: (B, *shape, K), normalised.
    """

    def __init__(self, log_probs: Tensor) -> None:
        super().__init__(log_probs.shape[:-1])
        self.bins = log_probs.shape[-1]
        self.log_probs = single(log_probs)

    @cached_property
    def probs(self) -> Tensor:
        return self.log_probs.exp()

    @property
    def centres(self) -> Tensor:
        return bin_centres(self.bins, self.log_probs)

    @property
    def mean(self) -> Tensor:
        return self.probs @ self.centres

    @property
    def mode(self) -> Tensor:
        return self.centres[self.log_probs.argmax(-1)]

    def _draw(self, generator: Generator | None, prefix: tuple[int, ...]) -> Tensor:
        return self.centres[draw_index(self.probs, generator, prefix)]

    def log_prob(self, x: Tensor) -> Tensor:
        return pick(self.log_probs, bin_index(x, self.bins))

    def cdf(self, x: Tensor) -> Tensor:
        """The probability of x's bin and of all below it."""
        return pick(self.probs.cumsum(-1), bin_index(x, self.bins)).clamp(max=1.0)


class BinnedMessage(Gaussian):
    """Σ_k p(k) N(k_c, 1/α): the receiver of discretised data, a comb of K Gaussians (113).

    Args:
        log_probs: (B, *shape, K), normalised.
        precision: α, broadcasts against log_probs.
    """

    def __init__(self, log_probs: Tensor, precision: Tensor) -> None:
        self.bins = Binned(log_probs)
        self.comb = precision
        super().__init__(self.bins.mean, precision.squeeze(-1))

    @property
    def variance(self) -> Tensor:
        squares = self.bins.probs @ self.bins.centres.square()
        return 1 / self.precision + squares - self.mean.square()

    def _draw(self, generator: Generator | None, prefix: tuple[int, ...]) -> Tensor:
        centre = self.bins.sample(prefix, generator=generator)
        return centre + draw_normal(centre, generator) * self.precision.rsqrt()

    def log_prob(self, y: Tensor) -> Tensor:
        teeth = Gaussian(self.bins.centres, self.comb).log_prob(y.unsqueeze(-1))
        return (self.bins.log_probs + teeth).logsumexp(-1)


class DiscretisedNormal(Drawn):
    """N(mean, std²) gathered into K bins of [−1, 1], the tails in the outer two (107–109).

    Mean, log_prob, mode and samples cost the same for any number of bins; only `log_probs` and
    `probs` make a (B, *shape, K) tensor.

    Args:
        mean, std: of the normal, (B, *shape).
        bins: K ≥ 2.
    """

    def __init__(self, mean: Tensor, std: Tensor, bins: int) -> None:
        super().__init__(mean.shape)
        self.loc = single(mean)
        self.scale = single(std)
        self.bins = bins

    @property
    def centres(self) -> Tensor:
        return bin_centres(self.bins, self.loc)

    @cached_property
    def log_probs(self) -> Tensor:
        index = torch.arange(self.bins, device=self.loc.device)
        return self._log_prob_of(index, self.loc.unsqueeze(-1), self.scale.unsqueeze(-1))

    @cached_property
    def probs(self) -> Tensor:
        return self.log_probs.exp()

    @cached_property
    def mean(self) -> Tensor:
        return discretised_mean(self.loc, self.scale, self.bins)

    @property
    def mode(self) -> Tensor:
        # A normal has one peak, but the tails gathered in an outer bin can outweigh it.
        inner = bin_index(self.loc.clamp(-1, 1), self.bins)
        options = torch.stack([inner, torch.zeros_like(inner), torch.full_like(inner, -1)], -1)
        options = options % self.bins
        log_p = self._log_prob_of(options, self.loc.unsqueeze(-1), self.scale.unsqueeze(-1))
        return self.centres[pick(options, log_p.argmax(-1))]

    def _draw(self, generator: Generator | None, prefix: tuple[int, ...]) -> Tensor:
        value = self.loc + self.scale * draw_normal(self.loc, generator, prefix)
        return self.centres[bin_index(value.clamp(-1, 1), self.bins)]

    def log_prob(self, x: Tensor) -> Tensor:
        return self._log_prob_of(bin_index(x, self.bins), self.loc, self.scale)

    def cdf(self, x: Tensor) -> Tensor:
        """The probability of x's bin and of all below it: Φ at its right edge, 1 in the last."""
        index = bin_index(x, self.bins)
        right = 2.0 * (index + 1).to(self.loc.dtype) / self.bins - 1.0
        inside = torch.special.ndtr((right - self.loc) / self.scale)
        return torch.where(index == self.bins - 1, 1.0, inside)

    def _log_prob_of(self, index: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """Log mass of bin `index`: ln(Φ(b) − Φ(a)), from the tail on which neither term is 1."""
        index = index.to(mean.dtype)
        left = (2.0 * index / self.bins - 1.0 - mean) / std
        right = (2.0 * (index + 1) / self.bins - 1.0 - mean) / std
        flip = left + right > 0  # Φ(b) − Φ(a) = Φ(−a) − Φ(−b)
        far = torch.where(flip, -right, left)
        near = torch.where(flip, -left, right)
        # The outer bins reach to −∞ and +∞, where log_ndtr would leave NaN in the gradient: their
        # closed edges go through the same formula, and `where` then takes the one-sided mass.
        open_left, open_right = index == 0, index == self.bins - 1
        log_far, log_near = log_ndtr(far), log_ndtr(near)
        gap = (log_far - log_near).clamp(max=-torch.finfo(mean.dtype).tiny)
        inner = log_near + torch.log(-torch.expm1(gap))
        outer = log_ndtr(torch.where(open_left, right, -left))
        return torch.where(open_left | open_right, outer, inner)
