"""A Bayesian Flow Network: a flow and a network, the losses that train it, and its sampler.

Source: Graves et al. 2023, "Bayesian Flow Networks", arXiv 2308.07037.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.distributions import Distribution

from bfn_core.distributions import check_generator
from bfn_core.flows import BayesianFlow, CategoricalParameters, GaussianParameters, per_example
from bfn_core.schedules import check_step, check_time

Parameters = GaussianParameters | CategoricalParameters


@dataclass(frozen=True)
class SamplingStep:
    """Where a sampler stands after i of n messages.

    Attributes:
        i: messages received so far, 0…n.
        t: i/n.
        theta: the belief at time t.
        output: the output distribution at time t, made from theta.
    """

    i: int
    t: float
    theta: Parameters
    output: Distribution


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Dropout and the like off inside; afterwards every submodule is in the mode it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def stratified(count: int, *, like: Tensor, generator: Generator | None = None) -> Tensor:
    """`count` times in [0, 1), each uniform, together evenly spread: (u + b/B) mod 1.

    The mean of a function of them varies less than over independent times, at no cost.
    """
    check_generator(generator, like.device)
    offset = torch.rand(1, generator=generator, dtype=like.dtype, device=like.device)
    spread = torch.arange(count, dtype=like.dtype, device=like.device) / count
    return (offset + spread) % 1.0


class BFN(nn.Module):
    """A Bayesian Flow Network.

    Args:
        flow: what kind of data, and on what accuracy schedule.
        network: called as network(inputs, t) with flow.network_input(θ) and t (B,); its raw
            output is (B, *shape) for continuous data, (B, *shape, 2) for discretised,
            (B, *shape, K) for discrete.
    """

    def __init__(self, flow: BayesianFlow, network: nn.Module | None) -> None:
        super().__init__()
        self.flow = flow
        self.network = network

    def extra_repr(self) -> str:
        return f"(flow): {self.flow}"

    @property
    def _reference(self) -> Tensor:
        """A tensor with the dtype and device in which times and priors are made."""
        tensors = (*self.parameters(), *self.buffers())
        return next((p for p in tensors if p.is_floating_point()), torch.empty(0))

    def output(self, theta: Parameters, t: float | Tensor) -> Distribution:
        """p_O(x | θ; t), the network's joint guess.

        Args:
            theta: the belief, for B examples.
            t: a number or (B,), in [0, 1].

        Raises:
            ValueError: t outside [0, 1], or a raw output of the wrong shape.
        """
        check_time(t)
        inputs = self.flow.network_input(theta)
        times = per_example(t, inputs).reshape(-1).expand(inputs.shape[0])
        return self.flow.output(self.network(inputs, times), theta, t)

    def loss(
        self, x: Tensor, t: float | Tensor | None = None, *, generator: Generator | None = None
    ) -> Tensor:
        """One draw of the continuous-time loss L^∞ for each example, (B,), in nats.

        Args:
            x: data, (B, *shape).
            t: the times, a number or (B,); uniform and stratified over the batch by default.
            generator: for t and θ.

        Raises:
            ValueError: x or t is not what the flow takes.

        Source: (101) continuous and discretised, (205) discrete.
        """
        self.flow.check(x)
        if t is None:
            t = stratified(x.shape[0], like=self._times_like(x), generator=generator)
        theta = self.flow.sample_flow(x, t, generator)
        return _total(self.flow.rate_cost(x, self.output(theta, t), t))

    def loss_n(
        self,
        x: Tensor,
        n: int,
        i: int | Tensor | None = None,
        *,
        generator: Generator | None = None,
    ) -> Tensor:
        """One draw of the n-step loss L^n for each example, (B,), in nats.

        Message i is sent on top of the belief at t = (i − 1)/n, and counts n times because it
        stands for all n.

        Args:
            x: data, (B, *shape).
            n: number of messages, at least 1.
            i: which message, in 1…n, a number or (B,) int64; uniform and stratified by default.
            generator: for i, θ and the message.

        Raises:
            ValueError: x, n or i is not valid.

        Source: (24), (96) continuous, (116) discretised, (190) discrete.
        """
        self.flow.check(x)
        check_step(1 if i is None else i, n)
        like = self._times_like(x)
        if i is None:
            spread = stratified(x.shape[0], like=like, generator=generator)
            i = (spread * n).long().clamp_(max=n - 1) + 1
        i = torch.as_tensor(i, device=x.device)
        t = (i - 1).to(like.dtype) / n
        theta = self.flow.sample_flow(x, t, generator)
        alpha = self.flow.alpha(i.to(like.dtype), n)
        return n * _total(self.flow.step_cost(x, self.output(theta, t), alpha, generator))

    def reconstruction_loss(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """One draw of L^r = −E ln p_O(x | θ; 1) for each example, (B,), in nats.

        For continuous data the density of x at accuracy σ₁ (see ContinuousFlow.final_cost).
        """
        self.flow.check(x)
        one = torch.ones(x.shape[0], dtype=self._times_like(x).dtype, device=x.device)
        theta = self.flow.sample_flow(x, one, generator)
        return _total(self.flow.final_cost(x, self.output(theta, one)))

    def _times_like(self, x: Tensor) -> Tensor:
        dtype = x.dtype if x.is_floating_point() else self._reference.dtype
        return torch.empty(0, dtype=dtype, device=x.device)

    @torch.no_grad()
    def sample(
        self,
        shape,
        n_steps: int,
        *,
        final: str = "sample",
        generator: Generator | None = None,
    ) -> Tensor:
        """Draw data, (B, *shape), with n_steps messages and n_steps + 1 network calls.

        Args:
            shape: (B, *shape).
            n_steps: at least 1.
            final: "sample" draws x from p_O at t = 1, "mode" takes its most likely value.
            generator: for every draw.

        Raises:
            ValueError: n_steps below 1, or another word for final.
        """
        if final not in ("sample", "mode"):
            raise ValueError(f'final must be "sample" or "mode", got {final!r}')
        for step in self.sampling_steps(shape, n_steps, generator=generator):
            output = step.output
        return output.mode if final == "mode" else output.sample(generator=generator)

    @torch.no_grad()
    def sampling_steps(
        self, shape, n_steps: int, *, generator: Generator | None = None
    ) -> Iterator[SamplingStep]:
        """The n_steps + 1 beliefs and guesses on the way from the prior to data.

        The network is in eval mode while a step is made, and back in its own mode between steps.
        """
        check_step(1, n_steps)
        like = self._reference
        theta = self.flow.prior(tuple(shape), dtype=like.dtype, device=like.device)
        for i in range(n_steps + 1):
            with torch.no_grad(), evaluating(self):
                output = self.output(theta, i / n_steps)
            yield SamplingStep(i, i / n_steps, theta, output)
            if i < n_steps:  # the next message: x' from p_O, then y from the sender
                alpha = self.flow.alpha(i + 1, n_steps)
                guess = output.sample(generator=generator)
                y = self.flow.sender(guess, alpha).sample(generator=generator)
                theta = self.flow.update(theta, y.to(like.dtype), alpha)


def _total(cost: Tensor) -> Tensor:
    """Sum over the variables: (B, *shape) -> (B,)."""
    return cost.flatten(1).sum(1) if cost.dim() > 1 else cost
