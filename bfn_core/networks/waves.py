"""Networks for short pieces of sound that all begin at the same moment."""

import math
from collections.abc import Callable

import torch
from safetensors.torch import load_file
from torch import Generator, Tensor, nn

from bfn_core.data.assets import asset
from bfn_core.flows import DiscretisedFlow
from bfn_core.model import BFN
from bfn_core.networks.mlp import MLP

STRING_FLOW = DiscretisedFlow(256, sigma_1=0.002)
PITCHES, DIRECTIONS = 12, 20  # the components of the shipped model, and how many lines each has


class SubspaceNetwork(nn.Module):
    """Knows K linear subspaces near which waveforms lie, and weighs them by how well each fits.

    A mixture of probabilistic principal component analysers (Tipping and Bishop 1999, Neural
    Computation 11, 443–482) as a network. Component k says x = Q_k z + e with orthonormal columns
    Q_k, (L, R), z_r ~ N(0, λ_kr) and e ~ N(0, τ²). The belief has heard s = x + v ε, with
    v² = (1 − γ)/γ, so with a = Q_kᵀ s and w² = v² + τ² Bayes' rule says

        E[z_r | s, k] = a_r λ_kr / (λ_kr + w²),    Var[z_r | s, k] = w² λ_kr / (λ_kr + w²),
        ln p(k | s) = ln π_k + ½ Σ_r [a_r² λ_kr / ((λ_kr + w²) w²) − ln(1 + λ_kr / w²)] + constant,

    and what is guessed of x is the mixture's mean and standard deviation. e is taken for the
    rounding to bins, which a `DiscretisedFlow` does itself: the guess is of the wave before it.

    Reads the belief's means (B, L) and gives (B, L, 2), as a `DiscretisedFlow` wants. Everything
    (Q, λ, π, τ²) is a parameter; `near` gives good first values.

    Args:
        gamma: γ(t) of the flow.
        length: L.
        components: K.
        directions: R.
    """

    def __init__(
        self, gamma: Callable[[Tensor], Tensor], length: int, components: int = PITCHES,
        directions: int = DIRECTIONS,
    ) -> None:
        super().__init__()
        self.gamma = gamma
        self.basis = nn.Parameter(torch.randn(components, length, directions) / length**0.5)
        self.log_power = nn.Parameter(torch.zeros(components, directions))
        self.log_share = nn.Parameter(torch.zeros(components))
        self.log_rest = nn.Parameter(torch.tensor(math.log(5e-6)))  # (bin)²/12, for 256 bins

    @classmethod
    def near(
        cls, gamma: Callable[[Tensor], Tensor], x: Tensor, groups: Tensor,
        directions: int = DIRECTIONS,
    ) -> "SubspaceNetwork":
        """With the principal components of each group of waveforms.

        Args:
            gamma: γ(t) of the flow.
            x: waveforms, (N, L).
            groups: of each, (N,) int64, 0 … K−1.
            directions: R.
        """
        network = cls(gamma, x.shape[1], int(groups.max()) + 1, directions)
        with torch.no_grad():
            for k, share in enumerate(torch.bincount(groups) / len(x)):
                own = x[groups == k].double()
                power, lines = torch.linalg.eigh(own.T @ own / len(own))  # ascending
                rest = power[:-directions].mean()
                network.basis[k] = lines[:, -directions:]
                network.log_power[k] = (power[-directions:] - rest).clamp(min=1e-7).log()
                network.log_share[k] = share.log()
        return network

    def forward(self, inputs: Tensor, t: Tensor) -> Tensor:
        gamma = self.gamma(t).clamp(1e-6, 1 - 1e-6).unsqueeze(1)
        heard, noise = inputs / gamma, (1 - gamma) / gamma  # s and v²
        lines = torch.linalg.qr(self.basis).Q  # (K, L, R); training may have bent it
        power = self.log_power.exp()  # (K, R)
        dull = (noise + self.log_rest.exp()).unsqueeze(2)  # w², (B, 1, 1)
        keep = power / (power + dull)  # (B, K, R)
        seen = torch.einsum("bl,klr->bkr", heard, lines)
        fit = 0.5 * (keep * seen.square() / dull - torch.log1p(power / dull)).sum(2)
        weights = (self.log_share + fit).softmax(1)  # (B, K)
        each = torch.einsum("bkr,klr->bkl", keep * seen, lines)
        mean = torch.einsum("bk,bkl->bl", weights, each)
        spread = torch.einsum("bk,bkl->bl", weights, (each - mean.unsqueeze(1)).square())
        doubt = torch.einsum("bkr,klr->bl", weights.unsqueeze(2) * keep * dull, lines.square())
        log_std = 0.5 * ((spread + doubt).clamp(min=1e-10) / noise).log()
        return torch.stack([(heard - mean) / noise.sqrt(), log_std], -1)


class WaveNetwork(nn.Module):
    """Guesses the noise in a belief about a waveform, and how sure the guess is.

    Reads the belief's means (B, L) and gives (B, L, 2), as a `DiscretisedFlow` wants. As in
    `PointNetwork`, the mean is read in units of its own spread and what is plain from it is added
    (Karras et al. 2022, arXiv 2206.00364), for which the network must know γ.

    Args:
        gamma: γ(t) of the flow.
        spread: standard deviation of each sample of the data, (L,).
        body: called with what is read, (B, L), and t, (B,); gives (B, L + L / group). By default
            an `MLP` over the whole waveform, which is told nothing of what a period is; or a
            `WaveUNet`, which is told that samples have neighbours.
        group: samples that share a width of the guess, 16 for a `WaveUNet`; L must be a multiple.
    """

    def __init__(
        self, gamma: Callable[[Tensor], Tensor], spread: Tensor, body: nn.Module | None = None, *,
        group: int = 16,
    ) -> None:
        super().__init__()
        length = len(spread)
        if length % group:
            raise ValueError(f"the length must be a multiple of group = {group}, got {length}")
        self.gamma, self.group, self.length = gamma, group, length
        self.spread: Tensor
        self.register_buffer("spread", spread)
        self.body = MLP(length, (length + length // group,)) if body is None else body

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
    """The shipped model of plucked strings, strings.safetensors."""
    weights = load_file(asset("strings.safetensors"))
    network = SubspaceNetwork(STRING_FLOW.gamma, weights["basis"].shape[1])
    network.load_state_dict(weights)
    return BFN(STRING_FLOW, network).eval()


def heard_so_far(bfn: BFN, x: Tensor, t: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The belief's means about waves x (B, L) at time t, and the network's guess, (B, L) each.

    Args:
        bfn: of numbers.
        x: in [−1, 1], on the flow's bins if it has such.
        t: one time for all, in [0, 1].
        seed: of the messages' noise.
    """
    theta = bfn.flow.sample_flow(x, t, Generator().manual_seed(seed))
    with torch.no_grad():
        return theta.mean, bfn.output(theta, t).mean
