"""Pictures of graphs and molecules show what was computed."""

import json
import math
import re

import pytest
import torch

from bfn_core import ExactBFN
from bfn_core.clocks import TOGETHER, paths
from bfn_core.data.molecules import SCALE, Bent, Molecules, draw_molecule
from bfn_core.data.trees import TREE_FLOW, shape_of, trees
from bfn_core.exact import told_so_far
from bfn_core.views import graphs_and_molecules as views
from tests.oracles import generator

WATER = torch.tensor([[0.0, 0.0, 0.12], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]])
MOLECULES = Molecules(
    ("H2O", "O", "NaCl"), ("", "H", "O", "Na", "Cl"),
    torch.tensor([[2, 1, 1], [2, 0, 0], [3, 4, 0]]),
    torch.stack([WATER, torch.zeros(3, 3), torch.tensor([[0, 0, 1.2], [0, 0, -1.2], [0, 0, 0]])]),
)
POINTS = {"places": MOLECULES.places.double() / SCALE, "kinds": MOLECULES.kinds}
BFN = ExactBFN(paths(5, 2.0, 0.01, TOGETHER)["together"], POINTS)
TIMES = torch.linspace(0, 1, 5)
SURFACE = told_so_far(BFN, TIMES, draws=20)


def test_the_tree_explorer_says_whether_it_is_a_tree():
    x = trees(6)
    explorer = views.tree_explorer({"perfect": ExactBFN(TREE_FLOW, x)}, x)
    explorer.set(t=1.0)
    said = re.findall(r"<b>(.*?)</b> with (\d+)", explorer.caption)
    assert said[1] == ("a tree", "0")
    wrong = []
    for t in (0.1, 0.3, 0.5):
        explorer.set(t=t)
        assert explorer.error is None
        wrong.append([int(n) for n in re.findall(r"with (\d+)", explorer.caption)])
    assert sum(one for one, _ in wrong) > sum(other for _, other in wrong)
    before = explorer.png
    explorer.set(tree=3)
    assert explorer.png != before


def test_an_edge_is_as_dark_as_it_is_likely():
    _, axis = views.style.subplots()
    graph = views._Graph(axis, 4, "#0072B2", "")
    chance = torch.tensor([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    graph.set(chance)
    assert graph.lines.get_colors()[:, 3].tolist() == pytest.approx(chance.tolist())
    starts = [path.vertices.tolist() for path in graph.lines.get_paths()]
    assert len(starts) == 6 and starts[0][0] == pytest.approx([0, 1], abs=1e-6)  # the first on top


def test_bars_of_shapes_add_up():
    x = trees(6)
    sizes = shape_of(x).unique(return_counts=True)[1]
    figure = views.shapes_figure(x, {"one": sizes * 3, "other": sizes.flip(0)})
    bars = [[bar.get_height() for bar in axis.patches] for axis in figure.axes[6:]]
    for place in range(3):
        assert sum(row[place] for row in bars) == pytest.approx(1)
    assert [row[0] for row in bars] == pytest.approx((sizes / 1296).tolist())
    assert [row[0] for row in bars] == pytest.approx([row[1] for row in bars])


def test_the_molecule_explorer_names_the_likeliest_and_the_bill():
    explorer = views.molecule_explorer(BFN, MOLECULES, TIMES, SURFACE)
    explorer.set(kinds=1.0, places=1.0, molecule="NaCl")
    assert explorer.error is None and "<b>NaCl</b> (100 %)" in explorer.caption
    told = float(re.search(r"told <b>([\d.]+)</b>", explorer.caption)[1])
    assert told == pytest.approx(math.log(3), abs=0.02)
    before = explorer.png
    for values in ({"turn": 120}, {"kinds": 0.0, "places": 0.0}):
        explorer.set(**values)
        assert explorer.error is None and explorer.png != before
    assert "told <b>0.00</b>" in explorer.caption


def test_uncertain_atoms_are_mixed_and_faded():
    look = views.Look(MOLECULES.symbols)
    chance = torch.tensor([[0.0, 0, 1, 0, 0], [0.5, 0.5, 0, 0, 0], [0, 0.5, 0.5, 0, 0]])
    colour = look.colour(chance)
    pure = torch.tensor(views.to_rgb(views.ELEMENTS["O"][1]))
    other = torch.tensor(views.to_rgb(views.ELEMENTS["H"][1]))
    torch.testing.assert_close(colour[0], torch.cat([pure, torch.ones(1)]))
    torch.testing.assert_close(colour[1], torch.cat([other, torch.tensor([0.5])]))
    torch.testing.assert_close(colour[2, :3], (pure + other) / 2)
    certain = torch.nn.functional.one_hot(MOLECULES.kinds[0], 5).double()
    assert look.bonds(certain, WATER) == [(0, 1), (0, 2)]
    assert look.bonds(certain, 3 * WATER) == []


def test_turning_keeps_lengths_and_what_is_up():
    places = torch.randn(5, 3, generator=generator(0))
    turn = views.turned(places, 90)
    torch.testing.assert_close(turn[:, 1], places[:, 1])
    torch.testing.assert_close(turn.norm(dim=1), places.norm(dim=1))
    torch.testing.assert_close(turn[:, 0], places[:, 2])


def test_the_film_ends_with_the_molecule_that_was_drawn():
    film = views.molecule_film(BFN, MOLECULES, n=10, seed=1)
    assert len(film.json["frames"]) == 11 and len(json.dumps(film.json)) < 100_000
    chance, places, _ = draw_molecule(BFN, n=10, seed=1)[-1]
    index = MOLECULES.kinds.tolist().index(chance.argmax(1).tolist())
    torch.testing.assert_close(places.float(), MOLECULES.places[index], atol=0.1, rtol=0.0)
    texts = film.json["frames"][-1]["data"][1]["text"]
    names = [symbol or "no atom" for symbol in MOLECULES.symbols]
    found = [names.index(text) for text in texts if text != "undecided"]
    assert [k for k in MOLECULES.kinds[index].tolist() if k] == [k for k in found if k]


def test_paths_and_few_messages_are_drawn_at_their_values():
    ways = {"one": (TIMES, TIMES), "other": (TIMES**3, TIMES)}
    figure = views.paths_figure(TIMES, SURFACE, ways, {"one": (1.0, 0.5), "other": (0.2, 1.3)}, 1.1)
    lines = [line.get_ydata().tolist() for line in figure.axes[0].lines]
    assert lines[1] == pytest.approx((TIMES**3).tolist())
    widths = [bar.get_width() for bar in figure.axes[1].patches]
    assert widths == [1.0, 0.5, 0.2, 1.3]
    rows = {"a": {"5": (2.0, 0.1), "∞": (1.2, 0.1)}, "b": {"5": (3.0, 0.1), "∞": (1.2, 0.1)}}
    axis = views.clocks_figure(rows, 1.1).axes[0]
    assert next(line.get_ydata()[0] for line in axis.lines if len(line.get_ydata()) == 2) == 2.0
    rows = {"n": {"bill": (7.0, 0.1), "trees": (0.9, 0.01)}}
    dots = views.networks_figure(rows, 7.1).axes
    assert [axis.lines[0].get_xdata()[0] for axis in dots] == [7.0, 0.9]


def test_bent_molecules_are_drawn_as_two_histograms():
    family = Bent()
    x = family.draw(300, generator(0))
    noisy = {**x, "places": x["places"] + 0.3}
    figure = views.bent_figure({"the law": x, "samples": noisy}, family)
    assert len(figure.axes) == 2
