"""Pictures of binary digits: what the messages say, what the network makes of it, what it costs.

Ink is coloured and paper white; the colour says whose opinion it is (views/kit/style). Digits are
(N, H, W) tensors of 0 (paper) and 1 (ink), or of probabilities of ink.
"""

import math
from functools import lru_cache, partial

import torch
from matplotlib.colors import to_rgb
from torch import Tensor

from bfn_core.binary_images import SURE, Conversation, Drawing, converse, undecided
from bfn_core.data import drawn_digits
from bfn_core.infilling import filling_steps
from bfn_core.model import BFN

from .kit import style
from .kit.explorer import button, explore, slider
from .kit.in_browser import InBrowser
from .kit.letters import shades
from .kit.records import Series, chart
from .kit.style import COLOURS
from .kit.tiling import framed, tile

LOUDEST = 3.0  # evidence of one message, in its own standard deviations, that is drawn in full


def _volume(message: Tensor) -> Tensor:
    """A message as shades: 0 speaks loudly for paper, 1 for ink, ½ for neither."""
    return (0.5 + message / (2 * LOUDEST)).clamp(0, 1)


def _ink(axes, images: Tensor, colour: str, title: str = "", columns: int = 1, mesh=False):
    """Draw digits or probabilities of ink; returns the picture, whose array may be changed.

    A mesh is drawn three times as fast as an image, if it is of one digit.
    """
    colours = shades(colour).with_extremes(bad="#EFEFEF")  # the lines between digits
    pixels, look = tile(images, columns).numpy(), {"cmap": colours, "vmin": 0, "vmax": 1}
    if mesh:
        shown = axes.pcolormesh(pixels, **look)
        axes.set(aspect="equal", ylim=(len(pixels), 0))
    else:
        shown = axes.imshow(pixels, interpolation="nearest", **look)
    framed(axes, title, colour)
    return shown


# Telling a digit


PANELS = (
    ("data: the digit", COLOURS.data), ("sender: the last message", COLOURS.sender),
    ("input: Bob's belief", COLOURS.input), ("output: the network's guess", COLOURS.output),
)


def _telling(axes, talk, n, highest):
    """Four panels, and the bill below; `talk` gives the conversation for a digit and a press."""
    below = axes[1, 0].get_gridspec()[1, :]
    for axis in axes[1]:
        axis.remove()
    bill = below.get_gridspec().figure.add_subplot(below)
    blank = torch.zeros(1, *talk(1, 0).digit.shape)
    panels = [_ink(axis, blank, colour, title, mesh=True)
              for axis, (title, colour) in zip(axes[0], PANELS, strict=True)]
    bars = [bill.stairs([0.0] * n, [i / n for i in range(n + 1)], fill=True, color=COLOURS.sender,
                        alpha=alpha, label=name) for alpha, name in ((0.9, "paid"),
                                                                     (0.25, "to come"))]
    line = bill.axvline(0, color=COLOURS.text, lw=1)
    bill.set(xlim=(0, 1), ylim=(0, highest), xlabel="time t", ylabel="nats")
    bill.set_title("price of each message", fontsize=10)
    bill.legend(loc="upper right", ncols=2)

    def show(t, digit, again):
        i, now = round(t * n), talk(digit, again)
        said = _volume(now.messages[i - 1]) if i else torch.full(now.digit.shape, 0.5)
        for panel, picture in zip(panels, (now.digit, said, now.beliefs[i], now.guesses[i]),
                                  strict=True):
            panel.set_array(picture.numpy())
        nats = now.nats.clamp(min=0)
        so_far = torch.where(torch.arange(n) < i, nats, 0.0)
        for each, heights in zip(bars, (so_far, nats - so_far), strict=True):
            each.set_data(heights.numpy())
        line.set_xdata([i / n] * 2)
        paid, rest = now.paid(i)
        doubts = [int(undecided(ink[i])) for ink in (now.beliefs, now.guesses)]
        return (
            f"After {i} of {n} messages, t = {t:.2f}: <b>{paid:.1f} nats</b> "
            f"({paid / math.log(2):.0f} bits) are paid and <b>{rest:.1f} nats</b> "
            f"({rest / math.log(2):.0f} bits) are to come. Of {now.digit.numel()} pixels, the "
            f"messages alone leave {doubts[0]} undecided, the network {doubts[1]} (less than "
            f"{SURE:.0%} sure)."
        )

    return show


def flow_explorer(bfn: BFN, digits: Tensor, *, n: int = 50, t: float = 0.3, seed: int = 0):
    """What n messages do to a digit: drag the time, choose the digit, ask for other messages.

    Side by side: the digit, the last message, the belief and the network's guess; below, what each
    message costs. All is computed before the first drag (other messages when they are asked for).

    Args:
        bfn: with a DiscreteFlow of two classes.
        digits: (N, 1, H, W) int64.
    """

    @lru_cache(maxsize=64)
    def talk(number, again):
        generator = torch.Generator().manual_seed(1000 * seed + 100 * again + number - 1)
        return converse(bfn, digits[number - 1], n, generator=generator)

    highest = 1.2 * max(float(talk(1 + k, 0).nats.max()) for k in range(len(digits)))
    controls = {
        "t": slider("t, time", 0.0, 1.0, t, 1 / n),
        "digit": slider("which digit", 1, len(digits), 1, width=150),
        "again": button("Other messages"),
    }
    return explore(
        partial(_telling, talk=talk, n=n, highest=highest), controls, size=(9.2, 4.3), grid=(2, 4),
        height_ratios=[2.3, 1], play="t",
        description="A digit, the last noisy message about it, the belief that all messages so far "
        "add up to, and the network's guess, side by side, with the price of each message below.",
    )


def flow_figure(talk: Conversation, steps=(1, 8, 14, 20, 30, 50)):
    """The same without a slider: a column for each number of messages, and the digit last."""
    n = len(talk.nats)
    figure, axes = style.subplots(3, len(steps) + 1, size=(9.2, 4.3))
    rows = (
        ("last message", COLOURS.sender, [_volume(talk.messages[i - 1]) for i in steps]),
        ("belief", COLOURS.input, [talk.beliefs[i] for i in steps]),
        ("guess", COLOURS.output, [talk.guesses[i] for i in steps]),
    )
    for line, (name, colour, pictures) in zip(axes, rows, strict=True):
        for axis, picture in zip(line, pictures, strict=False):
            _ink(axis, picture.unsqueeze(0), colour)
        line[0].set_ylabel(name, color=colour)
    for axis, i in zip(axes[0], steps, strict=False):
        axis.set_title(f"t = {i / n:.2f}", color=COLOURS.text, fontsize=10)
    _ink(axes[0, -1], talk.digit.unsqueeze(0), COLOURS.data, "the digit")
    for axis in axes[1:, -1]:
        axis.set_axis_off()
    return figure


# Digits as they form


def _forming(axes, drawing, columns):
    """Digits after some messages, by the beliefs and by the guesses, and what each leaves open."""
    n, size = len(drawing.beliefs) - 1, drawing.digits[0].numel()
    frames, right = (drawing.beliefs, drawing.guesses), axes[2]
    doubts = [undecided(frame).double().mean(1) for frame in frames]  # (n + 1,) each
    times = torch.arange(n + 1) / n
    panels, dots = [], []
    for axis, frame, doubt, (title, colour) in zip(axes, frames, doubts, PANELS[2:], strict=False):
        panels.append(_ink(axis, frame[0], colour, title, columns))
        right.plot(times, doubt, color=colour)
        dots += right.plot([0], [0], "o", color=colour, ms=8, mec="white", zorder=3)
    right.set(xlabel="time t", xlim=(-0.02, 1.02), ylim=(0, 1.04 * size))
    right.set_title("pixels undecided, per digit", fontsize=10)

    def show(step):
        for panel, frame, dot, doubt in zip(panels, frames, dots, doubts, strict=True):
            panel.set_array(tile(frame[step], columns).numpy())
            dot.set_data([step / n], [float(doubt[step])])
        return (
            f"After {step} of {n} messages, t = {step / n:.2f}: the messages leave "
            f"<b>{float(doubts[0][step]):.0f}</b> of {size} pixels undecided in a digit, the "
            f"network <b>{float(doubts[1][step]):.0f}</b>."
        )

    return show


def drawing_explorer(drawing: Drawing, *, step: int = 12, columns: int = 4):
    """Digits as they form: drag the step or play; the input against the output distribution."""
    controls = {"step": slider("messages received", 0, len(drawing.beliefs) - 1, step)}
    return explore(
        partial(_forming, drawing=drawing, columns=columns), controls, size=(9.2, 3.7), grid=(1, 3),
        width_ratios=[1, 1, 0.85], play="step", seconds=6,
        description="A batch of digits forming: the belief on the left, the network's guess beside "
        "it, and how many pixels each of them leaves undecided.",
    )


def drawing_figure(drawing: Drawing, steps=(0, 5, 10, 15, 20, 30, 50), count: int = 4):
    """Beliefs (upper rows) and guesses (lower rows) of a few digits after some messages."""
    n = len(drawing.beliefs) - 1
    figure, axes = style.subplots(2, len(steps), size=(9.2, 2.6))
    for column, i in enumerate(steps):
        _ink(axes[0, column], drawing.beliefs[i, :count], COLOURS.input, columns=2)
        _ink(axes[1, column], drawing.guesses[i, :count], COLOURS.output, columns=2)
        axes[0, column].set_title(f"t = {i / n:.2f}", fontsize=10, color=COLOURS.text)
    axes[0, 0].set_ylabel("belief", color=COLOURS.input)
    axes[1, 0].set_ylabel("guess", color=COLOURS.output)
    return figure


def digits_figure(
    groups: dict[str, Tensor], *, columns: int = 8, size=(9.2, 3.0), colour: str = COLOURS.data
):
    """Groups of digits side by side: from a title to images (N, H, W) in [0, 1]."""
    figure, axes = style.subplots(1, len(groups), size=size, squeeze=False)
    for axis, (title, images) in zip(axes[0], groups.items(), strict=True):
        _ink(axis, images, colour, title, columns)
    return figure


# What it costs


def elbo_figure(columns: dict[str, dict[str, tuple[float, float]]]):
    """−ELBO against the number of messages, from a name to {n: (nats, standard error)}."""
    figure, axes = style.subplots(size=(7.2, 3.2))
    colours = (COLOURS.output, COLOURS.data, COLOURS.other)
    for (name, rows), colour in zip(columns.items(), colours, strict=False):
        nats, errors = zip(*rows.values(), strict=True)
        axes.errorbar(list(rows), nats, [2 * e for e in errors], fmt="o-", color=colour,
                      capsize=3, label=name + " (± 2 standard errors)" * any(errors))
    axes.set(xlabel="messages n", ylabel="nats per image")
    axes.legend(loc="upper right")
    return figure


def elbo_chart(columns: dict[str, dict[str, tuple[float, float]]], notes: dict[str, str], alt: str):
    """`elbo_figure`, to read off; `notes` say how what has a name was measured."""
    colours = (COLOURS.output, COLOURS.data, COLOURS.other)
    series = []
    for (name, rows), colour in zip(columns.items(), colours, strict=False):
        nats, errors = zip(*rows.values(), strict=True)
        series.append(Series(name, list(rows), nats, colour, errors if any(errors) else None,
                             notes.get(name, "")))
    return chart(series, elbo_figure(columns), alt, x="messages n", y="nats per image",
                 label="n = %{x}")


def bill_figure(
    bill: dict, others: dict[str, Tensor] | None = None, floor: dict[str, Tensor] | None = None
):
    """A recorded bill: nats over time, as bars with two standard errors, and over the pixels.

    Args:
        bill: `data.record("mnist")["bill"]`.
        others: further bills over the same times, drawn as dots, by name; (bins,) nats each.
        floor: parts of the bars that are drawn darker, from below, likewise.
    """
    figure, (left, right) = style.subplots(1, 2, size=(9.2, 3.4), width_ratios=[1.65, 1])
    times, nats = bill["t"], bill["nats"]
    errors = [2 * e for e in bill["standard error"]]
    left.bar(times, nats, 0.9 / len(times), yerr=errors, color=COLOURS.sender, alpha=0.75,
             error_kw={"lw": 1}, label="the test images (± 2 standard errors)")
    dark = tuple(0.5 * channel for channel in to_rgb(COLOURS.sender))
    for name, values in (floor or {}).items():
        left.bar(times, values, 0.9 / len(times), color=dark, label=name)
    for name, values in (others or {}).items():
        left.plot(times, values, "o", color=COLOURS.data, ms=4, label=name)
    left.set(xlabel="time t", ylabel="nats", xlim=(0, 1), ylim=(0, 1.4 * max(nats)))
    left.set_title(f"when: nats in each {1 / len(times):.0%} of the time", fontsize=10)
    left.legend(loc="upper right")
    shown = right.imshow(bill["pixels"], cmap=shades(COLOURS.sender), vmin=0)
    right.grid(False)
    right.set(xticks=[], yticks=[])
    for spine in right.spines.values():
        spine.set(visible=True, color=COLOURS.faint)
    right.set_title("where: nats for each pixel", fontsize=10)
    figure.colorbar(shown, ax=right, shrink=0.9)
    return figure


# A digit completed, and the same by the reader's hand

COMPLETING_ALT = (
    "Four squares: the upper half of a digit, given; the grainy belief after ten of "
    "thirty messages; the network's guess from it; and the whole digit, whose lower half the "
    "network has drawn."
)


def completing_figure(bfn: BFN, *, digit: int = 19, n: int = 30, count: int = 8, seed: int = 3):
    """The upper half of a drawn digit, the heaviest candidate a third of the way on, and its end.

    Args:
        bfn: of binary pixels, (1, 28, 28).
        digit: which of `drawn_digits`.
        n, count, seed: messages, candidates and noise of the filling.
    """
    x = drawn_digits()[digit].long().reshape(1, 28, 28)
    known = torch.zeros_like(x, dtype=torch.bool)
    known[:, :14] = True
    rng = torch.Generator().manual_seed(seed)
    steps = list(filling_steps(bfn, x, known, n, count, generator=rng))
    early, late = steps[n // 3], steps[-1]
    best = int(late.log_weights.argmax())
    pictures = {
        "given": torch.where(known, x.float(), 0.35), "belief": early.theta.probs[best, ..., 1],
        "guess": early.output.probs[best, ..., 1],
        "completed": torch.where(known, x, late.output.probs[best, ..., 1]),
    }
    figure, axes = style.subplots(1, 4, size=(7.2, 2.1))
    for ax, (title, picture) in zip(axes, pictures.items(), strict=True):
        ax.imshow(picture[0].numpy(), cmap="gray", vmin=0, vmax=1)
        ax.set_title(title)
        ax.set_axis_off()
    return figure


def browser_explorer(bfn: BFN) -> InBrowser:
    """Draw a part of a digit and the model draws the rest, in the browser: without the kernel.

    Args:
        bfn: of binary pixels, (1, 28, 28), with a UNet, told labels or not.

    Raises:
        ValueError: a network of another kind.
    """
    return InBrowser(bfn, completing_figure(bfn, count=4), description=COMPLETING_ALT)
