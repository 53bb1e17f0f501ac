"""A network for short pieces of sound that all begin at the same moment."""

from collections.abc import Callable

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bfn_core.data.assets import asset
from bfn_core.flows import DiscretisedFlow
from bfn_core.model import BFN
from bfn_core.networks.mlp import MLP

STRING_FLOW = DiscretisedFlow(256, sigma_1=0.002)


class WaveNetwork(nn.Module):
    """Guesses the noise in a belief about a waveform, and how sure the guess is.

    Reads the belief's means (B, L) and gives (B, L, 2), as a `DiscretisedFlow` wants. An MLP over
    the whole waveform: strings of one pitch lie near a linear space of few dimensions, so what one
    needs are projections, and samples far apart must hear each other. As in `PointNetwork`, it
    reads the mean in units of its own spread and says what is not plain from it (Karras et al.
    2022, arXiv 2206.00364), for which it must know γ.

    Args:
        gamma: γ(t) of the flow.
        spread: standard deviation of each sample of the data, (L,).
        hidden, depth: of the MLP.
        group: samples that share a width of the guess; L must be a multiple.
    """

    def __init__(
        self, gamma: Callable[[Tensor], Tensor], spread: Tensor, *, hidden: int = 256,
        depth: int = 3, group: int = 16,
    ) -> None:
        super().__init__()
        length = len(spread)
        if length % group:
            raise ValueError(f"the length must be a multiple of group = {group}, got {length}")
        self.gamma, self.group, self.length = gamma, group, length
        self.spread: Tensor
        self.register_buffer("spread", spread)
        self.body = MLP(length, (length + length // group,), hidden=hidden, depth=depth)

    def forward(self, inputs: Tensor, t: Tensor) -> Tensor:
        gamma = self.gamma(t).clamp(1e-6, 1 - 1e-6).unsqueeze(1)
        whole = 1 - gamma + gamma * self.spread**2  # variance of v = μ/√γ
        v = inputs / gamma.sqrt()
        raw = self.body(v / whole.sqrt(), t)
        moved, width = raw[:, : self.length], raw[:, self.length :]
        scale = self.spread * (gamma / whole).sqrt()
        noise = (1 - gamma).sqrt() * v / whole - scale * moved
        log_std = scale.log() + width.repeat_interleave(self.group, 1)
        return torch.stack([noise, log_std], -1)


def string_model() -> BFN:
    """The shipped model of `Strings`, strings.safetensors."""
    halves = load_file(asset("strings.safetensors"))
    weights = {name: value.float() for name, value in halves.items()}
    bfn = BFN(STRING_FLOW, WaveNetwork(STRING_FLOW.gamma, weights["spread"]))
    bfn.network.load_state_dict(weights)
    return bfn.eval()
