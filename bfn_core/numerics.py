"""What depends on a device's powers and on precision: float64, draws, and ln Φ.

Whatever comes in 16 bits is computed and drawn in single precision.
"""

import math
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Generator, Tensor

_SQRT_HALF = math.sqrt(0.5)


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


def without_autocast(kind: str) -> AbstractContextManager:
    """A context in which nothing is autocast on devices of a kind: also where torch has no autocast
    for it, as torch 2.4 has none on mps, and refuses to end it.
    """
    # A compiler, which cuts its graph where it is asked, comes with later versions of torch there.
    has_it = torch.compiler.is_compiling() or torch.amp.is_autocast_available(kind)
    return torch.autocast(kind, enabled=False) if has_it else nullcontext()


def at_least_single(dtype: torch.dtype) -> torch.dtype:
    """The dtype, or float32 for one of 16 bits: in those, sums of 256 probabilities are wrong by
    whole classes, a uniform number takes 256 values, and the accuracies of 8-bit data overflow.
    """
    return torch.promote_types(dtype, torch.float32)


def float_dtype(value: float | Tensor) -> torch.dtype:
    """The dtype in which to compute about `value`: its own if it has one that floats, in single
    precision at least, else torch's default.
    """
    if isinstance(value, Tensor) and value.is_floating_point() and value.dim() > 0:
        return at_least_single(value.dtype)
    return at_least_single(torch.get_default_dtype())


def single(x: Tensor) -> Tensor:
    """x in single precision at least."""
    return x.to(at_least_single(x.dtype))


def softmax(x: Tensor) -> Tensor:
    """The softmax over the last dimension, of K classes."""
    return x.movedim(-1, 0).softmax(0).movedim(0, -1) if _few(x) else x.softmax(-1)


def log_softmax(x: Tensor) -> Tensor:
    """Its logarithm."""
    return x.movedim(-1, 0).log_softmax(0).movedim(0, -1) if _few(x) else x.log_softmax(-1)


def _few(x: Tensor) -> bool:
    """Whether torch is five times as fast over the first dimension: on a CPU with few classes."""
    return x.device.type == "cpu" and x.dim() > 1 and x.shape[-1] < 16


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
    """table[..., index]: (..., K) and (...) int64, which broadcast, -> (...)."""
    shape = torch.broadcast_shapes(table.shape[:-1], index.shape)  # gather would not
    index = index.expand(shape).unsqueeze(-1)
    return table.expand(*shape, -1).gather(-1, index).squeeze(-1)


def log_ndtr(z: Tensor) -> Tensor:
    """ln Φ(z) of a standard normal."""
    return _LogNdtr.apply(z) if z.device.type != "mps" else log_ndtr_by_series(z)


class _LogNdtr(torch.autograd.Function):
    """torch's ln Φ(z), and its slope φ(z)/Φ(z), which torch has in single precision only near 0.

    As torch has it, e^(−z²/2 − ln Φ(z)) up to a factor, two large numbers cancel: it is 4 % off at
    z = −1e3, and 0 or ∞ from −1e5 on. Far out it is Laplace's continued fraction instead, with
    x = −z: x + 1/(x + 2/(x + 3/(x + …))).
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(z):
        return torch.special.log_ndtr(z)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs, output)

    @staticmethod
    def backward(ctx, grad):
        z, log_phi = ctx.saved_tensors
        near = grad / math.sqrt(2.0 * math.pi) * (log_phi + z.square() / 2).neg().exp()
        slope = x = -z.clamp(max=-_FAR)
        for k in (4, 3, 2, 1):
            slope = x + k / slope
        return torch.where(z < -_FAR, grad * slope, near)


_FAR = 20.0  # where both forms of that slope are right, to 4e−5 in float32 and 1e−10 in float64


# ln(e^(x²) erfc x) − ln t as a polynomial in t = 1/(1 + 0.4x), for x ≥ 0: least squares on
# Chebyshev's nodes, right to 3e−8.
_ERFC = (
    -1.48865566, 0.99999733, 0.42011565, 0.17143239, 0.04136460, -0.12330172,
    0.07737964, -0.19318777, -0.18883672, 0.62549948, -0.44659114, 0.10478394,
)


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


def in_rows(x: Tensor) -> Tensor:
    """One row for each example: (B, *shape) -> (B, D), and (B,) -> (B, 1)."""
    return x.unsqueeze(1).flatten(1)


def marginals(weights: Tensor, index: Tensor, size: int) -> Tensor:
    """ln Σ_j w_j [index_j = k], (B, *shape, K), from weights (B, N) and indices (N, *shape)."""
    weights, shape = wide(weights), index.shape[1:]
    index = in_rows(index).to(weights.device)
    probs = [weights @ (index == k).double() for k in range(size)]
    return torch.stack(probs, -1).log().reshape(len(weights), *shape, size)


def like_data(values: Tensor, points: Tensor) -> Tensor:
    """Values in the precision and on the device of points."""
    return values.to(float_dtype(points)).to(points.device)
