"""Letters: a heat map of probabilities, its colours, and the face that letters are set in."""

import html
import math

import numpy
import torch
from matplotlib.colors import LinearSegmentedColormap
from plotly import graph_objects

from . import style

MONOSPACE = "font-family:'DejaVu Sans Mono',Menlo,Consolas,monospace"


def shades(colour):
    """A colour map from white (probability 0) to `colour` (probability 1)."""
    return LinearSegmentedColormap.from_list("shades", ["#FFFFFF", colour])


def entropy(probs):
    """Σ −p ln p over the last axis, in nats."""
    return torch.special.entr(probs).sum(-1)


class LetterMap:
    """Probabilities (L, K) as a heat map: a column per position, a row per letter.

    The likeliest letter of each position stands above its column, large where it is sure; cells
    of probability 0.08 and more carry their letter.
    """

    least = 0.08  # probability from which a cell carries its letter

    def __init__(self, axes, alphabet, length, colour, title):
        self.alphabet = alphabet
        size = len(alphabet)
        rows, columns = [k - 0.5 for k in range(size + 1)], [d - 0.5 for d in range(length + 1)]
        zeros = torch.zeros(size, length).numpy()  # a mesh draws faster than an image
        self.mesh = axes.pcolormesh(columns, rows, zeros, cmap=shades(colour), vmin=0, vmax=1)
        axes.invert_yaxis()
        axes.grid(False)
        axes.set_xticks(range(length), [str(d + 1) for d in range(length)])
        axes.set_yticks(range(size), list(alphabet))
        axes.tick_params(length=0)
        axes.set_xlabel("position")
        axes.set_title(title, pad=34, color=colour)
        edges = columns[1:-1]
        self.edges = axes.vlines(edges, -0.5, size - 0.5, style.COLOURS.faint, linewidth=0.8)
        middle = {"ha": "center", "va": "center"}
        self.cells = [
            [axes.text(d, k, alphabet[k], fontsize=9, **middle) for d in range(length)]
            for k in range(size)
        ]
        self.heads = [
            axes.text(d, -1.15, "", fontsize=17, weight="bold", clip_on=False, **middle)
            for d in range(length)
        ]

    @property
    def artists(self):
        """All that `show` changes, and the lines that must stay on top of it."""
        return [self.mesh, self.edges, *self.heads, *(text for row in self.cells for text in row)]

    def show(self, probs):
        """Draw probs, (L, K)."""
        self.mesh.set_array(probs.T.numpy())
        for d, column in enumerate(probs.tolist()):
            best = max(range(len(column)), key=column.__getitem__)
            self.heads[d].set_text(self.alphabet[best])
            self.heads[d].set_alpha(0.15 + 0.85 * column[best])
            for k, p in enumerate(column):
                self.cells[k][d].set_visible(p >= self.least)
                self.cells[k][d].set_color("white" if p > 0.55 else style.COLOURS.text)


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
