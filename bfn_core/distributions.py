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

import torch
from torch import Generator, Tensor
from torch.autograd.function import once_differentiable
from torch.distributions import Distribution, constraints

_LOG_2PI = math.log(2.0 * math.pi)
_SQRT_HALF = math.sqrt(0.5)
_PHI_0 = 1 / math.sqrt(2.0 * math.pi)  # φ(0)


def wide(x: Tensor) -> Tensor:
    """x in float64: on the CPU where its device has none, as mps, a Mac's GPU, has none."""
    return (x.cpu() if x.device.type == "mps" else x).double()


def placed(x: Tensor, device: torch.device) -> Tensor:
    """x on a device, in float32 if it is float64 and the device has none."""
    return (x.float() if device.type == "mps" and x.dtype == torch.float64 else x).to(device)


def check_generator(generator: Generator | None, device: torch.device) -> None:
    """Raise ValueError unless the generator, if there is one, can draw on the device."""
    if generator is not None and generator.device.type != device.type:
        raise ValueError(
            f"generator must be None or on {device.type}, where the draws are made: "
            f"torch.Generator({device.type!r}); got one on {generator.device.type}"
        )


def at_least_single(dtype: torch.dtype) -> torch.dtype:
    """The dtype, or float32 for one of 16 bits: in those, sums of 256 probabilities are wrong by
    whole classes, a uniform number takes 256 values, and the accuracies of 8-bit data overflow.
    """
    return torch.promote_types(dtype, torch.float32)


def single(x: Tensor) -> Tensor:
    """x in single precision at least."""
    return x.to(at_least_single(x.dtype))


def draw_normal(like: Tensor, generator: Generator | None, prefix=()) -> Tensor:
    """Standard normal noise, (*prefix, *like.shape), on the device of `like` and of its dtype, in
    single precision at least.
    """
    check_generator(generator, like.device)
    shape, dtype = (*prefix, *like.shape), at_least_single(like.dtype)
    return torch.randn(shape, generator=generator, dtype=dtype, device=like.device)


def draw_index(probs: Tensor, generator: Generator | None, prefix=()) -> Tensor:
    """Draw from categorical distributions, (..., K) -> (*prefix, ...) int64, by their CDFs."""
    probs = single(probs)
    check_generator(generator, probs.device)
    if probs.device.type != "cpu":  # CUDA's cumsum adds in an order that changes
        return _race(probs, generator, prefix)
    cdf = probs.cumsum(-1)
    shape = (*prefix, *probs.shape[:-1], 1)
    u = torch.rand(shape, generator=generator, dtype=probs.dtype, device=probs.device)
    # The last entry of the CDF may differ from 1 by rounding; ≤ skips classes of probability 0.
    return (cdf <= u * cdf[..., -1:]).sum(-1).clamp_(max=probs.shape[-1] - 1)


def _race(probs: Tensor, generator: Generator | None, prefix=()) -> Tensor:
    """As draw_index: the first of exponential waiting times with rates p is k with chance p_k."""
    wait = torch.empty((*prefix, *probs.shape), dtype=probs.dtype, device=probs.device)
    wait.exponential_(generator=generator).clamp_(min=torch.finfo(probs.dtype).tiny)
    return (probs / wait).argmax(-1)  # a class of probability 0 is never ahead


def add_at(y: Tensor, index: Tensor, value: Tensor) -> Tensor:
    """y[..., index] += value: (..., K) and (...) int64 -> (..., K). y itself may be overwritten.

    A scatter is quickest on a CPU; a GPU would have to sort the indices first to add in an order
    that does not change, and compares instead.
    """
    index = index.unsqueeze(-1)
    if y.device.type == "cpu":
        return y.scatter_add_(-1, index, value.expand(index.shape))
    classes = torch.arange(y.shape[-1], device=y.device)
    return torch.where(index == classes, y + value, y)


def pick(table: Tensor, index: Tensor) -> Tensor:
    """table[..., index]: (..., K) and (...) int64 -> (...)."""
    return table.gather(-1, index.unsqueeze(-1)).squeeze(-1)


class _Drawn(Distribution):
    """What the classes below share: no argument checks, and draws that take a generator."""

    arg_constraints = MappingProxyType({})
    support = constraints.real
    mean: Tensor = None  # the base class has a property here, which would forbid setting it

    def __init__(self, batch_shape, event_shape=()) -> None:
        super().__init__(torch.Size(batch_shape), torch.Size(event_shape), validate_args=False)

    @torch.no_grad()
    def sample(self, sample_shape=(), generator: Generator | None = None) -> Tensor:
        """Independent draws, (*sample_shape, *batch_shape, *event_shape)."""
        return self._draw(generator, tuple(sample_shape))

    def _draw(self, generator: Generator | None, prefix: tuple[int, ...]) -> Tensor:
        raise NotImplementedError


class Gaussian(_Drawn):
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


class Delta(_Drawn):
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


class Categorical(_Drawn):
    """Probabilities over K classes: the output distribution of discrete data (176).

    Args:
        logits: (B, *shape, K); need not be normalised. There is no special case for K = 2.
    """

    support = constraints.nonnegative_integer

    def __init__(self, logits: Tensor) -> None:
        super().__init__(logits.shape[:-1])
        self.log_probs = single(logits).log_softmax(-1)  # (B, *shape, K)

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


class CategoricalMessage(_Drawn):
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


class Binned(_Drawn):
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


class DiscretisedNormal(_Drawn):
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


def log_ndtr(z: Tensor) -> Tensor:
    """ln Φ(z) of a standard normal."""
    return torch.special.log_ndtr(z) if z.device.type != "mps" else log_ndtr_by_series(z)


# ln(e^(x²) erfc x) − ln t as a polynomial in t = 1/(1 + 0.4x), for x ≥ 0: least squares on
# Chebyshev's nodes, right to 3e−8.
_ERFC = (
    -1.48865566, 0.99999733, 0.42011565, 0.17143239, 0.04136460, -0.12330172,
    0.07737964, -0.19318777, -0.18883672, 0.62549948, -0.44659114, 0.10478394,
)  # fmt: skip


def log_ndtr_by_series(z: Tensor) -> Tensor:
    """ln Φ(z) in operations that every device has, as exact as float32 is."""
    below = z < 0
    x = torch.where(below, -z, z) * _SQRT_HALF
    t = 1.0 / (1.0 + 0.4 * x)
    series = torch.full_like(t, _ERFC[-1])
    for c in reversed(_ERFC[:-1]):
        series = series * t + c
    tail = (0.5 * t).log() + series - x * x  # ln Φ(−|z|)
    return torch.where(below, tail, torch.log1p(-tail.exp()))


def discretised_mean(loc: Tensor, scale: Tensor, bins: int) -> Tensor:
    """Σ_k p(k) k_c of a discretised normal, exact to about 1e−6, without a (..., K) tensor.

    With Δ = 2/K and inner edges e_j = −1 + jΔ, j = 1…K−1, the mean is k_K − Δ Σ_j Φ((e_j − μ)/σ).
    Where σ is below Δ, Φ is 0 or 1 at all but the few edges around μ. Elsewhere Σ_j Δ Φ is the
    midpoint rule for the integral of Φ over [e_1 − Δ/2, e_(K−1) + Δ/2], whose error inside is below
    exp(−2π²σ²/Δ²) and at the two ends is Euler and Maclaurin's series in the derivatives of Φ.

    ∂/∂μ and ∂/∂σ are sums over the same edges, and are found on the way forward, so that going
    backward costs two products. A second derivative is not to be had.

    Args:
        loc, scale: mean μ and standard deviation σ > 0 of the normal, of one shape.
        bins: K ≥ 2.
    """
    if torch.is_grad_enabled() and (loc.requires_grad or scale.requires_grad):
        return _DiscretisedMean.apply(loc, scale, bins)
    return _mean_and_slopes(loc, scale, bins, slopes=False)[0]


class _DiscretisedMean(torch.autograd.Function):
    @staticmethod
    def forward(ctx, loc, scale, bins):
        mean, by_loc, by_scale = _mean_and_slopes(loc, scale, bins, slopes=True)
        ctx.save_for_backward(by_loc, by_scale)
        return mean

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        by_loc, by_scale = ctx.saved_tensors
        return grad * by_loc, grad * by_scale, None


_WINDOW = 10  # edges around μ that are added one by one where σ < Δ: they reach 5σ, as Φ ≈ 3e−7


def _mean_and_slopes(loc, scale, bins, slopes):
    """(mean,), or (mean, ∂mean/∂μ, ∂mean/∂σ)."""
    if bins <= 2 * _WINDOW + 2:  # about as many edges as work in the two forms below
        return _from_edges(loc, scale, torch.ones_like(loc), bins - 1, bins, slopes)
    width = 2.0 / bins
    # The window is moved inwards where it would hold edges that do not exist.
    first = ((loc + 1.0) / width).round() - (_WINDOW // 2 - 1)
    first = first.clamp_(1, bins - _WINDOW)
    near = _from_edges(loc, scale.clamp(max=width), first, _WINDOW, bins, slopes)
    far = _from_integral(loc, scale.clamp(min=width), bins, slopes)
    narrow = scale < width
    return tuple(torch.where(narrow, a, b) for a, b in zip(near, far, strict=True))


def _from_edges(loc, scale, first, count, bins, slopes):
    """By `count` edges from e_first on: those above count 1 each, those below 0.

    ∂/∂μ = Δ/σ Σ_j φ(z_j) and ∂/∂σ = Δ/σ Σ_j z_j φ(z_j), where z_j = (e_j − μ)/σ.
    """
    width = 2.0 / bins
    edge, inverse = first * width - 1.0, _SQRT_HALF / scale
    total, by_loc, by_scale = (torch.zeros_like(loc) for _ in range(3))
    for j in range(count):
        # u = z/√2. At ±6.3 erf is ±1, and exp(−u²) next to nothing but not so small that it almost
        # underflows, where processors are ten times slower.
        u = (edge + j * width).sub_(loc).mul_(inverse).clamp_(-6.3, 6.3)
        total += torch.erf(u)
        if slopes:
            density = torch.exp_(-u * u)
            by_loc += density
            by_scale.addcmul_(density, u)
    # Σ Φ(z_j) = count/2 + Σ erf(u_j)/2, and bins − first − count edges lie above the window.
    mean = (first - 0.5 * total) * width + (1.0 - width * (bins + 0.5 - 0.5 * count))
    if not slopes:
        return (mean,)
    inverse *= width / math.sqrt(math.pi)
    return mean, by_loc.mul_(inverse), by_scale.mul_(inverse).mul_(math.sqrt(2.0))


def _from_integral(loc, scale, bins, slopes):
    """By the integral of Φ, and three terms of Euler and Maclaurin's series at each end.

    ∫ Φ((e − μ)/σ) de = σ (zΦ(z) + φ(z)); the midpoint rule differs by −Δ²f′/24 + 7Δ⁴f‴/5760 −
    31Δ⁶f⁗′/967680. With φ(z) s(z) for that series over σ, the mean is σ (q(z_0) − q(z_1)), where
    q(z) = z (Φ(z) − ½) + φ(z) (1 + s(z)), and z_0, z_1 belong to the two ends.
    """
    end, inverse = 1.0 - 1.0 / bins, 1.0 / scale
    r = (2.0 / bins * inverse).square()
    c1, c3, c5 = r * (-1 / 24), r.square() * (7 / 5760), r.square() * r * (-31 / 967680)

    def at(z):
        z2 = z * z
        cubic, quintic = c3 * (z2 - 1.0), c5 * (z2 * (z2 - 6.0) + 3.0)
        s = c1 + cubic + quintic
        half = 0.5 * torch.erf(z * _SQRT_HALF)  # Φ(z) − ½
        fall = _PHI_0 * torch.expm1(-0.5 * z2)  # φ(z) − φ(0): φ(0) drops out, with its rounding
        density = fall + _PHI_0
        q = z * half + fall + density * s
        if not slopes:
            return (q,)
        s_z = 2.0 * c3 + 4.0 * c5 * (z2 - 3.0)  # (∂s/∂z)/z
        s_r = c1 + 2.0 * cubic + 3.0 * quintic  # r ∂s/∂r
        by_scale = density * (1.0 + s + z2 * (s - s_z) - 2.0 * s_r)  # q − z ∂q/∂z − 2r ∂q/∂r
        return q, half + density * z * (s_z - s), by_scale

    low, high = at((-end - loc) * inverse), at((end - loc) * inverse)
    mean = scale * (low[0] - high[0])
    return (mean, high[1] - low[1], low[2] - high[2]) if slopes else (mean,)
