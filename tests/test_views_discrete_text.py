"""Pictures of beliefs about strings: what they show against bfn_core."""

import math
import re
import warnings

import pytest
import torch

from bfn_core import DiscreteFlow, ExactBFN
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
    assert [head.get_text() for head in heat_map.heads] == ["a", "c"]
    visible = [[cell.get_visible() for cell in row] for row in heat_map.cells]
    assert visible == [[True, True], [False, True], [False, True]]
    assert heat_map.heads[0].get_alpha() > heat_map.heads[1].get_alpha()


def test_entropy_of_certainty_is_zero():
    assert letters.entropy(torch.eye(3)).tolist() == [0, 0, 0]
    assert float(letters.entropy(torch.full((12,), 1 / 12))) == pytest.approx(math.log(12))


def test_the_live_panel_renews_picture_and_samples_on_time():
    panel = views.LivePanel(10, {"best": 2.0}, "A panel that falls.", every=4)
    first, asked = panel._image.value, []

    def samples():
        asked.append(len(panel.losses))
        return [("1+1=<2", True), ("bad", False)]

    for step in range(10):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            panel.update(torch.tensor(10.0 - step, requires_grad=True), samples)
    assert asked == [4, 8, 10]
    assert panel._image.value != first
    assert panel.losses == [10.0 - step for step in range(10)]
    assert "1+1=&lt;2" in panel._words.value and "step 10 of 10" in panel._words.value
    assert panel._words.value.count("✓") == panel._words.value.count("✗") == 1


def test_the_bold_curve_is_the_mean_of_the_losses_around():
    _, axes = style.subplots()
    lines = [axes.plot([], [])[0] for _ in range(2)]
    losses = [float(k % 7) for k in range(80)]
    views._draw_losses(lines, losses, window=5)
    assert list(lines[0].get_ydata()) == losses
    means = lines[1].get_ydata()
    assert means[40] == pytest.approx(sum(losses[38:43]) / 5)
    assert means[1] == pytest.approx(sum(losses[:3]) / 3)
    assert means[0] == losses[0] and len(means) == 78  # the last whole window is that around it
    assert means[77] == pytest.approx(sum(losses[75:]) / 5)


def test_the_bold_curve_does_not_lag():
    _, axes = style.subplots()
    lines = [axes.plot([], [])[0] for _ in range(2)]
    losses = [100.0 - k for k in range(80)]
    views._draw_losses(lines, losses)
    assert lines[1].get_ydata() == pytest.approx(losses[:-12])
    views._draw_losses(lines, losses[:3])  # a live curve begins with fewer than half a window
    assert len(lines[1].get_ydata()) == 0
