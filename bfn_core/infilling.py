"""Filling a gap: sample the rest of x when some of it is known.

What is known is sent by the true sender, what is not by the sampler's own guesses, so that at every
time the network reads a belief of the kind it was trained on. By itself that is not conditioning:
the first guesses at the gap know the rest only through messages that are still faint. So several
candidates are drawn side by side, and each is weighted by how well it foretold what is known,

    w = p_O(x_known | θ; 1) · Π_i p_R(y_i | θ_{i−1}; α_i) / p_S(y_i | x_known; α_i)

which is e to the minus what the known part cost, in messages and at the end. These are the weights
of importance sampling: with many candidates the weighted ones follow the model's own law of the
gap given the rest (Bayes' rule, with the sampler as the prior). All candidates hear the same
messages about what is known, so that their weights differ only by what they fill in. That these
messages come from the sender, not from the model's own receiver, is exact for a perfect network
and many steps. Where the weight comes to rest on a few, candidates are drawn anew by weight, as in
a particle filter.

Gaussian noise looks the same from every side. So of numbers not only some of the variables may be
known, but some coordinates of x in any orthonormal basis, such as the means of blocks of pixels:
then filling the gap is super-resolution, and needs no training.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Generator, Tensor

from bfn_core.beliefs import (
    Condition,
    Data,
    Parameters,
    cut,
    in_precision,
    over,
    per_example,
    told,
)
from bfn_core.checks import check_floating, check_range, whole
from bfn_core.distributions import Gaussian, Output
from bfn_core.flows import BayesianFlow, ContinuousFlow, GaussianFlow
from bfn_core.missing import ABSENT, MissingFlow, without_gaps
from bfn_core.mixed import MixedFlow
from bfn_core.model import BFN
from bfn_core.modes import evaluating
from bfn_core.numerics import check_generator, in_rows, placed, wide

if TYPE_CHECKING:
    from bfn_core.solvers import FixedNoise, Solver


@dataclass(frozen=True)
class FillingStep:
    """Where the candidates stand after i of n messages.

    Attributes:
        i: messages received so far, 0…n.
        theta: their beliefs, N of them.
        output: their output distributions.
        log_weights: logarithms of their weights, (N,), which sum to 1.
        resampled: whether they have just been drawn anew by weight.
    """

    i: int
    theta: Parameters
    output: Output
    log_weights: Tensor
    resampled: bool


@dataclass(frozen=True)
class Filling:
    """Candidates for a gap.

    Attributes:
        x: (N, *shape), the known part as it was given; for mixed data a dict.
        weights: (N,), how likely each is; they sum to 1.
    """

    x: Data
    weights: Tensor

    @property
    def effective(self) -> float:
        """How many candidates of equal weight are worth as much: 1/Σ w², between 1 and N."""
        return effective(self.weights.log())


def ranked(filling: Filling, where: Tensor) -> list[tuple[tuple, float]]:
    """The different fillings of the positions `where` and their weights, the likeliest first.

    Args:
        filling: of sequences, (N, L).
        where: the positions, (H,) int64.
    """
    shares = {}
    for row, weight in zip(filling.x[:, where].tolist(), filling.weights.tolist(), strict=True):
        shares[tuple(row)] = shares.get(tuple(row), 0.0) + weight
    return sorted(shares.items(), key=lambda item: -item[1])


def class_shares(filling: Filling, where: Tensor, classes: int) -> Tensor:
    """The weighted share of each class at each of the positions `where`, (H, K) in float64."""
    one_hot = wide(torch.nn.functional.one_hot(filling.x[:, where], classes))
    return (filling.weights.to(one_hot).reshape(-1, 1, 1) * one_hot).sum(0)


def effective(log_weights: Tensor) -> float:
    """1/Σ w² of normalised weights (N,)."""
    return float(torch.exp(-(2 * log_weights).logsumexp(0)))


def heaviest(filling: Filling, count: int) -> tuple[Tensor, Tensor]:
    """The `count` different candidates with the most weight, and that of each and its equals.

    Args:
        filling: of data that are not mixed.
        count: how many at most.

    Returns:
        (M, *shape) and (M,), the heaviest first; M is `count`, or less if fewer are different.
    """
    x, place = in_rows(filling.x).unique(dim=0, return_inverse=True)
    weights = filling.weights.new_zeros(len(x))
    weights.index_add_(0, place.to(weights.device), filling.weights)
    order = weights.argsort(descending=True)[:count]
    return x[order].view(-1, *filling.x.shape[1:]), weights[order]


def erased(side: int, top: int, left: int, size: int) -> Tensor:
    """What is known, (side, side) of bool, of a square image of which a square is rubbed out.

    Args:
        side: pixels along the edge of the image.
        top, left: the first row and column that are gone.
        size: rows and columns that are gone; what hangs over the edge counts nothing.
    """
    known = torch.ones(side, side, dtype=torch.bool)
    known[top : top + size, left : left + size] = False
    return known


def fill(
    bfn: BFN, x: Data, known: Data, n_steps: int, count: int = 16,
    *, weigh: bool = True, basis: Tensor | None = None,
    sampler: "Solver | FixedNoise | None" = None,
    condition: Condition = None, generator: Generator | None = None,
) -> Filling:
    """Draw `count` candidates for what is not known of one example.

    Args:
        bfn: the model.
        x: one example, (*shape); what stands in the gap is not looked at, but must be valid. For
            mixed data a dict, and so is `known`.
        known: (*shape), bool.
        n_steps: number of messages, at least 1.
        count: candidates, N ≥ 1.
        weigh: False leaves all weights equal: the quick way, which is only roughly right.
        basis: (M, D), orthonormal rows, for data that are numbers: `known`, (M,), then says which
            of the coordinates basis @ x.flatten() are known. x may be anything in the flow's
            range that has these, on the bins or not, and so may be what is drawn. Messages are
            about the mean of p_O, as with Ancestral(guess="mean"), and so are the weights.
        sampler: a solver in place of the paper's sampler, only where weigh is False, since the
            weights are of messages, and a solver sends none. It needs fewer steps, but is further
            from the law of the gap: without noise an early guess is not taken back.
        condition: what the network is told about this example, (…) or a dict.
        generator: for every draw.

    Raises:
        ValueError: x is not data of the flow, known is not bool of x's shape, or True where x is
            absent, a number below 1, a sampler and weights, or a basis that is not orthonormal,
            for classes, or with a sampler.
    """
    given = _given(bfn, x, known, basis, weigh, sampler)
    for step in _steps(bfn, given, n_steps, count, weigh, sampler, condition, generator):
        last = step
    drawn = last.output.sample(generator=generator)
    return Filling(given.put_into(drawn), last.log_weights.exp())


def marginals(
    bfn: BFN, x: Data, known: Data, n_steps: int, count: int = 16,
    *, condition: Condition = None, generator: Generator | None = None,
) -> Data:
    """What each variable may be, given what is known: probabilities of its classes or bins.

    The guesses of `count` candidates when all messages have come, by weight,

        p(x_d = k | x_known) ≈ Σ_j w_j p_O(x_d = k | θ_j; 1).

    Args:
        bfn: the model, of classes or of bins.
        x, known, n_steps, count, condition, generator: as for `fill`.

    Returns:
        (*shape, K) in double precision; for mixed data a dict. Of what is known, which a model
        need not believe to be certain, it says the same.

    Raises:
        ValueError: as `fill`, or numbers without bins.
    """
    if _without_bins(bfn.flow):
        raise ValueError("marginals are of classes and bins, and this flow has numbers without "
                         f"them, which `fill` draws: {bfn.flow}")
    for step in filling_steps(bfn, x, known, n_steps, count, condition=condition,
                              generator=generator):
        last = step
    weights, output = last.log_weights.exp(), cast(Any, last.output)

    def mean(part: Any) -> Tensor:
        return torch.tensordot(weights, part.log_probs.to(weights).exp(), 1)

    return {k: mean(v) for k, v in output.items()} if isinstance(output, dict) else mean(output)


def _without_bins(flow: BayesianFlow) -> bool:
    """Whether data, or a part of them, are numbers whose values have no probabilities."""
    if isinstance(flow, MixedFlow):
        return any(_without_bins(part) for part in flow.flows.values())
    return isinstance(without_gaps(flow), ContinuousFlow)


def filling_steps(
    bfn: BFN, x: Data, known: Data, n_steps: int, count: int = 16,
    *, weigh: bool = True, basis: Tensor | None = None,
    sampler: "Solver | FixedNoise | None" = None,
    condition: Condition = None, generator: Generator | None = None,
) -> Iterator[FillingStep]:
    """The n_steps + 1 states of `count` candidates; arguments and errors as for `fill`."""
    given = _given(bfn, x, known, basis, weigh, sampler)
    yield from _steps(bfn, given, n_steps, count, weigh, sampler, condition, generator)


def _given(bfn, x, known, basis, weigh, sampler) -> "_Variables | _Coordinates":
    """What is known, all of it checked."""
    if weigh and sampler is not None:
        raise ValueError(f"weigh must be False with a sampler, which sends no messages: {sampler}")
    if basis is None:
        return _Variables(bfn, x, known)
    if sampler is not None:
        raise ValueError(f"sampler must be None with a basis, got {sampler}")
    return _Coordinates(bfn, x, known, basis)


def _steps(
    bfn: BFN, given: "_Variables | _Coordinates", n_steps: int, count: int, weigh: bool,
    sampler: "Solver | FixedNoise | None", condition: Condition, generator: Generator | None,
) -> Iterator[FillingStep]:
    """`filling_steps`, whatever it is that is known."""
    n_steps, count = whole("n_steps", n_steps), whole("count", count)
    flow, like, known = bfn.flow.trusting(), bfn._reference, given.known
    x = in_precision(given.x, like.dtype)
    condition = over(lambda part: part.expand(count, *part.shape), condition)
    shape = ({k: (count, *v.shape) for k, v in x.items()} if isinstance(x, dict)
             else (count, *x.shape))
    if sampler is not None:
        even = placed(torch.full((count,), -math.log(count), dtype=torch.float64), like.device)
        options: dict[str, Any] = {"condition": condition, "generator": generator}
        for step in sampler.steps(bfn, shape, n_steps, given=(x, known), **options):
            yield FillingStep(step.i, step.theta, step.output, even, False)
        return
    theta = flow.prior(shape, dtype=like.dtype, device=like.device)
    log_weights = torch.zeros(count, dtype=torch.float64)  # on the CPU: not every device has it
    resampled = False
    for i in range(n_steps + 1):
        with torch.no_grad(), evaluating(bfn):
            output = bfn.output(theta, i / n_steps, **told(condition))
        if i == n_steps and weigh:
            cost = given.final_cost(output, count)
            log_weights = log_weights - _over(cost, known)
        shown = placed(log_weights.log_softmax(0), like.device)
        yield FillingStep(i, theta, output, shown, resampled)
        if i < n_steps:
            alpha = flow.alpha(i + 1, n_steps)
            y = given.message(output, alpha, generator)
            y = over(lambda part: part.to(like.dtype), y)
            if weigh:  # how well this message about what is known was foretold
                sent, foretold = given.log_probs(y, output, alpha)
                log_weights = log_weights + _over(foretold, known) - _over(sent, known)
            theta = flow.update(theta, y, alpha)
            resampled = weigh and effective(log_weights.log_softmax(0)) < count / 2
            if resampled:
                chosen = systematic(log_weights, like.device, generator)
                theta = cut(theta, chosen)
                log_weights = torch.zeros_like(log_weights)


def _check(x: Data, known: Data) -> None:
    """Raise ValueError unless known says of each variable of x whether it is known."""
    if isinstance(x, dict) and isinstance(known, dict) and x.keys() == known.keys():
        for name in x:
            _check(x[name], known[name])
        return
    for name, value in (("x", x), ("known", known)):
        if not isinstance(value, Tensor):
            raise ValueError(f"{name} must be a tensor of one example, (*shape), got {type(value)}")
    assert isinstance(x, Tensor) and isinstance(known, Tensor)
    if known.dtype != torch.bool or known.shape != x.shape:
        raise ValueError(
            f"known must be bool of shape {tuple(x.shape)}, got {known.dtype} of shape "
            f"{tuple(known.shape)}"
        )


def check_there(flow: BayesianFlow, x: Data, known: Data) -> None:
    """Raise ValueError if something is both known and absent; `known` broadcasts against x."""
    if isinstance(flow, MixedFlow):
        for name, part in flow.flows.items():
            check_there(part, x[name], known[name])
    elif isinstance(flow, MissingFlow) and bool((known & ~flow.there(x)).any()):
        raise ValueError(f"known must be False where x is absent (NaN, or {ABSENT} among classes)")


def block_means(shape: tuple[int, ...], size: int) -> Tensor:
    """Orthonormal rows for the means of squares of pixels, for `fill(…, basis=…)`.

    Coordinate m of x, rows[m] @ x.flatten(), is `size` times the mean of block m, line by line.

    Args:
        shape: of one image, (…, H, W), both multiples of `size`.
        size: pixels along the edge of a block.

    Returns:
        (… · H/size · W/size, … · H · W), in single precision.

    Raises:
        ValueError: squares of that size do not tile the image.
    """
    size = whole("size", size)
    *planes, height, width = shape
    if height % size or width % size:
        raise ValueError(f"size must divide {height} and {width}, got {size}")
    blocks = [torch.block_diag(*[torch.ones(size)] * (edge // size)).view(edge // size, edge)
              for edge in (height, width)]
    one = torch.kron(*blocks) / size
    return torch.kron(torch.eye(math.prod(planes)), one)


class _Variables:
    """What is known of some variables of x, and messages in which these are told truly."""

    def __init__(self, bfn: BFN, x: Data, known: Data) -> None:
        _check(x, known)
        bfn.flow.check(over(lambda part: part.unsqueeze(0), x))
        check_there(bfn.flow, x, known)
        self.flow, self.x, self.known = bfn.flow.trusting(), x, known
        self.precise = in_precision(x, bfn._reference.dtype)

    def put_into(self, values: Data) -> Data:
        """The values (N, *shape), the known ones replaced by the true ones."""
        return _where(self.known, self.x, values)

    def message(self, output: Any, alpha: Any, generator: Generator | None) -> Data:
        """(N, *shape): the same true message to all about what is known."""
        return _message(self.flow, self.precise, self.known, output, alpha, generator)

    def log_probs(self, y: Data, output: Any, alpha: Any) -> tuple[Any, Any]:
        """ln p_S (1, …) and ln p_R (N, …) of the variables of a message."""
        one = over(lambda part: part.unsqueeze(0), self.precise)
        sent = self.flow.sender(one, alpha).log_prob(cut(y, slice(1)))
        return sent, self.flow.receiver(output, alpha).log_prob(y)

    def final_cost(self, output: Any, count: int) -> Any:
        """−ln p_O of every variable, (N, …)."""
        many = over(lambda part: part.expand(count, *part.shape), self.precise)
        return self.flow.final_cost(many, output)


class _Coordinates:
    """What is known of some coordinates of x, and messages in which these are told truly."""

    def __init__(self, bfn: BFN, x: Tensor, known: Tensor, basis: Tensor) -> None:
        if not isinstance(bfn.flow, GaussianFlow):
            raise ValueError(f"basis must be None for data that are not numbers alone: {bfn.flow}")
        check_floating("x", x, least=0)
        bounds = getattr(bfn.flow, "data_range", (-1.0, 1.0))
        check_range("x", x, *(bounds or (-math.inf, math.inf)))
        shape = (len(basis), x.numel())
        if basis.shape != shape or not _orthonormal(basis):
            raise ValueError(f"basis must have orthonormal rows, each of {x.numel()} numbers, got "
                             f"shape {tuple(basis.shape)}")
        if known.dtype != torch.bool or known.shape != shape[:1]:
            raise ValueError(f"known must be bool of shape {shape[:1]}, one for each row of basis, "
                             f"got {known.dtype} of shape {tuple(known.shape)}")
        self.flow, like = cast(GaussianFlow, bfn.flow.trusting()), bfn._reference
        self.x, self.known = x, known
        self.basis = basis.to(like)
        self.rows = self.basis[known.to(like.device)]
        self.told = self.basis @ x.flatten().to(like)  # (M,)
        self.truth = self.rows @ x.flatten().to(like)

    def put_into(self, values: Tensor) -> Tensor:
        """The values (N, *shape), their known coordinates replaced by the true ones."""
        flat = in_rows(values)
        return (flat - flat @ self.rows.T @ self.rows + self.truth @ self.rows).view_as(values)

    def message(self, output: Output, alpha: Any, generator: Generator | None) -> Tensor:
        """(N, *shape): the same true message to all about what is known."""
        y = self.flow.sender(self.put_into(output.mean), alpha).sample(generator=generator)
        flat = in_rows(y)
        others = (flat[:1] - flat) @ self.rows.T @ self.rows
        return y + others.view_as(y)

    def log_probs(self, y: Tensor, output: Output, alpha: Any) -> tuple[Tensor, Tensor]:
        """ln p_S (1, M) and ln p_R (N, M) of the coordinates of a message."""
        precision = per_example(alpha, self.told)
        coordinates = in_rows(y) @ self.basis.T
        expected = in_rows(output.mean) @ self.basis.T
        sent = Gaussian(self.told.unsqueeze(0), precision).log_prob(coordinates[:1])
        return sent, Gaussian(expected, precision).log_prob(coordinates)

    def final_cost(self, output: Output, count: int) -> Tensor:
        """−ln N(the true coordinate; the guessed one, σ₁²), (N, M)."""
        expected = in_rows(output.mean) @ self.basis.T
        precision = torch.full_like(self.told, self.flow.sigma_1**-2)
        return -Gaussian(expected, precision).log_prob(self.told)


def _orthonormal(rows: Tensor) -> bool:
    product = wide(rows) @ wide(rows).T
    return bool((product - torch.eye(len(rows), device=product.device)).abs().max() < 1e-4)


def _where(known: Data, x: Data, others: Data) -> Data:
    """x where it is known, broadcast to N, and the N others elsewhere."""
    if isinstance(x, dict):
        return {name: _where(known[name], x[name], others[name]) for name in x}
    mask = known.reshape((*known.shape, *[1] * (others.dim() - 1 - known.dim())))
    return torch.where(mask, x, others.to(x.dtype))


def _message(flow, x, known, output, alpha, generator) -> Data:
    """(N, …): the same true message to all about what is known, each one's own about the rest."""
    guess = _where(known, x, output.sample(generator=generator))
    y = flow.sender(guess, alpha).sample(generator=generator)
    return _where(known, cut(y, slice(1)), y)


def _over(cost: Any, known: Data) -> Tensor:
    """The sum of (N, *shape) over what is known, (N,), in float64 on the CPU."""
    if isinstance(known, dict):
        if not isinstance(cost, dict):  # of all variables side by side
            known = torch.cat([part.flatten() for part in known.values()])
            return _over(cost, known)
        return torch.stack([_over(cost[name], known[name]) for name in known]).sum(0)
    return in_rows(torch.where(known, cost, 0.0).cpu().double()).sum(1)


def systematic(log_weights: Tensor, device: torch.device, generator: Generator | None) -> Tensor:
    """Indices (N,) by weight: N evenly spaced marks with one random offset on the CDF.

    `device` is the generator's, and that of the indices.
    """
    check_generator(generator, device)
    count = len(log_weights)
    cdf = log_weights.softmax(0).cumsum(0)
    marks = torch.arange(count, dtype=cdf.dtype)
    dtype = torch.float32 if device.type == "mps" else cdf.dtype
    offset = torch.rand(1, generator=generator, dtype=dtype, device=device).cpu()
    return torch.searchsorted(cdf, (marks + offset) / count).clamp(max=count - 1).to(device)
