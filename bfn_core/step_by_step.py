"""Step by step: what Bob believes and the network guesses on the way from t = 0 to 1.

Along given data, which Alice tells Bob in n messages, and along samples that are being drawn: with
all that was seen on the way as tensors.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from bfn_core.beliefs import Data, Parameters, joined
from bfn_core.distributions import Output
from bfn_core.flows import BayesianFlow
from bfn_core.model import BFN, SamplingStep
from bfn_core.modes import evaluating


def heard(
    flow: BayesianFlow, x: Data, n: int | Iterable, *, generator: Generator | None = None
) -> tuple[list[Data], list[Parameters]]:
    """The messages of `flow.messages`, and the beliefs with the prior before them.

    Returns:
        (messages, beliefs): the m of n, and m + 1.
    """
    said = list(flow.messages(x, n, generator=generator))
    return [y for y, _ in said], [flow._prior_for(x), *(theta for _, theta in said)]


@dataclass(frozen=True)
class Telling:
    """One example x, told in n messages, and what was made of it after 0…n of them.

    Attributes:
        x: (*shape).
        messages: (n, *shape) of numbers, (n, *shape, K) of classes.
        times: 0, 1/n … 1, (n + 1,).
        theta: the beliefs, a batch of n + 1.
        output: what the network makes of them, a batch of n + 1.
    """

    x: Tensor
    messages: Tensor
    times: Tensor
    theta: Parameters
    output: Output


@torch.no_grad()
def tell(bfn: BFN, x: Tensor, n: int, *, generator: Generator | None = None) -> Telling:
    """Tell Bob about one example in n messages, and ask the network after each: in one call of it.

    Args:
        bfn: of one kind of data.
        x: (*shape).
        n: messages, at least 1.
        generator: for the messages.

    Raises:
        ValueError: x or n is not valid.
    """
    messages, beliefs = heard(bfn.flow, x.unsqueeze(0), n, generator=generator)
    times, theta = torch.arange(n + 1) / n, joined(beliefs)
    with evaluating(bfn):
        output = bfn.output(theta, times)
    return Telling(x, torch.cat(messages), times, theta, output)


def watch(
    bfn: BFN, shape, n_steps: int, look: Callable[[SamplingStep], Iterable[Tensor]],
    *, generator: Generator | None = None,
) -> tuple[tuple[Tensor, ...], Data]:
    """Draw samples, and keep what is seen on the way.

    Args:
        bfn, shape, n_steps, generator: as for `BFN.sample`.
        look: from a step to the tensors of it that are to be kept.

    Returns:
        Each of these tensors, (n_steps + 1, …), and the samples, of `shape`.
    """
    seen = []
    for step in bfn.sampling_steps(shape, n_steps, generator=generator):
        seen.append(tuple(look(step)))
    found = tuple(torch.stack(each) for each in zip(*seen, strict=True))
    return found, step.output.sample(generator=generator)
