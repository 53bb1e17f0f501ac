"""The pictures of binary digits: their numbers are bfn_core's, and every control moves them."""

import json
import math
import re

import pytest
import torch

from bfn_core import CategoricalParameters, DiscreteFlow, Estimate, ExactBFN
from bfn_core.data import asset, record
from bfn_core.views import mnist as views
from bfn_core.views.kit import tiling
from tests.oracles import generator
from tools.tosses import toss_fee

SIDE = 6
POINTS = (torch.rand(5, 1, SIDE, SIDE, generator=generator(0)) < 0.4).long()
PERFECT = ExactBFN(DiscreteFlow(2, 9.0), POINTS)
N = 12


def words(caption):
    return re.sub("<[^>]*>", "", caption)


def logit(p):
    return p.double().log() - (1 - p.double()).log()


def test_a_conversation_adds_up_its_messages_and_shows_the_network_s_guesses():
    talk = views.converse(PERFECT, POINTS[2], N, generator=generator(1))
    assert talk.messages.shape == (N, SIDE, SIDE)
    assert talk.beliefs.shape == talk.guesses.shape == (N + 1, SIDE, SIDE)
    alphas = PERFECT.flow.alpha(torch.arange(1, N + 1).float(), N).reshape(-1, 1, 1)
    theta = CategoricalParameters(torch.stack([1 - talk.beliefs, talk.beliefs], -1).log())
    early = slice(0, 6)  # later beliefs are so sure that their logits lose digits
    told = logit(talk.beliefs).diff(dim=0) / (4 * alphas).sqrt()
    torch.testing.assert_close(talk.messages[early], told[early].float(), atol=1e-3, rtol=1e-3)
    theta = CategoricalParameters(theta.logits.unsqueeze(1)[early])
    guesses = PERFECT.output(theta, 0.5).probs[:, 0, ..., 1]
    torch.testing.assert_close(talk.guesses[early], guesses, atol=1e-4, rtol=0)
    assert torch.equal(talk.digit, POINTS[2, 0])
    paid, rest = talk.paid(7)
    assert paid == pytest.approx(float(talk.nats[:7].sum()), abs=1e-4)
    assert paid + rest == pytest.approx(float(talk.nats.sum()) + talk.last, abs=1e-4)


def test_a_conversation_costs_what_naming_the_digit_costs():
    """The perfect network's bill is ln 5 on average: the sum of the prices is a bill in nats."""
    bills = []
    for seed in range(80):
        talk = views.converse(PERFECT, POINTS[seed % 5], 40, generator=generator(seed))
        bills.append(sum(talk.paid(20)))
    bill = Estimate.of(torch.tensor(bills))
    assert bill.standard_error < 0.25
    assert abs(bill.mean - math.log(5)) < 4 * bill.standard_error + 0.1  # L^40 is a little above


def test_a_loud_message_has_the_mean_and_spread_of_its_sender():
    wide = ExactBFN(DiscreteFlow(2, 9.0), torch.ones(1, 1, 100, 100, dtype=torch.int64))
    message = views.converse(wide, wide.data[0], 1, generator=generator(3)).messages[0]
    assert float(message.std()) == pytest.approx(1.0, abs=0.03)
    assert float(message.mean()) == pytest.approx(math.sqrt(9.0), abs=0.04)  # 2α / √(4α)


def test_undecided_pixels_are_those_that_are_sure_of_nothing():
    ink = torch.tensor([[[0.0, 0.04], [0.06, 0.5]], [[0.94, 0.96], [1.0, 1.0]]])
    assert views.undecided(ink).tolist() == [2, 1]


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
        talk = views.converse(PERFECT, POINTS[which - 1], N, generator=generator(2000 + which - 1))
        paid, rest = talk.paid(i)
        said = words(explorer.caption)
        assert f"After {i} of {N} messages, t = {i / N:.2f}: {paid:.1f} nats" in said
        assert f"and {rest:.1f} nats ({rest / math.log(2):.0f} bits) are to come" in said
        doubts = [int(views.undecided(ink[i])) for ink in (talk.beliefs, talk.guesses)]
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
    talk = views.converse(PERFECT, POINTS[0], N, generator=generator(2000))
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
    drawing = views.draw(PERFECT, 4, N, shape=(SIDE, SIDE), generator=generator(6))
    steps = list(PERFECT.sampling_steps((4, 1, SIDE, SIDE), N, generator=generator(6)))
    torch.testing.assert_close(drawing.guesses[5], steps[5].output.probs[:, 0, ..., 1])
    torch.testing.assert_close(drawing.beliefs[5], steps[5].theta.probs[:, 0, ..., 1])
    known = {tuple(point.flatten().tolist()) for point in POINTS}
    assert {tuple(digit.flatten().tolist()) for digit in drawing.digits} <= known
    explorer = views.drawing_explorer(drawing, step=3, columns=2)
    doubts = [float(views.undecided(d[3]).double().mean()) for d in
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


def test_a_known_coin_costs_its_entropy():
    ink = torch.tensor([0.0, 0.03, 0.5, 0.9, 1.0])
    times = (torch.arange(400) + 0.5) / 400
    paid = sum(views.toss_rate(ink, float(t), beta_1=25.0) for t in times) / 400
    entropy = torch.special.entr(ink) + torch.special.entr(1 - ink)
    assert torch.allclose(paid, entropy.double(), atol=1e-4)


def test_a_coin_s_price_is_that_of_the_perfect_network():
    coin = ExactBFN(DiscreteFlow(2, 9.0), torch.tensor([[0], [1]]), torch.tensor([0.7, 0.3]))
    x = (torch.rand(20_000, 1, generator=generator(1)) < 0.3).long()
    found = Estimate.of(coin.loss(x, 0.3, generator=generator(2)))
    exact = float(views.toss_rate(torch.tensor(0.3), 0.3, beta_1=9.0))
    assert abs(found.mean - exact) < 4 * found.standard_error < 0.1 * exact


def test_a_known_coin_s_last_fee_is_that_of_the_perfect_network():
    """At a β(1) so small that it is most of the price; and what is certain costs nothing."""
    coin = ExactBFN(DiscreteFlow(2, 0.3), torch.tensor([[0], [1]]), torch.tensor([0.7, 0.3]))
    x = (torch.rand(20_000, 1, generator=generator(3)) < 0.3).long()
    found = Estimate.of(coin.reconstruction_loss(x, generator=generator(4)))
    exact = float(toss_fee(torch.tensor([0.3]), 0.3))
    assert abs(found.mean - exact) < 4 * found.standard_error < 0.1 * exact
    assert toss_fee(torch.tensor([0.0, 1.0]), 0.3).tolist() == pytest.approx([0, 0], abs=1e-12)


def test_the_floor_of_mnist_s_bill_is_recorded_as_it_is_computed():
    """Its sum and the last fee at β(1) = 9 are the entropy of the tosses."""
    floor, bill = json.loads(asset("mnist_tosses.json").read_text("utf-8")), record("mnist")["bill"]
    assert floor["t"] == bill["t"] and 0.99 < sum(floor["nats"]) / floor["entropy"] < 1
    total = sum(floor["nats"]) + floor["last fee"]
    assert total == pytest.approx(floor["entropy"], rel=1e-4)
    grey = torch.arange(256) / 255
    shape = torch.tensor([float(views.toss_rate(grey, t, 9.0).mean()) for t in floor["t"]])
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
    talk = views.converse(PERFECT, POINTS[1], N, generator=generator(8))
    drawing = views.draw(PERFECT, 4, N, shape=(SIDE, SIDE), generator=generator(9))
    assert len(views.flow_figure(talk, (1, 6, N)).axes) == 12
    assert len(views.drawing_figure(drawing, (0, 6, N)).axes) == 6
    assert len(views.digits_figure({"a": POINTS[:, 0], "b": POINTS[:2, 0]}).axes) == 2
