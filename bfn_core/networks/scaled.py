"""What a network reads of a Gaussian belief, in five scales of one and the same number.

With accuracy β told, r = √β and γ = β/(1 + β), the belief's mean is

    μ = γ x + √(γ(1 − γ)) ε            "mean": a BFN's input
    μ/√γ = √γ x + √(1 − γ) ε           "latent": a variance-preserving diffusion's, ᾱ = γ
    μ/γ = x + ε/r                      "plain": x with noise, σ = 1/r, as EDM draws it
    (r x + ε)/√(1 + β E x²)            "unit": the same with variance 1, as EDM's network reads it
    (1 − s) ε + s x, s = r/(1 + r)     "path": flow matching's

Each is another one times a function of t, so the information is the same; what a network makes of
it need not be. `Scaled` is for the comparison.

Sources: Kingma et al. 2021, arXiv 2107.00630 (VDM), Karras et al. 2022, arXiv 2206.00364 (EDM),
Lipman et al. 2022, arXiv 2210.02747 (flow matching).
"""

from typing import Any

import torch
from torch import Tensor, nn

from bfn_core.beliefs import per_example
from bfn_core.flows import T_MIN, GaussianFlow

KINDS = ("mean", "latent", "plain", "unit", "path")


class Scaled(nn.Module):
    """A network that reads the belief's mean in another scale.

    Its raw output is the network's own, the noise ε̂, and so can stand in any BFN of numbers.

    Args:
        network: called as network(scaled, t).
        flow: whose beliefs it is told, and whose schedule says what β is.
        kind: one of KINDS.
        square: E x² of the data, per number; "unit" needs it.

    Raises:
        ValueError: another kind.
    """

    network: Any

    def __init__(
        self, network: nn.Module, flow: GaussianFlow, kind: str, *, square: float = 1.0
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        self.network, self.flow, self.kind, self.square = network, flow, kind, square

    def factor(self, t: Tensor, like: Tensor) -> Tensor:
        """What the belief's mean is multiplied by at times t, (B,), ready to broadcast."""
        m = self.flow.schedule.at(per_example(t, like).clamp(min=T_MIN))
        root = m.beta.sqrt()
        if self.kind == "latent":
            return m.gamma.rsqrt()
        if self.kind == "plain":
            return 1 / m.gamma
        if self.kind == "unit":
            return (1 + m.beta) / root * (1 + self.square * m.beta).rsqrt()
        return (1 + m.beta) / root / (1 + root)  # of a path

    def scaled(self, mean: Tensor, t: Tensor) -> Tensor:
        """What the network reads of the belief's mean, (B, *shape), at times t, (B,)."""
        if self.kind == "mean":
            return mean
        factor = self.factor(t, mean)  # ∞ where nothing has been told, and the mean is 0
        return mean * factor.clamp(max=torch.finfo(factor.dtype).max)

    def forward(self, inputs: Tensor, t: Tensor) -> Tensor:
        return self.network(self.scaled(inputs, t), t)


class Velocity(Scaled):
    """A network of flow matching: it guesses x − ε from (1 − s) ε + s x. As a BFN's, it says ε̂.

    Args:
        network, flow: as for Scaled.
    """

    def __init__(self, network: nn.Module, flow: GaussianFlow) -> None:
        super().__init__(network, flow, "path")

    def forward(self, inputs: Tensor, t: Tensor) -> Tensor:
        place = self.scaled(inputs, t)
        root = self.flow.schedule.at(per_example(t, place).clamp(min=T_MIN)).beta.sqrt()
        return place - root / (1 + root) * self.network(place, t)
