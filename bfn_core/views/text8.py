"""Pictures of a language model: beliefs over text, text as it forms, gaps and their fillings."""

import html
import math
import re
from dataclasses import dataclass
from functools import lru_cache

import ipywidgets
import numpy
import torch
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from bfn_core.beliefs import CategoricalParameters
from bfn_core.data import ALPHABET, decode, encode, normalise
from bfn_core.infilling import Filling, fill
from bfn_core.model import BFN
from bfn_core.modes import evaluating

from .kit import letters, plotly_figure, records, style
from .kit.explorer import Explorer, button, choice, slider
from .kit.letters import MONOSPACE, entropy, shades
from .kit.plotly_figure import PlotlyFigure
from .kit.records import Series, chart

NOT_PUBLISHED = "our split: the last 5 % of text8's first 12.5 million characters"
WHITE = numpy.ones(3, numpy.float32)


def colour(name):
    """A colour of the style as three floats."""
    return numpy.array(to_rgb(name), numpy.float32)


@lru_cache(maxsize=32)
def _glyphs(alphabet, height, width):
    """How much ink, 0…255, each pixel of each letter has, (K, width, height) uint8."""
    figure = Figure(figsize=(len(alphabet) * width / 100, height / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)
    size = min(0.5 * height, 1.1 * width)
    for k, letter in enumerate(alphabet):
        figure.text((k + 0.5) / len(alphabet), 0.3, letter, ha="center", va="baseline",
                    fontsize=size, family="DejaVu Sans Mono")
    canvas.draw()
    ink = 255 - numpy.asarray(canvas.buffer_rgba())[..., 0]
    return ink.reshape(height, len(alphabet), width).transpose(1, 2, 0).copy()


class Page(Artist):
    """Letters on a grid. Drawn pixel by pixel: hundreds of them cost less than a few texts.

    Args:
      axes: where; `extent` is (left, right, bottom, top) in its data coordinates.
      rows, columns: of the grid.
    """

    def __init__(self, axes, rows, columns, extent=None, alphabet=ALPHABET):
        super().__init__()
        self.alphabet, self.shape = alphabet, (rows, columns)
        self.extent = extent or (0, columns, rows, 0)
        if extent is None:
            axes.set(xlim=(0, columns), ylim=(rows, 0))
        self.set_zorder(0.5)
        axes.add_artist(self)
        self.show(numpy.zeros((rows, columns), int), WHITE)

    def show(self, classes, ink, paper=WHITE):
        """Set classes, (rows, columns), in the colours ink on paper, each (rows, columns, 3)."""
        self.classes = numpy.broadcast_to(numpy.asarray(classes), self.shape)
        self.ink, self.paper = _packed(ink, self.shape), _packed(paper, self.shape)
        self.stale = True

    def draw(self, renderer):
        """Compose the pixels of the extent, and hand them over: paper first, then ink."""
        left, right, bottom, top = self.extent
        corners = self.axes.transData.transform([(left, bottom), (right, top)])
        (x0, y0), (x1, y1) = corners.round().astype(int)
        row, down, height = _cells(y1 - y0, self.shape[0])
        column, along, width = _cells(x1 - x0, self.shape[1])

        def spread(colours):  # (rows, columns) -> (pixels, pixels, 4)
            return colours.take(column, 1).take(row, 0).view(numpy.uint8).reshape(*size, 4)

        size = len(row), len(column)
        ink, paper = spread(self.ink), spread(self.paper)
        stripes = _glyphs(self.alphabet, height, width)[self.classes.take(column, 1), along]
        lines = stripes.transpose(0, 2, 1).reshape(-1, len(column))  # (rows · height, pixels)
        ink[..., 3] = lines.take(row * height + down, 0)
        context = renderer.new_gc()
        for pixels in (paper, ink):
            renderer.draw_image(context, x0, y0, pixels[::-1])
        context.restore()


def _packed(colours, shape):
    """Colours (…, 3) in [0, 1] as (rows, columns) uint32, four bytes each."""
    bytes_ = numpy.full((*shape, 4), 255, numpy.uint8)
    bytes_[..., :3] = numpy.rint(255 * numpy.asarray(colours))
    return bytes_.view(numpy.uint32)[..., 0]


def _cells(pixels, count):
    """For each pixel its cell and its place in it, and the size of the largest cell."""
    cell = numpy.arange(pixels) * count // pixels
    first = -(-numpy.arange(count) * pixels // count)
    return cell, numpy.arange(pixels) - first[cell], -(-pixels // count)


def faded(name, strength, paper=WHITE):
    """A colour as strong as `strength`, (…) in [0, 1], says: (…, 3)."""
    strength = numpy.asarray(strength, numpy.float32)[..., None]
    return paper + (0.12 + 0.88 * strength) * (colour(name) - paper)


def _bare(axes):
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


# Beliefs ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reading:
    """What Bob believes and the network guesses of one text, after 0…n messages.

    Attributes:
        x: the text, (L,).
        believed, guessed: probabilities, (n + 1, L, K).
    """

    x: torch.Tensor
    believed: torch.Tensor
    guessed: torch.Tensor


def read(bfn: BFN, text: str, n_steps: int = 40, seed: int = 1) -> Reading:
    """Send one text in n messages, the beliefs of one stream, and ask the network after each."""
    x = encode(text).long().unsqueeze(0)
    generator = torch.Generator().manual_seed(seed)
    said = bfn.flow.messages(x, n_steps, generator=generator)
    beliefs = [bfn.flow.prior(x.shape), *(theta for _, theta in said)]
    together = CategoricalParameters(torch.cat([theta.logits for theta in beliefs]))
    with torch.no_grad(), evaluating(bfn):
        guess = bfn.output(together, torch.linspace(0, 1, n_steps + 1))
    return Reading(x[0], together.probs, guess.probs)


class BeliefMap:
    """Probabilities (L, K): a column per position, a row per letter, the likeliest one on top."""

    def __init__(self, axes, columns, name, title):
        k = len(ALPHABET)
        edges = [numpy.arange(size + 1) - 0.5 for size in (columns, k)]
        self.mesh = axes.pcolormesh(*edges, numpy.zeros((k, columns)), cmap=shades(name), vmin=0,
                                    vmax=1)
        self.top = Page(axes, 1, columns, extent=(-0.5, columns - 0.5, -0.8, -3.9))
        self.name = name
        axes.set(xlim=(-0.5, columns - 0.5), ylim=(k - 0.5, -4))
        axes.set_yticks(range(k), ["␣", *ALPHABET[1:]], fontsize=6, family="DejaVu Sans Mono")
        axes.set_xticks([])
        axes.tick_params(length=0, pad=2)
        axes.grid(False)
        axes.set_title(title, color=name)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)

    def show(self, probs):
        probs = probs.numpy()
        self.mesh.set_array(probs.T)
        self.top.show(probs.argmax(1)[None], faded(self.name, probs.max(1))[None])


def belief_explorer(bfn: BFN, texts, shown: int = 60, n_steps: int = 40):
    """Drag the time: beliefs about each letter of a text, and what the network adds to them.

    `texts` maps names to texts as long as the network reads; the first `shown` letters are drawn.
    """
    readings = {name: read(bfn, text, n_steps) for name, text in texts.items()}
    figure, axes = style.subplots(3, 1, size=(9.3, 6.9), height_ratios=(31, 31, 3.1))
    left = BeliefMap(axes[0], shown, style.COLOURS.input, style.LABELS.input)
    right = BeliefMap(axes[1], shown, style.COLOURS.output, style.LABELS.output)
    truth = Page(axes[2], 1, shown)
    _bare(axes[2])
    axes[2].set_ylabel("truth", rotation=0, ha="right", va="center", fontsize=9)

    def update(t, text):
        reading = readings[text]
        i = round(t * n_steps)
        pairs = reading.believed[i, :shown], reading.guessed[i, :shown]
        left.show(pairs[0])
        right.show(pairs[1])
        x = reading.x[:shown]
        truth.show(x[None].numpy(), colour(style.COLOURS.data))
        bits = [float(entropy(p).mean()) / math.log(2) for p in pairs]
        right_ones = [int((p.argmax(-1) == x).sum()) for p in pairs]
        return (
            f"At t = {i / n_steps:.2f} the messages leave <b>{bits[0]:.2f} bits</b> open per "
            f"letter, and the network <b>{bits[1]:.2f}</b>. The likeliest letter is the true one "
            f"at {right_ones[0]} of {shown} positions by its messages alone, and at "
            f"<b>{right_ones[1]}</b> once the network has read them all."
        )

    controls = {
        "t": slider("time t", 0.0, 1.0, 0.4, 1 / n_steps, width=360),
        "text": choice("text", list(texts)),
    }
    return Explorer(
        figure,
        update,
        controls,
        description="Two heat maps of 27 symbols against 60 positions, the belief above and the "
        "network's guess below: with time every column sharpens to one letter, in the guess first.",
        play="t",
    )


def belief_figure(reading: Reading, times=(0.1, 0.3, 0.4, 0.5, 0.7), shown: int = 64):
    """The likeliest letters at a few times, by the messages alone and by the network."""
    n = len(reading.believed) - 1
    figure, axes = style.subplots(size=(9.3, 0.28 * (3 * len(times) + 1) + 0.3))
    page = Page(axes, 3 * len(times) + 1, shown)
    _bare(axes)
    classes = numpy.zeros((3 * len(times) + 1, shown), int)
    ink = numpy.zeros((*classes.shape, 3), numpy.float32)
    for row, t in enumerate(times):
        i = round(t * n)
        for add, probs, name in (
            (0, reading.believed[i], style.COLOURS.input),
            (1, reading.guessed[i], style.COLOURS.output),
        ):
            p = probs[:shown].numpy()
            classes[3 * row + add] = p.argmax(1)
            ink[3 * row + add] = faded(name, p.max(1))
    classes[-1], ink[-1] = reading.x[:shown].numpy(), colour(style.COLOURS.data)
    page.show(classes, ink)
    middles = [3 * row + 1 for row in range(len(times))] + [3 * len(times) + 0.5]
    axes.set_yticks(middles, [f"t = {t:.1f}" for t in times] + ["truth"])
    axes.tick_params(length=0)
    axes.set_title("by the messages alone", color=style.COLOURS.input)
    axes.set_title("by the network", color=style.COLOURS.output, loc="right")
    return figure


def belief_chart(reading: Reading, alt: str, times=(0.1, 0.3, 0.4, 0.5, 0.7), shown: int = 64):
    """`belief_figure`, whose letters say what else they may be to the pointer."""
    n = len(reading.believed) - 1
    steps = [round(t * n) for t in times]
    certain = torch.nn.functional.one_hot(reading.x[:shown], len(ALPHABET))
    lines = (
        ({3 * row: reading.believed[i][:shown] for row, i in enumerate(steps)}, "input"),
        ({3 * row + 1: reading.guessed[i][:shown] for row, i in enumerate(steps)}, "output"),
        ({3 * len(times): certain}, "data"),
    )
    height = 3 * len(times) + 1
    traces = [letters.likeliest_trace(rows, height, ALPHABET, getattr(style.COLOURS, name), count)
              for (rows, name), count in zip(lines, (3, 3, 1), strict=True)]
    middles = [3 * row + 0.5 for row in range(len(times))] + [3 * len(times)]
    marks = [f"t = {t:.1f}" for t in times] + ["truth"]
    figure = plotly_figure.new(
        traces, height=100 + 22 * height, plot_bgcolor="white",
        xaxis={"showgrid": False, "automargin": True, "title": {"text": "position"}},
        annotations=[{"text": text, "font": {"color": colour}, "x": x, "xref": "paper",
                      "xanchor": side, "y": 1, "yref": "paper", "yanchor": "bottom",
                      "showarrow": False}
                     for text, colour, x, side in (
                         ("above: by the messages alone", style.COLOURS.input, 0, "left"),
                         ("below: by the network", style.COLOURS.output, 1, "right"))],
        margin={"l": 10, "r": 10, "t": 30, "b": 10},
        yaxis={"tickvals": middles, "ticktext": marks, "autorange": "reversed", "showgrid": False,
               "zeroline": False, "automargin": True},
    )
    return PlotlyFigure(figure, belief_figure(reading, times, shown), alt)


# Text as it forms ---------------------------------------------------------------------------------

VOWELS = torch.tensor([ALPHABET.index(c) for c in "aeiou"])


def _neighbour(x, by):
    """Whether the next letter (by = 1) or the one before (by = −1) is a space; none at the ends."""
    space = torch.zeros_like(x, dtype=torch.bool)
    if by > 0:
        space[:, :-1] = x[:, 1:] == 0
    else:
        space[:, 1:] = x[:, :-1] == 0
    return space


def _inner(x):
    return (x != 0) & ~_neighbour(x, -1) & ~_neighbour(x, 1)


KINDS = {  # from a name to a function: x, (B, L), to which letters are of that kind
    "spaces": lambda x: x == 0,
    "first letters of words": lambda x: (x != 0) & _neighbour(x, -1),
    "last letters of words": lambda x: (x != 0) & ~_neighbour(x, -1) & _neighbour(x, 1),
    "vowels inside words": lambda x: _inner(x) & torch.isin(x, VOWELS),
    "consonants inside words": lambda x: _inner(x) & ~torch.isin(x, VOWELS),
}
KIND_COLOURS = dict(
    zip(
        KINDS,
        (style.COLOURS.data, *(style.COLOURS.classes[k] for k in (0, 5, 1, 4))),
        strict=True,
    )
)


def settled(guesses: torch.Tensor) -> torch.Tensor:
    """After how many messages a letter is settled: from then on it is the likeliest, to the end.

    Args:
        guesses: the likeliest letters after 0…n messages, (B, n + 1, L).

    Returns:
        (B, L) in 0…n.
    """
    steps = torch.arange(1, guesses.shape[1] + 1).reshape(-1, 1)
    return ((guesses != guesses[:, -1:]) * steps).amax(1)


@dataclass(frozen=True)
class Writing:
    """One batch of samples on its way: likeliest letters and their probabilities, (B, n + 1, L)."""

    guesses: torch.Tensor
    probs: torch.Tensor


def write(bfn: BFN, count: int, n_steps: int, seed: int) -> Writing:
    """Draw `count` samples, and keep what the network guessed on the way."""
    generator = torch.Generator().manual_seed(seed)
    shape = (count, bfn.network.length)
    best = [
        step.output.probs.max(-1)
        for step in bfn.sampling_steps(shape, n_steps, generator=generator)
    ]
    return Writing(
        torch.stack([b.indices for b in best], 1), torch.stack([b.values for b in best], 1)
    )


def _page_rows(rows, wide=64, gap=True):
    """(B, L) as lines of `wide`, with an empty line after each text: (B · (L/wide + 1), wide)."""
    lines = rows.reshape(len(rows), -1, wide)
    if gap:
        lines = torch.cat([lines, torch.zeros_like(lines[:, :1])], 1)
    return lines.flatten(0, 1)


def writing_explorer(bfn: BFN, count: int = 4, n_steps: int = 40):
    """Drag the step of a few samples: the letters as the network guesses them, dark where sure."""
    lines = bfn.network.length // 64 + 1

    @lru_cache(maxsize=8)
    def walk(seed):
        return write(bfn, count, n_steps, seed)

    figure, (top, below) = style.subplots(2, 1, size=(9.3, 0.27 * count * lines + 2.0),
                                          height_ratios=(0.27 * count * lines, 1.5))
    page = Page(top, count * lines, 64)
    _bare(top)
    title = "what the network would write, if it had to decide now"
    top.set_title(title, color=style.COLOURS.output)
    curves = [
        below.plot([], [], color=KIND_COLOURS[name], label=name, linewidth=1.6)[0] for name in KINDS
    ]
    below.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="time t", ylabel="settled")
    below.legend(loc="upper left", fontsize=8, ncols=1, handlelength=1.2, borderpad=0)
    (now,) = below.plot([0, 0], [0, 1], color=style.COLOURS.other, linewidth=1.5)
    drawn = {}

    def update(step, others):
        writing = walk(others + 1)
        guess, p = writing.guesses[:, step], writing.probs[:, step]
        changing = guess != writing.guesses[:, -1]
        rows = _page_rows(guess).numpy()
        paper = WHITE + 0.28 * _page_rows(changing).numpy()[..., None] * (
            colour(style.COLOURS.other) - WHITE
        )
        page.show(rows, faded(style.COLOURS.text, _page_rows(p).numpy(), paper), paper)
        after = settled(writing.guesses)
        if drawn.get("seed") != others:
            drawn["seed"] = others
            for curve, kind in zip(curves, KINDS.values(), strict=True):
                mine = after[kind(writing.guesses[:, -1])]
                share = [float((mine <= i).double().mean()) for i in range(n_steps + 1)]
                curve.set_data(numpy.arange(n_steps + 1) / n_steps, share)
        now.set_xdata([step / n_steps] * 2)
        return (
            f"After {step} of {n_steps} messages, t = {step / n_steps:.2f}: the network gives its "
            f"likeliest letters <b>{float(p.mean()):.0%}</b> on average. <b>"
            f"{int(changing.sum())}</b> of {guess.numel()} (on orange) will still change into "
            "another."
        )

    controls = {
        "step": slider("messages received", 0, n_steps, n_steps // 2, width=420),
        "others": button("write others"),
    }
    return Explorer(
        figure,
        update,
        controls,
        description=f"Four texts of {bfn.network.length} letters, and below the share of letters "
        "that are settled: at first a grey blur of spaces and frequent letters, then words form "
        "everywhere at once.",
        play="step",
    )


def settling_figure(settling):
    """Shares of letters that are settled, by kind, as `tools.text8 writing` measured them."""
    figure, axes = style.subplots(size=(7.2, 3.4))
    times = numpy.arange(settling["n"] + 1) / settling["n"]
    for name, found in settling["kinds"].items():
        axes.plot(times, found["settled"], color=KIND_COLOURS[name], label=name)
    axes.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="time t", ylabel="share that is settled")
    axes.legend(loc="upper left")
    return figure


# Gaps ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gap:
    """A sentence with holes, in the middle of a window that the network can read.

    Attributes:
        x: (L,), a space where nothing is known.
        known: (L,) bool; what lies around the sentence is not known either.
        start, size: where the sentence is.
    """

    x: torch.Tensor
    known: torch.Tensor
    start: int
    size: int

    @property
    def holes(self):
        """The positions of the holes, (H,)."""
        inside = torch.arange(self.start, self.start + self.size)
        return inside[~self.known[inside]]


def gap(sentence: str, length: int) -> Gap:
    """Read a sentence in which each `_` is a missing character; all else becomes text8's symbols.

    Raises:
        ValueError: nothing is missing, nothing is known, or it is too long.
    """
    parts = re.split("(_+)", sentence)
    plain = "".join(part if part.startswith("_") else _plain(part) for part in parts).strip()
    if "_" not in plain or not plain.strip("_ "):
        raise ValueError("the sentence needs letters, and a _ for each character that is missing")
    if len(plain) > length:
        raise ValueError(f"the sentence has {len(plain)} characters, and {length} is the most")
    start = (length - len(plain)) // 2
    x = torch.zeros(length, dtype=torch.int64)
    known = torch.zeros(length, dtype=torch.bool)
    inside = slice(start, start + len(plain))
    x[inside] = encode(plain.replace("_", " ")).long()
    known[inside] = torch.tensor([c != "_" for c in plain])
    return Gap(x, known, start, len(plain))


def _plain(part):
    """A piece between holes in text8's symbols, its spaces at the ends kept."""
    inside = normalise(part)
    left = " " if part and not part[0].isalnum() else ""
    right = " " if inside and not part[-1].isalnum() else ""
    return left + inside + right


def ranked(filling: Filling, where: torch.Tensor):
    """The different fillings of the positions `where` and their weights, the likeliest first."""
    shares = {}
    for row, weight in zip(filling.x[:, where].tolist(), filling.weights.tolist(), strict=True):
        shares[tuple(row)] = shares.get(tuple(row), 0.0) + weight
    return sorted(shares.items(), key=lambda item: -item[1])


def _marginals(filling, holes):
    """The weighted share of each letter at each hole, (H, K)."""
    letters = torch.nn.functional.one_hot(filling.x[:, holes], len(ALPHABET)).double()
    return (filling.weights.reshape(-1, 1, 1) * letters).sum(0)


def _draw_fillings(page, bars, labels, hole, filling, wide):
    """The sentence with its likeliest fillings in the rows of a page, and bars of their weights."""
    rows = page.shape[0]
    inside = torch.arange(hole.start, hole.start + hole.size)[:wide]
    classes = numpy.zeros((rows, wide), int)
    ink = numpy.tile(colour(style.COLOURS.text), (rows, wide, 1))
    paper = numpy.ones((rows, wide, 3), numpy.float32)
    classes[0, : len(inside)] = hole.x[inside].numpy()
    where = hole.holes - hole.start
    where = where[where < wide].numpy()
    paper[0, where] = WHITE + 0.45 * (colour(style.COLOURS.other) - WHITE)
    found = [] if filling is None else ranked(filling, hole.holes)
    chance = None if filling is None else _marginals(filling, hole.holes)
    for row, (best, _) in enumerate(found[: rows - 1], 1):
        classes[row] = classes[0]
        classes[row, where] = best[: len(where)]
        paper[row, where] = WHITE + 0.1 * (colour(style.COLOURS.output) - WHITE)
        sure = chance[torch.arange(len(best)), torch.tensor(best)][: len(where)]
        ink[row] = faded(style.COLOURS.data, numpy.full(wide, 0.45))
        ink[row, where] = faded(style.COLOURS.output, sure, paper[row, where])
    page.show(classes, ink, paper)
    for row, (bar, label) in enumerate(zip(bars, labels, strict=True)):
        share = found[row][1] if row < len(found) else 0.0
        bar.set_width(share)
        label.set_text(f"{share:.0%}" if row < len(found) else "")
        label.set_x(share + 0.02)


def _filling_axes(rows, wide, size):
    figure, (left, right) = style.subplots(1, 2, size=size, width_ratios=(wide * 0.14, 1.5))
    page = Page(left, rows + 1, wide)
    _bare(left)
    _bare(right)
    right.set(xlim=(0, 1.28), ylim=(rows + 1, 0))
    middles = [row + 1.5 for row in range(rows)]
    bars = right.barh(middles, [0.0] * rows, height=0.55, color=style.COLOURS.output)
    labels = [right.text(0, middle, "", va="center", fontsize=9) for middle in middles]
    right.text(0, 0.5, "weight", va="center", fontsize=9)
    return figure, page, bars, labels


def filling_figure(hole: Gap, filling: Filling, rows: int = 3, wide: int = 56):
    """A sentence, its likeliest fillings, and their weights."""
    figure, page, bars, labels = _filling_axes(rows, wide, (9.3, 0.3 * (rows + 1) + 0.1))
    _draw_fillings(page, bars, labels, hole, filling, wide)
    return figure


LINE_ALT = (
    "A line of text with holes, three ways in which the network fills it, and bars of how likely "
    "each is."
)


def line_figure(bfn: BFN, line: str = "the w_r b_tw__n th_ tw_ c__ntr__s", *, n: int = 30,
                count: int = 8, seed: int = 3):
    """A line, and the likeliest of `count` fillings in n messages, for where nothing runs."""
    hole = gap(line, bfn.network.length)
    generator = torch.Generator().manual_seed(seed)
    filling = fill(bfn, hole.x, hole.known, n, count, generator=generator)
    return filling_figure(hole, filling, wide=36)


def filling_explorer(
    bfn: BFN, sentences, n_steps: int = 20, count: int = 10, rows: int = 6, wide: int = 56
):
    """Take a sentence with a hole, or write one, and fill it as often as you like."""

    def read(sentence):
        hole = gap(sentence, bfn.network.length)
        if hole.size > wide:
            raise ValueError(f"the sentence has {hole.size} characters, and {wide} fit the picture")
        return hole

    figure, page, bars, labels = _filling_axes(rows, wide, (9.3, 0.3 * (rows + 1) + 0.2))
    last = {"presses": -1, "sentence": None, "filling": None}

    def update(sentence, own, fill_it):
        sentence = own.strip() or sentence
        hole, pressed = read(sentence), fill_it != last["presses"]
        last["presses"] = fill_it
        if pressed:  # at first too; a new sentence waits, since filling takes seconds
            generator = torch.Generator().manual_seed(fill_it + 1)
            found = fill(bfn, hole.x, hole.known, n_steps, count, generator=generator)
            last.update(sentence=sentence, filling=found)
        filling = last["filling"] if last["sentence"] == sentence else None
        _draw_fillings(page, bars, labels, hole, filling, wide)
        if filling is None:
            size = len(hole.holes)
            return f"{size} missing character{'s' * (size > 1)}: press <b>fill</b>."
        chance = _marginals(filling, hole.holes)
        best, letter = chance.max(-1)
        open_bits = entropy(chance) / math.log(2)
        surest, vaguest = int(open_bits.argmin()), int(open_bits.argmax())
        first = decode(torch.tensor(ranked(filling, hole.holes)[0][0])).replace(" ", "␣")
        letter = ["space" if c == " " else c for c in decode(letter)]
        return (
            f"{count} candidates, worth {filling.effective:.1f} of equal weight; the heaviest is "
            f'<b style="{MONOSPACE}">{html.escape(first)}</b>. Surest is letter '
            f"{surest + 1} of the missing ones (<b>{letter[surest]}</b>, "
            f"{float(best[surest]):.0%}), least sure letter {vaguest + 1} "
            f"({float(open_bits[vaguest]):.1f} bits open)."
        )

    text = ipywidgets.Text(
        placeholder="your own, a _ for each missing letter, then Enter", continuous_update=False
    )
    text.layout.width = "360px"
    controls = {
        "sentence": choice("sentence", sentences, width=430),
        "own": text,
        "fill_it": button("fill"),
    }
    return Explorer(
        figure,
        update,
        controls,
        description="A sentence with a hole, its fillings with the heaviest first, and bars of "
        "their weights; the letters of the holes are dark where the candidates agree.",
    )


# Figures of the record ----------------------------------------------------------------------------


def bits_per_character(nats, length):
    """Nats per sequence as bits per character."""
    return nats / (length * math.log(2))


def in_bits(record, length):
    """A line of metrics with its losses in bits per character, not nats per sequence."""
    names = ("loss", "nats", "validation", "validation_error")
    change = {k: bits_per_character(record[k], length) for k in names if k in record}
    return {**record, **change}


def curve_chart(record, codes, alt):
    """Training and held-out loss against the step, and other codes: a dict from name to bits."""
    length = record["settings"]["length"]
    rows = {k: [in_bits(row, length) for row in record[k]] for k in ("curve", "validation")}
    return records.curve({**record, **rows}, codes, alt, limits=(1.4, 5),
                         unit="bits per character", title=NOT_PUBLISHED)


def steps_figure(record, codes, paper):
    """Bits per character over the number of messages, other codes, and the paper's figure."""
    figure, axes = style.subplots(size=(7.2, 3.6))
    length, found = record["settings"]["length"], record["evaluation"]["elbo"]
    names = ["∞" if n == "infinity" else n for n in found]
    bits = [row["bits per character"] for row in found.values()]
    error = [2 * bits_per_character(row["standard error"], length) for row in found.values()]
    axes.errorbar(range(len(bits)), bits, error, color=style.COLOURS.output, marker="o", capsize=3,
                  label="the shipped model, L$^n$ + L$^r$ (± 2 standard errors)")
    axes.plot([len(bits) - 1], [paper], "D", color=style.COLOURS.receiver,
              label="the paper, on text8's own test split")
    top = max(*bits, *codes.values()) + 0.7
    least, height = 0.055 * (top - 1.2), -math.inf  # labels keep this distance
    for name, value in sorted(codes.items(), key=lambda item: item[1]):
        axes.axhline(value, color=style.COLOURS.data, linewidth=1, linestyle=(0, (4, 3)))
        height = max(value, height + least)
        axes.text(len(bits) - 0.45, height, name, va="center", ha="left", fontsize=8.5)
    axes.set_xticks(range(len(bits)), names)
    axes.set(xlabel="number of messages n", ylabel="bits per character",
             xlim=(-0.4, len(bits) - 0.5), ylim=(1.2, top))
    axes.set_title(NOT_PUBLISHED, fontsize=9)
    axes.legend(loc="upper left", ncols=1)
    return figure


def steps_chart(record, codes, paper, alt):
    """`steps_figure`, to read off."""
    length, found = record["settings"]["length"], record["evaluation"]["elbo"]
    names = ["∞" if n == "infinity" else n for n in found]
    series = [
        Series("the shipped model, Lⁿ + Lʳ", names,
               [row["bits per character"] for row in found.values()], style.COLOURS.output,
               [bits_per_character(row["standard error"], length) for row in found.values()],
               f"{records.told(record)}; {NOT_PUBLISHED}"),
        Series("the paper", names[-1:], [paper], style.COLOURS.receiver, mode="markers",
               note="Graves et al. 2023, on text8's own test split"),
    ]
    return chart(series, steps_figure(record, codes, paper), alt, x="number of messages n",
                 y="bits per character", label="n = %{x}", yardsticks=codes)


def spelling_chart(writing, alt):
    """`spelling_figure`, to read off."""
    rows = writing["spelling"]
    note = f"{writing['command']}; {writing['samples']} texts of {writing['length']} characters"
    series = Series("what the shipped model writes", list(rows),
                    [100 * row["share"] for row in rows.values()], style.COLOURS.output,
                    [100 * row["standard error"] for row in rows.values()], note)
    real = {"the test text": 100 * writing["spelling of the test text"]["share"]}
    return chart([series], spelling_figure(writing), alt, x="number of messages n",
                 y="letters in listed words, per cent", label="n = %{x}", yardsticks=real,
                 unit="per cent", limits=(0, 108))


def spelling_figure(writing):
    """Spelling accuracy against the number of messages, and that of real text."""
    figure, axes = style.subplots(size=(7.2, 3.2))
    rows = writing["spelling"]
    share = numpy.array([row["share"] for row in rows.values()])
    error = numpy.array([row["standard error"] for row in rows.values()])
    axes.errorbar(range(len(share)), share, 2 * error, color=style.COLOURS.output, marker="o",
                  capsize=3, label="what the shipped model writes (± 2 standard errors)")
    real = writing["spelling of the test text"]["share"]
    axes.axhline(real, color=style.COLOURS.data, linewidth=1, linestyle=(0, (4, 3)))
    label = "the test text of our split "
    axes.text(len(share) - 0.6, real, label, va="bottom", ha="right", fontsize=9)
    axes.set_xticks(range(len(share)), list(rows))
    axes.set(xlabel="number of messages n", ylabel="letters in listed words", ylim=(0, 1.08),
             xlim=(-0.4, len(share) - 0.6))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.legend(loc="lower right")
    return figure
