"""The views: what an explorer draws, what it puts under its cell, and that its numbers are right.

No kernel and no browser is needed here; tests/browser moves the same explorers in JupyterLab.
"""

import asyncio
import io
import itertools
import re
import sys
import types

import numpy
import pytest
import torch

pytest.importorskip("ipywidgets")
pytest.importorskip("matplotlib")

import ipywidgets
import traitlets
from PIL import Image

from bfn_core.views import gaussian_mixture, start_here
from bfn_core.views.kit import explorer, style

VIEW = "application/vnd.jupyter.widget-view+json"


def pixels(png):
    return numpy.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def two_curves(**options):
    """An explorer with two curves, and the list of what its `update` was called with."""
    x = numpy.linspace(0, 1, 200)
    figure, axes = style.subplots(size=(6.4, 3))
    (rising,) = axes.plot(x, x)
    (waving,) = axes.plot(x, x)
    calls = []

    def update(power, waves, press):
        if power > 3.5:
            raise ValueError("no power above 3.5 <here>")
        calls.append((power, waves, press))
        rising.set_ydata(x**power)
        waving.set_ydata(0.5 + 0.5 * numpy.sin(waves * x))
        return f"power <b>{power:.2f}</b>"

    controls = {
        "power": explorer.slider("power", 0.5, 4.0, 1.0, 0.25),
        "waves": explorer.slider("number of waves", 1, 9, 3),
        "press": explorer.button("press"),
    }
    made = explorer.Explorer(figure, update, controls, description="Two curves.", **options)
    return made, calls


def test_a_moved_control_updates_the_picture_and_the_caption_once():
    made, calls = two_curves()
    before = made.png
    assert made.caption == "power <b>1.00</b>"
    made.controls["power"].value = 2.0
    assert calls == [(1.0, 3, 0), (2.0, 3, 0)]
    assert made.png != before
    assert made.caption == "power <b>2.00</b>"
    made.controls["power"].value = 2.0  # nothing new: no redraw
    assert made.redraws == 2


def drafted():
    """An explorer whose picture has drafts, and the list of what its `show` was called with."""
    calls = []

    def picture(axes):
        (line,) = axes.plot([0, 1], [0, 1])

        def show(height, steps, points=9):
            calls.append((height, steps, points))
            line.set_ydata([0, height])
            return f"{points} points"

        return show

    controls = {"height": explorer.slider("height", 0, 9, 1),
                "steps": explorer.slider("steps", 1, 9, 5)}
    made = explorer.explore(picture, controls, size=(3, 2), description="A line.",
                            draft={"points": 2, "steps": 1})
    return made, calls


def test_where_a_draft_is_given_a_move_draws_it_and_rest_draws_it_out(monkeypatch):
    monkeypatch.setattr(explorer, "REST", 0.05)
    made, calls = drafted()

    async def move():
        for height in (2, 3, 4):
            made.controls["height"].value = height
        assert calls == [(1, 5, 9), (2, 1, 2), (3, 1, 2), (4, 1, 2)]
        assert made.caption == "2 points" + explorer.DRAFT
        await asyncio.sleep(0.4)

    asyncio.run(move())
    assert calls[4:] == [(4, 5, 9)] and made.caption == "9 points"  # once, however many moves


def test_a_control_that_the_draft_replaces_is_heard_at_once(monkeypatch):
    monkeypatch.setattr(explorer, "REST", 0.05)
    made, calls = drafted()

    async def move():
        made.controls["height"].value = 2
        made.controls["steps"].value = 3
        await asyncio.sleep(0.4)

    asyncio.run(move())
    assert calls[1:] == [(2, 1, 2), (2, 3, 9)]


def test_without_an_event_loop_no_draft_is_left_standing():
    made, calls = drafted()
    made.controls["height"].value = 2
    assert calls[1:] == [(2, 5, 9)] and made.caption == "9 points"


def test_several_controls_set_at_once_are_drawn_once():
    made, calls = two_curves()
    made.set(power=2.0, waves=5)
    assert calls[1:] == [(2.0, 5, 0)]
    made.set(power=2.0, waves=5)
    assert made.redraws == 2


def test_what_was_set_before_a_refusal_is_drawn():
    made, calls = two_curves()
    with pytest.raises(KeyError):
        made.set(power=2.0, nope=1)
    assert made.values["power"] == 1.0 and len(calls) == 1
    with pytest.raises(traitlets.TraitError):
        made.set(power=2.0, waves="many")
    assert made.values["power"] == 2.0 and calls[1:] == [(2.0, 3, 0)]


def test_a_button_counts_its_presses():
    made, calls = two_curves()
    made.controls["press"].click()
    made.controls["press"].click()
    assert [press for _, _, press in calls] == [0, 1, 2]
    assert made.values["press"] == 2


def test_an_error_in_a_callback_is_shown_and_the_next_good_value_clears_it():
    made, _ = two_curves()
    made.controls["power"].value = 4.0
    assert isinstance(made.error, ValueError)
    assert "no power above 3.5 &lt;here&gt;" in made.caption
    assert "bfn-error" in made.caption
    made.controls["power"].value = 3.0
    assert made.error is None
    assert "bfn-error" not in made.caption


def test_an_explorer_that_cannot_draw_at_all_is_an_error_in_its_cell():
    figure, _ = style.subplots()
    with pytest.raises(ZeroDivisionError):
        explorer.Explorer(figure, lambda a: 1 / a, {"a": explorer.slider("a", 0, 1, 0)},
                          description="Never drawn.")


def restless(axes):
    """A picture with artists of many kinds, of which any may move, and some lie under others."""
    for panel in axes:  # they lie beneath what moves, so they would differ by a pixel
        panel.spines[:].set_visible(False)
    mesh = axes[0].pcolormesh(numpy.zeros((2, 2)), vmin=0, vmax=1)
    axes[0].axvline(1, color="white", lw=3)  # stands still, above what moves
    band = axes[0].fill_between([0, 2], [0, 0], [1, 1], alpha=0.3)
    (line,) = axes[1].plot([0, 1], [0, 1], label="a line")
    axes[1].text(0.5, 0.5, "stands still", color="red")
    bar = axes[1].bar(0.5, 0.2, width=0.2)[0]
    legend = axes[1].legend(loc="upper left")
    axes[1].set_xlim(0, 2)
    dot = axes[1].inset_axes((0.6, 0.1, 0.3, 0.3)).plot([0], [0], "o")[0]

    def show(value, kind):
        mesh.set_array(numpy.full((2, 2), value))
        band.set_data([0, 2], [0, 0], [value, 2 * value])
        line.set_ydata([0, value])
        bar.set_height(value)
        dot.set_data([value], [value])
        axes[0].set_title(f"{kind}")
        axes[1].set(xlabel=kind, xticks=[0, value], ylim=(0, 2 if kind == "two" else 1))
        legend.get_texts()[0].set_text(kind)
        return f"{kind} {value:.1f}"

    return show


def make_restless(value=0.2, kind="one"):
    controls = {"value": explorer.slider("value", 0.0, 1.0, value),
                "kind": explorer.choice("kind", ["one", "two"], kind)}
    return explorer.explore(restless, controls, size=(6.4, 3), grid=(1, 2), description="Much.")


def test_whatever_moves_is_found_and_drawn_where_it_lies():
    made = make_restless()
    for values in ({"value": 0.9}, {"kind": "two"}, {"value": 0.4, "kind": "one"}):
        made.set(**values)
        quick = pixels(made.png)
        whole = made._canvas.pixels(explorer.DENSITY).astype(int)
        assert (numpy.abs(quick - whole).max(-1) > 60).mean() < 0.0003, values
    assert made.caption == "one 0.4"


def test_a_mesh_with_other_numbers_is_drawn_anew():
    def picture(axes):  # Matplotlib does not mark it as stale
        mesh = axes.pcolormesh(numpy.zeros((2, 2)), vmin=0, vmax=1)
        return lambda value: mesh.set_array(numpy.full((2, 2), value))

    controls = {"value": explorer.slider("value", 0.0, 1.0, 0.0)}
    made = explorer.explore(picture, controls, size=(3, 3), description="A mesh.")
    for value in (0.5, 1.0, 0.0):
        before = made.png
        made.set(value=value)
        assert made.png != before


def test_what_moved_and_came_back_leaves_nothing_behind():
    made = make_restless()
    before = made.png
    made.set(value=0.9, kind="two")
    assert made.png != before
    made.set(value=0.2, kind="one")
    assert made.png == before


def test_only_what_moved_and_what_lies_above_is_drawn_anew(monkeypatch):
    made, _ = two_curves()
    axes = made._canvas._figure.axes[0]
    beneath, above = (axes.plot([0, 1], [0, 1], zorder=zorder)[0] for zorder in (1, 3))
    made._canvas._rest()
    made.set(power=2.0)
    drawn = []
    monkeypatch.setattr(made._canvas._agg, "draw", lambda: drawn.append(1))
    made.set(power=3.0)
    assert not drawn  # but once more, what moved
    assert made._canvas._moving == {*axes.lines} - {beneath}
    assert above in made._canvas._moving


def test_a_picture_at_rest_has_a_panel_for_each_state():
    def picture(axes):
        (line,) = axes.plot([0, 1], [0, 0], label="a line")
        axes.set_ylabel("height")

        def show(height):
            line.set_ydata([0, height])

        return show

    states = {"low": {"height": 1}, "high": {"height": 5}}
    figure = explorer.at_rest(picture, states, size=(6, 3), legend=2)
    assert [axes.get_title("left") for axes in figure.axes] == ["low", "high"]
    assert [axes.get_ylabel() for axes in figure.axes] == ["height", ""]
    assert [list(axes.lines[0].get_ydata()) for axes in figure.axes] == [[0, 1], [0, 5]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a line"]


def test_moving_artists_may_change_the_limits_of_their_axes():
    made, _ = two_curves()
    (axes,) = made._canvas._figure.axes
    before = pixels(made.png)
    axes.set_ylim(-3, 3)
    made._draw()
    ticks = numpy.s_[:, : before.shape[1] // 12]  # left of the axes: only labels are there
    assert (pixels(made.png)[ticks] != before[ticks]).any()


def test_limits_that_come_back_are_not_drawn_again(monkeypatch):
    made, _ = two_curves()
    (axes,) = made._canvas._figure.axes
    fresh = made.png
    limits = axes.get_ylim()
    for high in range(2, 2 + 2 * explorer.STILLS):  # more than are kept
        axes.set_ylim(-high, high)
        made._draw()
    assert len(made._canvas._stills) == explorer.STILLS
    axes.set_ylim(*limits)
    made._draw()
    assert made.png == fresh  # and those that were forgotten are
    drawn = []
    monkeypatch.setattr(made._canvas._agg, "draw", lambda: drawn.append(1))
    axes.set_ylim(-high, high)
    made._draw()
    assert made.png != fresh and not drawn


def test_the_quick_png_holds_exactly_what_was_drawn():
    made, _ = two_curves()
    drawn = numpy.asarray(made._canvas._agg.buffer_rgba())[..., :3]
    assert (pixels(made.png) == drawn).all()


def test_a_map_does_not_take_the_colours_that_mean_something():
    """Many colours of a map leave none of a palette for a few pixels of text."""
    page = numpy.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(numpy.uint8)
    named = [style.COLOURS.input, style.COLOURS.output, style.COLOURS.sender]
    for row, name in enumerate(named):
        page[10 * row : 10 * row + 3, :20] = tuple(bytes.fromhex(name[1:]))
    written = io.BytesIO()
    Image.fromarray(page).save(written, "png")
    small = style.shrink(written.getvalue())
    assert len(Image.open(io.BytesIO(small)).getcolors()) <= 256
    for row, name in enumerate(named):
        assert (pixels(small)[10 * row : 10 * row + 3, :20] == [*bytes.fromhex(name[1:])]).all()


def test_a_few_pale_cells_of_one_map_do_not_take_the_colour_of_another():
    """Colours of many pixels share out a palette by their number."""
    shade = numpy.linspace(0, 1, 500)[:, None]
    blue, green = (255 + shade * (numpy.array(rgb) - 255) for rgb in ((0, 114, 178), (0, 158, 115)))
    page = numpy.repeat(numpy.concatenate([blue, green[::20]])[None], 40, 0).astype(numpy.uint8)
    page[2:, 500:] = 255  # of green two pixels each
    written = io.BytesIO()
    Image.fromarray(page).save(written, "png")
    moved = numpy.abs(pixels(style.shrink(written.getvalue())).astype(int) - page)
    assert moved.max() < 12


def test_the_bundle_is_a_live_view_a_picture_and_a_sentence_that_stays():
    made, _ = two_curves()
    data, metadata = made.bundle()
    assert data[VIEW]["model_id"] == made.model_id
    assert data["text/plain"] == "Two curves."
    assert metadata["image/png"] == {"width": 640, "alt": "Two curves."}
    assert pixels(data["image/png"]).shape == (450, 960, 3)
    assert len(data["image/png"]) < 40_000
    made.set(power=3.0)
    again, _ = made.bundle()
    assert again["text/plain"] == data["text/plain"]
    assert again["image/png"] != data["image/png"]


def test_an_explorer_shows_itself_through_its_bundle(monkeypatch):
    shown = []
    monkeypatch.setattr(style, "display", lambda *bundle: shown.append(bundle))
    made, _ = two_curves()
    made._ipython_display_()
    assert list(shown[0][0]) == [VIEW, "image/png", "text/plain"]


def test_playing_goes_through_every_value_and_follows_the_slider():
    made, calls = two_curves(play="waves")
    (play,) = (w for w in _everything(made) if type(w).__name__ == "Play")
    assert (play.min, play.max, play.value) == (0, 8, 2)
    made.controls["waves"].value = 7
    assert play.value == 6
    play.value = 8
    assert made.controls["waves"].value == 9
    assert [waves for _, waves, _ in calls] == [3, 7, 9]


@pytest.mark.parametrize(
    "control",
    [explorer.slider("a", 0.2, 0.9, 0.5, 0.1), explorer.log_slider("a", 0.01, 10, 0.1, steps=30),
     explorer.count_slider("a", 0.2, 0.9, 0.5, counts=[0.2, 0.7])],
)
def test_playing_reaches_both_ends_of_any_slider(control):
    play = explorer._player(control, 5)
    ends = []
    for value in (play.min, play.max):
        play.value = value
        ends.append(control.value)
    expected = [0.01, 10] if isinstance(control, ipywidgets.FloatLogSlider) else [0.2, 0.9]
    assert ends == pytest.approx(expected)


def _everything(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from _everything(child)


def test_every_label_has_the_room_it_needs():
    few = explorer.choice("a few", [1, 2, 3])
    many = explorer.choice("many", list(range(9)), 4)
    assert (few.value, many.value) == (1, 4)
    for control in (few, many, explorer.slider("s", 0, 1, 0), explorer.log_slider("l", 1, 9, 1)):
        assert control.style.description_width == "initial"


@pytest.mark.parametrize("bad", ["", "  ", None])
def test_a_figure_without_a_description_is_refused(bad):
    figure, _ = style.subplots()
    with pytest.raises(ValueError, match="alt"):
        style.show(figure, bad)
    with pytest.raises(ValueError, match="description"):
        explorer.Explorer(figure, lambda: None, {}, description=bad)


def test_the_colours_stay_apart_for_the_colour_blind():
    """Distances in CIELAB after Machado, Oliveira and Fernandes (2009), full dichromacy."""
    sights = {
        "normal": numpy.eye(3),
        "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                       [-0.003882, -0.048116, 1.051998]],
        "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                         [-0.011820, 0.042940, 0.968881]],
    }
    c = style.COLOURS
    # These pairs are drawn into one panel.
    together = [c.input, c.output, c.data], [c.sender, c.receiver, c.data], [c.flow, c.input]
    for matrix in sights.values():
        for group in together:
            for one, two in itertools.combinations(group, 2):
                assert numpy.linalg.norm(_lab(one, matrix) - _lab(two, matrix)) > 15


def _lab(colour, sight):
    rgb = numpy.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = numpy.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    linear = numpy.clip(numpy.asarray(sight) @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = numpy.array(to_xyz) @ linear / [0.9505, 1, 1.089]
    f = numpy.where(xyz > 0.008856, numpy.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return numpy.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


# The numbers behind the pictures of the one-dimensional flow, against bfn_core.


def test_more_steps_bring_the_samples_closer_to_the_data():
    made = gaussian_mixture.steps_explorer()
    distances = []
    for n in (1, 5, 100):
        made.set(n=n)
        distances.append(float(re.search(r"are ([\d.]+) from", made.caption)[1]))
    floor = float(re.search(r"about ([\d.]+) away", made.caption)[1])
    assert distances[0] > 0.9 and distances[0] > 2 * distances[1] > 4 * distances[2]
    assert distances[2] < 1.6 * floor


def test_the_distance_of_the_data_from_itself_is_the_stated_floor():
    """The caption's yardstick: half the expected sum of |share − mass| over the bins."""
    rng = numpy.random.default_rng(0)
    edges = numpy.linspace(-1.2, 1.2, 81)
    data = gaussian_mixture.DATA
    mass = gaussian_mixture._mass(torch.from_numpy(edges), data).numpy()
    x = rng.choice(data.means, size=(50, 2000)) + data.std * rng.normal(size=(50, 2000))
    shares = [numpy.histogram(row, edges)[0] / 2000 for row in x]
    measured = numpy.mean([0.5 * numpy.abs(share - mass).sum() for share in shares])
    caption = gaussian_mixture.steps_explorer().caption
    assert float(re.search(r"about ([\d.]+) away", caption)[1]) == pytest.approx(measured, rel=0.05)


@pytest.mark.parametrize("knows", [False, True])
def test_the_bill_grows_and_the_belief_sharpens_as_messages_come(knows):
    made = start_here.start_explorer()
    bills, spreads = [], []
    for sent in (0, 4, 16):
        made.set(sent=sent, knows=knows)
        assert made.error is None
        bills.append(float(re.search(r"<b>([\d.]+) bits", made.caption)[1]))
        spreads.append(float(re.search(r"give or take ([\d.]+),", made.caption)[1]))
    assert bills[0] == 0 and bills == sorted(bills) and bills[-1] > 0.5
    assert spreads == [1.0, 0.47, 0.05]


def test_the_flow_explorer_is_alive_on_a_static_page():
    made = gaussian_mixture.flow_explorer(t=0.5)
    data, metadata = made.bundle()
    assert list(data) == [VIEW, "text/html", "image/png", "text/plain"]
    assert data["text/html"].startswith("<iframe title=")
    assert "src=" not in re.sub(r"srcdoc=", "", data["text/html"])
    assert not re.search(r"https?://", made.page())  # nothing is asked of another host
    assert data == gaussian_mixture.flow_explorer(t=0.5).bundle()[0] | {VIEW: data[VIEW]}
    assert metadata["image/png"]["alt"] == data["text/plain"]
    assert "bfn-explorer" in made._dom_classes


def test_the_state_of_the_flow_explorer_can_be_set_from_python():
    made = gaussian_mixture.flow_explorer()
    made.state = {"t": 0.75}
    assert made.state["t"] == 0.75 and made.state["x"] == 0.25
    with pytest.raises(ValueError, match="time"):
        made.state = {"time": 0.5}


@pytest.mark.parametrize(
    ("settings", "word"),
    [({"t": 1.5}, "t must"), ({"sigma_1": 0}, "sigma_1"), ({"steps": 0}, "steps")],
)
def test_settings_out_of_range_are_refused(settings, word):
    with pytest.raises(ValueError, match=word):
        gaussian_mixture.flow_explorer(**settings)


def test_colab_is_spared_the_widget_of_another_maker(monkeypatch):
    def kinds():
        figure, _ = style.subplots()
        controls = {"n": explorer.slider("n", 0, 9, 1)}
        made = explorer.Explorer(figure, lambda n: None, controls, description="Nothing.")
        return {child.__module__.split(".")[0] for child in made.children}

    names = kinds()
    assert "bfn_core" in names  # what names the sliders for a screen reader
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    names = kinds()
    assert names == {"ipywidgets"}
