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
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor

from bfn_core.beliefs import Condition, Data, Parameters, cut, in_precision, over, told
from bfn_core.checks import whole
from bfn_core.distributions import Output
from bfn_core.model import BFN
from bfn_core.modes import evaluating
from bfn_core.numerics import check_generator, placed

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


def effective(log_weights: Tensor) -> float:
    """1/Σ w² of normalised weights (N,)."""
    return float(torch.exp(-(2 * log_weights).logsumexp(0)))


def fill(
    bfn: BFN, x: Data, known: Data, n_steps: int, count: int = 16,
    *, weigh: bool = True, sampler: "Solver | FixedNoise | None" = None,
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
        sampler: a solver in place of the paper's sampler, only where weigh is False, since the
            weights are of messages, and a solver sends none. It needs fewer steps, but is further
            from the law of the gap: without noise an early guess is not taken back.
        condition: what the network is told about this example, (…) or a dict.
        generator: for every draw.

    Raises:
        ValueError: x is not data of the flow, known is not bool of x's shape, a number below 1,
            or a sampler and weights.
    """
    options: dict[str, Any] = {"weigh": weigh, "sampler": sampler, "condition": condition}
    for step in filling_steps(bfn, x, known, n_steps, count, **options, generator=generator):
        last = step
    drawn = last.output.sample(generator=generator)
    return Filling(_where(known, x, drawn), last.log_weights.exp())


def filling_steps(
    bfn: BFN, x: Data, known: Data, n_steps: int, count: int = 16,
    *, weigh: bool = True, sampler: "Solver | FixedNoise | None" = None,
    condition: Condition = None, generator: Generator | None = None,
) -> Iterator[FillingStep]:
    """The n_steps + 1 states of `count` candidates; arguments and errors as for `fill`."""
    _check(x, known)
    if weigh and sampler is not None:
        raise ValueError(f"weigh must be False with a sampler, which sends no messages: {sampler}")
    bfn.flow.check(over(lambda part: part.unsqueeze(0), x))
    n_steps, count = whole("n_steps", n_steps), whole("count", count)
    flow, like = bfn.flow.trusting(), bfn._reference
    x = in_precision(x, like.dtype)
    many = over(lambda part: part.expand(count, *part.shape), x)
    condition = over(lambda part: part.expand(count, *part.shape), condition)
    shape = {k: v.shape for k, v in many.items()} if isinstance(many, dict) else many.shape
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
            log_weights = log_weights - _over(flow.final_cost(many, output), known)
        shown = placed(log_weights.log_softmax(0), like.device)
        yield FillingStep(i, theta, output, shown, resampled)
        if i < n_steps:
            alpha = flow.alpha(i + 1, n_steps)
            y = _message(flow, x, known, output, alpha, generator)
            y = over(lambda part: part.to(like.dtype), y)
            if weigh:  # how well this message about what is known was foretold
                sent = flow.sender(cut(many, slice(1)), alpha).log_prob(cut(y, slice(1)))
                foretold = flow.receiver(output, alpha).log_prob(y)
                log_weights = log_weights + _over(foretold, known) - _over(sent, known)
            theta = flow.update(theta, y, alpha)
            resampled = weigh and effective(log_weights.log_softmax(0)) < count / 2
            if resampled:
                chosen = _systematic(log_weights, like.device, generator)
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


def _where(known: Data, x: Data, others: Data) -> Data:
    """x where it is known, broadcast to N, and the N others elsewhere."""
    if isinstance(x, dict):
        return {name: _where(known[name], x[name], others[name]) for name in x}
    mask = known.reshape(*known.shape, *[1] * (others.dim() - 1 - known.dim()))
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
    return torch.where(known, cost, 0.0).cpu().double().flatten(1).sum(1)


def _systematic(log_weights: Tensor, device: torch.device, generator: Generator | None) -> Tensor:
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
