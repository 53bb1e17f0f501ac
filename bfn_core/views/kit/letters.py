"""Letters: a heat map of probabilities, its colours, and the face that letters are set in."""

import functools
import html
import math

import numpy
import torch
from matplotlib.collections import PathCollection
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from matplotlib.transforms import IdentityTransform
from plotly import graph_objects

from . import style

MONOSPACE = "font-family:'DejaVu Sans Mono',Menlo,Consolas,monospace"


def shades(colour):
    """A colour map from white (probability 0) to `colour` (probability 1)."""
    return LinearSegmentedColormap.from_list("shades", ["#FFFFFF", colour])


def entropy(probs):
    """Σ −p ln p over the last axis, in nats."""
    return torch.special.entr(probs).sum(-1)


@functools.cache
def _glyph(letter: str, font: str) -> Path:
    """The outline of a letter one point high, around the middle of a capital."""
    if letter.isspace():
        return Path(numpy.empty((0, 2)))
    outline = TextPath((0, 0), letter, size=1, prop=FontProperties(font))
    across = outline.get_extents()
    return Path(outline.vertices - [(across.x0 + across.x1) / 2, 0.36], outline.codes)


class Letters(PathCollection):
    """Letters, each at a place and in a colour of its own: hundreds cost less than a few texts.

    Args:
        axes: where.
        places: their middles in data coordinates, (N, 2).
        alphabet: what the classes stand for.
        size: in points.
        font: a fontconfig pattern.
    """

    def __init__(self, axes, places, alphabet, size, font="DejaVu Sans Mono"):
        super().__init__([], (size**2,), offsets=places, offset_transform=axes.transData, lw=0)
        self.set_transform(IdentityTransform())
        self.set_snap(False)  # it would thicken the letters of straight lines alone, by their place
        self.alphabet, self.font = alphabet, font
        axes.add_collection(self, autolim=False)

    def show(self, classes, colours):
        """Classes, (N,), in colours, (N, 3 or 4) or one for all."""
        self.classes = numpy.asarray(classes)
        self.set_paths([_glyph(self.alphabet[k], self.font) for k in self.classes])
        self.set_facecolor(colours)


class LetterMap:
    """Probabilities (L, K) as a heat map: a column per position, a row per letter.

    The likeliest letter of each position stands above its column, strong where it is sure; cells
    of probability 0.08 and more carry their letter.

    Args:
        axes, colour, title: where, and as what.
        alphabet, length: K letters, L positions.
        large, font, ink: the letters above, `above` the first row: size in points, font, colour.
        small: that of the letters in the cells; None for cells without.
    """

    least = 0.08  # probability from which a cell carries its letter

    def __init__(self, axes, alphabet, length, colour, title, *, large=17, above=1.15, small=9,
                 font="DejaVu Sans:bold", ink=style.COLOURS.text):
        size, columns = len(alphabet), range(length)
        rows, edges = [k - 0.5 for k in range(size + 1)], [d - 0.5 for d in range(length + 1)]
        zeros = torch.zeros(size, length).numpy()  # a mesh draws faster than an image
        self.mesh = axes.pcolormesh(edges, rows, zeros, cmap=shades(colour), vmin=0, vmax=1)
        axes.invert_yaxis()
        axes.grid(False)
        axes.set_xticks(columns, [str(d + 1) for d in columns])
        axes.set_yticks(range(size), list(alphabet))
        axes.tick_params(length=0)
        axes.set_xlabel("position")
        axes.set_title(title, pad=2 * large, color=colour)
        self.ink = ink
        self.heads = Letters(axes, [(d, -above) for d in columns], alphabet, large, font)
        self.heads.set_clip_on(False)
        self.cells = None
        if small:
            axes.vlines(edges[1:-1], -0.5, size - 0.5, style.COLOURS.faint, linewidth=0.8)
            places = [(d, k) for d in columns for k in range(size)]
            self.cells = Letters(axes, places, alphabet, small, "DejaVu Sans")
            self.cells.show(list(range(size)) * length, "none")

    def show(self, probs):
        """Draw probs, (L, K)."""
        probs = probs.numpy()
        self.mesh.set_array(probs.T)
        ink = numpy.tile(to_rgba(self.ink), (len(probs), 1))
        ink[:, 3] = 0.15 + 0.85 * probs.max(1)
        self.heads.show(probs.argmax(1), ink)
        if self.cells:
            flat = probs.reshape(-1, 1)
            ink = numpy.where(flat > 0.55, to_rgba("white"), to_rgba(style.COLOURS.text))
            ink[:, 3:] = flat >= self.least
            self.cells.set_facecolor(ink)


def spoken(letter: str) -> str:
    """A letter as it stands in a sentence."""
    return "a space" if letter == " " else f"“{html.escape(letter)}”"


def priced(p: float) -> str:
    """A probability, and what a letter that has it costs."""
    return f"{p:.3f}, {-math.log2(p):.2f} bits" if p > 0 else "0, impossible"


def map_trace(probs: torch.Tensor, alphabet: str, colour: str, **look):
    """`LetterMap` for Plotly: a heat map whose cells say probability and bits to the pointer.

    Args:
        probs: (L, K).
        look: of the trace: its axes, for instance.
    """
    rows = probs.double().T.tolist()
    letters = [spoken(letter) for letter in alphabet]
    return graph_objects.Heatmap(
        z=numpy.array(rows), x=list(range(1, len(probs) + 1)), y=letters, zmin=0, zmax=1,
        xgap=1, ygap=1,
        colorscale=[[0, "#FFFFFF"], [1, colour]], showscale=False,
        customdata=[[priced(p) for p in row] for row in rows],
        hovertemplate="%{y} at position %{x}: %{customdata}<extra></extra>", **look,
    )


def likeliest_trace(lines: dict[int, torch.Tensor], height: int, alphabet: str, colour: str,
                    count: int = 3):
    """Lines of likeliest letters for Plotly, each in a cell as dark as it is sure.

    Args:
        lines: from the row of a line to its probabilities, (L, K).
        height: how many rows there are; those of no line are left empty.
        count: of the letters that the pointer is told.
    """
    length = len(next(iter(lines.values())))
    sure = numpy.full((height, length), numpy.nan)
    texts, told = ([[""] * length for _ in range(height)] for _ in range(2))
    for row, probs in lines.items():
        values, classes = probs.double().topk(count, -1)
        sure[row] = values[:, 0]
        texts[row] = [alphabet[k] for k in classes[:, 0]]
        told[row] = ["<br>".join(f"{spoken(alphabet[k])}: {priced(p)}"
                                 for k, p in zip(*both, strict=True))
                     for both in zip(classes.tolist(), values.tolist(), strict=True)]
    return graph_objects.Heatmap(
        z=sure, x=list(range(1, length + 1)), y=list(range(height)), text=texts, customdata=told,
        texttemplate="%{text}", textfont={"family": "DejaVu Sans Mono, Menlo, monospace"},
        zmin=0, zmax=1.4, colorscale=[[0, "#FFFFFF"], [1, colour]], showscale=False,
        hoverongaps=False, hovertemplate="position %{x}<br>%{customdata}<extra></extra>",
    )
