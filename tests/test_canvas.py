"""The canvas on which the reader draws: its marks, its pen and the kernel's answers."""

import io

import numpy
import pytest
import torch
from PIL import Image
from torch import nn

from bfn_core import BFN, DiscreteFlow
from bfn_core.views import conditional
from bfn_core.views.kit.canvas import Canvas, Completed, marks_of, read
from tests.oracles import generator

SCRIPT = "canvas"  # that `call` reads
X = torch.randint(2, (6, 6), generator=generator(0))
KNOWN = torch.rand(6, 6, generator=generator(1)) < 0.6
DIGITS = torch.randint(2, (3, 6, 6), generator=generator(2))


def as_told(x, known, label, seed):
    shades = torch.where(known, x.float(), 0.5).expand(2, 6, 6)
    return Completed(shades, torch.tensor([0.8, 0.2]), f"label {label}, seed {seed}")


def made():
    return Canvas(as_told, DIGITS, [("any", -1), ("a 3", 3)], description="A canvas.")


def test_marks_are_what_was_given():
    x, known = read(marks_of(X, KNOWN), 6)
    assert torch.equal(known, KNOWN) and torch.equal(x, torch.where(KNOWN, X, 0))
    for wrong in ("01.", "2" * 36, ""):
        with pytest.raises(ValueError, match="marks must be 36 characters of '01.', got"):
            read(wrong, 6)


def test_the_kernel_answers_what_was_drawn():
    canvas = made()
    marks = "".join(map(str, DIGITS[0, :3].flatten().tolist()))
    assert canvas.state["marks"] == marks + "." * 18 and canvas.answer["to"] == 0
    assert canvas.answer["words"] == "label -1, seed 0"
    canvas.draw(marks=marks_of(X, KNOWN), label=3, seed=2)
    found = bytes.fromhex(canvas.answer["shades"][0])
    wanted = torch.where(KNOWN, 255 * X, 128).flatten()
    assert list(found) == wanted.tolist() and canvas.answer["weights"] == [0.8, 0.2]
    assert canvas.answer["words"] == "label 3, seed 2" and canvas.answer["to"] == 1
    with pytest.raises(ValueError, match="but no \\['pen'\\]"):
        canvas.draw(pen=1)


def test_an_error_is_told_and_the_canvas_goes_on():
    canvas = made()
    canvas.draw(marks="?")
    assert isinstance(canvas.error, ValueError)
    assert "cannot be completed. ValueError: marks must" in canvas.answer["words"]
    assert canvas.answer["shades"] == []
    canvas.draw(marks="." * 36)
    assert canvas.error is None and len(canvas.answer["shades"]) == 2


def test_under_the_cell_are_a_live_view_a_picture_and_a_sentence():
    data, metadata = made().bundle()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/plain"] == metadata["image/png"]["alt"] == "A canvas."
    picture = numpy.asarray(Image.open(io.BytesIO(data["image/png"])).convert("L"))
    assert picture.shape[1] > 2 * picture.shape[0] and picture.std() > 40


def test_the_pen_covers_the_pixels_whose_centres_it_reaches(call):
    blank, radius, (x, y) = "." * 36, 1.4, (2.3, 4.1)
    (found,) = call("dabbed", [(blank, 6, x, y, radius, "1")])
    place = torch.arange(6) + 0.5
    inside = ((place[None] - x) ** 2 + (place[:, None] - y) ** 2).sqrt() <= radius
    assert found == marks_of(inside.long(), inside) and 3 < int(inside.sum()) < 12
    (at_the_edge,) = call("dabbed", [(blank, 6, 0, 0, 1.6, "0")])
    assert at_the_edge.count("0") == 3 and at_the_edge[:2] == "00"


def test_a_line_has_no_gaps_and_rubbing_out_leaves_no_mark(call):
    (line,) = call("stroked", [("." * 36, 6, [0.5, 2.5], [5.5, 2.5], 0.6, "1")])
    assert line == "." * 12 + "1" * 6 + "." * 18
    (gone,) = call("stroked", [(line, 6, [0, 2.5], [6, 2.5], 0.6, ".")])
    assert gone == "." * 36
    half = call("upperHalf", [("1" * 36,)])
    assert half == ["1" * 18 + "." * 18]


def test_shades_come_as_hexadecimal_digits(call):
    values = [0, 1, 15, 16, 200, 255]
    assert call("shades", [(bytes(values).hex(),)]) == [values]


# What completes it.


class Hearing(nn.Module):
    """Ink is likely in the row that the label names, elsewhere not."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, inputs, t, condition=None):
        odds = inputs.new_full(inputs.shape[:-1], -1.0)
        if condition is not None:
            odds[torch.arange(len(t)), :, condition] = self.scale
        return torch.stack([-odds, odds], -1)


def test_a_digit_is_completed_as_it_was_told_and_keeps_what_was_given():
    bfn, ones = BFN(DiscreteFlow(2, 4.0), Hearing()), torch.ones(6, 6, dtype=torch.int64)
    known = torch.zeros(6, 6, dtype=torch.bool)
    known[5] = True
    found = conditional.completed(bfn, ones, known, 2, 0, count=8, n=4, shown=3, weight=1.0)
    assert found.shades.shape == (3, 6, 6) and bool((found.shades[:, 5] == 1).all())
    assert found.shades[:, 2].mean() > 0.8 > 0.3 > found.shades[:, :2].mean()
    assert found.weights.tolist() == sorted(found.weights.tolist(), reverse=True)
    assert found.words.startswith("6 of 36 pixels are given. Of 8 candidates")
    anything = conditional.completed(bfn, ones, known & False, -1, 0, count=8, n=4, shown=3)
    assert len(anything.shades) == 3 and anything.shades.mean() < 0.2
    assert anything.words.startswith("Nothing is given")
    whole = conditional.completed(bfn, X, known | True, -1, 0)
    assert torch.equal(whole.shades[0], X.float()) and whole.words.startswith("Everything")


def test_the_canvas_explorer_asks_the_network():
    bfn = BFN(DiscreteFlow(2, 4.0), Hearing())
    canvas = conditional.canvas_explorer(bfn, DIGITS[:, None], count=4, n=3, shown=2)
    first = canvas.answer["shades"]
    canvas.draw(label=4)
    assert canvas.error is None and canvas.answer["shades"] != first
    assert len(canvas.answer["shades"]) == 2
