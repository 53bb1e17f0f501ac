"""The pictures of fast samplers show what the samplers do, and move with every control."""

import math
import re

import numpy
import pytest
import torch

from bfn_core import Solver, data
from bfn_core.samplers import Ancestral
from bfn_core.views import fast_samplers as views
from tests.oracles import generator
from tools import fast_samplers as tool
from tools.record import weights


def numbers(caption):
    return [float(n) for n in re.findall(r"(?<![\w.])\d+\.\d+", re.sub(r"<[^>]*>", "", caption))]


def test_the_normal_network_is_bayes_rule():
    bfn = views.Normal(0.2, 0.3)
    theta = bfn.flow.sample_flow(torch.full((5, 1), 0.1).double(), 0.4, generator(0))
    beta = bfn.flow.beta(0.4)
    s = (1 + beta) * theta.mean
    posterior = (0.2 / 0.3**2 + s) / (1 / 0.3**2 + beta)  # precision-weighted mean
    torch.testing.assert_close(bfn.output(theta, 0.4).mean, posterior)


def test_a_normals_closed_forms_are_what_samplers_do():
    bfn = views.Normal()
    x = views.walk(bfn, Ancestral(), 10, None, count=100_000)[2]
    assert float(x.std()) == pytest.approx(views.ancestral_std(10), rel=0.01)
    x = views.walk(bfn, Solver("midpoint"), 40, views.even_noise(200))[2]
    torch.testing.assert_close(x, views.quantiles("normal", 200), rtol=0, atol=1e-4)
    # W₁ between two normals of one mean is the difference of their spreads times E|z|.
    wrong = abs(float(views.quantiles("normal", 4000).std()) - float(views.ancestral_std(10)))
    assert views.error("normal", "ancestral", 10) == pytest.approx(
        wrong * math.sqrt(2 / math.pi), rel=0.01)


def test_distances_between_samples():
    x = torch.tensor([0.3, -0.1, 0.2])
    assert views.apart(x, torch.tensor([0.0, 0.2, 0.3])) == pytest.approx(0.1 / 3)
    true = views.quantiles("bumps", 500)
    masses = [float((true < edge).double().mean()) for edge in (-0.5, 0.0, 0.5)]
    assert masses == pytest.approx([0.1, 0.3, 0.6], abs=0.01)  # the weights, added up
    assert 0.002 < views.chance(2000) < 0.03
    many, few = views.ends("bumps", 1000), views.ends("bumps", 200)
    assert views.apart(few, true[2::5].clone()[:100].repeat_interleave(2)) < 0.02
    assert abs(float(many.mean() - few.mean())) < 1e-3


def test_the_caption_of_the_paths_is_the_samplers_error():
    explorer = views.paths_explorer()
    for name, n, spacing in (("euler", 5, "time"), ("midpoint", 9, "log"), ("heun", 4, "root")):
        explorer.set(name=name, n=n, spacing=spacing)
        assert explorer.error is None
        x = views.walk(views.perfect(), Solver(name, spacing), n, views.even_noise(400))[2]
        true = views.apart(x, views.quantiles("bumps", 400))
        assert numbers(explorer.caption)[0] == pytest.approx(true, abs=6e-5)
        assert f"{Solver(name).calls(n)} calls" in explorer.caption
    explorer.set(name="ab2", noise=1.0)
    assert "random draws" in explorer.caption


@pytest.mark.parametrize("make", [views.paths_explorer, views.errors_explorer])
def test_every_control_changes_the_picture(make):
    explorer = make()
    for name, control in explorer.controls.items():
        before = explorer.png
        options = getattr(control, "options", None)
        if options:
            values = [o[1] if isinstance(o, tuple) else o for o in options]
            others = [value for value in values if value != control.value]
            explorer.set(**{name: others[len(others) // 2]})
        else:
            explorer.set(**{name: control.max})
        assert explorer.error is None, name
        assert explorer.png != before, name


def test_who_is_best_within_a_budget():
    explorer = views.errors_explorer(budget=11)
    assert "Within 11 calls ab2 is nearest" in explorer.caption
    found = dict(re.findall(r"(\w[\w ]*) (\d\.\d+)", explorer.caption.split("</b>")[1]))
    assert float(found["euler"]) == pytest.approx(views.error("bumps", "euler", 10), abs=6e-5)
    assert float(found["midpoint"]) == pytest.approx(views.error("bumps", "midpoint", 5), abs=6e-5)


def test_the_saw_of_a_bill_adds_up_to_the_bill():
    """½ Σ α_i mmse(t_{i−1}) falls to ½ ∫ mmse dβ; the picture's curve is the mean squared error."""
    flow, points = views.perfect().flow, 40
    times = torch.linspace(0, 1, points + 1, dtype=torch.float64)
    curve = views.mmse(times)
    assert float(curve[0]) == pytest.approx(float(views.quantiles("bumps", 2000).var()), rel=0.01)
    assert bool((curve[1:] < curve[:-1]).all())
    bills = [0.5 * sum(flow.alpha(i, n) * float(curve[(i - 1) * points // n])
                       for i in range(1, n + 1)) for n in (10, 20, 40)]
    assert bills[0] > bills[1] > bills[2]
    figure = views.bill_figure(4)
    saws = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 21]
    assert len(saws) == 4
    for line in saws:
        t, height = float(line.get_xdata()[0]), float(line.get_ydata()[0])
        rate = 0.5 * flow.schedule.rate(t) * float(views.mmse(torch.tensor([t]).double())[0])
        assert height == pytest.approx(rate, rel=1e-6)


def test_fixed_noise_is_drawn_with_its_closed_form():
    figure = views.fixed_figure(counts=(1, 5, 40))
    formula, inside = figure.axes[0].lines[:2]
    assert list(formula.get_ydata()) == pytest.approx([views.fixed_std(n, 0.2) for n in (1, 5, 40)])
    assert float(inside.get_ydata()[-1]) < float(formula.get_ydata()[-1])


def test_the_figures_at_rest_show_what_the_explorers_show():
    figure = views.errors_figure()
    line = next(line for line in figure.axes[1].lines if line.get_label() == "ab2")
    assert list(line.get_xdata()) == [n + 2 for n in views.COUNTS]
    assert line.get_ydata()[2] == views.error("bumps", "ab2", views.COUNTS[2])
    figure = views.paths_figure(("euler", "fixed noise"), 6)
    assert [axis.get_title("left") for axis in figure.axes[:2]] == [
        "euler, 7 calls", "fixed noise, 7 calls"]


def test_quality_is_drawn_from_the_record():
    rows = {f"{name} {calls}": {"sampler": name, "calls": calls,
                                "ink": {"mean": calls / 100, "error": 0.01}}
            for name in ("ancestral", "ab2") for calls in (51, 11)}
    record = {"mnist": {"real": {"ink": {"mean": 0.13, "error": 0.0}}, "rows": rows}}
    figure = views.quality_figure(record, [("mnist", "ink", "Ink"), ("mnist", "ink", "Ink")])
    bars = figure.axes[0].containers
    assert len(bars) == 2
    assert list(bars[0].lines[0].get_ydata()) == [0.11, 0.51]  # by calls
    ends = bars[0].lines[2][0].get_segments()[0]
    assert numpy.ptp(ends[:, 1]) == pytest.approx(4 * 0.01)


# The record of the shipped models ----------------------------------------------------------------


def test_the_record_is_of_the_weights_that_are_shipped():
    record = data.record("fast_samplers")
    for name, count in tool.COUNTS.items():
        again = f"python -m tools.fast_samplers {name}"
        assert record[name]["weights"] == weights(name), f"measured on others: {again}"
        assert record[name]["samples"] == count, again
        for label in tool.SAMPLERS:
            for calls in tool.CALLS:
                if calls < max(tool.CALLS) or label in tool.LONG:
                    row = record[name]["rows"][f"{label}, {calls} calls"]
                    assert row["calls"] == calls and row["seconds"] > 0
                    assert set(record[name]["real"]) < set(row)


def test_rows_of_weights_that_are_no_longer_shipped_are_dropped(monkeypatch):
    monkeypatch.setattr(tool, "SAMPLERS", {})  # so that no row is measured
    task = (None, (), lambda real: {"seen": len(real)}, torch.zeros(3))
    record = {"mnist": {"weights": "0123abcd", "samples": 200, "real": {}, "rows": {"row": {}}}}
    tool.measured("mnist", 21, record, task)
    assert record["mnist"] == {
        "weights": weights("mnist"), "samples": 200, "real": {"seen": 3}, "rows": {}}
    record["mnist"]["rows"]["row"] = {}
    tool.measured("mnist", 21, record, task)
    assert "row" in record["mnist"]["rows"]
