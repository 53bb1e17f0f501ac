"""The pictures of binary digits: their numbers are bfn_core's, and every control moves them."""

import json
import math
import re

import pytest
import torch

from bfn_core import DiscreteFlow, ExactBFN, binary_images
from bfn_core.data import asset, record
from bfn_core.views import mnist as views
from bfn_core.views.kit import tiling
from tests.oracles import generator

SIDE = 6
POINTS = (torch.rand(5, 1, SIDE, SIDE, generator=generator(0)) < 0.4).long()
PERFECT = ExactBFN(DiscreteFlow(2, 9.0), POINTS)
N = 12


def words(caption):
    return re.sub("<[^>]*>", "", caption)


def test_tiles_lie_in_rows_with_a_line_between():
    images = torch.arange(3.0).reshape(3, 1, 1).expand(3, 2, 2)
    tiled = tiling.tile(images, 2)
    assert tiled.shape == (5, 5)
    assert tiled[:2, :2].eq(0).all() and tiled[:2, 3:].eq(1).all() and tiled[3:, :2].eq(2).all()
    assert tiled[2].isnan().all() and tiled[:, 2].isnan().all() and tiled[3:, 3:].isnan().all()


def test_the_explorer_of_a_digit_says_what_is_paid_and_what_is_open():
    explorer = views.flow_explorer(PERFECT, POINTS, n=N, t=0.5, seed=2)
    for which, i in ((1, 0), (3, 5), (5, N)):
        explorer.set(digit=which, t=i / N)
        seeded = generator(2000 + which - 1)
        talk = binary_images.converse(PERFECT, POINTS[which - 1], N, generator=seeded)
        paid, rest = talk.paid(i)
        said = words(explorer.caption)
        assert f"After {i} of {N} messages, t = {i / N:.2f}: {paid:.1f} nats" in said
        assert f"and {rest:.1f} nats ({rest / math.log(2):.0f} bits) are to come" in said
        doubts = [int(binary_images.undecided(ink[i])) for ink in (talk.beliefs, talk.guesses)]
        assert f"leave {doubts[0]} undecided, the network {doubts[1]}" in said
        assert f"Of {SIDE * SIDE} pixels" in said


def test_every_control_of_it_changes_the_picture():
    explorer = views.flow_explorer(PERFECT, POINTS, n=N, t=0.5)
    seen = {explorer.png}
    for change in ({"t": 0.0}, {"t": 0.25}, {"t": 1.0}, {"t": 0.5, "digit": 4}):
        explorer.set(**change)
        assert explorer.error is None
        assert explorer.png not in seen, change
        seen.add(explorer.png)
    explorer.controls["again"].click()
    assert explorer.error is None and explorer.png not in seen


def test_the_panels_and_bars_hold_the_conversation():
    talk = binary_images.converse(PERFECT, POINTS[0], N, generator=generator(2000))
    explorer = views.flow_explorer(PERFECT, POINTS, n=N, t=4 / N, seed=2)
    *above, bill = explorer._canvas._figure.axes
    panels = [axes.collections[0] for axes in above]
    shown = [torch.tensor(panel.get_array()).float() for panel in panels]
    assert torch.equal(shown[0], talk.digit.float())
    torch.testing.assert_close(shown[1], (0.5 + talk.messages[3] / 6).clamp(0, 1))
    assert torch.equal(shown[2], talk.beliefs[4]) and torch.equal(shown[3], talk.guesses[4])
    paid, rest = (torch.tensor(bars.get_data().values).float() for bars in bill.patches)
    torch.testing.assert_close(paid + rest, talk.nats.clamp(min=0))
    assert paid[4:].eq(0).all() and rest[:4].eq(0).all()
    explorer.set(t=0.0)
    assert (panels[1].get_array() == 0.5).all()  # nothing has been said


def test_digits_as_they_form_are_the_sampler_s():
    drawing = binary_images.draw(PERFECT, 4, N, shape=(SIDE, SIDE), generator=generator(6))
    steps = list(PERFECT.sampling_steps((4, 1, SIDE, SIDE), N, generator=generator(6)))
    torch.testing.assert_close(drawing.guesses[5], steps[5].output.probs[:, 0, ..., 1])
    torch.testing.assert_close(drawing.beliefs[5], steps[5].theta.probs[:, 0, ..., 1])
    known = {tuple(point.flatten().tolist()) for point in POINTS}
    assert {tuple(digit.flatten().tolist()) for digit in drawing.digits} <= known
    explorer = views.drawing_explorer(drawing, step=3, columns=2)
    doubts = [float(binary_images.undecided(d[3]).double().mean()) for d in
              (drawing.beliefs, drawing.guesses)]
    assert f"After 3 of {N} messages" in explorer.caption
    shown = re.findall(r"<b>(\d+)</b>", explorer.caption)
    assert shown == [f"{doubt:.0f}" for doubt in doubts]
    before = explorer.png
    for step in (0, N):
        explorer.set(step=step)
        assert explorer.error is None and explorer.png != before


def test_a_recorded_bill_is_drawn_as_it_was_recorded():
    pixels = torch.rand(28, 28, generator=generator(7)).tolist()
    bill = {"t": [0.25, 0.75], "nats": [3.0, 1.0], "standard error": [0.2, 0.1], "pixels": pixels}
    figure = views.bill_figure(bill, {"others": torch.tensor([2.0, 4.0])})
    left, right = figure.axes[:2]
    assert [bar.get_height() for bar in left.patches] == [3.0, 1.0]
    assert left.patches[1].get_x() + left.patches[1].get_width() / 2 == pytest.approx(0.75)
    dots = next(line for line in left.lines if line.get_label() == "others")
    assert list(dots.get_ydata()) == [2.0, 4.0]
    dark = views.bill_figure(bill, floor={"a part": [1.0, 0.5]}).axes[0].patches[2:]
    assert [bar.get_height() for bar in dark] == [1.0, 0.5]
    assert torch.equal(torch.tensor(right.images[0].get_array()), torch.tensor(pixels).double())


def test_the_floor_of_mnist_s_bill_is_recorded_as_it_is_computed():
    """Its sum and the last fee at β(1) = 9 are the entropy of the tosses."""
    floor, bill = json.loads(asset("mnist_tosses.json").read_text("utf-8")), record("mnist")["bill"]
    assert floor["t"] == bill["t"] and 0.99 < sum(floor["nats"]) / floor["entropy"] < 1
    total = sum(floor["nats"]) + floor["last fee"]
    assert total == pytest.approx(floor["entropy"], rel=1e-4)
    grey = torch.arange(256) / 255
    shape = torch.tensor([float(binary_images.toss_rate(grey, t, 9.0).mean()) for t in floor["t"]])
    assert torch.corrcoef(torch.stack([shape, torch.tensor(floor["nats"])]))[0, 1] > 0.95


def test_bills_against_the_number_of_messages():
    figure = views.elbo_figure({"ours": {"10": (90.0, 1.0), "∞": (80.0, 0.5)}})
    bars = figure.axes[0].containers[0]
    assert list(bars.lines[0].get_ydata()) == [90.0, 80.0]
    ends = bars.lines[2][0].get_segments()
    assert [segment[:, 1].tolist() for segment in ends] == [[88.0, 92.0], [79.0, 81.0]]
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert names == ["ours (± 2 standard errors)"]
    bare = views.elbo_figure({"a figure without error": {"10": (90.0, 0.0), "∞": (80.0, 0.0)}})
    names = [text.get_text() for text in bare.axes[0].get_legend().get_texts()]
    assert names == ["a figure without error"]
    rows = {"ours": {"10": (90.0, 1.0)}, "theirs": {"10": (80.0, 0.0)}}
    ours, theirs = views.elbo_chart(rows, {"theirs": "Table 2"}, "Bills.").json["data"]
    assert ours["error_y"]["array"] == [2.0] and "error_y" not in theirs
    assert "Table 2" in theirs["hovertemplate"]


def test_figures_without_a_kernel():
    talk = binary_images.converse(PERFECT, POINTS[1], N, generator=generator(8))
    drawing = binary_images.draw(PERFECT, 4, N, shape=(SIDE, SIDE), generator=generator(9))
    assert len(views.flow_figure(talk, (1, 6, N)).axes) == 12
    assert len(views.drawing_figure(drawing, (0, 6, N)).axes) == 6
    assert len(views.digits_figure({"a": POINTS[:, 0], "b": POINTS[:2, 0]}).axes) == 2
