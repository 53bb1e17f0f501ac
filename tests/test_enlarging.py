"""What may stand behind coarse images: means are kept, and guesses and codes are priced."""

import math

import pytest
import torch
from torch import nn

from bfn_core import BFN, DiscreteFlow, DiscretisedFlow
from bfn_core.enlarging import bicubic_bits, coarse, enlarged, enlargements, psnr, refined
from tests.oracles import Enlarging, generator

FLOW = DiscretisedFlow(17, 0.05)
IMAGES = FLOW.centres[torch.randint(17, (6, 8, 8), generator=generator(0))]


class Halving(nn.Module):
    """Guesses that the noise is half of the mean."""

    def __init__(self):
        super().__init__()
        self.width = nn.Parameter(torch.tensor(-2.0))

    def forward(self, inputs, t):
        return torch.stack([0.5 * inputs, self.width.expand_as(inputs)], -1)


def test_blocks_that_are_enlarged_again_have_their_means():
    low = coarse(IMAGES, 2)
    assert low.shape == (6, 4, 4) and float(low[2, 1, 3]) == pytest.approx(
        float(IMAGES[2, 2:4, 6:8].mean()))
    assert torch.allclose(coarse(enlarged(low, 2, "nearest"), 2), low)
    bright = enlarged(torch.ones(1, 4, 4).tril() * 2 - 1, 2)
    assert bright.shape == (1, 8, 8) and bright.abs().max() == 1  # bicubic swings past both ends


def test_refined_images_have_the_means_that_were_told():
    found = refined(BFN(FLOW, Halving()), IMAGES[0], 4, 3, draws=2)
    assert found.shape == (2, 8, 8)
    means = coarse(found, 4)
    assert torch.allclose(means, coarse(IMAGES[:1], 4).expand(2, 2, 2), atol=1e-5)
    assert not torch.equal(found[0], found[1])


def test_psnr_is_in_decibels_of_the_whole_range():
    x = torch.zeros(2, 4, 4)
    assert psnr(x + 0.2, x).mean == pytest.approx(10 * math.log10(4 / 0.04), abs=1e-4)


def test_bicubic_codes_what_it_guesses_right_for_less():
    smooth = FLOW.quantise(torch.linspace(-0.9, 0.9, 8).expand(6, 8, 8))
    cheap, _ = bicubic_bits(smooth, smooth, 2, 17)
    dear, width = bicubic_bits(IMAGES, IMAGES, 2, 17)
    assert cheap.mean < 0.5 * dear.mean and width > 0.2
    assert dear.mean == pytest.approx(64 * math.log2(17), rel=0.1)  # noise has nothing to guess


def test_enlargements_are_what_the_network_makes_of_the_means():
    digits = torch.randint(2, (3, 1, 8, 8), generator=generator(1))
    bfn = BFN(DiscreteFlow(2, 9.0), Enlarging())
    rows = enlargements(bfn, digits, 4, draws=4, n=6, seed=1)
    means = digits[:, 0].float().unfold(1, 4, 4).unfold(2, 4, 4).mean((-1, -2))
    blocks = means.repeat_interleave(4, 1).repeat_interleave(4, 2)
    assert list(rows) == ["told", "bicubic", *[f"draw {k}" for k in (1, 2, 3, 4)], "mean of 4",
                          "one call"]
    assert torch.allclose(rows["told"], blocks)
    assert torch.allclose(rows["one call"], torch.sigmoid(4 * (2 * blocks - 1)), atol=1e-5)
    drawn = torch.stack([rows[f"draw {k}"] for k in (1, 2, 3, 4)])
    assert torch.allclose(drawn.mean(0), rows["mean of 4"])
    assert set(drawn.unique().tolist()) == {0, 1}
    assert not torch.equal(drawn[0], drawn[1])
    assert rows["bicubic"].min() >= 0 and not torch.allclose(rows["bicubic"], blocks)
