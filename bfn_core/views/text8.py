"""Pictures of a language model: beliefs over text, text as it forms, gaps and their fillings."""

import html
import math
from functools import lru_cache, partial

import ipywidgets
import numpy
import torch
from matplotlib.colors import to_rgb

from bfn_core.characters import KINDS, Gap, bits_per_character, gap, read, settled, write
from bfn_core.data import ALPHABET, decode
from bfn_core.infilling import Filling, class_shares, fill, ranked
from bfn_core.model import BFN
from bfn_core.step_by_step import Telling

from .kit import letters, plotly_figure, records, style
from .kit.explorer import button, choice, explore, slider
from .kit.letters import MONOSPACE, LetterMap, Letters, entropy
from .kit.plotly_figure import PlotlyFigure
from .kit.records import Series, chart

NOT_PUBLISHED = "our split: the last 5 % of text8's first 12.5 million characters"
WHITE = numpy.ones(3, numpy.float32)


def colour(name):
    """A colour of the style as three floats."""
    return numpy.array(to_rgb(name), numpy.float32)


class Page:
    """Letters in rows and columns of some axes, each in its ink on its paper."""

    def __init__(self, axes, rows, columns, size=13):
        self.shape = rows, columns
        self.paper = axes.pcolormesh(numpy.ones((rows, columns, 3)))
        places = numpy.moveaxis(numpy.indices((columns, rows)), 0, -1).swapaxes(0, 1) + 0.5
        self.letters = Letters(axes, places.reshape(-1, 2), ALPHABET, size)
        axes.grid(False)
        axes.set(xlim=(0, columns), ylim=(rows, 0), xticks=[], yticks=[])
        axes.spines[:].set_visible(False)

    def show(self, classes, ink, paper=None):
        """Set classes, (rows, columns), in the colours ink on paper, each (rows, columns, 3)."""
        self.letters.show(classes.ravel(), numpy.broadcast_to(ink, (*self.shape, 3)).reshape(-1, 3))
        if paper is not None:
            self.paper.set_array(paper)


def faded(name, strength, paper=WHITE):
    """A colour as strong as `strength`, (…) in [0, 1], says: (…, 3)."""
    strength = numpy.asarray(strength, numpy.float32)[..., None]
    return paper + (0.12 + 0.88 * strength) * (colour(name) - paper)


# Beliefs ------------------------------------------------------------------------------------------


def _belief_map(axes, columns, colour, title):
    """A `LetterMap` of a column per position and a row for each of 27 symbols."""
    made = LetterMap(axes, ALPHABET, columns, colour, title, large=15, above=2.35, small=None,
                     font="DejaVu Sans Mono", ink=colour)
    axes.set(ylim=(len(ALPHABET) - 0.5, -4), xticks=[], xlabel="")
    axes.set_title(title, color=colour)
    axes.set_yticks(range(len(ALPHABET)), ["␣", *ALPHABET[1:]], fontsize=6,
                    family="DejaVu Sans Mono")
    axes.tick_params(pad=2)
    axes.spines[["left", "bottom"]].set_visible(False)
    return made


def _beliefs(axes, readings, shown):
    """The belief about each letter of a text, the network's guess, and the text."""
    maps = [_belief_map(panel, shown, getattr(style.COLOURS, name), getattr(style.LABELS, name))
            for panel, name in zip(axes, ("input", "output"), strict=False)]
    truth = Page(axes[2], 1, shown, size=15)
    axes[2].set_ylabel("truth", rotation=0, ha="right", va="center", fontsize=9)
    known = {name: (reading.theta.probs, reading.output.probs)
             for name, reading in readings.items()}

    def show(t, text):
        reading = readings[text]
        n, x = len(reading.messages), reading.x[:shown]
        i = round(t * n)
        pairs = [probs[i, :shown] for probs in known[text]]
        for letter_map, probs in zip(maps, pairs, strict=True):
            letter_map.show(probs)
        truth.show(x.numpy(), colour(style.COLOURS.data))
        bits = [float(entropy(p).mean()) / math.log(2) for p in pairs]
        right_ones = [int((p.argmax(-1) == x).sum()) for p in pairs]
        return (
            f"At t = {i / n:.2f} the messages leave <b>{bits[0]:.2f} bits</b> open per "
            f"letter, and the network <b>{bits[1]:.2f}</b>. The likeliest letter is the true one "
            f"at {right_ones[0]} of {shown} positions by its messages alone, and at "
            f"<b>{right_ones[1]}</b> once the network has read them all."
        )

    return show


def belief_explorer(bfn: BFN, texts, shown: int = 60, n_steps: int = 40):
    """Drag the time: beliefs about each letter of a text, and what the network adds to them.

    `texts` maps names to texts as long as the network reads; the first `shown` letters are drawn.
    """
    readings = {name: read(bfn, text, n_steps) for name, text in texts.items()}
    controls = {
        "t": slider("time t", 0.0, 1.0, 0.4, 1 / n_steps, width=360),
        "text": choice("text", list(texts)),
    }
    return explore(
        partial(_beliefs, readings=readings, shown=shown), controls, size=(9.3, 6.9), grid=(3, 1),
        height_ratios=(31, 31, 3.1), play="t",
        description="Two heat maps of 27 symbols against 60 positions, the belief above and the "
        "network's guess below: with time every column sharpens to one letter, in the guess first.",
    )


def belief_figure(reading: Telling, times=(0.1, 0.3, 0.4, 0.5, 0.7), shown: int = 64):
    """The likeliest letters at a few times, by the messages alone and by the network."""
    n, believed, guessed = len(reading.messages), reading.theta.probs, reading.output.probs
    figure, axes = style.subplots(size=(9.3, 0.28 * (3 * len(times) + 1) + 0.3))
    page = Page(axes, 3 * len(times) + 1, shown)
    classes = numpy.zeros((3 * len(times) + 1, shown), int)
    ink = numpy.zeros((*classes.shape, 3), numpy.float32)
    for row, t in enumerate(times):
        i = round(t * n)
        for add, probs, name in (
            (0, believed[i], style.COLOURS.input),
            (1, guessed[i], style.COLOURS.output),
        ):
            p = probs[:shown].numpy()
            classes[3 * row + add] = p.argmax(1)
            ink[3 * row + add] = faded(name, p.max(1))
    classes[-1], ink[-1] = reading.x[:shown].numpy(), colour(style.COLOURS.data)
    page.show(classes, ink)
    middles = [3 * row + 1 for row in range(len(times))] + [3 * len(times) + 0.5]
    axes.set_yticks(middles, [f"t = {t:.1f}" for t in times] + ["truth"])
    axes.tick_params(length=0)
    axes.set_title("above: by the messages alone", color=style.COLOURS.input)
    axes.set_title("below: by the network", color=style.COLOURS.output, loc="right")
    return figure


def belief_chart(reading: Telling, alt: str, times=(0.1, 0.3, 0.4, 0.5, 0.7), shown: int = 64):
    """`belief_figure`, whose letters say what else they may be to the pointer."""
    steps = [round(t * len(reading.messages)) for t in times]
    believed, guessed = reading.theta.probs, reading.output.probs
    certain = torch.nn.functional.one_hot(reading.x[:shown], len(ALPHABET))
    lines = (
        ({3 * row: believed[i, :shown] for row, i in enumerate(steps)}, "input"),
        ({3 * row + 1: guessed[i, :shown] for row, i in enumerate(steps)}, "output"),
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

KIND_COLOURS = dict(
    zip(
        KINDS,
        (style.COLOURS.data, *(style.COLOURS.classes[k] for k in (0, 5, 1, 4))),
        strict=True,
    )
)


def _page_rows(rows, wide=64, gap=True):
    """(B, L) as lines of `wide`, with an empty line after each text: (B · (L/wide + 1), wide)."""
    lines = rows.reshape(len(rows), -1, wide)
    if gap:
        lines = torch.cat([lines, torch.zeros_like(lines[:, :1])], 1)
    return lines.flatten(0, 1)


def _writing(axes, walk, n_steps, rows):
    """The letters as the network guesses them, and how many are settled; `walk` gives a Writing."""
    (top, below), orange = axes, colour(style.COLOURS.other)
    page = Page(top, rows, 64)
    top.set_title("what the network would write, if it had to decide now",
                  color=style.COLOURS.output)
    curves = [
        below.plot([], [], color=KIND_COLOURS[name], label=name, linewidth=1.6)[0] for name in KINDS
    ]
    below.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="time t", ylabel="settled")
    below.legend(loc="upper left", fontsize=8, ncols=1, handlelength=1.2, borderpad=0)
    (now,) = below.plot([0, 0], [0, 1], color=style.COLOURS.other, linewidth=1.5)

    @lru_cache(maxsize=8)
    def shares(others):
        """Of the letters of each kind, how many are settled after 0…n messages."""
        last, after = walk(others).guesses[:, -1], settled(walk(others).guesses)
        steps = torch.arange(n_steps + 1).unsqueeze(1)
        return [(after[kind(last)] <= steps).double().mean(1).numpy() for kind in KINDS.values()]

    def show(step, others):
        writing = walk(others)
        guess, p = writing.guesses[:, step], writing.probs[:, step]
        changing = guess != writing.guesses[:, -1]
        paper = WHITE + 0.28 * _page_rows(changing).numpy()[..., None] * (orange - WHITE)
        ink = faded(style.COLOURS.text, _page_rows(p).numpy(), paper)
        page.show(_page_rows(guess).numpy(), ink, paper)
        for curve, share in zip(curves, shares(others), strict=True):
            if curve.get_ydata() is not share:  # what stands still need not be drawn anew
                curve.set_data(numpy.arange(n_steps + 1) / n_steps, share)
        now.set_xdata([step / n_steps] * 2)
        return (
            f"After {step} of {n_steps} messages, t = {step / n_steps:.2f}: the network gives its "
            f"likeliest letters <b>{float(p.mean()):.0%}</b> on average. <b>"
            f"{int(changing.sum())}</b> of {guess.numel()} (on orange) will still change into "
            "another."
        )

    return show


def writing_explorer(bfn: BFN, count: int = 4, n_steps: int = 40):
    """Drag the step of a few samples: the letters as the network guesses them, dark where sure."""
    rows = count * (bfn.network.length // 64 + 1)

    @lru_cache(maxsize=8)
    def walk(others):
        return write(bfn, count, n_steps, others + 1)

    controls = {
        "step": slider("messages received", 0, n_steps, n_steps // 2, width=420),
        "others": button("write others"),
    }
    return explore(
        partial(_writing, walk=walk, n_steps=n_steps, rows=rows), controls, grid=(2, 1),
        size=(9.3, 0.27 * rows + 2.0), height_ratios=(0.27 * rows, 1.5), play="step",
        description=f"Four texts of {bfn.network.length} letters, and below the share of letters "
        "that are settled: at first a grey blur of spaces and frequent letters, then words form "
        "everywhere at once.",
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


def _fillings(axes, rows, wide):
    """A sentence, its likeliest fillings in the rows below, and bars of their weights."""
    left, right = axes
    page = Page(left, rows + 1, wide, size=15)
    right.grid(False)
    right.set(xlim=(0, 1.28), ylim=(rows + 1, 0), xticks=[], yticks=[])
    right.spines[:].set_visible(False)
    middles = [row + 1.5 for row in range(rows)]
    bars = right.barh(middles, [0.0] * rows, height=0.55, color=style.COLOURS.output)
    labels = [right.text(0, middle, "", va="center", fontsize=9) for middle in middles]
    right.text(0, 0.5, "weight", va="center", fontsize=9)

    def show(hole, filling=None):
        inside = torch.arange(hole.start, hole.start + hole.size)[:wide]
        classes = numpy.zeros((rows + 1, wide), int)
        ink = numpy.tile(colour(style.COLOURS.text), (rows + 1, wide, 1))
        paper = numpy.ones((rows + 1, wide, 3), numpy.float32)
        classes[0, : len(inside)] = hole.x[inside].numpy()
        where = hole.holes - hole.start
        where = where[where < wide].numpy()
        paper[0, where] = WHITE + 0.45 * (colour(style.COLOURS.other) - WHITE)
        found = [] if filling is None else ranked(filling, hole.holes)
        chance = None if filling is None else class_shares(filling, hole.holes, len(ALPHABET))
        for row, (best, _) in enumerate(found[:rows], 1):
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
            label.set(text=f"{share:.0%}" if row < len(found) else "", x=share + 0.02)

    return show


def _filling_layout(rows, wide, room):
    """What `style.subplots` and `explore` are told for the picture of `_fillings`."""
    return {"size": (9.3, 0.3 * (rows + 1) + room), "width_ratios": (wide * 0.14, 1.5)}


def filling_figure(hole: Gap, filling: Filling, rows: int = 3, wide: int = 56):
    """A sentence, its likeliest fillings, and their weights."""
    figure, axes = style.subplots(1, 2, **_filling_layout(rows, wide, 0.1))
    _fillings(axes, rows, wide)(hole, filling)
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

    def picture(axes):
        show_fillings = _fillings(axes, rows, wide)
        last = {"presses": -1, "sentence": None, "filling": None}

        def show(sentence, own, fill_it):
            sentence = own.strip() or sentence
            hole = gap(sentence, bfn.network.length)
            if hole.size > wide:
                raise ValueError(f"the sentence has {hole.size} characters, and {wide} fit the "
                                 "picture")
            if fill_it != last["presses"]:  # a new sentence waits, since filling takes seconds
                generator = torch.Generator().manual_seed(fill_it + 1)
                found = fill(bfn, hole.x, hole.known, n_steps, count, generator=generator)
                last.update(presses=fill_it, sentence=sentence, filling=found)
            filling = last["filling"] if last["sentence"] == sentence else None
            show_fillings(hole, filling)
            return _filling_caption(hole, filling)

        return show

    text = ipywidgets.Text(
        placeholder="your own, a _ for each missing letter, then Enter", continuous_update=False
    )
    text.layout.width = "360px"
    controls = {
        "sentence": choice("sentence", sentences, width=430),
        "own": text,
        "fill_it": button("fill"),
    }
    return explore(
        picture, controls, grid=(1, 2), **_filling_layout(rows, wide, 0.2),
        description="A sentence with a hole, its fillings with the heaviest first, and bars of "
        "their weights; the letters of the holes are dark where the candidates agree.",
    )


def _filling_caption(hole, filling):
    if filling is None:
        size = len(hole.holes)
        return f"{size} missing character{'s' * (size > 1)}: press <b>fill</b>."
    chance = class_shares(filling, hole.holes, len(ALPHABET))
    best, letter = chance.max(-1)
    open_bits = entropy(chance) / math.log(2)
    surest, vaguest = int(open_bits.argmin()), int(open_bits.argmax())
    first = decode(torch.tensor(ranked(filling, hole.holes)[0][0])).replace(" ", "␣")
    letter = ["space" if c == " " else c for c in decode(letter)]
    return (
        f"{len(filling.x)} candidates, worth {filling.effective:.1f} of equal weight; the heaviest "
        f'is <b style="{MONOSPACE}">{html.escape(first)}</b>. Surest is letter '
        f"{surest + 1} of the missing ones (<b>{letter[surest]}</b>, "
        f"{float(best[surest]):.0%}), least sure letter {vaguest + 1} "
        f"({float(open_bits[vaguest]):.1f} bits open)."
    )


# Figures of the record ----------------------------------------------------------------------------


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


EXPERTS = {"table": ("a table of four letters", style.COLOURS.data),
           "transformer": ("the transformer", style.COLOURS.other),
           "both": ("both, multiplied", style.COLOURS.output)}


def experts_chart(record, alt):
    """What each network of `tools.text8 experts` pays, by the time, to read off."""
    length, series = record["length"], []
    for name, (title, colour) in EXPERTS.items():
        bill = record["rows"][name]["bill"]
        scale = len(bill["t"])  # nats of one stretch → per unit of time
        bits, error = ([bits_per_character(scale * nats, length) for nats in bill[part]]
                       for part in ("nats", "standard error"))
        series.append(Series(title, bill["t"], bits, colour, error, record["command"]))
    figure, axes = style.subplots(size=(7.2, 3.4))
    for line in series:
        axes.errorbar(line.x, line.y, 2 * numpy.array(line.error), color=line.colour, marker="o",
                      markersize=4, capsize=2, label=line.name)
    axes.set(xlabel="time t", ylabel="bits per character and unit of time", xlim=(0, 1), ylim=0)
    axes.legend(loc="upper right")
    return chart(series, figure, alt, x="time t", y="bits per character and unit of time",
                 unit="bits", label="t = %{x:.3f}", limits=(0, axes.get_ylim()[1]))


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
