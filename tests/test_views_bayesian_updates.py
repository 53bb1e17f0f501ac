"""The pictures of notebook 02: their numbers against bfn_core, and that every control works."""

import itertools
import math
import re

import pytest
import torch

from bfn_core import ContinuousFlow
from bfn_core.views import bayesian_updates as views
from bfn_core.views.kit import style

FLOW = ContinuousFlow(0.1)
EXPLORERS = (views.message_explorer, views.split_explorer, views.schedule_explorer)
SLIDERS = [(make, name) for make in EXPLORERS for name, control in make().controls.items()
           if hasattr(control, "max")]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def numbers(caption):
    plain = re.sub(r"<[^>]+>", "", caption)
    found = re.findall(r"-?\d[\d,]*\.?\d*(?:e[+-]\d+)?", plain)
    return [float(number.replace(",", "")) for number in found]


# Every control, at both ends


@pytest.mark.parametrize(
    ("make", "name"), SLIDERS, ids=[f"{make.__name__}-{name}" for make, name in SLIDERS]
)
def test_every_slider_moves_the_picture_up_to_its_ends(make, name):
    explorer = make()
    control = explorer.controls[name]
    log = hasattr(control, "base")
    ends = [10.0**v if log else v for v in (control.min, control.max)]
    pictures = {explorer.png}
    for end in ends:
        explorer.set(**{name: end})
        assert explorer.error is None
        pictures.add(explorer.png)
    assert len(pictures) == 3


def test_the_way_to_cut_moves_the_picture():
    explorer = views.split_explorer()
    pictures = {explorer.png}
    for kind in views.SPLITS:
        explorer.set(kind=kind)
        assert explorer.error is None
        pictures.add(explorer.png)
    assert len(pictures) == len(views.SPLITS)


@pytest.mark.parametrize(
    ("make", "values"),
    [
        (views.message_explorer, {"x": -0.5, "alpha": 16.0}),
        (views.split_explorer, {"x": -0.5, "total": 2.0, "n": 40, "kind": "growing"}),
        (views.schedule_explorer, {"sigma_1": 0.1, "n": 4}),
    ],
)
def test_a_picture_does_not_depend_on_the_way_to_it(make, values):
    explorer = make()  # what is left out of `moving` would stay as it was at first
    explorer.set(**values)
    assert explorer.png == make(**values).png


# One message at a time


def test_beliefs_after_messages_are_those_of_the_closed_form():
    alphas = [0.5, 4.0, 30.0]
    ys, thetas = views._told(0.3, alphas, 0)
    votes, precision = 0.0, 1.0
    for y, alpha, theta in zip(ys, alphas, thetas[1:], strict=True):
        votes, precision = votes + alpha * y, precision + alpha
        assert float(theta.precision) == pytest.approx(precision)
        assert float(theta.mean) == pytest.approx(votes / precision)
    assert (float(thetas[0].mean), float(thetas[0].precision)) == (0, 1)


def test_noise_stays_when_the_truth_moves():
    low, _ = views._told(-0.5, [1.0, 4.0], 0)
    high, _ = views._told(0.5, [1.0, 4.0], 0)
    assert [b - a for a, b in zip(low, high, strict=True)] == pytest.approx([1, 1])


def test_noise_of_messages_has_the_variance_of_their_accuracy():
    ys, _ = views._told(0.3, [16.0] * 4000, 0)
    ys = torch.tensor(ys)
    assert ys.mean() == pytest.approx(0.3, abs=5 * 0.25 / 4000**0.5)
    assert ys.std() == pytest.approx(0.25, rel=5 / 8000**0.5)


def test_the_message_explorer_says_what_the_flow_computes():
    explorer = views.message_explorer(x=-0.3, alpha=4.0, seed=18)
    explorer.controls["send"].click()
    explorer.set(alpha=8.0)
    truth, draws = torch.tensor([-0.3], dtype=torch.float64), generator(18)
    theta = FLOW.prior((1,), dtype=torch.float64)
    for alpha in (4.0, 8.0):  # the first message keeps the accuracy that it was sent with
        before, y = theta, FLOW.sender(truth, alpha).sample(generator=draws)
        theta = FLOW.update(theta, y, alpha)
    expected = [2, float(y), 8, 13, 62, float(before.mean), float(theta.mean), 5**-0.5, 13**-0.5]
    assert numbers(explorer.caption)[:9] == pytest.approx(expected, abs=0.0051)


def test_sending_adds_messages_and_starting_again_forgets_them_and_their_noise():
    explorer = views.message_explorer()
    first = explorer.caption
    for _ in range(3):
        explorer.controls["send"].click()
    assert numbers(explorer.caption)[:4:3] == [4, 17]  # four messages, 1 + 4 · 4
    explorer.controls["again"].click()
    assert numbers(explorer.caption)[:4:3] == [1, 5]
    assert explorer.caption != first


def test_bells_are_densities_up_to_one_common_factor():
    _, axes = style.subplots()
    bells = views._Bells(axes)
    ys, thetas = views._told(0.2, [3.0], 1)
    bells.show(0.2, thetas[0], ys[0], 3.0, thetas[1])
    areas = {}
    for name, line in bells.lines.items():
        across, height = (torch.as_tensor(v) for v in line.get_data())
        areas[name] = float(torch.trapezoid(height, across))
    assert areas["before"] == pytest.approx(areas["after"], rel=1e-3)
    assert areas["y"] == pytest.approx(areas["after"], rel=1e-3)
    across, height = bells.lines["after"].get_data()
    assert across[height.argmax()] == pytest.approx(float(thetas[1].mean))


@pytest.mark.parametrize(("y", "marker", "place"), [(9.0, ">", 3), (-9.0, "<", -3), (1.0, "v", 1)])
def test_a_message_beyond_the_edge_is_marked_at_the_edge(y, marker, place):
    _, axes = style.subplots()
    bells = views._Bells(axes)
    prior = FLOW.prior((1,), dtype=torch.float64)
    after = FLOW.update(prior, torch.tensor([y], dtype=torch.float64), 1.0)
    bells.show(0.0, prior, y, 1.0, after)
    assert bells.mark.get_marker() == marker
    assert bells.mark.get_xdata()[0] == place


@pytest.mark.parametrize("alphas", [[4.0], [0.2], [200.0], [4.0] * 20 + [0.2], [0.2, 200.0, 0.2]])
def test_the_pile_shows_the_parts_of_the_precision_and_its_words_stay_apart(alphas):
    _, axes = style.subplots()
    say = views._Say(axes)
    say.show(alphas)
    total = 1 + sum(alphas)
    parts = [1, sum(alphas[:-1]), alphas[-1]]
    assert [block.get_height() for block in say.blocks] == pytest.approx([p / total for p in parts])
    assert say.total.get_text() == f"precision ρ = {views._number(total)}"
    places = sorted(text.get_position()[1] for text in say.texts if text.get_text())
    assert min(b - a for a, b in itertools.pairwise(places)) > 0.06
    assert places[0] > 0 and places[-1] < 1


# Many messages against one


@pytest.mark.parametrize("kind", views.SPLITS)
def test_a_crowd_lands_where_the_flow_says(kind):
    runs, x, total = 20_000, 0.6, 24.0
    means, theta = views._means(x, views.split(total, 15, kind, generator(1)), runs, generator())
    assert means.shape == (16, runs) and (means[0] == 0).all()
    torch.testing.assert_close(theta.precision, torch.full((runs,), 25.0, dtype=torch.float64))
    mean, std = views.flow_at(x, total)
    assert means[-1].mean() == pytest.approx(mean, abs=5 * std / runs**0.5)
    assert means[-1].std() == pytest.approx(std, rel=5 / (2 * runs) ** 0.5)


def test_the_split_explorer_says_what_the_flow_computes():
    explorer = views.split_explorer()
    explorer.set(total=8.0, n=30, x=-0.5)
    n, total, many, one_of, one, runs, *rest = numbers(explorer.caption)
    assert (n, total, one_of, runs) == (30, 8, 8, 4000)
    assert many == one == pytest.approx(1 / 3, abs=5e-5)
    mean, std = views.flow_at(-0.5, 8.0)
    assert rest[4:] == pytest.approx([mean, std], abs=0.0051)
    assert rest[0::2] == pytest.approx([mean] * 3, abs=5 * std / 4000**0.5 + 0.01)
    assert rest[1::2] == pytest.approx([std] * 3, abs=0.02)


def test_the_outline_of_a_histogram_is_a_density():
    values = torch.randn(5000, generator=generator())
    across, height = views._outline(values, -6.0, 6.0)
    assert float(torch.trapezoid(height, across)) == pytest.approx(1, rel=1e-5)
    assert height[0] == height[-1] == 0


# The schedule


@pytest.mark.parametrize("sigma_1", [0.001, 0.02, 0.5])
def test_all_schedules_rise_from_zero_to_the_same_end(sigma_1):
    t = torch.linspace(0, 1, 201, dtype=torch.float64)
    flow = ContinuousFlow(sigma_1)
    for name in views.RIVALS:
        beta = views.rivals(sigma_1)[name].beta(t)
        assert beta[0] == 0
        assert float(beta[-1]) == pytest.approx(flow.beta(1.0), rel=1e-9)
        assert (beta.diff() > 0).all()
    torch.testing.assert_close(views.rivals(sigma_1)["geometric"].beta(t), flow.beta(t))


def test_only_the_geometric_schedule_makes_entropy_a_straight_line():
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    bend = {n: views.entropy(s.beta(t)).diff().diff() for n, s in views.rivals(0.02).items()}
    assert bend["geometric"].abs().max() < 1e-12
    assert (bend["linear"] > 0).all()
    assert (bend["cosine"] < 0).all()


def test_entropy_is_that_of_a_gaussian_in_nats():
    beta = torch.tensor([0.0, 3.0], dtype=torch.float64)
    expected = [0.5 * math.log(2 * math.pi * math.e / rho) for rho in (1, 4)]
    assert views.entropy(beta).tolist() == pytest.approx(expected)


def test_the_cosine_schedule_lets_the_width_fall_like_a_cosine():
    t = torch.tensor([0.25, 0.5, 1.0], dtype=torch.float64)
    width = (1 + views.rivals(0.02)["cosine"].beta(t)).rsqrt()
    torch.testing.assert_close(width, (math.acos(0.02) * t).cos())


@pytest.mark.parametrize(("sigma_1", "n"), [(0.001, 40), (0.02, 10), (0.5, 2)])
def test_the_schedules_drawn_are_the_entropies_and_shares_of_the_core(sigma_1, n):
    _, (falls, takes) = style.subplots(1, 2)
    drawing = views._Schedules(falls, takes)
    taken = drawing.show(sigma_1, n)
    flow = ContinuousFlow(sigma_1)
    t, nats = (torch.as_tensor(v) for v in drawing.lines["geometric"].get_data())
    start = 0.5 * math.log(2 * math.pi * math.e)
    torch.testing.assert_close(nats, start - 0.5 * torch.log1p(flow.beta(t)))
    torch.testing.assert_close(
        taken["geometric"], torch.full((n,), -math.log(sigma_1) / n, dtype=torch.float64)
    )
    for name, steps in drawing.steps.items():
        heights = torch.as_tensor(steps.get_ydata()[::2])
        assert float(heights.sum()) == pytest.approx(1)
        torch.testing.assert_close(heights, taken[name] / -math.log(sigma_1))
        for line in (drawing.lines[name], steps):  # nothing is cut off
            axes = line.axes
            assert axes.get_ylim()[0] <= line.get_ydata().min()
            assert line.get_ydata().max() <= axes.get_ylim()[1]


def test_the_schedule_explorer_says_what_the_schedule_costs():
    explorer = views.schedule_explorer(sigma_1=0.1, n=5)
    found = numbers(explorer.caption)
    assert found[:6] == pytest.approx([1, 99, 2.30, 3.32, 5, 20.0], abs=0.0051)
    first = 0.5 * math.log(1 + 99 / 5) / math.log(10)
    assert found[6] == pytest.approx(100 * first, abs=0.51)


# The figures at rest


def test_the_figures_show_what_they_are_asked_for():
    assert len(views.message_figure((1.0, 2.0)).axes) == 2
    titles = [axes.get_title("left") for axes in views.split_figure((3, 7), runs=200).axes]
    assert titles == ["3 messages against one", "7 messages against one"]
    titles = [axes.get_title("left") for axes in views.schedule_figure((0.3, 0.1)).axes]
    assert titles[::2] == ["σ₁ = 0.3: entropy", "σ₁ = 0.1: entropy"]
