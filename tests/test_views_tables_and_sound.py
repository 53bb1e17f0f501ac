"""Pictures of tables and of strings show what was computed."""

import re

import pytest
import torch

from bfn_core.data.iris_and_wine import Scale, iris
from bfn_core.data.sound import NOTES, PluckedStrings
from bfn_core.networks.waves import heard_so_far, string_model
from bfn_core.own_clocks import table_model
from bfn_core.training.brief import fit_apart
from bfn_core.views import tables_and_sound as views
from tests.oracles import generator

TABLE = iris()
SCALE = Scale.of(TABLE)
COLUMNS = SCALE.columns(TABLE)
STRINGS = PluckedStrings()


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    bfn = table_model(TABLE, SCALE, hidden=48)
    fit_apart(bfn, COLUMNS, 150)
    return bfn


def test_the_table_explorer_guesses_a_species(model):
    explorer = views.table_explorer(model, TABLE, SCALE)
    explorer.set(row=10, known0=True, known1=True, known2=True, known3=True)
    assert explorer.error is None
    assert re.findall(r"<b>(\w+)</b>", explorer.caption) == ["setosa", "setosa"]
    said = re.findall(r"(?:length|width) ([\d.]+)", explorer.caption)
    assert [float(v) for v in said] == pytest.approx(TABLE.numbers[10].tolist(), abs=0.06)
    before = explorer.png
    explorer.set(row=120, known2=False, known3=False, t=0.4)
    assert explorer.error is None and explorer.png != before
    explorer.set(known_class=True)
    assert "<b>virginica</b> (100 %)" in explorer.caption


def test_rows_dots_and_bars_stand_at_their_values():
    figure = views.clouds_figure({"data": TABLE, "again": TABLE})
    points = figure.axes[0].collections[0].get_offsets()
    assert points[0].tolist() == pytest.approx(TABLE.numbers[0, 2:].tolist())
    summary = {"right": {"BFN": [0.9, 0.01], "other": [0.8, 0.02]}}
    axes = views.rivals_figure({"one": summary, "two": summary}, "right", "share").axes
    assert [axes[1].lines[0].get_xdata()[0]] == [0.9]
    bars = views.pitches_figure([1] * 11 + [13]).axes[0].patches
    assert bars[11].get_height() == pytest.approx(13 / 24)


def test_the_string_explorer_hears_the_note():
    bfn = string_model()
    x, pitch = STRINGS.draw(3, generator(0))
    x = bfn.flow.quantise(x)
    explorer = views.string_explorer(bfn, x, pitch, STRINGS)
    explorer.set(t=1.0, string=1)
    assert explorer.error is None
    note = NOTES[int(pitch[1])]
    assert re.findall(r"<b>(.+?)</b>", explorer.caption) == [note, note]
    explorer.set(t=0.0)
    assert explorer.error is None
    figure = views.strings_figure(bfn, x[:1], STRINGS)
    lines = figure.axes[-1].lines
    assert lines[0].get_ydata().tolist() == pytest.approx(x[0].tolist())
    early, late = (float((heard_so_far(bfn, x, t)[1] - x).square().mean())
                   for t in (0.02, 0.5))
    assert late < early / 4


def test_waves_and_spectra_are_those_of_the_strings():
    wave, pitch = STRINGS.draw(1, generator(3))
    figure = views.sounds_figure({"string": wave[0], "drawn": wave[0] * 0.5}, STRINGS)
    left, right = figure.axes[2].lines[0], figure.axes[3].lines[0]
    assert left.get_ydata().tolist() == pytest.approx((0.5 * wave[0]).tolist())
    hertz, strength = torch.tensor(right.get_xdata()), torch.tensor(right.get_ydata())
    assert float(strength.max()) == 0
    loudest = float(hertz[strength.argmax()]) / float(STRINGS.frequencies[pitch[0]])
    assert loudest == pytest.approx(round(loudest), abs=0.03) and round(loudest) in (1, 2, 3)


def test_each_quarter_of_a_heart_has_its_price_under_it():
    x = torch.linspace(-1, 1, 32)
    figure = views.heart_figure(x, {"one": [3.0, 2.0], "two": [1.0, 4.0], "not": [0.0, 0.0]},
                                ("one", "two"))
    wave, costs = figure.axes
    assert wave.lines[0].get_ydata().tolist() == pytest.approx(x.tolist())
    steps = [patch.get_data() for patch in costs.patches]
    assert [s.values.tolist() for s in steps] == [[3.0, 2.0], [1.0, 4.0]]
    assert steps[0].edges.tolist() == [0, 16, 32]
    assert [t.get_text() for t in costs.get_legend().get_texts()] == ["one", "two"]
