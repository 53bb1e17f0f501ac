"""From coarse images to fine ones: what may stand behind the means of blocks of pixels.

A coarse image says of x the mean of each block of `size` × `size` pixels, and no more. `refined`
draws x by filling: these means are coordinates of x in an orthonormal basis (`block_means`), and
every model of x, whatever it was trained for, can be asked for the rest. `enlargements` asks a
network that was trained to be told them. Beside them stands bicubic interpolation, as a guess
(`enlarged`, `psnr`) and as a code (`bicubic_bits`).

Images are (N, H, W) in [−1, 1], unless it is said otherwise.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from bfn_core.beliefs import Condition, told
from bfn_core.distributions import DiscretisedNormal
from bfn_core.infilling import block_means, fill
from bfn_core.likelihood import Estimate
from bfn_core.model import BFN
from bfn_core.networks.conditions import coarse_hints
from bfn_core.solvers import Solver


def coarse(images: Tensor, size: int) -> Tensor:
    """Means of blocks, from (N, H, W) to (N, H/size, W/size); rows and columns that are left
    over count nothing.
    """
    return F.avg_pool2d(images[:, None], size)[:, 0]


def enlarged(low: Tensor, size: int, mode: str = "bicubic") -> Tensor:
    """The same on `size` times as many pixels a side, from (N, h, w) to (N, h·size, w·size).

    Args:
        low: means, as `coarse` gives them.
        size: pixels along the edge of a block.
        mode: "bicubic" interpolation, whose values are kept within [−1, 1], or "nearest".
    """
    options = {"align_corners": False} if mode == "bicubic" else {}
    return F.interpolate(low[:, None], scale_factor=size, mode=mode, **options)[:, 0].clamp(-1, 1)


def psnr(guess: Tensor, x: Tensor) -> Estimate:
    """Peak signal-to-noise ratio in dB, 10 log₁₀(2² / mean of (guess − x)²), of images in [−1, 1].

    Args:
        guess, x: (N, H, W).

    Returns:
        The mean over the N images, and its standard error.
    """
    squared = (guess - x).square().flatten(1).mean(1)
    return Estimate.of(10 * torch.log10(4 / squared.clamp_min(1e-8)))


def refined(
    bfn: BFN, image: Tensor, size: int, n: int = 20, count: int = 8, *, draws: int = 4,
    seed: int = 0, condition: Condition = None,
) -> Tensor:
    """Images (draws, H, W) that may stand behind the means of an image's blocks.

    Each is drawn by weight from `count` candidates of its own: the candidates of one filling have
    few ancestors, and are much alike.

    Args:
        bfn: of numbers.
        image: (H, W), of which only the means of blocks are used.
        size: pixels along the edge of a block.
        n: messages.
        count: candidates for each draw.
        draws: images.
        seed: of all of them.
        condition: what the network is told about this example.

    Raises:
        ValueError: blocks of that size do not tile the image, or see `fill`.
    """
    basis = block_means(tuple(image.shape), size)
    known = torch.ones(len(basis), dtype=torch.bool)
    rng = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(draws):
        filling = fill(bfn, image, known, n, count, basis=basis, generator=rng, **told(condition))
        found.append(filling.x[torch.multinomial(filling.weights, 1, generator=rng)])
    return torch.cat(found)


def bicubic_bits(x: Tensor, test: Tensor, size: int, bins: int) -> tuple[Estimate, float]:
    """Bits per image of a code that centres a normal in bins on the bicubic guess.

    The width, one for each pixel, is the root mean squared error on `x`, and not less than a
    tenth of a bin.

    Args:
        x: images that the widths are learnt from, (N, H, W), in centres of bins.
        test: images that are coded, (M, H, W).
        size: pixels along the edge of a block.
        bins: of a pixel's value.

    Returns:
        What an image of `test` costs in bits, and the mean width.
    """
    width = (enlarged(coarse(x, size), size) - x).square().mean(0).sqrt().clamp_min(0.2 / bins)
    guess = enlarged(coarse(test, size), size)
    cost = -DiscretisedNormal(guess, width.expand_as(guess), bins).log_prob(test)
    return Estimate.of(cost.flatten(1).sum(1) / math.log(2)), float(width.mean())


def enlargements(
    bfn: BFN, digits: Tensor, size: int = 4, *, draws: int = 4, n: int = 12, seed: int = 0
) -> dict[str, Tensor]:
    """What may stand behind the block means of digits, by a network that is told them as hints.

    Args:
        bfn: of binary pixels; its network takes hints.
        digits: (N, 1, H, W), 0 and 1.
        size: pixels along the edge of a block.
        draws: of each digit, with a solver that has the paper's noise.
        n: steps.
        seed: of all of them.

    Returns:
        Shades (N, H, W) in [0, 1] by name: "told", "bicubic", "draw 1" …, "mean of …" and
        "one call", the network's guess before any message.
    """
    hints = coarse_hints(digits, size)
    low = coarse(2.0 * digits[:, 0] - 1, size)
    rng = torch.Generator().manual_seed(seed)
    many = bfn.sample((draws * len(digits), *digits.shape[1:]), n, generator=rng,
                      condition=hints.repeat(draws, 1, 1, 1), sampler=Solver("ab2", noise=1.0))
    many = many[:, 0].float().unflatten(0, (draws, len(digits)))
    with torch.no_grad():
        guess = bfn.output(bfn.flow.prior(tuple(digits.shape)), 0.0, condition=hints)
    return {
        "told": 0.5 * (hints[:, 0] + 1), "bicubic": 0.5 * (enlarged(low, size) + 1),
        **{f"draw {k + 1}": row for k, row in enumerate(many)},
        f"mean of {draws}": many.mean(0), "one call": guess.probs[:, 0, ..., 1],
    }
