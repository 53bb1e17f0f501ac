"""Pictures of guidance, gaps and refinement show what was computed."""

import re

import pytest
import torch
from torch import nn

from bfn_core import BFN, DiscreteFlow, DiscretisedFlow, Estimate
from bfn_core.enlarging import coarse, enlarged, psnr
from bfn_core.guidance import guided_normal
from bfn_core.views import conditional as views
from tests.oracles import Enlarging, generator

FLOW = DiscretisedFlow(17, 0.05)
IMAGES = FLOW.centres[torch.randint(17, (6, 8, 8), generator=generator(0))]
LABELS = torch.arange(6)


class Told(nn.Module):
    """Guesses that the noise is in the mean, but what it is told moves the picture."""

    def __init__(self):
        super().__init__()
        self.width = nn.Parameter(torch.tensor(-2.0))

    def forward(self, inputs, t, condition=None):
        shift = 0.0 if condition is None else 0.1 * condition.view(-1, 1, 1)
        return torch.stack([0.5 * inputs + shift, self.width.expand_as(inputs)], -1)


BFN_TOLD = BFN(FLOW, Told())


def numbers(caption):
    return [float(n) for n in re.findall(r"-?\d+\.\d+", re.sub("<[^>]*>", "", caption))]


def test_the_guidance_explorer_says_the_closed_forms_beside_the_simulation():
    explorer = views.guidance_explorer()
    for weight in (1.0, 3.0):
        explorer.set(weight=weight)
        assert explorer.error is None
        law = guided_normal(weight, 0.5, 0.25)
        ode, ode_law, sde, sde_law, tilt = numbers(explorer.caption)
        assert ode_law == pytest.approx(law.ode, abs=1e-3)
        assert ode == pytest.approx(law.ode, rel=0.06)
        assert sde == pytest.approx(law.sde, rel=0.08) and sde_law == pytest.approx(law.sde, 1e-2)
        assert tilt == pytest.approx(law.tilt, abs=1e-3)
    explorer.set(told_spread=0.5, weight=2.0)
    assert explorer.error is None


def test_the_class_explorer_counts_what_is_read_as_asked_for():
    explorer = views.class_explorer(
        BFN_TOLD, (8, 8), lambda x: torch.tensor([3, 3, 1, 3]), count=4, n=3)
    assert "<b>3</b>" in explorer.caption and "3 of 4 are read as one" in explorer.caption
    before = explorer.png
    explorer.set(label=7, weight=4.0)
    assert explorer.error is None and explorer.png != before
    assert "0 of 4 are read as one" in explorer.caption


def test_the_erase_explorer_counts_the_gap():
    explorer = views.erase_explorer(BFN_TOLD, IMAGES, LABELS, count=4, n=2)
    assert "16 pixels are gone" in explorer.caption
    before = explorer.png
    explorer.set(top=6, left=6, size=8, tell=True, weigh=False)
    assert explorer.error is None and explorer.png != before
    assert "4 pixels are gone" in explorer.caption  # the square hangs over the edge
    assert "as many count as 4.0 equal ones" in explorer.caption


def test_the_resolution_explorer_draws_every_resolution():
    explorer = views.resolution_explorer(BFN_TOLD, IMAGES, LABELS, count=2, n=2, drawn=2)
    pictures = set()
    for known in (1, 2, 4):
        explorer.set(known=known)
        assert explorer.error is None and f"{known} × {known} means" in explorer.caption
        pictures.add(explorer.png)
    plain = enlarged(coarse(IMAGES[3:4], 2), 2)
    assert numbers(explorer.caption)[0] == pytest.approx(
        float(psnr(plain, IMAGES[3:4]).mean), abs=0.06)
    assert len(pictures) == 3


def test_bars_are_as_long_as_their_rows():
    rows = {"a": Estimate(3.0, 0.1, 9), "b": Estimate(1.0, 0.1, 9)}
    (axis,) = views.bars_figure(rows, "bits").axes
    assert [bar.get_width() for bar in axis.patches] == [3.0, 1.0]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["a", "b"]
    rows = views.rows_figure({"one": IMAGES, "two": IMAGES})
    assert len(rows.axes) == 4


# Enlarged by a network that was trained to be told the means.


ENLARGING = BFN(DiscreteFlow(2, 9.0), Enlarging())
DIGITS = torch.randint(2, (3, 1, 8, 8), generator=generator(1))


def test_the_enlarge_explorer_moves_the_digit_and_says_decibels():
    explorer = views.enlarge_explorer(ENLARGING, DIGITS, 4, drawn=2, n=3)
    first = explorer.png
    explorer.set(digit=1, right=2, messages=5)
    assert explorer.error is None and explorer.png != first
    x = torch.zeros(1, 1, 8, 8, dtype=torch.int64)
    x[..., 2:] = DIGITS[1:2, :, :, :-2]
    assert torch.equal(views.moved(DIGITS[1:2], 2), x)
    data = 2.0 * x[:, 0] - 1
    bicubic = enlarged(coarse(data, 4), 4)
    assert numbers(explorer.caption)[0] == pytest.approx(float(psnr(bicubic, data).mean),
                                                         abs=0.06)


def test_the_record_figure_has_a_bar_for_each_row():
    codes = {"bicubic": Estimate(9.0, 0.1, 9), "trained": Estimate(3.0, 0.1, 9)}
    guesses = {"bicubic": Estimate(11.0, 0.1, 9)}
    left, right = views.enlarge_record_figure(codes, guesses).axes
    assert [bar.get_width() for bar in left.patches] == [9.0, 3.0]
    assert [bar.get_width() for bar in right.patches] == [11.0]
    assert left.patches[0].get_facecolor() != left.patches[1].get_facecolor()
    assert left.get_ylim() == right.get_ylim()  # so that bars are equally thick
