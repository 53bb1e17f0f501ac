"""The pictures of mistakes show what was measured, and say it in words."""

import re

import pytest
import torch

from bfn_core import data
from bfn_core.mistakes import MISTAKES, RIGHT
from bfn_core.views import on_one_page as views


@pytest.fixture(scope="module")
def record():
    return data.record("mistakes")


@pytest.mark.parametrize(("name", "n", "words"), [
    ("a mean over classes, not a sum", 10, "in continuous time, 0.7. nats, is below the entropy"),
    ("the belief of t_i, not t_(i−1)", 2, "at n = 2, 0.7. nats, is below the entropy of 1.93"),
    ("the mode, sent for a draw", 50, "samples are 0.12 from the law .* right ones are 0.01"),
    ("one message missing", 20, "nobody sees it"),
    ("one message missing", 1, "samples are 0.31"),
    ("accumulated accuracy for each message", 10, "2.0. nats above"),
])
def test_the_verdict_says_what_is_on_record(record, name, n, words):
    said = re.sub("<[^>]*>", "", views.verdict(name, record, n))
    assert re.search(words, said), said


def test_what_is_right_is_never_called_wrong(record):
    for n in (1, 2, 5, 10, 20, 50):
        assert views.verdict(RIGHT.name, record, n).startswith("All is right.")


def test_every_control_moves_the_picture(record):
    explorer = views.mistakes_explorer(record)
    before = explorer.png
    explorer.set(n=1)
    assert explorer.error is None and explorer.png != before
    for name in MISTAKES:
        for n in (2, 50):
            explorer.set(mistake=name, n=n)
            assert explorer.error is None, name
            assert MISTAKES[name].says in explorer.caption


def test_the_figures_at_rest_draw(record):
    axes = views.symptoms_figure(record).axes
    assert [label.get_text() for label in axes[0].get_yticklabels()] == list(MISTAKES)[1:]
    x = torch.rand(500, 2)
    assert len(views.ring_figure(x, x, [1.0] * 30).axes) == 3
