"""The explorer: sliders, one persistent picture, and a line of live numbers.

A picture is a function that draws once, on axes that it is given, and returns its `show`: what
each value changes in it. One picture serves twice, to drag and at rest:

    def picture(axes):
        (line,) = axes.plot(x, x)

        def show(power):
            line.set_ydata(x**power)
            return f"Half way it is {0.5**power:.3f}."

        return show

    explore(picture, {"power": slider("power of x", 0, 4, 1)}, size=(7.2, 3.2),
            description="A power of x: drag the power and the curve bends.")

    figure = at_rest(picture, {"a root": {"power": 0.5}, "a square": {"power": 2}}, size=(7.2, 3))
"""

import asyncio
import html
import math
import pathlib
import struct
import sys
import traceback
import zlib
from functools import partial

import anywidget
import ipywidgets
import numpy
import torch
import traitlets
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import FigureBase
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.spines import Spine
from matplotlib.text import Text

from . import style

CSS = """<style>
.bfn-explorer {max-width: 940px; box-sizing: border-box}
.bfn-explorer .bfn-controls > * {margin: 2px 18px 2px 2px}
.bfn-explorer .bfn-controls .widget-slider {height: auto; flex-wrap: wrap}
.bfn-explorer .bfn-controls .widget-slider > .widget-label {
  flex: 1 0 100%; width: 100%; max-width: none; text-align: left; line-height: 20px; height: 20px}
.bfn-explorer .bfn-controls .slider-container {flex: 1 1 0; min-width: 60px; width: auto}
.bfn-explorer .bfn-controls .widget-readout {flex: 0 0 auto; min-width: 40px; text-align: right}
.bfn-explorer .bfn-picture img {max-width: 100%; height: auto; border-radius: 4px}
.bfn-explorer .bfn-caption .widget-html-content {line-height: 1.45; white-space: normal}
</style>"""
JAVASCRIPT = pathlib.Path(__file__).parent / "javascript"
DRAFT = ' <span class="bfn-draft" style="color: #767676">(A draft, while it moves.)</span>'
DENSITY = 1.5  # pixels of a live picture per CSS pixel: sharp enough, and half the work of 2
REST = 0.2  # seconds without a move after which a draft is drawn out
STILLS = 8  # of what stands still, kept for as many limits of the axes


# The controls. Each is an ordinary ipywidget; these helpers give it a label that is never cut off.


def _dress(control, width):
    control.style.description_width = "initial"
    control.layout.width = f"{width}px"
    control.layout.max_width = "95%"
    return control


def slider(label, low, high, value, step=None, *, digits=2, width=230):
    """A slider from `low` to `high`; over the integers if all its numbers are."""
    numbers = (low, high, value) + (() if step is None else (step,))
    options = {"min": low, "max": high, "value": value, "description": label}
    if all(isinstance(number, int) for number in numbers):
        return _dress(ipywidgets.IntSlider(step=step or 1, **options), width)
    step = step or (high - low) / 100
    form = f".{digits}f"
    return _dress(ipywidgets.FloatSlider(step=step, readout_format=form, **options), width)


def log_slider(label, low, high, value, *, steps=60, width=230):
    """A slider whose value grows by a factor per step, from `low` to `high` (both above 0)."""
    first, last = math.log10(low), math.log10(high)
    control = ipywidgets.FloatLogSlider(
        base=10,
        min=first,
        max=last,
        step=(last - first) / steps,
        value=value,
        description=label,
        readout_format=".3g",
    )
    return _dress(control, width)


def count_slider(label, low, high, value, *, factor=1.1, counts=(), width=230):
    """A slider over whole numbers from `low` to `high` that grows by a factor, or at least by 1; or
    over these `counts`, from the lowest to the highest.

    Each press of an arrow key moves it to another number, which rounding a `log_slider` does not.
    """
    counts = list(counts) or [low]
    while counts[-1] < high:
        counts.append(min(high, max(counts[-1] + 1, round(counts[-1] * factor))))
    options = {"options": sorted({*counts, value}), "value": value, "description": label}
    return _dress(ipywidgets.SelectionSlider(**options), width)


def choice(label, options, value=None, *, width=None):
    """One of a few things: buttons side by side up to four, otherwise a list that drops down.

    `options` is a list of values, or of (name, value).
    """
    options = list(options)
    if value is None:
        value = options[0][1] if isinstance(options[0], tuple) else options[0]
    few = len(options) <= 4
    kind = ipywidgets.ToggleButtons if few else ipywidgets.Dropdown
    control = kind(options=options, value=value, description=label)
    _dress(control, width or 230)
    if few:
        control.style.button_width = "auto"
        control.layout.width = "auto" if width is None else f"{width}px"
    return control


def tick(label, value=False, *, width=230):
    """A box to tick."""
    control = ipywidgets.Checkbox(value=value, description=label, indent=False)
    return _dress(control, width)


def button(label, *, width=None):
    """A button; its value for `update` is how often it was pressed."""
    control = ipywidgets.Button(description=label)
    control.layout.width = "auto" if width is None else f"{width}px"
    return control


class Explorer(ipywidgets.VBox):
    """Controls, one Matplotlib figure that they change, and a caption.

    Args:
      figure: a Matplotlib figure, drawn once; the explorer keeps it and takes it out of pyplot.
      update: called as `update(**values)` with the value of every control, by name; it changes
        artists of `figure` and may return a caption, a string of HTML.
      controls: a dict from name to ipywidgets control. A button's value is how often it was
        pressed.
      description: one sentence on what the picture shows. It stands for the picture where nothing
        can be displayed, and must be the same in every run.
      play: the name of a slider that gets buttons to play and stop.
      seconds: how long the playing takes from the first to the last value.
      filmed: the names of the controls that move on the website, the most important first; the
        rest stays where it stands there. None: all, as far as there is room.
      draft: for a picture that takes long: further arguments of `update`, such as fewer steps, with
        which it is drawn while something moves; once all rests, it is drawn without them. A control
        of that name is heard at once.

    An error in the first `update` is raised; a later one is shown in the caption, in red, and kept
    in `error`.
    """

    def __init__(self, figure, update, controls, *, description, play=None, seconds=5,
                 filmed=None, draft=None):
        if not isinstance(description, str) or not description.strip():
            raise ValueError(f"description must be a sentence, but is {description!r}")
        if play is not None and play not in controls:
            raise ValueError(f"play must be one of {list(controls)}, but is {play!r}")
        self._canvas = _Canvas(figure)
        self._update = update
        self._held = False
        self._draft = dict(draft or {})
        self._drawn_out = None  # what will draw a draft out
        self.controls = dict(controls)
        self.description = description
        self.error = None
        self.redraws = 0
        self.plays, self.seconds = play, seconds
        self.filmed = sorted(controls, key=lambda name: name != play) if filmed is None else filmed
        self._presses = {
            name: 0 for name, c in controls.items() if isinstance(c, ipywidgets.Button)
        }

        self._image = ipywidgets.Image(format="png")
        self._image.layout.width = f"{self._canvas.width}px"
        self._image.layout.max_width = "100%"
        self._image.layout.object_fit = "contain"
        self._image.add_class("bfn-picture-image")
        # Its name for a screen reader. ipywidgets 8 asks for a `description` before it shows a
        # tooltip, and an Image has none (7 has no tooltips either).
        self._image.add_traits(description=traitlets.Unicode("").tag(sync=True))
        self._image.tooltip = description
        self._caption = ipywidgets.HTML()
        self._caption.add_class("bfn-caption")

        self._draw()  # raises: an explorer that cannot draw at all should not be shown
        for name, control in self.controls.items():
            if name in self._presses:
                control.on_click(lambda _, name=name: self._press(name))
            else:
                control.observe(partial(self._changed, name), "value")
        super().__init__(self._arrange(play, seconds))
        self.add_class("bfn-explorer")

    @property
    def values(self):
        """The value of every control, by name."""
        return {
            name: self._presses[name] if name in self._presses else control.value  # noqa: SIM401
            for name, control in self.controls.items()
        }

    @property
    def caption(self):
        """The line under the picture, as HTML."""
        return self._caption.value

    @property
    def png(self):
        """The picture, as the bytes of a PNG."""
        return self._image.value

    def set(self, **values):
        """Move several controls at once, and draw once, even where a value is refused."""
        moved = [(self.controls[name], value) for name, value in values.items()]
        before = self.values
        self._held = True
        try:
            for control, value in moved:
                control.value = value
        finally:
            self._held = False
            if self.values != before:
                self._redraw()

    def shot(self, density, **values):
        """How it looks with these values, wherever the controls stand.

        Args:
          density: pixels per CSS pixel.
          values: of controls, by name; for a button, how often it was pressed.

        Returns:
          The picture as (height, width, 3) bytes, and the caption.
        """
        with style.context():
            caption = self._update(**{**self.values, **values})
            return self._canvas.pixels(density), caption or ""

    def _arrange(self, play, seconds):
        row = []
        for name, control in self.controls.items():
            if name == play:
                row.append(_player(control, seconds))
            row.append(control)
        controls = ipywidgets.Box(row)
        controls.add_class("bfn-controls")
        controls.layout.flex_flow = "row wrap"
        controls.layout.align_items = "flex-end"
        picture = ipywidgets.Box([self._image])
        picture.add_class("bfn-picture")
        picture.layout.overflow = "hidden"
        names = () if "google.colab" in sys.modules else (_Names(),)
        if self._canvas.width <= 600:  # room for the controls at the side
            controls.layout.flex = "1 1 250px"
            controls.layout.max_width = "300px"
            controls.layout.align_content = "flex-start"
            picture.layout.flex = f"0 1 {self._canvas.width}px"
            beside = ipywidgets.Box([controls, picture])
            beside.layout.flex_flow = "row wrap"
            return (ipywidgets.HTML(CSS, layout={"display": "none"}), beside, self._caption, *names)
        sheet = ipywidgets.HTML(CSS, layout={"display": "none"})
        return (sheet, controls, picture, self._caption, *names)

    def _press(self, name):
        self._presses[name] += 1
        self._redraw()

    def _changed(self, name, change):
        if self._held:
            return
        loop = _loop() if self._draft and name not in self._draft else None
        self._redraw(self._draft if loop else None)
        if loop:
            self._drawn_out = loop.call_later(REST, self._redraw)

    def _redraw(self, draft=None):
        if self._drawn_out:
            self._drawn_out.cancel()
            self._drawn_out = None
        try:
            self._draw(draft)
        except Exception as error:  # noqa: BLE001 - the reader sees it
            self.error = error
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{place.filename.rsplit('/', 1)[-1]}, line {place.lineno}"
            self._caption.value = (
                '<span class="bfn-error" style="color:#C00000"><b>This setting cannot be drawn.'
                f"</b> {html.escape(type(error).__name__)}: {html.escape(str(error))} ({where})"
                "</span>"
            )

    def _draw(self, draft=None):
        with style.context():
            caption = self._update(**{**self.values, **(draft or {})})
            self._image.value = self._canvas.png()
        self._caption.value = (caption or "") + (DRAFT if draft else "")
        self.error = None
        self.redraws += 1

    def bundle(self):
        """What is put under the cell: the live view, a picture of this state and a sentence."""
        data, metadata = style.bundle(style.shrink(self.png), self._canvas.width, self.description)
        return {VIEW: view(self), **data}, metadata

    def _ipython_display_(self, **_):
        # ipywidgets 7 displays itself through this method, ipywidgets 8 through
        # _repr_mimebundle_. IPython asks for this one first, so that it serves both.
        style.display(*self.bundle())


def explore(picture, controls, *, description, size, grid=(1, 1), play=None, seconds=5,
            filmed=None, draft=None, **layout):
    """An `Explorer` of a picture.

    Args:
      picture: called with the axes as `Figure.subplots` gives them; draws once, and returns
        `show`, which changes what it drew and may return a caption, see `Explorer`.
      controls, description, play, seconds, filmed, draft: as in `Explorer`.
      size, grid, layout: of the figure, its rows and columns, and options of `Figure.subplots`.
    """
    figure, axes = style.subplots(*grid, size=size, **layout)
    return Explorer(figure, picture(axes), controls, description=description, play=play,
                    seconds=seconds, filmed=filmed, draft=draft)


def at_rest(picture, states, *, size, rows=1, legend=0, **layout):
    """A figure of a picture in several states, side by side, with labels on the left only.

    Args:
      picture: as in `explore`; it is called with an axes for each state, or with a column of them.
      states: from the title of a state to the arguments of `show`.
      rows: of axes in a column.
      legend: its columns; of what has a label in the first state, below all.
      layout: options of `Figure.subplots`.
    """
    figure, axes = style.subplots(rows, len(states), size=size, squeeze=False, **layout)
    for column, (title, values) in zip(axes.T, states.items(), strict=True):
        picture(column[0] if rows == 1 else column)(**values)
        column[0].set_title(title)
        for panel, first in zip(column, axes[:, 0], strict=True):
            if panel is not first and panel.get_ylabel() == first.get_ylabel():
                panel.set_ylabel("")
    if legend:
        found = {}
        for panel in axes[:, 0]:
            found |= dict(zip(*panel.get_legend_handles_labels()[::-1], strict=True))
        figure.legend(found.values(), found, loc="outside lower center", ncols=legend)
    return figure


class _Names(anywidget.AnyWidget):
    """Ties the sliders of the explorer that it stands in to their labels, for a screen reader.

    Nothing is seen of it. Colab is done without: it shows a widget of another maker's only where
    the cell's output says where it comes from, and one that fails must not take the rest along.
    """

    _esm = (JAVASCRIPT / "names.js").read_text(encoding="utf-8")


def _loop():
    """The event loop in which a kernel hears of a control; None where there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


VIEW = "application/vnd.jupyter.widget-view+json"


def view(widget):
    """The entry of a MIME bundle that stands for a live widget."""
    return {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}


def _player(control, seconds):
    """Buttons that move a slider through all its values."""
    listed = isinstance(control, ipywidgets.SelectionSlider)
    steps = (len(control.options) - 1 if listed
             else round((control.max - control.min) / control.step))
    play = ipywidgets.Play(min=0, max=steps, value=0, interval=max(60, 1000 * seconds / steps))
    play.show_repeat = False  # a button that by itself changes nothing only puzzles
    play.layout.width = "auto"
    scale = math.log10 if isinstance(control, ipywidgets.FloatLogSlider) else float

    def forward(change):
        if listed:
            control.index = change["new"]
            return
        position = control.min + change["new"] * control.step
        if isinstance(control, ipywidgets.FloatLogSlider):
            control.value = min(control.base**position, control.base**control.max)
        else:
            control.value = type(control.value)(min(round(position, 9), control.max))

    def back(change=None):
        play.value = (control.index if listed
                      else round((scale(control.value) - control.min) / control.step))

    back()
    play.observe(forward, "value")
    control.observe(back, "value")
    return play


class _Canvas:
    """A figure that is drawn again and again, into a PNG that is quick to make.

    Only what moved is drawn anew, and what lies above it, over a picture of all else. What moved
    is what Matplotlib marks as stale between two drawings. Once it has moved, it is taken to move.
    """

    def __init__(self, figure):
        style.release(figure)
        self.width = round(figure.get_figwidth() * style.CSS_DPI)
        figure.set_dpi(DENSITY * style.CSS_DPI)
        self._agg = FigureCanvasAgg(figure)
        self._figure = figure
        self._moving = set()
        self._stills = {}  # the pixels of everything that does not move, by the axes' frames
        self._settled = False
        self._arrays = {}
        self._rest()

    def _rest(self):
        """Take everything as drawn: what becomes stale from now on has moved."""
        for _, artists in _layers(self._figure):
            for artist in artists:
                _calm(artist)
                if isinstance(artist, ScalarMappable):  # its `set_array` does not mark it
                    self._arrays[artist] = artist.get_array()

    def _moved(self, artist):
        if isinstance(artist, ScalarMappable) and artist not in self._moving:
            return _stale(artist) or artist.get_array() is not self._arrays.get(artist)
        return artist in self._moving or _stale(artist)

    def _find(self):
        """Add to what moves; return it in the order in which it is drawn."""
        order = []
        for parent, artists in _layers(self._figure):
            below = False
            for artist in artists:
                moved = self._moved(artist)
                if moved or (below and not _stands_aside(parent, artist)):
                    order.append(artist)
                below = below or moved
        if not self._moving.issuperset(order):
            self._moving.update(order)
            self._stills.clear()
            for artist in order:
                artist.set_animated(True)
        return order

    def png(self):
        moving = self._find()
        if not self._settled:
            self._agg.draw()
            # The layout is found once: to find it anew costs as much as the drawing, and axes
            # that shift while one drags are hard to read.
            self._figure.set_layout_engine("none")
            self._settled = True
        self._agg.restore_region(self._still())
        for artist in moving:
            _as_arrays(artist)
            self._figure.draw_artist(artist)
        self._rest()
        return _encode(_rgb(self._agg))

    def _still(self):
        """What does not move, drawn unless it was a moment ago: an axis that grows and shrinks
        while one drags comes back to the same few limits, and its ticks take long to draw.
        """
        frames = tuple(_frame(parent) for parent, _ in _layers(self._figure))
        if frames in self._stills:
            self._stills[frames] = self._stills.pop(frames)  # the last to go
        else:
            if len(self._stills) == STILLS:
                del self._stills[next(iter(self._stills))]
            self._agg.draw()
            self._stills[frames] = self._agg.copy_from_bbox(self._figure.bbox)
        return self._stills[frames]

    def pixels(self, density):
        """The figure drawn once at another density, as (height, width, 3) bytes."""
        if not self._settled:
            self.png()
        before = self._figure.get_dpi()
        for artist in self._moving:
            artist.set_animated(False)
        self._figure.set_dpi(density * style.CSS_DPI)
        try:
            self._agg.draw()
            return _rgb(self._agg)
        finally:
            self._figure.set_dpi(before)
            for artist in self._moving:
                artist.set_animated(True)
            self._stills.clear()  # of the other density
            self._rest()


def _layers(parent):
    """A figure and the axes in it, each with its artists, in the order in which they are drawn."""
    if not parent.get_visible():
        return
    children = sorted(parent.get_children(), key=lambda child: child.get_zorder())
    inner = [child for child in children if isinstance(child, (Axes, FigureBase))]
    # What lies beneath all never moves; axes of a second scale (no `Axes`) follow their parent.
    own = [child for child in children if child not in inner and child is not parent.patch
           and not isinstance(child, Axis) and not hasattr(child, "viewLim")]
    if isinstance(parent, Axes):
        yield parent, own
    for child in inner:
        yield from _layers(child)
    if not isinstance(parent, Axes):  # its legends and texts lie above its axes
        yield parent, own


def _frame(parent):
    """What the look of the still part of axes depends on, besides its artists."""
    if not isinstance(parent, Axes):
        return None
    axes = (parent.xaxis, parent.yaxis)
    return (id(parent), parent.viewLim.frozen().bounds,
            *((axis.label.get_text(), axis.get_major_locator(), axis.get_major_formatter())
              for axis in axes))


def _stands_aside(parent, artist):
    """Whether an artist takes long to draw, and hides none of the data: a spine, title, legend."""
    outside = isinstance(artist, Text) and artist not in parent.texts
    return outside or isinstance(artist, (Legend, Spine))


def _stale(artist):
    return artist.stale or any(map(_stale, artist.get_children()))


def _calm(artist):
    artist.stale = False
    for child in artist.get_children():
        _calm(child)


def _as_arrays(artist):
    """Give a line that was given tensors arrays: Matplotlib would take tensors apart, number by
    number, to see what is in them, which takes longer than the drawing.
    """
    if isinstance(artist, Line2D):
        data = artist.get_data(orig=True)
        if any(isinstance(part, torch.Tensor) for part in data):
            artist.set_data(*map(numpy.asarray, data))


def _rgb(agg):
    """The canvas as (height, width, 3) bytes; channel by channel, as pixel by pixel is slow."""
    four = numpy.asarray(agg.buffer_rgba())
    three = numpy.empty((*four.shape[:2], 3), numpy.uint8)
    for channel in range(3):
        three[..., channel] = four[..., channel]
    return three


def _encode(pixels):
    """(height, width, 3) bytes as a PNG, exactly, in a third of the time of the usual encoders.

    They try every filter on every row; a plot is mostly rows that equal the row above, so that
    the filter "up", the difference to the row above, is as good and costs one subtraction.
    """
    height, width, _ = pixels.shape
    flat = pixels.reshape(height, 3 * width)
    rows = numpy.empty((height, 1 + 3 * width), numpy.uint8)
    rows[:, 0] = 2  # the filter of this row: up
    rows[0, 1:] = flat[0]
    numpy.subtract(flat[1:], flat[:-1], out=rows[1:, 1:])  # modulo 256, as the filter wants

    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows, 1))
        + chunk(b"IEND", b"")
    )
