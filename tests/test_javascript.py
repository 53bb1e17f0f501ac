"""The numbers and the drawing of bfn_core/views/kit/javascript, in a real browser.

The pure functions of a module are called in Chromium and held against bfn_core.
"""

import json
import math

import numpy
import pytest
import torch

from bfn_core import ContinuousFlow, ExactBFN, GaussianParameters
from bfn_core.views import gaussian_mixture
from tests.chromium import dragged, static_page

SIGMAS = [0.01, 0.02, 0.2, 0.5]
TIMES = [1e-6, 0.01, 0.3, 0.5, 0.99, 1.0]
MIXTURE = gaussian_mixture.DATA
DATA = {"means": list(MIXTURE.means), "weights": [0.25] * 4, "std": MIXTURE.std}


SCRIPT = "flow"  # that `call` reads


def grid():
    return [(t, sigma_1) for sigma_1 in SIGMAS for t in TIMES]


def double(number):
    return torch.tensor([number], dtype=torch.float64)


@pytest.mark.parametrize("name", ["beta", "gamma"])
def test_the_schedule(call, name):
    ours = [float(ContinuousFlow(s).beta(double(t))) for t, s in grid()]
    if name == "gamma":
        ours = [beta / (1 + beta) for beta in ours]
    assert call(name, grid()) == pytest.approx(ours, rel=1e-9)


def test_the_accuracy_of_the_next_message(call):
    n = 8
    asked = [((i - 1) / n, n, s) for s in SIGMAS for i in range(1, n + 1)]
    ours = [float(ContinuousFlow(s).alpha(i, n)) for s in SIGMAS for i in range(1, n + 1)]
    assert call("alpha", asked) == pytest.approx(ours, rel=1e-5)
    # At the end it stays that of the last message.
    assert call("alpha", [(1, n, 0.02)]) == pytest.approx([ours[2 * n - 1]], rel=1e-5)


def test_the_flow_distribution(call):
    x, t, sigma_1 = 0.4, 0.3, 0.1
    many = torch.full((200_000, 1), x)
    theta = ContinuousFlow(sigma_1).sample_flow(
        many, torch.full((200_000,), t), generator=torch.Generator().manual_seed(0)
    )
    (ours,) = call("flow", [(x, t, sigma_1)])
    error = float(theta.mean.std()) / math.sqrt(200_000)
    assert ours["mean"] == pytest.approx(float(theta.mean.mean()), abs=5 * error)
    assert ours["std"] == pytest.approx(float(theta.mean.std()), abs=5 * error)


def test_the_output_distribution(call):
    sigma_1 = 0.05
    perfect = ExactBFN(ContinuousFlow(sigma_1), *MIXTURE.grid(1201))
    asked, expected = [], []
    for t in (0.02, 0.3, 0.7, 1.0):
        beta = float(perfect.flow.beta(double(t)))
        for mu in (-0.9, -0.31, 0.0, 0.02, 0.6):
            theta = GaussianParameters(double(mu).unsqueeze(1), double(1 + beta))
            expected.append(float(perfect.output(theta, t).mean))
            asked.append((mu, beta, DATA))
    ours = call("output", asked)
    assert [o["mean"] for o in ours] == pytest.approx(expected, abs=2e-4)
    weights, means, std = MIXTURE.posterior(double(0.02)[0], 5.0)
    (ours,) = call("output", [(0.02, 5.0, DATA)])
    assert ours["weights"] == pytest.approx(weights.tolist())
    assert ours["means"] == pytest.approx(means.tolist())
    assert ours["std"] == pytest.approx(float(std))


def test_the_cost_of_a_message(call):
    x, guess, alpha = 0.3, -0.1, 7.0
    sender = ContinuousFlow(0.1).sender(torch.tensor([[x]]), alpha)
    receiver = torch.distributions.Normal(guess, alpha**-0.5)
    ours = torch.distributions.kl_divergence(
        torch.distributions.Normal(sender.mean, sender.stddev), receiver
    )
    assert call("cost", [(x, guess, alpha)]) == pytest.approx([float(ours)], rel=1e-5)


def test_a_path_is_bayesian_updates_with_its_own_noise(call):
    x, sigma_1, noise = 0.4, 0.05, [0.3, -1.2, 0.7, 2.0, -0.4]
    flow, n = ContinuousFlow(sigma_1), len(noise)
    theta, ours = flow.prior((1, 1)), [0.0]
    for i, z in enumerate(noise, start=1):
        alpha = float(flow.alpha(i, n))
        theta = flow.update(theta, torch.tensor([[x + z * alpha**-0.5]]), alpha)
        ours.append(float(theta.mean))
    (path,) = call("path", [(x, sigma_1, noise)])
    assert path == pytest.approx(ours, rel=1e-5, abs=1e-7)


def test_the_noise_is_standard_normal(call):
    (numbers,) = call("normals", [(40_000, 3)])
    numbers = numpy.array(numbers)
    assert abs(numbers.mean()) < 0.02 and abs(numbers.std() - 1) < 0.02
    assert abs((numbers**4).mean() - 3) < 0.2
    assert abs(numpy.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 0.02
    again, other = call("normals", [(5, 3), (5, 4)])
    assert again == list(numbers[:5]) and again != other


# The drawing, on a static page: the same file in a frame, with no kernel and no server.


@pytest.fixture
def static(chromium, tmp_path):
    with static_page(chromium, tmp_path, gaussian_mixture.flow_explorer()) as page:
        yield page


def test_every_control_moves_the_drawing_and_its_sentence(static):
    _, frame = static
    canvas = frame.locator("canvas")
    drawing = "c => c.toDataURL()"
    names = [s.get_attribute("aria-label") for s in frame.locator("input").all()]
    assert names == ["time t", "true value x", "final noise σ₁", "messages n"]
    for slider in frame.locator("input").all():
        before = canvas.evaluate(drawing), canvas.get_attribute("aria-label")
        slider.press("ArrowRight")
        slider.press("ArrowRight")
        canvas.evaluate("() => new Promise(requestAnimationFrame)")
        assert canvas.evaluate(drawing) != before[0]
        assert canvas.get_attribute("aria-label") != before[1]
    for button in ("Another draw", "Play"):
        before = canvas.evaluate(drawing)
        frame.get_by_role("button", name=button).click()
        canvas.evaluate("() => new Promise((done) => setTimeout(done, 200))")
        assert canvas.evaluate(drawing) != before


def test_time_can_be_dragged_in_the_picture(static):
    page, frame = static
    area = frame.locator("canvas").bounding_box()
    page.mouse.move(area["x"] + 60, area["y"] + 150)
    page.mouse.down()
    page.mouse.move(area["x"] + 300, area["y"] + 150, steps=4)
    page.mouse.up()
    time = float(frame.locator("input").first.input_value())
    assert 0.55 < time < 0.75


def test_the_picture_is_drawn_anew_in_every_frame_while_its_slider_moves(static):
    moves, redraws = dragged(static[1])
    assert moves <= redraws <= moves + 2  # each move is seen, and none is drawn twice


def test_a_page_of_its_own_holds_the_settings(chromium):
    made = gaussian_mixture.flow_explorer(x=-0.5, sigma_1=0.1)
    page = chromium.new_page()
    page.set_content(made.page())
    page.locator("canvas[data-redraws]").wait_for()
    sentence = page.locator("canvas").get_attribute("aria-label")
    assert "x = \u22120.50" in sentence
    assert json.dumps(made.description)[1:-1] in page.title()
    page.close()
