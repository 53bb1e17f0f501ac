"""Several kinds of data in one example."""

import copy
from typing import Any

import torch
from torch import Generator, Tensor

from bfn_core.flows import BayesianFlow
from bfn_core.numerics import in_rows


class Joint(dict):
    """Independent distributions by name, such as the output distribution of mixed data.

    What one distribution answers with a tensor, this answers with a dict of them.
    """

    def sample(self, sample_shape=(), generator: Generator | None = None) -> dict[str, Tensor]:
        """Independent draws of each."""
        return {name: part.sample(sample_shape, generator=generator) for name, part in self.items()}

    def log_prob(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """Nats of each variable of each part."""
        return {name: part.log_prob(x[name]) for name, part in self.items()}

    @property
    def mode(self) -> dict[str, Tensor]:
        """The most likely value of each."""
        return {name: part.mode for name, part in self.items()}

    @property
    def mean(self) -> dict[str, Tensor]:
        """The mean of each."""
        return {name: part.mean for name, part in self.items()}


class MixedFlow(BayesianFlow):
    """Several kinds of data in one example, such as the kinds of atoms and where they are.

    `MixedFlow(atoms=DiscreteFlow(…), places=ContinuousFlow(…))`: x, θ, messages, accuracies and
    outputs are dicts with these names, and so are what the network reads and its raw output. The
    names share the time, and their costs add.

    Args:
        flows: the flow of each part, by name.

    Raises:
        ValueError: no flow at all.
    """

    def __init__(self, /, **flows: BayesianFlow) -> None:  # "self" may be a name, too
        if not flows or not all(isinstance(flow, BayesianFlow) for flow in flows.values()):
            raise ValueError(f"MixedFlow takes flows by name, got {flows}")
        self.flows = flows

    def __repr__(self) -> str:
        return f"MixedFlow({', '.join(f'{name}={flow}' for name, flow in self.flows.items())})"

    def trusting(self) -> "MixedFlow":
        twin = copy.copy(self)
        twin.validate = False
        twin.flows = {name: flow.trusting() for name, flow in self.flows.items()}
        return twin

    def _each(self, method: str, *arguments, **options) -> dict:
        """What each flow answers; from arguments that are dicts each takes what has its name."""
        return {
            name: getattr(flow, method)(
                *(a[name] if isinstance(a, dict) else a for a in arguments), **options
            )
            for name, flow in self.flows.items()
        }

    def beta(self, t: float | Tensor) -> dict[str, float | Tensor]:
        """Accumulated accuracy of each part."""
        return self._each("beta", t)

    def alpha(self, i: int | Tensor, n: int) -> dict[str, float | Tensor]:
        """Accuracy of message i of n about each part."""
        return self._each("alpha", i, n)

    def _check_accuracy(self, alpha: Any) -> None:
        self._each("_check_accuracy", alpha)

    def check(self, x: dict[str, Tensor]) -> None:
        self._check(x, "check")

    def check_points(self, points: dict[str, Tensor]) -> None:
        self._check(points, "check_points")

    def _check(self, x: dict[str, Tensor], method: str) -> None:
        if not isinstance(x, dict) or x.keys() != self.flows.keys():
            got = list(x) if isinstance(x, dict) else type(x)
            raise ValueError(f"x must be a dict with the names {list(self.flows)}, got {got}")
        for name, flow in self.flows.items():
            try:
                getattr(flow, method)(x[name])
            except ValueError as error:
                raise ValueError(f"x[{name!r}]: {error}") from None
        sizes = {name: len(part) for name, part in x.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"x must hold as many examples under each name, got {sizes}")

    def prior(self, shape: dict, *, dtype=None, device=None) -> dict:
        """θ at t = 0; `shape` is a dict of shapes."""
        return self._each("prior", shape, dtype=dtype, device=device)

    def _prior_for(self, x: dict) -> dict:
        return self._each("_prior_for", x)

    def update(self, theta: dict, y: dict, alpha: dict) -> dict:
        return self._each("update", theta, y, alpha)

    def sender(self, x: dict, alpha: dict) -> Joint:
        return Joint(self._each("sender", x, alpha))

    def sample_flow(
        self, x: dict, t: float | Tensor, generator: Generator | None = None
    ) -> dict:
        return self._each("sample_flow", x, t, generator)

    def network_input(self, theta: dict) -> dict[str, Tensor]:
        return self._each("network_input", theta)

    def output(self, raw: dict, theta: dict, t: float | Tensor) -> Joint:
        if not isinstance(raw, dict) or raw.keys() != self.flows.keys():
            got = list(raw) if isinstance(raw, dict) else type(raw)
            raise ValueError(
                f"the network's output must be a dict with the names {list(self.flows)}, got {got}"
            )
        return Joint(self._each("output", raw, theta, t))

    def receiver(self, output: Joint, alpha: dict) -> Joint:
        return Joint(self._each("receiver", output, alpha))

    def rate_cost(self, x: dict, output: Joint, t: float | Tensor) -> Tensor:
        """Of all variables side by side, (B, D)."""
        return _side_by_side(self._each("rate_cost", x, output, t))

    def step_cost(
        self, x: dict, output: Joint, alpha: dict, generator: Generator | None = None
    ) -> Tensor:
        """Of all variables side by side, (B, D)."""
        return _side_by_side(self._each("step_cost", x, output, alpha, generator))

    def final_cost(self, x: dict, output: Joint) -> Tensor:
        """Of all variables side by side, (B, D)."""
        return _side_by_side(self._each("final_cost", x, output))

    def log_likelihood(self, theta: dict, points: dict) -> Tensor:
        """The parts' sum: their messages are independent given x."""
        return torch.stack([*self._each("log_likelihood", theta, points).values()]).sum(0)

    def mixture(self, weights: Tensor, points: dict) -> Joint:
        return Joint(self._each("mixture", weights, points))


def _side_by_side(costs: dict[str, Tensor]) -> Tensor:
    return torch.cat([in_rows(cost) for cost in costs.values()], 1)
