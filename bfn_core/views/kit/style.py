"""One look for every figure of the book.

The same colour means the same thing in every picture. The colours are Okabe and Ito's, or close to
them, and stay apart for the common kinds of colour blindness (tests/test_views.py measures it).

    from bfn_core.views.kit import style
    figure, axes = style.subplots(1, 2, size=(8, 3))
    axes[0].plot(x, density, color=style.COLOURS.input, label=style.LABELS.input)
    style.show(figure, "A belief that narrows from the prior to a spike at 0.25.")
"""

import base64
import dataclasses
import io
import sys

import IPython.display
import matplotlib
import numpy
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image


@dataclasses.dataclass(frozen=True)
class Colours:
    """What each colour stands for, as hexadecimal strings."""

    input: str = "#0072B2"  # p_I, what Bob believes about each dimension on its own
    sender: str = "#D55E00"  # p_S, and the messages y that Alice draws from it
    output: str = "#009E73"  # p_O, what the network makes of the belief
    receiver: str = "#AA4499"  # p_R, the message that Bob expects
    data: str = "#4D4D4D"  # the data, and the true x
    flow: str = "#56B4E9"  # p_F, where the belief will be at time t
    other: str = "#E69F00"  # anything else that must stand out: a baseline, a second model
    text: str = "#222222"
    faint: str = "#D9D9D9"  # grids and frames

    @property
    def classes(self):
        """Eight colours for things without a meaning of their own, such as classes."""
        return (self.input, self.sender, self.output, self.receiver, self.other, self.flow,
                self.data, "#B8A200")


@dataclasses.dataclass(frozen=True)
class Labels:
    """The names that go with the colours, the same in every legend."""

    input: str = "input: Bob's belief"
    sender: str = "sender: Alice's message"
    output: str = "output: the network's guess"
    receiver: str = "receiver: the message Bob expects"
    data: str = "data"
    flow: str = "flow: where the belief will be"


COLOURS = Colours()
LABELS = Labels()
CSS_DPI = 100  # an inch of figure is 100 CSS pixels in the notebook

RC = {
    "figure.dpi": CSS_DPI,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "font.family": "DejaVu Sans",  # ships with Matplotlib: the same on every machine
    "font.size": 10,
    "text.color": COLOURS.text,
    "axes.labelcolor": COLOURS.text,
    "axes.edgecolor": "#8C8C8C",
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.prop_cycle": matplotlib.cycler(color=COLOURS.classes),
    "grid.color": "#EDEDED",
    "grid.linewidth": 0.8,
    "lines.linewidth": 2.0,
    "lines.solid_capstyle": "round",
    "xtick.color": "#8C8C8C",
    "ytick.color": "#8C8C8C",
    "xtick.labelcolor": COLOURS.text,
    "ytick.labelcolor": COLOURS.text,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "image.cmap": "viridis",
}


def use():
    """Draw everything from here on in the style of the book, with pyplot too."""
    matplotlib.rcParams.update(RC)


def context():
    """A context in which figures are drawn in the style of the book."""
    return matplotlib.rc_context(RC)


def subplots(rows=1, columns=1, *, size=(7.2, 3.2), **options):
    """A figure in the style of the book, and its axes; pyplot is not involved.

    `size` is in units of 100 CSS pixels, `options` are those of `Figure.subplots`. The layout is
    constrained, so that no label is cut off. What is drawn next is in the style too, as after
    `use()`.
    """
    use()
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, **options)


def shade(axes, x, density, colour, **options):
    """A density as a line with a light fill down to zero; returns the line and the fill."""
    (line,) = axes.plot(x, density, color=colour, **options)
    return line, axes.fill_between(x, density, color=colour, alpha=0.12, linewidth=0)


def to_png(figure, density=2.0):
    """The figure as the bytes of a PNG with `density` pixels per CSS pixel and 256 colours."""
    buffer = io.BytesIO()
    with context():
        figure.savefig(buffer, format="png", dpi=density * CSS_DPI)
    return shrink(buffer.getvalue())


def to_jpeg(figure, density=2.0):
    """The figure as the bytes of a JPEG with `density` pixels per CSS pixel; see `PlotlyFigure`."""
    buffer = io.BytesIO()
    with context():
        figure.savefig(buffer, format="png", dpi=density * CSS_DPI)
    picture, buffer = Image.open(buffer).convert("RGB"), io.BytesIO()
    # Colours at full resolution: at half of it, thin coloured lines blur.
    look = {"quality": 70, "subsampling": 0, "optimize": True, "progressive": True}
    picture.save(buffer, format="jpeg", **look)
    return buffer.getvalue()


def shrink(png):
    """The same picture in 256 colours: about a quarter of the bytes."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    # An octree is fast, but blurs pale greys. The median cut keeps thin lines clean, and gives the
    # few pale cells of a map whatever colour comes next; what covers all colours does not.
    ways = (Image.Quantize.MEDIANCUT, Image.Quantize.MAXCOVERAGE)
    few, way = min(((_cut(picture, 256, way), way) for way in ways),
                   key=lambda cut: _moved(picture, cut[0]))
    if lost := _lost(picture, few):  # a map took the places of the colours that mean something
        few = _cut(picture, 256 - len(lost), way)
        palette = few.getpalette()[: 3 * (256 - len(lost))] + [part for rgb in lost for part in rgb]
        few = Image.new("P", (1, 1))
        few.putpalette(palette)
        few = picture.quantize(palette=few, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    few.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def _cut(picture, colours, way):
    """The picture in so many colours of its own."""
    return picture.quantize(colours, method=way, dither=Image.Dither.NONE)


def _moved(picture, few):
    """The mean square by which colours differ."""
    before, after = (numpy.asarray(each.convert("RGB"), numpy.int16) for each in (picture, few))
    return numpy.square(before - after, dtype=float).mean()


def _lost(picture, few, pixels=20, moved=8):
    """Those of `COLOURS` that many pixels of the picture have, and other ones in the few."""
    before, after = (numpy.asarray(each.convert("RGB")).astype(int) for each in (picture, few))
    packed, lost = before @ (1 << 16, 1 << 8, 1), []
    for name in dict.fromkeys(dataclasses.astuple(COLOURS)):
        rgb = tuple(bytes.fromhex(name[1:]))
        there = packed == int(name[1:], 16)
        if there.sum() >= pixels and abs(after[there] - rgb).max() > moved:
            lost.append(rgb)
    return lost


def release(figure):
    """Take a figure out of pyplot's hands, so that a notebook does not show it once more."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close(figure)


def bundle(png, width, text):
    """The MIME bundle of a picture and its metadata: (data, metadata).

    `width` is in CSS pixels. `text` is both text/plain and the picture's alt text.
    """
    data = {"image/png": png, "text/plain": text}
    return data, {"image/png": {"width": round(width), "alt": text}}


def display(data, metadata):
    """Show a MIME bundle, in which pictures are bytes, under the current cell."""
    if not InteractiveShell.initialized():  # a plain script: there is nowhere to show a picture
        print(data["text/plain"])
        return
    data = {
        kind: base64.b64encode(part).decode() if isinstance(part, bytes) else part
        for kind, part in data.items()
    }
    IPython.display.display(data, raw=True, metadata=metadata)


def show(figure, alt, *, density=2.0):
    """Show a figure under the current cell, and close it.

    `density` is in pixels per CSS pixel; less makes a figure of many thin lines fewer bytes.

    `alt` says in one sentence what the picture shows, for whoever cannot see it. It must be the
    same in every run (no measured numbers), because it is compared when the notebooks are tested.
    """
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(f"alt must be a sentence that describes the figure, but is {alt!r}")
    width = figure.get_figwidth() * CSS_DPI
    display(*bundle(to_png(figure, density), width, alt))
    release(figure)
