"""Molecules, the kinds of some atoms and where they are: real ones, and some of known law.

`g2` are 162 real molecules, a finite list, for which `ExactBFN` is the perfect network. `Bent` are
molecules of three atoms that may be turned in any way: no list holds them, but their perfect
network is known too, because the mean over all rotations is an integral that can be solved.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from bfn_core.beliefs import Condition, Parameters
from bfn_core.clocks import ONE_LAGS, paths
from bfn_core.distributions import Categorical, Delta, Output
from bfn_core.exact import ExactBFN
from bfn_core.mixed import Joint, MixedFlow
from bfn_core.model import BFN
from bfn_core.numerics import wide

SCALE = 3.0  # ångström for 1: the molecules of g2 then lie within [−1, 1]
BENT_PATHS = paths(2, 4.0, 0.05, ONE_LAGS)  # of `Bent`, by name


@dataclass(frozen=True)
class Molecules:
    """Molecules of several sizes, all as long as the largest.

    Attributes:
        names: of the molecules, N.
        symbols: of the elements, by class; class 0, "", is no atom.
        kinds: classes, (N, A) int64; after a molecule's own atoms, 0.
        places: in ångström, (N, A, 3), around the mean of the molecule's atoms; 0 where none is.
    """

    names: tuple[str, ...]
    symbols: tuple[str, ...]
    kinds: Tensor
    places: Tensor

    def formula(self, index: int) -> str:
        """How many atoms of each element, carbon and hydrogen first, such as "C2H6O"."""
        atoms = [self.symbols[k] for k in self.kinds[index].tolist() if k]
        order = sorted(set(atoms), key=lambda symbol: ("CH".find(symbol) % 3, symbol))
        counts = ((symbol, atoms.count(symbol)) for symbol in order)
        return "".join(symbol + (str(count) if count > 1 else "") for symbol, count in counts)


def g2() -> Molecules:
    """The 162 small molecules of the G2 test set and its extension, of 1 to 14 atoms.

    They come with ase, the Atomic Simulation Environment, which has to be installed for it. Source:
    Curtiss, Raghavachari, Redfern and Pople 1997, "Assessment of Gaussian-2 and density functional
    theories for the computation of enthalpies of formation".

    Raises:
        ImportError: ase is not there.
    """
    try:
        from ase.collections import g2 as collection
        from ase.data import chemical_symbols
    except ImportError as error:
        raise ImportError(
            'the G2 molecules come with ase: pip install "ase>=3.23,<4"'
        ) from error
    found: Any = [collection[name] for name in collection.names]
    numbers = sorted({int(z) for atoms in found for z in atoms.numbers})
    most = max(len(atoms) for atoms in found)
    kinds = torch.zeros(len(found), most, dtype=torch.int64)
    places = torch.zeros(len(found), most, 3)
    for row, atoms in enumerate(found):
        kinds[row, : len(atoms)] = torch.tensor([1 + numbers.index(z) for z in atoms.numbers])
        centred = atoms.positions - atoms.positions.mean(0)
        places[row, : len(atoms)] = torch.from_numpy(centred).float()
    symbols = ("", *(chemical_symbols[z] for z in numbers))
    return Molecules(tuple(collection.names), symbols, kinds, places)


def centring(atoms: int) -> Tensor:
    """Orthonormal directions along which atoms can move without their mean moving, (A − 1, A).

    `centring(A) @ places` has lost the mean and nothing else, and `centring(A).T @` gives the
    centred places back. Noise that is alike for all places stays alike in these coordinates, and so
    messages are about the molecule's form alone. (Helmert's matrix without its first row.)
    """
    rows = torch.ones(atoms, atoms, dtype=torch.float64).tril()[:-1]
    size = torch.arange(1, atoms, dtype=torch.float64)
    rows[torch.arange(atoms - 1), torch.arange(1, atoms)] = -size
    return (rows / (size * (size + 1)).sqrt().unsqueeze(1)).float()


@dataclass(frozen=True)
class Bent:
    """Molecules of three atoms, two of them bound to the third, turned at random.

    Each atom is of kind 0 or 1, and any of the three may be in the middle: 3 · 2³ = 24 forms, all
    equally likely. Two bound atoms are as far apart as their radii together, and the kind in the
    middle says how wide the angle is. The places are turned, and mirrored, evenly in all ways; they
    come in the coordinates of `centring(3)`, (B, 2, 3).

    Attributes:
        radii: of the two kinds.
        angles: in degrees, where kind 0 or 1 is in the middle.
    """

    radii: tuple[float, float] = (0.2, 0.35)
    angles: tuple[float, float] = (100.0, 150.0)

    @cached_property
    def forms(self) -> tuple[Tensor, Tensor, Tensor]:
        """Kinds (24, 3), which atom is in the middle (24,), and centred places in a plane, as
        coordinates (24, 2, 2).
        """
        rows = torch.cartesian_prod(torch.arange(3), *[torch.arange(2)] * 3)
        middle, kinds = rows[:, 0], rows[:, 1:]
        ends = (middle.unsqueeze(1) + torch.tensor([1, 2])) % 3
        of = torch.tensor(self.radii)[kinds]
        length = of.gather(1, ends) + of.gather(1, middle.unsqueeze(1))
        half = torch.deg2rad(torch.tensor(self.angles)[kinds.gather(1, middle.unsqueeze(1))] / 2)
        side = torch.tensor([-1.0, 1.0])
        places = torch.zeros(len(rows), 3, 2)
        both = torch.stack([side * length * half.sin(), length * half.cos()], -1)  # (24, 2, 2)
        places.scatter_(1, ends.unsqueeze(-1).expand(-1, -1, 2), both)
        return kinds, middle, centring(3) @ places

    def draw(self, count: int, generator: Generator | None = None) -> dict[str, Tensor]:
        """Kinds (B, 3) and places (B, 2, 3)."""
        kinds, _, flat = self.forms
        which = torch.randint(len(kinds), (count,), generator=generator)
        frame, _ = torch.linalg.qr(torch.randn(count, 3, 2, generator=generator))
        # The columns of a turned plane; signs that QR chooses are made even again.
        signs = torch.randint(2, (count, 1, 2), generator=generator) * 2.0 - 1
        return {"kinds": kinds[which], "places": flat[which] @ (frame * signs).transpose(1, 2)}

    def log_evidence(self, summed: Tensor, beta: Tensor) -> Tensor:
        """ln p(messages about the places | form), up to a constant of each example: (B, 24).

        Args:
            summed: messages, each times its accuracy, (B, 2, 3).
            beta: their accuracies together, (B,).

        The mean over rotations of exp(tr(Fᵀ R)) depends on the singular values of F alone; two of
        them are not 0, and the mean is a single integral over two Bessel functions. Source: Lee
        2018, "Bayesian attitude estimation with the matrix Fisher distribution on SO(3)".
        """
        flat = wide(self.forms[2]).to(summed.device)
        turned = torch.einsum("fab,nac->nfbc", flat, wide(summed))  # F, (B, 24, 2, 3)
        squares = turned.square().sum((2, 3))  # s₁² + s₂²
        gram = turned @ turned.transpose(2, 3)
        product = torch.linalg.det(gram).clamp(min=0).add(1e-30).sqrt()  # s₁ s₂
        total = (squares + 2 * product).add(1e-30).sqrt()
        apart = (squares - 2 * product).clamp(min=0).add(1e-30).sqrt()
        log_mean = _log_mean(total, apart)
        return log_mean - 0.5 * wide(beta).unsqueeze(1) * flat.square().sum((1, 2))


def _log_mean(total: Tensor, apart: Tensor) -> Tensor:
    """ln ½∫ I₀(½ apart (1 − u)) I₀(½ total (1 + u)) du over u from −1 to 1."""
    nodes, weights = (torch.from_numpy(a).to(total) for a in np.polynomial.legendre.leggauss(48))
    one, other = 0.5 * apart.unsqueeze(-1) * (1 - nodes), 0.5 * total.unsqueeze(-1) * (1 + nodes)
    grown = torch.special.i0e(one).log() + torch.special.i0e(other).log() + one + other
    return (grown + weights.log()).logsumexp(-1) - math.log(2)


class PerfectBent(BFN):
    """The perfect network of the family `Bent`, as `ExactBFN` is that of a list of points.

    What it expects of a place is the slope of the log evidence in the summed messages (Tweedie),
    what it expects of a kind is the share of the forms that have it.

    Args:
        flow: with the parts "kinds" (two classes) and "places".
        family: whose molecules are told.
    """

    def __init__(self, flow: MixedFlow, family: Bent) -> None:
        super().__init__(flow, None)
        self.family = family

    def output(
        self, theta: Parameters, t: float | Tensor, *, condition: Condition = None
    ) -> Output:
        """p_O(x | θ; t); the belief says all there is to know."""
        kinds, places = theta["kinds"], theta["places"]
        precision = wide(places.precision)
        summed = (precision.reshape(-1, 1, 1) * wide(places.mean)).detach().requires_grad_()
        with torch.enable_grad():
            score = self.family.log_evidence(summed, precision - 1)
            own = torch.nn.functional.one_hot(self.family.forms[0], 2).double()
            score = score + torch.einsum("nak,fak->nf", wide(kinds.logits), own.to(score.device))
            (slope,) = torch.autograd.grad(score.logsumexp(1).sum(), summed)
        share = torch.einsum("nf,fak->nak", score.detach().softmax(1), own.to(score.device))
        like = places.mean
        return Joint(kinds=Categorical(share.log().to(like)), places=Delta(slope.to(like)))


def draw_molecule(bfn: ExactBFN, *, n: int = 40, seed: int = 0) -> list[tuple[Tensor, ...]]:
    """On the way to one sample: for each of n + 1 times the chances of kinds (A, K), the expected
    places (A, 3) and the means of the belief about them (A, 3), in ångström.

    Args:
        bfn: perfect, with "kinds" and with "places" in units of `SCALE`.
        n: messages.
        seed: of the sample.
    """
    shape = {name: (1, *part.shape[1:]) for name, part in bfn.data.items()}
    steps = bfn.sampling_steps(shape, n, generator=Generator().manual_seed(seed))
    return [(step.output["kinds"].probs[0], step.output["places"].mean[0] * SCALE,
             step.theta["places"].mean[0] * SCALE) for step in steps]


def measured(x: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of molecules of three atoms: both "bonds", shortest first, the "angle" between them in
    degrees, and which atom is in the "middle": the one across from the longest side.
    """
    places = (centring(3).T @ x["places"]).double()
    far = torch.cdist(places, places)
    sides = torch.stack([far[:, 1, 2], far[:, 0, 2], far[:, 0, 1]], 1)  # across from atom 0, 1, 2
    order = sides.argsort(1)
    (a, b, c) = sides.gather(1, order).T
    cosine = (a**2 + b**2 - c**2) / (2 * a * b)
    return {"bonds": torch.stack([a, b], 1), "angle": torch.rad2deg(cosine.clamp(-1, 1).acos()),
            "middle": order[:, 2]}


def off_the_law(x: dict[str, Tensor], family: Bent) -> dict[str, Tensor]:
    """How far molecules are from what their own kinds say: "bonds" as root mean square of both
    lengths, (B,), and "angle" in degrees, (B,).
    """
    found, kinds = measured(x), x["kinds"]
    radii, angles = torch.tensor(family.radii), torch.tensor(family.angles)
    middle = kinds.gather(1, found["middle"].unsqueeze(1))
    ends = (found["middle"].unsqueeze(1) + torch.tensor([1, 2])) % 3
    expected = (radii[kinds.gather(1, ends)] + radii[middle]).sort(1).values
    return {"bonds": (found["bonds"] - expected).square().mean(1).sqrt(),
            "angle": (found["angle"] - angles[middle[:, 0]]).abs()}
