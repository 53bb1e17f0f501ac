"""A network over atoms in space that turns as they turn: E(3)-equivariant.

Turn, mirror or shift a molecule, or name its atoms in another order: what is guessed about it
should be turned, mirrored, shifted and named alike, and the guessed kinds stay what they are. Here
that holds by build: atoms tell each other numbers that do not depend on the view, and move along
the lines between them. Source of the layer: Satorras, Hoogeboom and Welling 2021, "E(n) Equivariant
Graph Neural Networks", arXiv 2102.09844.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bfn_core.data.molecules import centring
from bfn_core.networks.mlp import clock, octaves


class PointLayer(nn.Module):
    """Features h (B, A, width) and places x (B, A, 3) learn from each pair of atoms."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.tell = nn.Sequential(nn.Linear(2 * width + 2, width), nn.SiLU(),
                                  nn.Linear(width, width), nn.SiLU())
        self.hear = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.pull = nn.Linear(width, 1)

    def forward(self, h: Tensor, x: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        """`start` are the places that were read, of which the distances are told beside those of
        x.
        """
        z = self.norm(h)
        between = x.unsqueeze(2) - x.unsqueeze(1)  # (B, A, A, 3)
        lengths = [between.square().sum(-1, keepdim=True),
                   (start.unsqueeze(2) - start.unsqueeze(1)).square().sum(-1, keepdim=True)]
        mine = z.unsqueeze(2).expand(*between.shape[:3], -1)
        said = self.tell(torch.cat([mine, mine.transpose(1, 2), *lengths], -1))
        h = h + self.hear(torch.cat([z, said.mean(2)], -1))
        return h, x + (between * self.pull(said) / (1 + lengths[0]).sqrt()).mean(2)


class PointNetwork(nn.Module):
    """Guesses kinds and places of A atoms: reads and writes a dict of both, see `Bent`.

    The places come without their mean, as `centring` gives them, so a shift is no question. What it
    is to guess is their noise: near t = 0 it has a belief's mean that is nearly nothing but noise,
    and at the end one that is nearly the truth. It reads the mean in units of its own spread, and
    lets the layers say the share of the noise that is not plain from it (as Karras et al. 2022,
    arXiv 2206.00364, do for diffusion). For that it must know γ.

    Args:
        atoms: A.
        classes: K, kinds of atom.
        gamma: γ(t) of the places, such as `flow.flows["places"].gamma`.
        width: features of an atom.
        depth: layers.
        spread: standard deviation of a coordinate of the data.
        frequencies: pairs of sines and cosines of t.
    """

    def __init__(
        self, atoms: int, classes: int, gamma: Callable[[Tensor], Tensor], width: int = 64,
        depth: int = 3, *, spread: float = 0.3, frequencies: int = 4,
    ) -> None:
        super().__init__()
        self.gamma, self.spread = gamma, spread
        self.frequencies: Tensor
        self.centring: Tensor
        self.register_buffer("frequencies", octaves(frequencies))
        self.register_buffer("centring", centring(atoms))
        self.inlet = nn.Linear(classes + 2 * frequencies, width)
        self.layers = nn.ModuleList([PointLayer(width) for _ in range(depth)])
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    def forward(self, inputs: dict[str, Tensor], t: Tensor) -> dict[str, Tensor]:
        kinds, places = inputs["kinds"], inputs["places"]
        gamma = self.gamma(t).clamp(1e-9, 1 - 1e-6).reshape(-1, 1, 1)
        whole = 1 - gamma + gamma * self.spread**2  # variance of the mean, over γ
        read = places / (gamma * whole).sqrt()
        start = x = self.centring.T @ read
        waves = clock(t, self.frequencies).unsqueeze(1).expand(-1, kinds.shape[1], -1)
        h = self.inlet(torch.cat([kinds, waves], -1))
        for layer in self.layers:
            h, x = layer(h, x, start)
        moved = self.centring @ (x - start)
        noise = (1 - gamma).sqrt() * read - gamma.sqrt() * self.spread * moved
        return {"kinds": self.head(h) + kinds.clamp(min=1e-9).log(),
                "places": noise / whole.sqrt()}
