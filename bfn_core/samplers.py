"""Ways from the prior to data. Each is a small object with one method, `steps`.

    bfn.sample((16, 28, 28), n_steps=50, sampler=Ancestral())
    bfn.sample((16, 3, 32, 32), n_steps=50, sampler=Ancestral(guess="mean"))

Faster ones, which follow an ordinary differential equation, are in solvers.py.

Source: Graves et al. 2023, arXiv 2308.07037.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Generator

from bfn_core.beliefs import Condition, over, told
from bfn_core.flows import BayesianFlow, GaussianFlow
from bfn_core.missing import without_gaps
from bfn_core.mixed import MixedFlow
from bfn_core.model import BFN, SamplingStep
from bfn_core.modes import evaluating


class Sampler(Protocol):
    """What `BFN.sample` takes as a sampler."""

    def steps(
        self, bfn: BFN, shape, n: int, *, condition: Condition, generator: Generator | None
    ) -> Iterator[SamplingStep]:
        """The n + 1 beliefs and guesses from t = 0 to 1, for data of `shape`.

        `bfn` is to be called within `evaluating(bfn)` and without gradients, and `n` is a whole
        number of at least 1.
        """
        ...


@dataclass(frozen=True)
class Ancestral:
    """The paper's: a value drawn from p_O is sent as Alice would send it, n times.

    With `guess="mean"` a message is about the mean of p_O instead, where the data are numbers. It
    has the mean of p_R but the variance 1/α, where p_R has 1/α + Var p_O. As n grows, 1/α outgrows
    Var p_O, and both ways draw x by the same law, that of L^∞: what the draws add to the final
    belief is Σ_i (α_i/ρ_n)² Var p_O, in which α_i ~ 1/n. At small n the mean gives smoother data,
    and less varied than the model says: it is no longer the law that L^n judges. Where p_O is much
    too wide for its mean, as it may be after training on L^∞ alone, the mean does not suffer.

    Args:
        guess: what messages are about, "draw" or "mean" of p_O; classes are always drawn.

    Raises:
        ValueError: another word; or, when it is used, "mean" for classes alone.
    """

    guess: str = "draw"

    def __post_init__(self) -> None:
        if self.guess not in ("draw", "mean"):
            raise ValueError(f'guess must be "draw" or "mean", got {self.guess!r}')

    def calls(self, n: int) -> int:
        """How often n steps call the network."""
        return n + 1

    def steps(
        self, bfn: BFN, shape, n: int, *, condition: Condition, generator: Generator | None
    ) -> Iterator[SamplingStep]:
        """See `Sampler`."""
        flow, like = bfn.flow, bfn._reference
        if self.guess == "mean":
            if not _has_numbers(flow):
                raise ValueError(f'guess must be "draw" for classes, which have no mean: {flow}')
            flow = flow.trusting()  # a mean lies between the bins
        theta = flow.prior(shape, dtype=like.dtype, device=like.device)
        for i in range(n + 1):
            with torch.no_grad(), evaluating(bfn):
                output = bfn.output(theta, i / n, **told(condition))
            yield SamplingStep(i, i / n, theta, output)
            if i < n:  # the next message: x' from p_O, then y from the sender
                with torch.no_grad():
                    alpha = flow.alpha(i + 1, n)
                    guess = self._guess(flow, output, generator)
                    y = flow.sender(guess, alpha).sample(generator=generator)
                    theta = flow.update(theta, over(lambda part: part.to(like.dtype), y), alpha)

    def _guess(self, flow: BayesianFlow, output: Any, generator: Generator | None):
        """x', what the next message is about."""
        if self.guess == "mean" and isinstance(flow, MixedFlow):
            return {name: self._guess(part, output[name], generator)
                    for name, part in flow.flows.items()}
        if self.guess == "mean" and _has_numbers(flow):
            return output.mean
        return output.sample(generator=generator)


def _has_numbers(flow: BayesianFlow) -> bool:
    if isinstance(flow, MixedFlow):
        return any(_has_numbers(part) for part in flow.flows.values())
    return isinstance(without_gaps(flow), GaussianFlow)
