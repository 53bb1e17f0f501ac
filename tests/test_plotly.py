"""Plotly's figures: lean, the same everywhere, and true to the mathematics they draw."""

import base64
import io
import json
import math
import re
import sys
import types

import nbformat
import numpy
import pytest
import torch
from PIL import Image
from plotly import graph_objects

from bfn_core import ContinuousFlow, DiscreteFlow, ExactBFN, MixedFlow
from bfn_core.data.molecules import SCALE, g2
from bfn_core.one_number import flow_over_data
from bfn_core.views import gaussian_mixture, simplex
from bfn_core.views import graphs_and_molecules as room
from bfn_core.views.kit import plotly_figure, style
from bfn_core.views.kit.plotly_figure import MIME, PlotlyFigure, lean, unpacked
from tests.book import NOTEBOOKS

MOST = 200_000  # bytes of a figure


def thiophene():
    """The film of notebook 15."""
    pytest.importorskip("ase")
    molecules, places = g2(), ContinuousFlow(sigma_1=0.01)
    points = {"places": molecules.places.double() / SCALE, "kinds": molecules.kinds}
    kinds = DiscreteFlow(len(molecules.symbols), beta_1=0.6)
    bfn = ExactBFN(MixedFlow(kinds=kinds, places=places), points)
    return room.molecule_film(bfn, molecules, seed=38)


MADE = {  # what the notebooks show
    "gaussian_mixture.flow_surface()": gaussian_mixture.flow_surface,
    "simplex.tetrahedron()": simplex.tetrahedron,
    "views.molecule_film(chemist, molecules, seed=38)": thiophene,
}


def stored():
    """Every figure of Plotly's in the notebooks: (notebook, the cell's source, MIME bundle)."""
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, 4).cells:
            for output in cell.get("outputs", []):
                if MIME in output.get("data", {}):
                    yield path.stem, cell.source, output.data


def last_line(source):
    return source.split("\n")[-1]


STORED = list(stored())
CHART = re.compile(r"^(\w+\.\w+_chart|records\.(curve|bars))\(", re.M)  # of a record, or of letters


def small():
    x = numpy.linspace(0, 1, 30)
    return plotly_figure.new([graph_objects.Scatter(x=x, y=x**2)], height=300)


def still():
    figure, axes = style.subplots(size=(4, 2))
    axes.plot([0, 1], [0, 1])
    return figure


# The JSON.


def test_an_array_is_the_same_however_it_was_given():
    numbers = numpy.linspace(-1, 2, 40).reshape(2, 20)
    spec = {"dtype": "f8", "bdata": in_base64(numbers), "shape": "2, 20"}
    forms = [numbers[0], numbers[0].tolist(), {**spec, "shape": "40"}]
    first, second, third = (plotly_figure._lean(form) for form in forms)
    assert first == second and (unpacked(first) == unpacked(third)[:20]).all()
    assert plotly_figure._lean(spec) == plotly_figure._lean(numbers)
    assert unpacked(plotly_figure._lean(numbers)).shape == (2, 20)


def in_base64(numbers):
    return base64.b64encode(numbers.astype("<f8").tobytes()).decode()


def test_what_differs_in_the_last_bits_is_written_alike():
    numbers = torch.randn(1000, dtype=torch.float64).numpy()
    numbers[:2] = 0.0, 1e-17
    noise = 1 + 1e-15 * torch.randn(1000, dtype=torch.float64).numpy()
    noisy = numbers * noise
    noisy[:2] = -1e-18, -0.0
    assert plotly_figure._lean(noisy) == plotly_figure._lean(numbers)


@pytest.mark.parametrize("scale", [1e-6, 0.3, 1.0, 7e4])
def test_four_digits_are_kept(scale):
    numbers = scale * numpy.sin(numpy.arange(50.0))
    kept = unpacked(plotly_figure._lean(numbers))
    error = abs(kept - numbers).max() / abs(numbers).max()
    assert 1e-6 < error < 5.1e-4


def test_truths_are_no_numbers_and_infinity_is_one():
    assert plotly_figure._lean([True, False] * 20) == [True, False] * 20
    numbers = numpy.ones(20)
    numbers[4] = math.inf
    assert (unpacked(plotly_figure._lean(numbers)) == numbers).all()


def test_a_gap_in_a_line_stays_one_and_a_short_list_stays_readable():
    numbers = numpy.ones(20)
    numbers[4] = math.nan
    assert numpy.isnan(unpacked(plotly_figure._lean(numbers))).nonzero()[0].tolist() == [4]
    assert plotly_figure._lean([0.1, 0.2]) == [0.1, 0.2]
    assert plotly_figure._lean(["A"] * 40) == ["A"] * 40


def test_the_style_of_the_book_stands_in_the_place_of_plotlys():
    layout = lean(small())["layout"]
    assert layout["template"]["layout"]["colorway"][0] == style.COLOURS.input
    assert set(layout["template"]) == {"layout"}  # Plotly's own names every kind of trace
    assert "width" not in layout  # as wide as its place, on a phone too


# What is put under a cell.


def test_the_bundle_has_the_figure_a_picture_and_a_sentence():
    data, metadata = PlotlyFigure(small(), still(), "A parabola to point at.").bundle()
    assert list(data) == [MIME, "image/jpeg", "text/plain"]  # an image/png would hide it in Lab
    assert metadata == {"image/jpeg": {"width": 400, "alt": "A parabola to point at."}}
    assert Image.open(io.BytesIO(data["image/jpeg"])).size == (500, 250)
    assert json.loads(json.dumps(data[MIME])) == data[MIME]


def test_in_colab_it_is_a_page(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    data, _ = PlotlyFigure(small(), still(), "A parabola to point at.").bundle()
    assert "Plotly.newPlot" in data["text/html"] and "bdata" in data["text/html"]


def test_a_figure_needs_words():
    with pytest.raises(ValueError, match="a sentence that describes"):
        PlotlyFigure(small(), still(), " ")


# In the notebooks.


def test_the_notebooks_show_them():
    assert {last_line(source) for _, source, _ in STORED} >= set(MADE)
    charts = [(name, source) for name, source, _ in STORED if last_line(source) not in MADE]
    assert all(CHART.search(source) for _, source in charts)
    assert {name for name, _ in charts} == {"05_discrete_text", "07_mnist", "08_cifar10",
                                            "09_text8"}


@pytest.mark.parametrize(
    ("source", "data"), [(s, d) for _, s, d in STORED],
    ids=[f"{n}-{i}" for i, (n, _, _) in enumerate(STORED)],
)
def test_a_stored_figure_is_small_right_and_what_is_drawn_today(source, data, record_property):
    """What is drawn of records nbval compares, what of networks' guesses differs by machines."""
    figure = data[MIME]
    size = len(json.dumps(figure))
    print(f"{source}: {size / 1000:.0f} kB")
    record_property("bytes", size)
    assert size <= MOST
    assert data["image/jpeg"] and len(data["text/plain"].split()) > 8
    graph_objects.Figure({key: part for key, part in figure.items() if key != "config"})
    if last_line(source) in MADE:
        made = MADE[last_line(source)]()
        assert made.json == figure and made.alt == data["text/plain"]


def test_no_figure_needs_a_kernel():
    for path in NOTEBOOKS:
        assert "FigureWidget" not in path.read_text("utf-8")


# The tetrahedron.


def test_the_corners_are_equally_far_from_each_other_and_from_the_centre():
    apart = torch.pdist(simplex.PEAKS)
    assert torch.allclose(apart, torch.ones(6).double())
    assert torch.allclose(simplex.PEAKS.sum(0), torch.zeros(3).double(), atol=1e-12)
    thirds = torch.tensor([0, 1 / 3, 1 / 3, 1 / 3])  # in the middle of the face that A is not on
    middle = simplex.place_in_tetrahedron(thirds)
    assert torch.allclose(middle, simplex.PEAKS[1:].mean(0), atol=1e-7)


def test_the_walk_is_the_flow():
    """ln θ_x − mean_k ln θ_k is N(βK, βK · K/(K − 1)) after all messages up to t (185)."""
    x, ways = simplex.walk_of_four(beliefs=4000, n=10)
    assert ways.dtype == torch.float64 and ways.shape == (11, 4000, 4)
    assert torch.allclose(ways.sum(-1), torch.ones(()).double())
    logs = ways.log()
    own = logs[:, torch.arange(4000), x]
    lead = own - (logs.sum(-1) - own) / 3
    for i in (1, 4, 10):
        mean, variance = 16 * (i / 10) ** 2, 16 * (i / 10) ** 2 * 4 / 3
        assert abs(lead[i].mean() - mean) < 4 * math.sqrt(variance / 4000)
        assert abs(lead[i].var() / variance - 1) < 4 * math.sqrt(2 / 4000)
    share = x.bincount(minlength=4) / 4000
    assert ((share - 0.25).abs() < 4 * math.sqrt(0.25 * 0.75 / 4000)).all()


def test_a_dot_lies_where_its_probabilities_put_it():
    figure = simplex.tetrahedron(beliefs=20, n=5).json
    assert [frame["name"] for frame in figure["frames"]] == [f"{i / 5:.2f}" for i in range(6)]
    for frame in figure["frames"]:
        dots = frame["data"][1]
        theta = torch.tensor(unpacked(dots["customdata"])).double()
        assert torch.allclose(theta.sum(-1), torch.ones(20).double(), atol=3e-3)
        drawn = numpy.stack([unpacked(dots[axis]) for axis in "xyz"], -1)
        assert abs(drawn - simplex.place_in_tetrahedron(theta).numpy()).max() < 2e-3
        assert f"t = {frame['name']}" in dots["hovertemplate"]


def test_the_slider_and_the_buttons_know_every_frame():
    figure = simplex.tetrahedron(beliefs=20, n=5, t=0.4).json
    (slider,) = figure["layout"]["sliders"]
    names = [frame["name"] for frame in figure["frames"]]
    assert [step["args"][0] for step in slider["steps"]] == [[name] for name in names]
    assert slider["active"] == 2
    assert figure["data"][1]["x"] == figure["frames"][2]["data"][1]["x"]
    play, stop = figure["layout"]["updatemenus"][0]["buttons"]
    assert play["args"][1]["frame"]["duration"] > 0 and stop["args"][0] == [None]


# The landscape of the flow.


def test_the_surface_is_drawn_from_that_density():
    (surface,) = gaussian_mixture.flow_surface().json["data"]
    times, mu, density = (unpacked(surface[axis]) for axis in "xyz")
    assert density.shape == (len(mu), len(times))
    mu, times = (torch.from_numpy(part.astype("f8")) for part in (mu[:, None], times))
    assert abs(density - flow_over_data(mu, times, gaussian_mixture.DATA).numpy()).max() < 0.01
