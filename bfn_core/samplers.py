"""Ways from the prior to data. Each is a small object with one method, `steps`.

    bfn.sample((16, 28, 28), n_steps=50, sampler=Ancestral())

Source: Graves et al. 2023, arXiv 2308.07037.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator

from bfn_core.beliefs import Condition, over, told
from bfn_core.model import BFN, SamplingStep, evaluating


class Sampler(Protocol):
    """What `BFN.sample` takes as a sampler."""

    def steps(
        self, bfn: BFN, shape, n: int, *, condition: Condition, generator: Generator | None
    ) -> Iterator[SamplingStep]:
        """The n + 1 beliefs and guesses at t = 0, 1/n … 1, for data of `shape`.

        `bfn` is to be called within `evaluating(bfn)` and without gradients, and `n` is a whole
        number of at least 1.
        """
        ...


@dataclass(frozen=True)
class Ancestral:
    """The paper's: a value drawn from p_O is sent as Alice would send it, n times."""

    def steps(
        self, bfn: BFN, shape, n: int, *, condition: Condition, generator: Generator | None
    ) -> Iterator[SamplingStep]:
        """See `Sampler`."""
        flow, like = bfn.flow, bfn._reference
        theta = flow.prior(shape, dtype=like.dtype, device=like.device)
        for i in range(n + 1):
            with torch.no_grad(), evaluating(bfn):
                output = bfn.output(theta, i / n, **told(condition))
            yield SamplingStep(i, i / n, theta, output)
            if i < n:  # the next message: x' from p_O, then y from the sender
                with torch.no_grad():
                    alpha = flow.alpha(i + 1, n)
                    guess = output.sample(generator=generator)
                    y = flow.sender(guess, alpha).sample(generator=generator)
                    theta = flow.update(theta, over(lambda part: part.to(like.dtype), y), alpha)
