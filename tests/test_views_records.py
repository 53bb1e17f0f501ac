"""Charts to read off: what stands under the pointer, and that picture and chart show the same."""

import math

import numpy
import pytest
import torch

from bfn_core.views.kit import letters, records, style
from bfn_core.views.kit.plotly_figure import unpacked

RECORD = {
    "command": "python -m bfn_core.training mnist --seed 0 --run RUN", "device": "cpu",
    "settings": {"steps": 20}, "curve": [{"step": 10, "nats": 90.0}, {"step": 20, "nats": 80.0}],
    "validation": [{"step": 20, "validation": 85.123, "validation_error": 1.25}],
}
ALT = "A curve that falls from left to right."


def still():
    return style.subplots(size=(4, 2))[0]


def test_a_point_says_value_error_and_how_it_was_measured():
    figure = records.curve(RECORD, {"the paper": 77.87}, ALT, limits=(70, 100), unit="nats")
    training, validation = figure.json["data"]
    assert validation["customdata"] == ["85.12 ± 1.2"]
    assert validation["error_y"]["array"] == [2.5]  # two standard errors
    said = validation["hovertemplate"]
    assert said.startswith("<b>validation</b><br>step %{x:,}: %{customdata} nats<br>")
    assert RECORD["command"] in said.replace("<br>", " ") and "cpu" in said
    assert training["y"] == [90.0, 80.0] and "error_y" not in training
    assert figure.alt == ALT


def test_yardsticks_lie_and_are_labelled_where_they_belong_on_a_logarithmic_axis():
    figure = records.curve(RECORD, {"the paper": 77.87}, ALT, limits=(70, 100))
    layout = figure.json["layout"]
    (line,), (label,) = layout["shapes"], layout["annotations"]
    assert line["y0"] == line["y1"] == 77.87  # Plotly takes lines in values, labels in powers
    assert label["y"] == pytest.approx(math.log10(77.87)) and label["text"] == "the paper: 77.87"
    assert layout["yaxis"]["range"] == pytest.approx([math.log10(70), 2])


def test_of_two_yardsticks_near_each_other_the_lower_is_labelled_below():
    series = [records.Series("a", [1, 2], [0.0, 10.0], "#000000")]
    lines = {"low": 5.0, "just above": 5.3, "high": 9.0}
    layout = records.chart(series, still(), ALT, x="x", y="y", yardsticks=lines).json["layout"]
    assert [label["yanchor"] for label in layout["annotations"]] == ["top", "bottom", "bottom"]


def test_numbers_of_messages_are_words_on_their_axis():
    series = [records.Series("a", ["10", "∞"], [2.0, 1.0], "#000000", [0.1, 0.0], "seed <0>")]
    figure = records.chart(series, still(), ALT, x="n", y="nats").json
    assert figure["layout"]["xaxis"]["type"] == "category"
    (trace,) = figure["data"]
    assert trace["customdata"] == ["2 ± 0.1", "1"] and "seed &lt;0&gt;" in trace["hovertemplate"]


def test_ticks_of_a_logarithmic_axis():
    assert records._marks([10, 25, 50, 100])["ticktext"] == ["10", "25", "50", "100"]
    assert records._marks([1000, 9000])["ticktext"] == ["1,000", "2,000", "5,000"]
    assert records._marks(range(3, 60))["tickvals"] == [5, 10, 20, 50]
    assert records._marks([75, 105]) == {}  # too narrow: Plotly finds its own


def test_bars_are_those_of_the_picture():
    results = {"long": (8.0, 0.0), "short, ours": (3.7, 0.05)}
    figure = records.bars(results, ALT, ours=["short, ours"], limit=9, label="bits",
                          notes={"long": "python -m tools.baselines"}).json
    long, short = figure["data"]
    assert (long["x"], long["y"]) == ([8.0], ["long"]) and short["x"] == [3.7]
    assert short["marker"]["color"] == style.COLOURS.output != long["marker"]["color"]
    assert short["customdata"] == ["3.7 ± 0.05"] and "tools.baselines" in long["hovertemplate"]
    axis = records.bits_figure(results, ["short, ours"], 9).axes[0]
    assert [bar.get_width() for bar in axis.patches] == [8.0, 3.7]


# Letters


def test_a_letter_says_its_probability_and_its_price():
    assert letters.priced(0.25) == "0.250, 2.00 bits"
    assert letters.priced(0.0) == "0, impossible"
    assert letters.spoken(" ") == "a space" and letters.spoken("<") == "“&lt;”"


def test_a_heat_map_has_a_cell_for_each_letter_and_position():
    probs = torch.tensor([[0.25, 0.75], [1.0, 0.0], [0.5, 0.5]])
    trace = letters.map_trace(probs, "a ", "#0072B2")
    assert numpy.array_equal(trace.z, probs.double().T)
    assert trace.y == ("“a”", "a space") and trace.x == (1, 2, 3)
    assert trace.customdata[1][1] == "0, impossible"


def test_the_likeliest_letters_stand_in_their_rows_and_nothing_between():
    probs = torch.tensor([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1]])
    trace = letters.likeliest_trace({0: probs, 2: probs.flip(0)}, 3, "abc", "#0072B2", count=2)
    assert [list(row) for row in trace.text] == [["c", "a"], ["", ""], ["a", "c"]]
    assert numpy.isnan(trace.z[1]).all() and trace.z[2] == pytest.approx([0.6, 0.7])
    assert trace.customdata[0][0] == "“c”: 0.700, 0.51 bits<br>“b”: 0.200, 2.32 bits"


def test_a_long_heat_map_keeps_its_rows_when_it_is_written():
    from bfn_core.views.kit import plotly_figure

    probs = torch.full((40, 3), 1 / 3)
    figure = plotly_figure.new([letters.map_trace(probs, "abc", "#0072B2")], height=100)
    (trace,) = plotly_figure.lean(figure)["data"]
    assert unpacked(trace["z"]).shape == (3, 40)
