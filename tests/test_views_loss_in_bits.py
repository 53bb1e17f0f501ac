"""The pictures of code lengths show the numbers of bfn_core, and move with every control."""

import itertools
import math
import re

import pytest
import torch

from bfn_core.views import loss_in_bits as views
from bfn_core.views.kit import style

TABLE = torch.tensor([[10.0, 2, 1], [2, 5, 2], [1, 3, 6]])
NAMES = ("sun", "cloud", "rain")


def entropy(p):
    p = p.double() / p.double().sum()
    return -float(torch.special.xlogy(p, p).sum()) / math.log(2)


def numbers(caption):
    return [float(n) for n in re.findall(r"(?<![\w.])\d+\.\d+", re.sub(r"<[^>]*>", "", caption))]


def test_the_caption_of_the_bill_that_ends_early_adds_up():
    explorer = views.excess_explorer(TABLE, beta_1=0.5623)
    explorer.set(kind="copy")
    _, messages, fee, total, floor, excess = numbers(explorer.caption)
    assert total == pytest.approx(1.5096 / math.log(2), abs=0.015)  # two copies, by elbo
    assert floor == pytest.approx(math.log2(3), abs=0.006)
    assert messages + fee == pytest.approx(total, abs=0.011)
    assert total == pytest.approx(floor + excess, abs=0.016)


EXPLORERS = {
    "bill": (
        lambda: views.bill_explorer(TABLE, NAMES),
        {"pair": (0, 2, -1), "n": (1, 50)},
    ),
    "message": (
        views.message_explorer,
        {"x": (-0.8, 0.8), "guess": (-1.0, 1.0), "spread": (0.15, 1.0), "alpha": (1.0, 300.0),
         "kind": ("continuous", "discretised")},
    ),
    "steps": (lambda: views.steps_explorer(TABLE), {"n": (1, 200), "network": ("alone",)}),
    "excess": (
        lambda: views.excess_explorer(TABLE),
        {"kind": ("copy", "alone", "yours"), "beta_1": (0.1, 10.0)},
    ),
    "imperfect": (
        lambda: views.imperfect_explorer(TABLE, NAMES),
        {"share": (0.5, 1.0), "temperature": (1 / 3, 3.0)},
    ),
}


@pytest.mark.parametrize("name", EXPLORERS)
def test_every_control_moves_the_picture_to_the_ends_of_its_range(name):
    make, moves = EXPLORERS[name]
    explorer = make()
    assert {*moves} | {"again"} >= {*explorer.controls}
    for control, values in moves.items():
        for value in values:
            before = explorer.png
            explorer.set(**{control: value})
            assert explorer.error is None
            assert explorer.png != before, (control, value)
            assert explorer.caption and "nan" not in explorer.caption.lower()


def test_other_messages_give_other_conversations_and_the_same_average():
    explorer = views.bill_explorer(TABLE, NAMES)
    caption, png = explorer.caption, explorer.png
    explorer.controls["again"].click()
    assert explorer.png != png and explorer.caption == caption


def test_the_captions_state_the_right_numbers():
    both, joint = entropy(TABLE.sum(0)) + entropy(TABLE.sum(1)), entropy(TABLE)
    steps = views.steps_explorer(TABLE, n=1)
    assert numbers(steps.caption) == pytest.approx([both, joint, joint, both], abs=0.02)
    imperfect = views.imperfect_explorer(TABLE, NAMES)
    extra, floor, _, _, formula = numbers(imperfect.caption)
    assert floor == pytest.approx(joint, abs=0.006)
    assert formula == pytest.approx(both - joint, abs=0.006)
    assert extra == pytest.approx(both - joint, abs=0.03)
    bill = views.bill_explorer(TABLE, NAMES, n=50)
    first, second, total, messages, more = numbers(bill.caption)
    assert first == pytest.approx(entropy(TABLE.sum(1)), abs=0.006)
    assert total == pytest.approx(joint, abs=0.006)
    assert first + second == pytest.approx(total, abs=0.011)
    assert messages == pytest.approx(total + more, abs=0.011)
    message = views.message_explorer(kind="continuous", x=0.4, guess=0.0, alpha=8.0)
    assert "0.92 bits" in message.caption  # 8/2 · 0.4² / ln 2


def test_every_press_of_a_key_moves_the_bars_to_another_number_of_messages():
    explorer = views.steps_explorer(TABLE, n=77)
    counts = explorer.controls["n"].options
    assert counts[0] == 1 and 77 in counts and counts[-1] == 200
    assert all(isinstance(n, int) for n in counts) and len(counts) < 60
    for n, following in itertools.pairwise(counts):
        assert n < following <= max(n + 1, 1.15 * n)
        explorer.set(n=following)
        assert f"n = {following}:" in explorer.caption


def test_a_table_with_impossible_pairs_can_be_drawn():
    copy = torch.eye(3)
    steps = views.steps_explorer(copy, n=200)
    assert numbers(steps.caption)[:2] == pytest.approx([math.log2(3)] * 2, abs=0.03)
    for explorer in (views.bill_explorer(copy, NAMES), views.imperfect_explorer(copy, NAMES)):
        assert explorer.error is None and "nan" not in explorer.caption.lower()
    assert len(views.bill_figure(copy, NAMES, [None, 0, 1]).axes) == 4  # 1 cannot happen


def test_the_figures_at_rest_draw():
    for figure in (
        views.bill_figure(TABLE, NAMES, [None, 0]), views.message_figure(),
        views.steps_figure(TABLE), views.excess_figure(TABLE),
    ):
        assert len(style.to_png(figure)) > 5000
