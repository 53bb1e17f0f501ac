"""Pictures of a belief over three classes: their numbers against bfn_core, and their controls."""

import math
import re

import matplotlib
import pytest
import torch

from bfn_core import CategoricalParameters, DiscreteFlow, ExactBFN
from bfn_core.data.toy import two_letters
from bfn_core.simplex_flow import expected_entropy, flow_density, flow_ring
from bfn_core.views import simplex
from tests.browser.lab import ROOT
from tests.chromium import dragged, static_page
from tests.oracles import generator, triangle_grid

FLOW = DiscreteFlow(3, 3.0)
ASSET = ROOT / "assets" / "simplex_flow.svg"


def log_ratios(probs):
    logs = probs.double().log()
    return logs - logs.mean(-1, keepdim=True)


# The mathematics.


def test_corners_and_centre_of_the_triangle():
    points = simplex.place(torch.cat([torch.eye(3), torch.full((1, 3), 1 / 3)]))
    sides = torch.pdist(points[:3])
    assert torch.allclose(sides, torch.ones(3).double())
    assert torch.allclose((points[:3] - points[3]).norm(dim=-1), torch.tensor(3**-0.5).double())


def test_a_walk_is_the_sum_of_its_messages():
    theta, messages = simplex.walk((2, 0), 12, 3.0, 5)
    for i in range(13):
        whole = messages[:i].sum(0).softmax(-1)
        assert torch.allclose(theta[i], whole, atol=1e-6)
    ends = torch.stack([simplex.walk((2,) * 200, 12, 3.0, seed)[0][-1] for seed in range(20)])
    odds = (ends[..., 2] / ends[..., 0]).double().log()
    error = math.sqrt(2 * 9 / odds.numel())
    assert abs(float(odds.mean()) - 9) < 4 * error  # ln θ_x/θ_k ~ N(β K, 2 β K)


# The explorers that ask the kernel.

CHANGES = {
    "path_explorer": {"t": 0.9, "n": 60, "beliefs": 25, "seed": 9, "speed": 3.0},
    "network_explorer": {"t": 0.2, "strength": 0.1, "word": "AB", "seed": 9},
    "classes_explorer": {"t": 0.1, "classes": 256, "beta_1": 0.3, "seed": 9},
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_control_changes_the_picture(name):
    explorer = getattr(simplex, name)()
    for control, value in CHANGES[name].items():
        before = explorer.png
        explorer.set(**{control: value})
        assert explorer.error is None
        assert explorer.png != before, control
    for control, widget in explorer.controls.items():  # both ends of every slider
        for end in {getattr(widget, "min", None), getattr(widget, "max", None)} - {None}:
            end = widget.base**end if hasattr(widget, "base") else end
            explorer.set(**{control: end})
            assert explorer.error is None, (control, end)


def test_the_caption_of_a_path_states_the_belief():
    explorer = simplex.path_explorer(beta_1=2.0, x=1)
    explorer.set(t=0.5, n=10, seed=3)
    theta, messages = simplex.walk((1,) * 25, 10, 2.0, 3)
    said = [float(p) for p in re.findall(r"[ABC] (\d\.\d+)", explorer.caption)]
    assert said == pytest.approx(theta[5, 0].tolist(), abs=6e-4)
    assert f"{float(messages[4, 0, 0]):.2f}".replace("-", "−") in explorer.caption
    explorer.set(t=0.0)
    assert "0.333" in explorer.caption


def test_the_speed_of_play_can_be_set():
    explorer = simplex.path_explorer()
    player = next(w for w in simplex._descendants(explorer) if hasattr(w, "interval"))
    usual = player.interval
    explorer.set(speed=0.5)
    assert player.interval == 2 * usual


def test_the_caption_of_the_network_states_its_knowledge():
    explorer = simplex.network_explorer(beta_1=2.0, n=50)
    explorer.set(t=0.6, strength=0.5, word="AB", seed=7)
    theta, _ = simplex.walk((0, 1), 50, 2.0, 7)
    belief = CategoricalParameters(theta[30:31].log())
    exact = ExactBFN(DiscreteFlow(3, 2.0), *two_letters(0.5))
    word = torch.tensor([[0, 1]])
    blue = float(theta[30, 0, 0] * theta[30, 1, 1])
    green = float(exact.output(belief, 0.6).log_prob(word).sum().exp())
    said = [float(p) for p in re.findall(r"<b>(\d\.\d{3})</b>", explorer.caption)]
    assert said == pytest.approx([blue, green], abs=6e-4)


def test_without_correlation_the_network_knows_nothing_more():
    explorer = simplex.network_explorer()
    explorer.set(strength=0.0)
    blue, green = re.findall(r"<b>(\d\.\d{3})</b>", explorer.caption)
    assert blue == green


def test_the_caption_of_the_classes_states_odds_and_entropy():
    explorer = simplex.classes_explorer()
    explorer.set(classes=27, t=0.5, beta_1=0.5)
    beta = DiscreteFlow(27, explorer.values["beta_1"]).beta(0.5)
    assert f"{27 * beta:.2f} ± {math.sqrt(54 * beta):.2f}" in explorer.caption
    assert f"{expected_entropy(beta, 27):.3f}" in explorer.caption


def test_the_drawn_entropies_are_close_to_the_exact_ones():
    for classes in simplex.COUNTS:
        spread, share = simplex._entropy_table(classes)
        for beta in (0.003, 0.05, 0.7, 4.1, 11.3):
            if beta * classes < spread[-1]:
                exact = expected_entropy(beta, classes) / math.log(classes)
                line = simplex.numpy.interp(beta * classes, spread, share)
                assert line == pytest.approx(exact, abs=2e-3)
        assert share[-1] < 1e-6  # beyond the table there is nothing left


def test_the_picture_in_assets_is_the_one_that_the_code_draws(tmp_path):
    kept = ASSET.read_text("utf-8")
    assert "<title>" in kept and len(kept) < 300_000
    if f"Matplotlib v{matplotlib.__version__}" not in kept:
        pytest.skip("the picture was drawn by another Matplotlib")
    simplex.write_asset(tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_text("utf-8") == kept
    # In a matplotlibrc a reader may ask for anything.
    own = {"lines.linewidth": 7, "patch.linewidth": 5, "savefig.bbox": "tight", "font.size": 20}
    with matplotlib.rc_context(own):
        simplex.write_asset(tmp_path / "mine.svg")
    assert (tmp_path / "mine.svg").read_text("utf-8") == kept


# The one that moves in the browser.


@pytest.mark.parametrize("bad", [{"t": 1.2}, {"beta_1": 0}, {"x": 3}])
def test_settings_outside_the_sliders_are_refused(bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))} must"):
        simplex.flow_explorer(**bad)


SCRIPT = "simplex"  # that `call` reads


SETTINGS = [(x, t, b) for x in range(3) for t in (0.05, 0.4, 1.0) for b in (0.1, 3.0, 6.0)]


def test_javascript_schedule_and_flow(call):
    betas = call("beta", [(t, b) for _, t, b in SETTINGS])
    assert betas == pytest.approx([DiscreteFlow(3, b).beta(t) for _, t, b in SETTINGS])
    for (x, t, b), ours in zip(SETTINGS, call("flow", SETTINGS), strict=True):
        flow = DiscreteFlow(3, b)
        sender = flow.sender(torch.tensor([x]), flow.beta(t))  # one message worth all so far
        mean = sender.mean[0] - sender.mean.mean()
        assert ours["mean"] == pytest.approx(mean.tolist(), rel=1e-5)
        assert ours["variance"] == pytest.approx(float(sender.variance[0, 0]), rel=1e-5)


@pytest.mark.parametrize("measure", ["area", "log-ratio"])
def test_javascript_density(call, measure):
    theta = triangle_grid(6)
    for x, t, b in SETTINGS:
        ours = call("density", [(row, x, t, b, measure) for row in theta.tolist()])
        expected = flow_density(theta, x, t, DiscreteFlow(3, b), measure=measure)
        assert ours == pytest.approx(expected.tolist(), rel=1e-5)


def test_javascript_rings(call):
    for x, t, b in SETTINGS:
        (ours,) = call("ring", [(0.9, x, t, b, 24)])
        expected = flow_ring(0.9, x, t, DiscreteFlow(3, b), points=24)
        assert torch.allclose(torch.tensor(ours).double(), expected, atol=1e-6)


def test_javascript_beliefs_follow_the_flow(call):
    (noise,) = call("normals", [(12_000, 3)])
    noise = [noise[i : i + 3] for i in range(0, 12_000, 3)]
    ours = torch.tensor(call("belief", [(z, 1, 0.4, 3.0) for z in noise]))
    drawn = FLOW.sample_flow(torch.ones(40_000, dtype=torch.int64), 0.4, generator=generator(4))
    difference = log_ratios(ours).mean(0) - log_ratios(drawn.probs).mean(0)
    spread = log_ratios(ours).std(0)
    assert (difference.abs() < 4 * spread * math.sqrt(1 / 4000 + 1 / 40_000)).all()
    assert (spread / log_ratios(drawn.probs).std(0) - 1).abs().max() < 0.06


def test_javascript_odds_and_entropy(call):
    drawn = FLOW.sample_flow(torch.zeros(40_000, dtype=torch.int64), 0.5, generator=generator(5))
    odds = drawn.logits[:, 0] - drawn.logits[:, 2]
    (ours,) = call("logOdds", [(0.5, 3.0)])
    assert ours["mean"] == pytest.approx(float(odds.mean()), abs=4 * ours["std"] / 200)
    assert ours["std"] == pytest.approx(float(odds.std()), rel=0.02)
    table = [part.tolist() for part in simplex._entropy_table(3)]
    betas = [0.0, 1e-4, 0.02, 0.3, 1.1, 3.0, 6.3, 50.0]
    expected = [expected_entropy(b, 3) for b in betas]
    assert call("unknown", [(b, table) for b in betas]) == pytest.approx(expected, abs=2e-3)


@pytest.fixture
def static(chromium, tmp_path):
    with static_page(chromium, tmp_path, simplex.flow_explorer()) as page:
        yield page


def settle(canvas):
    """Wait for two frames, so that what was asked for is drawn."""
    canvas.evaluate("""() => new Promise((done) =>
        requestAnimationFrame(() => requestAnimationFrame(done)))""")


def test_every_control_moves_the_drawing(static):
    _, frame = static
    canvas, drawing = frame.locator("canvas"), "canvas => canvas.toDataURL()"
    names = [slider.get_attribute("aria-label") for slider in frame.locator("input").all()]
    assert names == ["time t", "final accuracy β(1)"]
    for slider in frame.locator("input").all():
        before = canvas.evaluate(drawing), canvas.get_attribute("aria-label")
        slider.press("ArrowRight")
        slider.press("ArrowRight")
        settle(canvas)
        assert canvas.evaluate(drawing) != before[0]
        assert canvas.get_attribute("aria-label") != before[1]
    for name in ("B", "area", "Another draw", "Play"):
        before = canvas.evaluate(drawing)
        frame.get_by_role("button", name=name, exact=name == "B").click()
        settle(canvas)
        assert canvas.evaluate(drawing) != before, name


def test_a_corner_can_be_clicked_and_time_dragged(static):
    page, frame = static
    canvas = frame.locator("canvas")
    area = canvas.bounding_box()
    side = (area["width"] / 2, 450)[area["width"] > 900]
    page.mouse.click(area["x"] + 16 + side, area["y"] + 34 + side * 3**0.5 / 2)
    settle(canvas)
    assert "towards C" in canvas.get_attribute("aria-label")
    y = area["y"] + area["height"] - 80
    page.mouse.move(area["x"] + area["width"] - 300, y)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] - 10, y, steps=4)
    page.mouse.up()
    assert float(frame.locator("input").first.input_value()) == 1


def test_the_triangle_is_drawn_anew_in_every_frame_while_its_slider_moves(static):
    moves, redraws = dragged(static[1])
    assert moves <= redraws <= moves + 2  # each move is seen, and none is drawn twice
