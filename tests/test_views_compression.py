"""The pictures of a stack of bits show what the coder did."""

import re

import pytest
import torch
from torch import nn

from bfn_core import BFN, DiscreteFlow, ExactBFN
from bfn_core.compression.bills import perfect_bills
from bfn_core.compression.listening import read
from bfn_core.views import compression as views
from tests.oracles import generator

pytest.importorskip("constriction")


class Copy(nn.Module):
    """Guesses what the belief says, a little surer."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(1.5))

    def forward(self, inputs, t):
        return self.factor * inputs.log()


@pytest.fixture(scope="module")
def reading():
    digit = torch.randint(2, (1, 8, 8), generator=generator(0))
    return read(BFN(DiscreteFlow(2, 9.0), Copy()), digit, 6)


def test_what_is_lent_comes_back_and_the_rest_is_the_bill(reading):
    assert len(reading.heights) == 2 * 6 + 2 and len(reading.net) == 7
    assert reading.heights[0] - reading.heights[-1] == reading.packed.net_bits
    assert reading.heights[-1] == reading.packed.seed_bits
    x = reading.digit.bool()
    p = torch.where(x, reading.guesses[-1], 1 - reading.guesses[-1])
    last = float(reading.net[-1]) - float(p.log2().sum())
    assert last == pytest.approx(reading.packed.net_bits, abs=1.5)  # a stack is of whole bits


def test_the_belief_sharpens_towards_the_digit(reading):
    wrong = (reading.beliefs - reading.digit).abs().flatten(1).mean(1)
    assert wrong[0] == 0.5 and wrong[-1] < 0.1


def test_the_explorer_says_what_the_picture_shows(reading):
    explorer = views.stack_explorer(reading)
    pictures = set()
    for i in (0, 3, 6):
        explorer.set(i=i)
        assert explorer.error is None
        words = re.sub("<[^>]*>", "", explorer.caption)
        assert f"{int(reading.heights[2 * i]):,} bits high" in words
        assert f"cost {float(reading.net[i]):.0f} bits" in words
        pictures.add(explorer.png)
    assert len(pictures) == 3


def test_bills_are_means_of_real_files():
    points = torch.tensor([[0, 0], [1, 1]])
    bfn = ExactBFN(DiscreteFlow(2, 9.0), points)
    rows = perfect_bills(bfn, points.repeat(100, 1), (1, 8), parts=4, lanes=25)
    mean, error = rows[8]
    assert 1 - 4 * error < mean < rows[1][0] and 0 < error < 0.3
    figure = views.bill_figure(rows, {1: rows[1][0], 8: mean}, 1.0)
    (axis,) = figure.axes
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["1", "8"]


def test_bars_are_as_long_as_the_files_and_the_lent_part_is_paler():
    entry = {
        "other codes": {"PNG": 900, "lzma": 300},
        "messages": {"10": {"file bytes": 200, "seed bytes": 40}},
    }
    assert list(views.sizes(entry)) == ["PNG", "lzma", "a BFN's messages, n = 10"]
    axis = views.bars_figure({"one": entry}, {"one": "a title"}).axes[0]
    widths = sorted((bar.get_x(), bar.get_width()) for bar in axis.patches)
    assert widths == [(0, 200), (0, 300), (0, 900), (160, 40)]
    assert axis.get_title(loc="left") == "a title"
