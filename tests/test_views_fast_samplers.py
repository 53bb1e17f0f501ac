"""The pictures of fast samplers show what the samplers do, and move with every control."""

import re

import numpy
import pytest
import torch

from bfn_core import Solver, data
from bfn_core.number_line import (
    apart,
    bumps_curve,
    error,
    even_noise,
    fixed_std,
    perfect,
    quantiles,
    walk,
)
from bfn_core.views import fast_samplers as views
from tools import fast_samplers as tool
from tools.record import weights


def numbers(caption):
    return [float(n) for n in re.findall(r"(?<![\w.])\d+\.\d+", re.sub(r"<[^>]*>", "", caption))]


def test_the_caption_of_the_paths_is_the_samplers_error():
    explorer = views.paths_explorer()
    for name, n, spacing in (("euler", 5, "time"), ("midpoint", 9, "log"), ("heun", 4, "root")):
        explorer.set(name=name, n=n, spacing=spacing)
        assert explorer.error is None
        x = walk(perfect(), Solver(name, spacing), n, even_noise(400))[2]
        true = apart(x, quantiles("bumps", 400))
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
    assert float(found["euler"]) == pytest.approx(error("bumps", Solver("euler"), 10), abs=6e-5)
    half = error("bumps", Solver("midpoint"), 5)
    assert float(found["midpoint"]) == pytest.approx(half, abs=6e-5)


def test_the_teeth_of_the_bill_start_on_the_curve():
    schedule, curve = perfect().flow.schedule, bumps_curve()
    saws = [line for line in views.bill_figure(4).axes[0].lines if len(line.get_xdata()) == 21]
    assert len(saws) == 4
    for line in saws:
        t, height = float(line.get_xdata()[0]), float(line.get_ydata()[0])
        rate = 0.5 * schedule.rate(t) * float(curve.at(schedule.beta(t)))
        assert height == pytest.approx(rate, rel=0.1)  # 2,000 draws


def test_fixed_noise_is_drawn_with_its_closed_form():
    figure = views.fixed_figure(counts=(1, 5, 40))
    formula, inside = figure.axes[0].lines[:2]
    assert list(formula.get_ydata()) == pytest.approx([fixed_std(n, 0.2) for n in (1, 5, 40)])
    assert float(inside.get_ydata()[-1]) < float(formula.get_ydata()[-1])


def test_the_figures_at_rest_show_what_the_explorers_show():
    figure = views.errors_figure()
    line = next(line for line in figure.axes[1].lines if line.get_label() == "ab2")
    assert list(line.get_xdata()) == [n + 2 for n in views.COUNTS]
    assert line.get_ydata()[2] == error("bumps", Solver("ab2"), views.COUNTS[2])
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
