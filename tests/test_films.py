"""The films of the explorers: what they show is what the explorer shows, in little room."""

import io
import json

import ipywidgets
import nbformat
import numpy as np
import pytest
from PIL import Image

from bfn_core.views import bayesian_updates
from bfn_core.views.kit import style
from bfn_core.views.kit.explorer import (
    Explorer,
    button,
    choice,
    count_slider,
    log_slider,
    slider,
    tick,
)
from tools import films
from tools.notebooks import from_percent


def make(controls, **options):
    """An explorer of a line whose height is the sum of what the controls say, as numbers."""
    figure, axes = style.subplots(size=(4, 2))
    (line,) = axes.plot([0, 1], [0, 0])
    axes.set_ylim(-50, 50)

    def update(**values):
        height = sum(value if isinstance(value, (int, float)) else len(value)
                     for value in values.values())
        line.set_ydata([0, height])
        return f"height {height:.4g}"

    return Explorer(figure, update, controls, description="A line.", **options)


def read(path):
    return np.asarray(Image.open(path).convert("RGBA")).astype(int)


def laid_over(first, layer):
    """What the page draws."""
    return np.where(layer[..., 3:] > 127, layer[..., :3], first[..., :3])


@pytest.mark.parametrize(("count", "most", "start"), [(3, 7, 1), (101, 9, 37), (101, 9, 0),
                                                      (101, 9, 100), (50, 2, 20), (2, 2, 1)])
def test_a_few_of_many_places(count, most, start):
    places = films._spread(count, most, start)
    assert {0, start, count - 1} <= set(places)
    assert places == sorted(set(places)) and len(places) <= max(most, 3)


CONTROLS = {
    "slider": (lambda: slider("a", 0, 10, 3), "slide", 11),
    "real": (lambda: slider("a", 0.0, 1.0, 0.35, 0.05), "slide", 21),
    "log": (lambda: log_slider("a", 0.1, 10, 1.0, steps=40), "slide", 41),
    "count": (lambda: count_slider("a", 1, 200, 25), "slide", None),
    "choice": (lambda: choice("a", [("one", 1), ("two", 2)], 2), "choose", 2),
    "list": (lambda: choice("a", list(range(9)), 4), "choose", 9),
    "tick": (lambda: tick("a", True), "choose", 2),
    "button": (lambda: button("a"), "press", films.PRESSES),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_what_a_control_can_be_set_to(name):
    build, kind, count = CONTROLS[name]
    control = build()
    made = films.axis("a", control)
    assert made.kind == kind and len(made.words) == len(made.values)
    assert count is None or len(made.values) == count
    if kind != "press":
        assert made.values[made.start] == control.value
        for value in made.values:  # the widget itself takes each, and shows it as the film does
            control.value = value
            assert control.value == pytest.approx(value)


def test_a_control_of_another_kind_stays_as_it_is():
    assert films.axis("a", ipywidgets.Text("words")) is None


@pytest.mark.parametrize("states", [8, 24, 72])
def test_a_plan_keeps_to_its_states_and_contains_the_first(states):
    explorer = make({"n": slider("n", 0, 30, 7), "kind": choice("kind", [1, 2, 3]),
                     "a": slider("a", 0.0, 1.0, 0.5), "b": button("b")}, play="a")
    axes = films.plan(explorer, states)
    made = films._states(axes)
    assert len(made) <= states and len(made) > states / 3
    first = made[films._first(axes)]
    assert all(explorer.values[name] == value for name, value in first.items())
    assert axes and max(axes, key=lambda a: len(a.values)).name == "a"  # what plays is finest


def test_only_what_is_to_be_filmed_moves():
    explorer = make({"n": slider("n", 0, 30, 7), "a": slider("a", 0, 9, 5)}, filmed=["a"])
    assert [made.name for made in films.plan(explorer, 72)] == ["a"]


def test_a_film_shows_what_the_explorer_shows(tmp_path):
    explorer = make({"n": slider("n", -2, 2, 1), "kind": choice("kind", [10, 20, 30], 20),
                     "b": button("again")})
    told = films.film(explorer, tmp_path / "film")
    assert json.loads((tmp_path / "film" / "film.json").read_text("utf-8")) == told
    axes = films.plan(explorer, len(told["frames"]))
    assert [len(made.values) for made in axes] == [len(c["words"]) for c in told["controls"]]
    states = films._states(axes)
    assert len(states) == len(told["frames"]) == len(told["captions"])
    first = read(tmp_path / "film" / "first.webp")
    differ = 0
    for state, name, caption in zip(states, told["frames"], told["captions"], strict=True):
        pixels, said = explorer.shot(films.DENSITY, **state)
        assert caption == said
        frame = first[..., :3] if name is None else laid_over(
            first, read(tmp_path / "film" / name))
        assert np.abs(frame - pixels).mean() < 1  # of 255: few colours, the same lines
        differ += bool(np.abs(first[..., :3] - pixels).mean() > 1)
    assert told["frames"][told["first"]] is None
    assert states[told["first"]] == {"n": 1, "kind": 20, "b": 0}
    assert differ > len(states) / 2  # or the test above could not fail
    total = sum(path.stat().st_size for path in (tmp_path / "film").glob("*.webp"))
    assert total == told["bytes"] <= films.ROOM


@pytest.mark.parametrize("path", sorted((films.ROOT / "notebooks").glob("*.ipynb")),
                         ids=lambda path: path.stem)
def test_no_two_explorers_of_a_notebook_are_described_alike(path):
    """Their films would be one, and the page would not know which to show."""
    described = [
        "".join(output["data"]["text/plain"])
        for cell in json.loads(path.read_text("utf-8"))["cells"]
        if cell["cell_type"] == "code" and films.EXPLORER.search("".join(cell["source"]))
        for output in cell["outputs"] if "image/png" in output.get("data", {})
    ]
    assert described and len(described) == len(set(described))


def test_a_second_explorer_with_the_same_words_is_not_filmed(tmp_path):
    explorer = make({"n": slider("n", -2, 2, 1)})
    films.film(explorer, tmp_path / "film")
    with pytest.raises(ValueError, match="described alike"):
        films.film(explorer, tmp_path / "film")


def test_few_colours_keep_the_frequent_ones_and_the_nearest_of_the_others():
    grey = np.arange(256, dtype=np.uint8).repeat(16).reshape(64, 64)
    frame = np.dstack([grey, grey // 2, 255 - grey])
    frame[:40] = 255
    frame[40:50] = 252  # nearly as white
    few = films.Palette([frame])
    assert len(np.unique(few.colours, axis=0)) <= films.COLOURS
    assert (few(frame)[:50] == frame[:50]).all()
    assert np.abs(few(frame).astype(int) - frame).max() <= 8
    other = np.full((2, 2, 3), 251, np.uint8)
    assert (few(other) == 252).all()


def test_photographs_take_no_more_room_than_drawings(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (60, 90, 90, 3), dtype=np.uint8)
    figure, axes = style.subplots(size=(6, 5))
    image = axes.imshow(noise[0])

    def update(n):
        image.set_data(noise[n])

    explorer = Explorer(figure, update, {"n": slider("n", 0, 59, 0)}, description="Noise.")
    told = films.film(explorer, tmp_path / "film")
    assert told["bytes"] <= films.ROOM and len(told["frames"]) >= films.FEWEST
    assert told["captions"] == [""]


def test_an_explorer_is_as_before_once_it_was_filmed(tmp_path):
    explorer = make({"n": slider("n", -4, 4, 2)})
    values, png = explorer.values, explorer.png
    films.film(explorer, tmp_path / "film")
    assert explorer.values == values
    explorer.set(n=3)
    explorer.set(n=2)
    assert explorer.png == png


def test_a_message_is_taken_back_where_the_button_was_pressed_less():
    explorer = bayesian_updates.message_explorer()
    fresh = explorer.shot(1.0, send=0)
    sent = explorer.shot(1.0, send=3)
    again = explorer.shot(1.0, send=0)
    assert sent[1] != fresh[1] and (again[0] == fresh[0]).all() and again[1] == fresh[1]


BOOK = """
# %%
from bfn_core.views.kit import style
from bfn_core.views.kit.explorer import Explorer, slider

def line_explorer():
    figure, axes = style.subplots(size=(3, 2))
    (line,) = axes.plot([0, 1], [0, 1])
    return Explorer(figure, lambda n: line.set_ydata([0, n / 9]), {"n": slider("n", 0, 9, 9)},
                    description="A line that rises.")

# %%
line_explorer()

# %%
raise RuntimeError("cells after the last explorer are not run")
"""


def test_the_films_of_a_notebook_are_made_once(tmp_path, capsys):
    path = tmp_path / "book with a space.ipynb"
    nbformat.write(from_percent(BOOK), path)
    assert list(films.missing(tmp_path / "films", [path])) == [path]
    folder = films.gather(tmp_path / "films", [path])
    assert films.missing(folder, [path]) == {}
    (made,) = folder.glob("*/*/film.json")
    assert made.parent == folder / path.stem / films.name_of("A line that rises.")
    stamp = made.stat().st_mtime_ns
    films.gather(folder, [path])
    assert made.stat().st_mtime_ns == stamp
    nbformat.write(from_percent(BOOK.replace("rises", "climbs")), path)
    assert list(films.missing(folder, [path])) == [path]
    films.gather(folder, [path])
    (made,) = folder.glob("*/*/film.json")
    assert made.parent.name == films.name_of("A line that climbs.")
    assert "100%" in capsys.readouterr().err


def test_encoding_loses_nothing_where_it_says_so():
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    data = films.encode(Image.fromarray(picture), lossless=True)
    assert (np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) == picture).all()


def test_a_notebook_that_fails_says_why(tmp_path):
    path = tmp_path / "broken.ipynb"
    nbformat.write(from_percent(BOOK.replace("n / 9", "n / none")), path)
    with pytest.raises(RuntimeError, match=r"(?s)broken\.ipynb could not be filmed.*none"):
        films.gather(tmp_path / "films", [path])
    assert not list((tmp_path / "films").glob("*/digest.txt"))  # the next time it is tried again
