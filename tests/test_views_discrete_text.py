"""Pictures of beliefs about strings: what they show against bfn_core."""

import math
import re

import numpy
import pytest
import torch

from bfn_core import DiscreteFlow, ExactBFN
from bfn_core.data import ALPHABET
from bfn_core.data.strings import sums
from bfn_core.views import discrete_text as views
from bfn_core.views.kit import letters, style
from tests.oracles import generator

LANGUAGE = sums()
PERFECT = ExactBFN(DiscreteFlow(LANGUAGE.classes, 2.0), LANGUAGE.data)
FAINT = ExactBFN(DiscreteFlow(LANGUAGE.classes, 0.2), LANGUAGE.data)
N_STEPS = 10


@pytest.fixture
def explorer():
    return views.belief_explorer({"perfect": PERFECT, "faint": FAINT}, LANGUAGE, N_STEPS)


def walk(seed):
    return list(PERFECT.sampling_steps((1, 6), N_STEPS, generator=generator(seed)))


def test_the_caption_gives_the_entropies_of_the_sampler_s_own_beliefs(explorer):
    for seed, step in [(1, 0), (1, 4), (3, 10)]:
        explorer.set(model="perfect", seed=seed, step=step)
        now = walk(seed)[step]
        shown = re.findall(r"([\d.]+) nats</b> open, the network <b>([\d.]+)", explorer.caption)
        p_input, p_output = now.theta.probs, now.output.probs
        truth = [float(-torch.xlogy(p, p).sum()) for p in (p_input, p_output)]
        assert [float(number) for number in shown[0]] == pytest.approx(truth, abs=0.006)
    explorer.set(seed=1, step=0)
    assert f"{6 * math.log(12):.2f} nats" in explorer.caption


def test_the_caption_judges_the_string(explorer):
    for model in ("perfect", "faint"):
        for seed in range(1, 6):
            explorer.set(model=model, seed=seed, step=N_STEPS)
            word = re.search(r"monospace\">([^<]*)</b>", explorer.caption)[1]
            right = word in LANGUAGE.words
            verdict = "a sum that is right" if right else "not a sum that is right"
            assert explorer.caption.endswith(f": {verdict}.")


def test_every_control_changes_the_picture(explorer):
    seen = {explorer.png}
    for change in ({"step": 0}, {"step": 6}, {"step": N_STEPS}, {"seed": 7}, {"model": "faint"}):
        explorer.set(**change)
        assert explorer.error is None
        assert explorer.png not in seen, change
        seen.add(explorer.png)
    assert "bfn-explorer" in explorer._dom_classes


def test_the_heat_map_holds_the_probabilities_and_their_letters():
    _, axes = style.subplots()
    heat_map = letters.LetterMap(axes, "abc", 2, "#0072B2", "title")
    probs = torch.tensor([[0.9, 0.06, 0.04], [0.2, 0.1, 0.7]])
    heat_map.show(probs)
    assert torch.equal(torch.tensor(heat_map.mesh.get_array().tolist()), probs.T)
    assert heat_map.heads.classes.tolist() == [0, 2]
    assert heat_map.cells.classes.tolist() == [0, 1, 2, 0, 1, 2]
    visible = heat_map.cells.get_facecolor()[:, 3] > 0
    assert visible.tolist() == [True, False, False, True, True, True]
    strong = heat_map.heads.get_facecolor()[:, 3]
    assert strong[0] > strong[1]


def test_letters_lie_at_their_places_in_their_colours():
    figure, axes = style.subplots(size=(4, 1))
    axes.set_position([0, 0, 1, 1])
    axes.set_axis_off()
    axes.set(xlim=(0, 10), ylim=(2, 0))
    figure.set_layout_engine("none")
    line = letters.Letters(axes, [(k + 0.5, 0.5) for k in range(10)], " ab", 14)
    line.show([0] * 7 + [2] + [0] * 2, (0, 0, 1))
    figure.canvas.draw()
    ink = (numpy.asarray(figure.canvas.buffer_rgba())[..., 0] < 100).nonzero()
    assert len(ink[0]) and ink[0].max() < 50 and ink[1].min() >= 280 and ink[1].max() < 320
    assert abs(ink[0].mean() - 25) < 4 and abs(ink[1].mean() - 300) < 4


def test_every_letter_looks_different():
    shapes = [letters._glyph(letter, "DejaVu Sans Mono").vertices.tobytes() for letter in ALPHABET]
    assert len(set(shapes)) == 27 and shapes[0] == b""


def test_entropy_of_certainty_is_zero():
    assert letters.entropy(torch.eye(3)).tolist() == [0, 0, 0]
    assert float(letters.entropy(torch.full((12,), 1 / 12))) == pytest.approx(math.log(12))


def test_badges_say_which_strings_are_valid():
    shown = views.badges(["1+1=<2", "bad"], torch.tensor([True, False]))
    assert "1+1=&lt;2" in shown and shown.count("✓") == shown.count("✗") == 1
    assert shown.index("✓") < shown.index("bad") < shown.index("✗")


def test_the_chart_has_what_the_picture_has_above_its_columns():
    probs = PERFECT.flow.prior((1, 6)).probs[0].clone()
    probs[2] = torch.eye(12)[LANGUAGE.alphabet.index("=")]
    made = views.belief_chart(LANGUAGE, [probs, probs], ["left", "right"], ["#111111"] * 2, "alt")
    notes = made.json["layout"]["annotations"]
    heads = [note for note in notes if note["xref"] in ("x", "x2")]
    assert len(heads) == 12 and [note["x"] for note in heads[:6]] == [1, 2, 3, 4, 5, 6]
    assert heads[2]["text"] == heads[8]["text"] == "<b>=</b>" and heads[2]["opacity"] == 1
    assert heads[0]["opacity"] == pytest.approx(0.15 + 0.85 / 12, abs=1e-3)
    titles = [note["xanchor"] for note in notes if note["text"] in ("left", "right")]
    assert titles == ["center", "center"]
