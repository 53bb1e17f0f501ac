"""A Bayesian Flow Network: a flow and a network, the losses that train it, and its sampler.

Source: Graves et al. 2023, "Bayesian Flow Networks", arXiv 2308.07037.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor, nn

from bfn_core.beliefs import (
    Condition,
    Data,
    Parameters,
    first,
    in_precision,
    over,
    per_example,
    told,
)
from bfn_core.checks import check_step, check_time, whole
from bfn_core.distributions import Output
from bfn_core.flows import BayesianFlow
from bfn_core.numerics import at_least_single, check_generator, in_rows, single

if TYPE_CHECKING:
    from bfn_core.samplers import Sampler


@dataclass(frozen=True)
class SamplingStep:
    """Where a sampler stands after i of n messages.

    Attributes:
        i: messages received so far, 0…n.
        t: i/n, unless the sampler spaces its steps in another way.
        theta: the belief at time t.
        output: the output distribution at time t, made from theta.
    """

    i: int
    t: float
    theta: Parameters
    output: Output


def stratified(count: int, *, like: Tensor, generator: Generator | None = None) -> Tensor:
    """`count` times in [0, 1), each uniform, together evenly spread: (u + b/B) mod 1.

    The mean of a function of them varies less than over independent times, at no cost. They are
    of the dtype of `like`, in single precision at least.
    """
    check_generator(generator, like.device)
    dtype = at_least_single(like.dtype)
    offset = torch.rand(1, generator=generator, dtype=dtype, device=like.device)
    spread = torch.arange(count, dtype=dtype, device=like.device) / count
    return (offset + spread) % 1.0


class BFN(nn.Module):
    """A Bayesian Flow Network.

    Beliefs, times and costs are computed in the network's precision, in single precision where it
    has only 16 bits; data of another precision are converted. The network is called in its own.

    What is asked of x, t, n and i is asked once, here; the flow then trusts them.

    Args:
        flow: what kind of data, and on what accuracy schedule.
        network: called as network(inputs, t) with flow.network_input(θ) and t (B,), and as
            network(inputs, t, condition) where there is a condition; its raw output is (B, *shape)
            for continuous data, (B, *shape, 2) for discretised, (B, *shape, K) for discrete, and a
            dict of these for mixed.

    A condition, wherever one is taken, is whatever the network is to know beside the belief: a
    tensor (B, …) or a dict of them, cut along with the batch.
    """

    flow: Any  # a BayesianFlow: what more it has, such as γ or classes, depends on the kind of data
    network: Any  # an nn.Module; None in an ExactBFN

    def __init__(self, flow: BayesianFlow, network: nn.Module | None) -> None:
        super().__init__()
        self.flow = flow
        self.network = network

    def extra_repr(self) -> str:
        return f"(flow): {self.flow}"

    @property
    def _weights(self) -> Tensor | None:
        """A tensor of the network, for its dtype and device; None where it has none."""
        # Without a network, as in an ExactBFN or around one, buffers are data and no weights.
        tensors = chain(self.parameters(), [] if self.network is None else self.buffers())
        return next((p for p in tensors if p.is_floating_point()), None)

    @property
    def _reference(self) -> Tensor:
        """A tensor with the dtype and device in which times and priors are made."""
        weights = torch.empty(0) if self._weights is None else self._weights
        return torch.empty(0, dtype=at_least_single(weights.dtype), device=weights.device)

    def output(
        self, theta: Parameters, t: float | Tensor, *, condition: Condition = None
    ) -> Output:
        """p_O(x | θ; t), the network's joint guess.

        Args:
            theta: the belief, for B examples.
            t: a number or (B,), in [0, 1].
            condition: what the network is told beside it.

        Raises:
            ValueError: t outside [0, 1], or a raw output of the wrong shape.
        """
        check_time(t)
        inputs = self.flow.network_input(theta)
        like = first(inputs)
        times = per_example(t, like).reshape(-1).expand(len(like))
        if (weights := self._weights) is not None:
            inputs = over(lambda part: part.to(weights.dtype), inputs)
            times = times.to(weights.dtype)
        beside = () if condition is None else (condition,)
        raw = over(single, self.network(inputs, times, *beside))
        return self.flow.trusting().output(raw, theta, t)

    def loss(
        self, x: Data, t: float | Tensor | None = None,
        *, theta: Parameters = None, condition: Condition = None,
        generator: Generator | None = None,
    ) -> Tensor:
        """One draw of the continuous-time loss L^∞ for each example, (B,), in nats.

        Args:
            x: data, (B, *shape); converted where its precision is not the network's.
            t: the times, a number or (B,); uniform and stratified over the batch by default.
            theta: beliefs that were drawn from the flow for x at t already; drawn here by default.
            condition: what the network is told beside the belief.
            generator: for t and θ.

        Raises:
            ValueError: x or t is not what the flow takes, or θ is given without t.

        Source: (101) continuous and discretised, (205) discrete.
        """
        x, like, flow = self._taken(x)
        if t is None:
            if theta is not None:
                raise ValueError("t must be given with theta: the time at which it was drawn")
            t = stratified(len(first(x)), like=like, generator=generator)
        else:
            check_time(t)
            t = torch.as_tensor(t, dtype=like.dtype, device=like.device)
            t = t.reshape(1) if t.dim() == 0 else t
        theta = flow.sample_flow(x, t, generator) if theta is None else theta
        return _sum(flow.rate_cost(x, self.output(theta, t, **told(condition)), t))

    def loss_n(
        self, x: Data, n: int, i: int | Tensor | None = None,
        *, condition: Condition = None, generator: Generator | None = None,
    ) -> Tensor:
        """One draw of the n-step loss L^n for each example, (B,), in nats.

        Message i is sent on top of the belief at t = (i − 1)/n, and counts n times because it
        stands for all n.

        Args:
            x: data, (B, *shape).
            n: number of messages, at least 1.
            i: which message, in 1…n, a number or (B,) int64; uniform and stratified by default.
            condition: what the network is told beside the belief.
            generator: for i, θ and the message.

        Raises:
            ValueError: x, n or i is not valid.

        Source: (24), (96) continuous, (116) discretised, (190) discrete.
        """
        x, like, flow = self._taken(x)
        which, n = check_step(1 if i is None else i, n)
        if i is None:
            spread = stratified(len(first(x)), like=like, generator=generator)
            which = (spread * n).long().clamp_(max=n - 1) + 1
        i = torch.as_tensor(which, device=like.device)
        if i.dtype == torch.bool or i.is_floating_point():
            raise ValueError(f"i must be whole numbers in 1…{n}, got {i.dtype}")
        t = (i - 1).to(like.dtype) / n
        theta = flow.sample_flow(x, t, generator)
        alpha = flow.alpha(i.to(like.dtype), n)
        output = self.output(theta, t, **told(condition))
        return n * _sum(flow.step_cost(x, output, alpha, generator))

    def reconstruction_loss(
        self, x: Data, *, condition: Condition = None, generator: Generator | None = None
    ) -> Tensor:
        """One draw of L^r = −E ln p_O(x | θ; 1) for each example, (B,), in nats.

        For continuous data the density of x at accuracy σ₁ (see ContinuousFlow.final_cost).
        """
        x, like, flow = self._taken(x)
        one = torch.ones(len(first(x)), dtype=like.dtype, device=like.device)
        theta = flow.sample_flow(x, one, generator)
        return _sum(flow.final_cost(x, self.output(theta, one, **told(condition))))

    def _taken(self, x: Data) -> tuple[Data, Tensor, BayesianFlow]:
        """x, checked and in the precision that its times are made in; a tensor of that kind; and
        the flow, which need not look at x again.
        """
        self.flow.check(x)
        like = self._times_like(x)
        return in_precision(x, like.dtype), like, self.flow.trusting()

    def _times_like(self, x: Data) -> Tensor:
        """Times are made in the network's precision, or for one without weights in that of x."""
        own, x = self._reference.dtype, first(x)
        if self._weights is None and x.is_floating_point():
            own = at_least_single(x.dtype)
        return torch.empty(0, dtype=own, device=x.device)

    @torch.no_grad()
    def sample(
        self, shape, n_steps: int,
        *, final: str = "sample", condition: Condition = None, sampler: "Sampler | None" = None,
        generator: Generator | None = None,
    ) -> Data:
        """Draw data, (B, *shape), with n_steps messages and n_steps + 1 network calls.

        Args:
            shape: (B, *shape); for mixed data a dict of shapes.
            n_steps: at least 1.
            final: "sample" draws x from p_O at t = 1, "mode" takes its most likely value.
            condition: what the network is told, for each of the B.
            sampler: how to get from the prior to data, see bfn_core.samplers; the paper's way by
                default.
            generator: for every draw.

        Raises:
            ValueError: n_steps below 1, or another word for final.
        """
        if final not in ("sample", "mode"):
            raise ValueError(f'final must be "sample" or "mode", got {final!r}')
        options = {"condition": condition, "sampler": sampler, "generator": generator}
        for step in self.sampling_steps(shape, n_steps, **options):
            output = step.output
        return output.mode if final == "mode" else output.sample(generator=generator)

    def sampling_steps(
        self, shape, n_steps: int,
        *, condition: Condition = None, sampler: "Sampler | None" = None,
        generator: Generator | None = None,
    ) -> Iterator[SamplingStep]:
        """The n_steps + 1 beliefs and guesses on the way from the prior to data.

        The network is in eval mode while a step is made, and back in its own mode between steps.
        Arguments and errors as for `sample`.
        """
        from bfn_core.samplers import Ancestral  # which stands on this module

        n_steps = whole("n_steps", n_steps)
        sampler = Ancestral() if sampler is None else sampler
        return sampler.steps(self, shape, n_steps, condition=condition, generator=generator)


def _sum(cost: Tensor) -> Tensor:
    """Over the variables: (B, *shape) -> (B,)."""
    return in_rows(cost).sum(1)
