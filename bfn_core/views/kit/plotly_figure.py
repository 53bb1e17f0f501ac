"""Figures to point at, zoom and turn: Plotly's, beside a picture for pages on which nothing runs.

    from bfn_core.views.kit import plotly_figure
    figure = plotly_figure.new([graph_objects.Scatter(x=x, y=y)], height=400)
    PlotlyFigure(figure, still, "A belief that narrows: point at the line to read it.")

As the last line of a cell that is alive in JupyterLab, VS Code and Colab, without a kernel, and on
the book's website. GitHub shows `still`, a Matplotlib figure of the same.
"""

import base64
import functools
import sys
from typing import Any

import numpy
import plotly.io
from plotly import graph_objects

from . import style
from .style import COLOURS

MIME = "application/vnd.plotly.v1+json"
DIGITS = 4  # of the largest number of an array: finer than one can see
SHORT = 16  # numbers that are left as a list to be read
FONT = {"family": "DejaVu Sans, Verdana, sans-serif", "size": 13, "color": COLOURS.text}
# Not "responsive": JupyterLab fits a chart to its place by itself, and both together make it 0 high
# once the window has changed.
CONFIG = {"displaylogo": False}


@functools.cache
def template():
    """The style of the book (`style.RC`) in Plotly's words."""
    axis = {"gridcolor": style.RC["grid.color"], "linecolor": style.RC["axes.edgecolor"],
            "zerolinecolor": COLOURS.faint}
    white = {"backgroundcolor": "white", "showbackground": False, **axis}
    return graph_objects.layout.Template(
        layout={
            "font": FONT,
            "colorway": COLOURS.classes,
            "paper_bgcolor": "white",
            "plot_bgcolor": "white",
            "hoverlabel": {"font": FONT, "bgcolor": "white", "bordercolor": COLOURS.data},
            "margin": {"l": 10, "r": 10, "t": 10, "b": 10},
            "xaxis": axis,
            "yaxis": axis,
            "scene": {"xaxis": white, "yaxis": white, "zaxis": white},
        }
    )


def new(traces, *, frames=(), height, **layout):
    """A Plotly figure in the style of the book, as wide as its place; `height` in CSS pixels."""
    looks = {"template": template(), "height": height, "autosize": True, **layout}
    return graph_objects.Figure(traces, looks, list(frames))


def player(names, first, *, prefix, milliseconds):
    """A slider over frames, and buttons to play and stop: entries for `new`.

    Args:
      names: of the frames, in their order.
      first: the index of the one that the figure shows at first.
      prefix: what stands before a name, such as "time t = ".
      milliseconds: for which a frame is shown while the figure plays.
    """

    def show(pause):  # `redraw`, since nothing else moves what is drawn in three dimensions
        still = {"duration": 0}
        frame = {"duration": pause, "redraw": True}
        return {"mode": "immediate", "frame": frame, "transition": still, "fromcurrent": True}

    steps = [
        {"label": name, "method": "animate", "args": [[name], show(0)]} for name in names
    ]
    buttons = [
        {"label": "▶ play", "method": "animate", "args": [None, show(milliseconds)]},
        {"label": "■ stop", "method": "animate", "args": [[None], show(0)]},
    ]
    # One below the other, so that both have room on a phone.
    place = {"x": 0, "xanchor": "left", "y": 0, "yanchor": "top"}
    slider = {"steps": steps, "active": first, "len": 1, "currentvalue": {"prefix": prefix}}
    # The names of the steps would overlap; where the slider stands is written above it.
    slider |= {"ticklen": 0, "minorticklen": 0, "font": {"size": 1, "color": "rgba(0,0,0,0)"}}
    slider["currentvalue"]["font"] = FONT
    row = {"type": "buttons", "direction": "left", "buttons": buttons, "showactive": False}
    return {
        "sliders": [{**slider, **place, "pad": {"t": 0, "l": 12, "r": 12}}],
        "updatemenus": [{**row, **place, "font": FONT, "pad": {"t": 62}}],
    }


def lean(figure) -> Any:
    """What a Plotly figure is as JSON: a dict, the same on every machine, and small.

    The numbers of a long array keep DIGITS significant digits of its largest, so that what
    differs in the last bits does not differ here. They are written as base64 of 32-bit floats,
    which plotly.js reads from 2.28 on (Plotly for Python 5.24 brings 2.35): as lists, with a line
    for each number, as a notebook file writes them, they would take four times the room.
    """
    return _lean(figure.to_plotly_json())


def _lean(part):
    if isinstance(part, dict) and "bdata" in part:  # so Plotly 6 and later write an array
        return _packed(unpacked(part))
    if isinstance(part, dict):
        return {name: _lean(value) for name, value in part.items()}
    if isinstance(part, numpy.ndarray):
        return _packed(part) if part.dtype.kind in "fiu" else part.tolist()
    if isinstance(part, (list, tuple)):
        numbers = len(part) > SHORT and all(
            isinstance(value, (int, float)) and not isinstance(value, bool) for value in part)
        return _packed(numpy.array(part)) if numbers else [_lean(value) for value in part]
    return part


def _packed(array):
    largest = float(numpy.abs(array[numpy.isfinite(array)]).max(initial=0.0))
    decimals = DIGITS - 1 - int(numpy.floor(numpy.log10(largest))) if largest else 0
    numbers = (numpy.round(array.astype("f8"), decimals) + 0.0).astype("<f4")  # + 0: never −0
    spec = {"dtype": "f4", "bdata": base64.b64encode(numbers.tobytes()).decode()}
    return spec if array.ndim == 1 else {**spec, "shape": ", ".join(map(str, array.shape))}


def unpacked(spec):
    """The NumPy array that an entry {"dtype", "bdata", "shape"} of a figure stands for."""
    array = numpy.frombuffer(base64.b64decode(spec["bdata"]), "<" + spec["dtype"])
    shape = spec.get("shape")
    return array.reshape([int(n) for n in str(shape).split(",")]) if shape else array


class PlotlyFigure:
    """A figure of Plotly's, with a picture and words for where it cannot be shown.

    Args:
      figure: of `new`.
      still: a Matplotlib figure that shows the same at rest.
      alt: one sentence on what there is to see, the same in every run.
    """

    def __init__(self, figure, still, alt):
        if not isinstance(alt, str) or not alt.strip():
            raise ValueError(f"alt must be a sentence that describes the figure, but is {alt!r}")
        self.json = {**lean(figure), "config": CONFIG}
        self.alt = alt
        self._jpeg = style.to_jpeg(still, density=1.25)
        self._width = round(still.get_figwidth() * style.CSS_DPI)
        style.release(still)

    def bundle(self):
        """What is put under the cell, and its metadata: the figure, a picture, a sentence.

        The picture is a JPEG: where an image/png stands beside the figure, JupyterLab shows that
        until a mouse comes over it, and for whoever has none the figure would never be alive.
        """
        data = {MIME: self.json, "image/jpeg": self._jpeg, "text/plain": self.alt}
        if "google.colab" in sys.modules:  # which knows no figure of Plotly's but as a page
            alone = {**self.json, "config": {**CONFIG, "responsive": True}}
            data |= plotly.io.renderers["colab"].to_mimebundle(alone)
        return data, {"image/jpeg": {"width": self._width, "alt": self.alt}}

    def _ipython_display_(self, **_):
        style.display(*self.bundle())
