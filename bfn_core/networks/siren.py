"""A Siren: an MLP with sine activations, for data of a few continuous dimensions.

Source of the layer and its initialisation: Sitzmann et al. 2020, "Implicit Neural Representations
with Periodic Activation Functions", arXiv 2006.09661.
"""

import math

import torch
from torch import Tensor, nn


class SineLayer(nn.Module):
    """sin(bandwidth · (Wx + b)), initialised so that layers keep the spread of their input.

    Args:
        inputs, outputs: sizes.
        bandwidth: the larger, the faster the layer can wiggle (ω₀ in the source).
        first: whether the layer reads data, whose weights are then U(−1/inputs, 1/inputs).
    """

    def __init__(self, inputs: int, outputs: int, bandwidth: float, first: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.bandwidth = bandwidth
        bound = 1 / inputs if first else math.sqrt(6 / inputs) / bandwidth
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.bandwidth * self.linear(x))


class Siren(nn.Module):
    """Sine layers over the belief and the time, and a linear layer at the end.

    Called as network(inputs, t): inputs (B, *shape) or (B, *shape, K), t (B,).

    Args:
        size: numbers per example that it reads.
        outputs: shape of the raw output without the batch; (size,) by default.
        hidden: units per layer.
        depth: number of sine layers.
        bandwidth: of the first layer, which sets the finest detail that the network can follow.
        inner_bandwidth: of the other layers.
    """

    def __init__(
        self,
        size: int,
        outputs: tuple[int, ...] | None = None,
        *,
        hidden: int = 128,
        depth: int = 3,
        bandwidth: float = 10.0,
        inner_bandwidth: float = 1.0,
    ) -> None:
        super().__init__()
        self.outputs = (size,) if outputs is None else tuple(outputs)
        layers = [SineLayer(size + 1, hidden, bandwidth, first=True)]
        layers += [SineLayer(hidden, hidden, inner_bandwidth) for _ in range(depth - 1)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(hidden, math.prod(self.outputs))

    def forward(self, inputs: Tensor, t: Tensor) -> Tensor:
        features = torch.cat([inputs.flatten(1), 2 * t.unsqueeze(1) - 1], 1)  # (B, size + 1)
        return self.head(self.body(features)).reshape(-1, *self.outputs)
