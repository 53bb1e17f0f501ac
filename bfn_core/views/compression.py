"""Pictures of a stack of bits on which Alice's messages travel, and of what files weigh."""

import html
from functools import lru_cache, partial

import ipywidgets
import torch
from torch import Tensor

from bfn_core.compression.bills import GENERAL, posted
from bfn_core.compression.listening import Reading, read
from bfn_core.model import BFN
from bfn_core.views.kit import style
from bfn_core.views.kit.canvas import Canvas, Completed
from bfn_core.views.kit.explorer import Explorer, choice, explore, slider
from bfn_core.views.kit.style import COLOURS

OURS = "a BFN's messages"


def _stack(axes, reading: Reading):
    """Belief, guess, the height of the stack and the bill, (2, 3) axes."""
    pictures = []
    for axis, title, colour in (
        (axes[0, 0], "Bob's belief", COLOURS.input),
        (axes[0, 1], "the network's guess", COLOURS.output),
    ):
        pictures.append(axis.imshow(reading.beliefs[0].numpy(), cmap="gray_r", vmin=0, vmax=1))
        axis.set_title(title, color=colour)
    axes[1, 0].imshow(reading.digit.numpy(), cmap="gray_r", vmin=0, vmax=1)
    axes[1, 0].set_title("what Alice packed", color=COLOURS.data)
    for axis in axes[:, :2].flat:
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
    axes[1, 1].set_axis_off()
    when = torch.arange(len(reading.heights)) / 2
    tower, bill = axes[:, 2]
    tower.plot(when.numpy(), reading.heights.numpy(), color=COLOURS.sender, drawstyle="steps-post",
               lw=1.2)
    tower.axhline(reading.packed.seed_bits, color=COLOURS.data, ls=":", lw=1.2)
    tower.set_title("height of Bob's stack, bits")
    tower.set(xlim=(-1, reading.n + 1), ylim=(0, None))
    bill.plot(reading.net.numpy(), color=COLOURS.receiver)
    bill.axhline(reading.packed.net_bits, color=COLOURS.data, ls=":", lw=1.2)
    bill.set_title("net bits so far")
    bill.set(xlabel="message", xlim=(-1, reading.n + 1),
             ylim=(min(0.0, float(reading.net.min())), None))
    dots = [axis.plot([], [], "o", color=COLOURS.text, ms=6)[0] for axis in (tower, bill)]

    def show(i: int) -> str:
        height, net = float(reading.heights[2 * i]), float(reading.net[i])
        for image, shades in zip(pictures, (reading.beliefs, reading.guesses), strict=True):
            image.set_data(shades[i].numpy())
        for dot, place in zip(dots, (height, net), strict=True):
            dot.set_data([i], [place])
        words = f"after message {i} of {reading.n}" if i else "before the first message"
        return (
            f"The stack is {int(height):,} bits high {words}; the messages have cost {net:.0f} "
            f"bits net. The whole digit costs {reading.packed.net_bits} bits, and "
            f"{reading.packed.seed_bits:,} lent ones come back."
        )

    return show


STACK = {"size": (8.4, 4.0), "width_ratios": (1, 1, 2.2)}


def stack_figure(reading: Reading, i: int = 0):
    """The picture of `stack_explorer`, at message i."""
    figure, axes = style.subplots(2, 3, **STACK)
    _stack(axes, reading)(i)
    return figure


def stack_explorer(reading: Reading) -> Explorer:
    """Message by message: Bob's stack, his belief, the network's guess, and the bill."""
    return explore(
        partial(_stack, reading=reading), {"i": slider("message", 0, reading.n, 0)}, grid=(2, 3),
        play="i", **STACK,
        description="A stack of bits that falls as Bob takes messages off it and rises as he puts "
        "back what Alice had borrowed, beside his belief, the network's guess, and the net bits so "
        "far.",
    )


def bill_figure(rows: dict[int, tuple[float, float]], elbo: dict[int, float], entropy: float):
    """What is paid for an example with n messages.

    Args:
        rows: measured net bits and their standard error, by n.
        elbo: L^n + L^r in bits, by n.
        entropy: of the data, in bits.
    """
    figure, axes = style.subplots(size=(6.4, 3.2))
    axes.plot(list(elbo), list(elbo.values()), color=COLOURS.receiver, label="$L^n + L^r$")
    mean, error = zip(*rows.values(), strict=True)
    axes.errorbar(list(rows), mean, yerr=[2 * e for e in error], fmt="o", color=COLOURS.sender,
                  capsize=3, label="net bits of real files, ± 2 s.e.", zorder=3)
    axes.axhline(entropy, color=COLOURS.data, ls=":", label="entropy of the data")
    axes.set_xscale("log")
    ticks = list(rows)
    axes.set_xticks(ticks, [str(n) for n in ticks])
    axes.minorticks_off()
    axes.set(xlabel="messages n", ylabel="bits per example", ylim=(0, None))
    axes.legend()
    return figure


# What readers pack.

def sentence_explorer(bfn: BFN, sentences: list[str]):
    """A sentence of the list, or the reader's own, in bytes by its messages and by other codes."""

    def picture(axes):
        names = [OURS, "the same, with the loan", *GENERAL]
        bars = axes.barh(range(len(names)), [0] * len(names), color=[
            COLOURS.receiver, COLOURS.receiver, *[COLOURS.faint] * len(GENERAL)])
        bars[1].set_alpha(0.4)
        labels = [axes.text(0, k, "", va="center", fontsize=8.5) for k in range(len(names))]
        axes.set_yticks(range(len(names)), names, fontsize=8.5)
        axes.invert_yaxis()
        axes.set_xlabel("bytes")
        axes.grid(False)
        pack = lru_cache(maxsize=32)(lambda text, n: posted(bfn, text, n))

        def show(sentence, own, n):
            found = pack(own.strip() or sentence, n)
            net, lent = found.packed.net_bits / 8, found.packed.seed_bits / 8
            heights = [net, net + lent, *found.others.values()]
            top = 1.25 * max(net, *found.others.values())
            axes.set_xlim(0, top)
            for bar, label, size in zip(bars, labels, heights, strict=True):
                bar.set_width(size)
                outside = size < top
                label.set_text(f" {size:,.0f}" if outside else f"{size:,.0f} → ")
                label.set_x(min(size, top))
                label.set_ha("left" if outside else "right")
            letters, rest = len(found.text), ""
            if found.filled:
                rest = f" and {found.filled} spaces that fill up the row"
            return (
                f"{letters} letters{rest}, packed and unpacked: <b>{net:.0f} bytes</b> net, "
                f"{8 * net / letters:.2f} bits per letter, and {lent:,.0f} lent and given back. "
                f"Read as <i>{html.escape(found.text[:90])}{'…' if letters > 90 else ''}</i>"
            )

        return show

    own = ipywidgets.Text(placeholder="your own, then Enter", continuous_update=False)
    own.layout.width = "420px"
    controls = {
        "sentence": choice("sentence", [(_short(text), text) for text in sentences], width=430),
        "own": own,
        "n": choice("messages", [5, 10, 25], 10),
    }
    description = ("Bytes of a sentence: a few dozen as the messages of the text model, two to "
                   "four times that as zlib, bz2 and lzma have it, and far more with the loan.")
    return explore(picture, controls, size=(7.6, 2.2), description=description)


def _short(text: str, most: int = 48) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def drawn(bfn: BFN, x: Tensor, n: int, seed: int, shown=(0.2, 0.4, 0.6, 1.0)) -> Completed:
    """A drawing, (H, W) of 0 and 1, packed in n messages and unpacked: what the network guesses on
    the way, and what it all weighs.
    """
    reading = read(bfn, x[None], n, seed=seed)
    steps = sorted({max(1, round(share * n)) for share in shown})
    net = reading.packed.net_bits
    words = (f"{net / 8:.0f} bytes in {n} messages, unpacked without a pixel lost; "
             f"{reading.packed.seed_bits / 8:,.0f} more were lent and given back. As it is, the "
             f"drawing has {x.numel() / 8:.0f} bytes.")
    titles = tuple(f"message {i}: {max(0.0, float(reading.net[i])) / 8:.0f} bytes" for i in steps)
    return Completed(reading.guesses[steps], torch.ones(len(steps)) / len(steps), words, titles)


def drawing_canvas(bfn: BFN, digits: Tensor) -> Canvas:
    """A canvas whose drawing is packed with every stroke.

    Args:
        bfn: of binary pixels, (1, H, W).
        digits: (N, 1, H, W), 0 and 1, that can be put on it.
    """
    choices = [("10 messages", 10), ("5 messages", 5), ("25 messages", 25)]
    description = ("A canvas with a digit, and what a network guesses of it after a few messages "
                   "and after all, with the bytes that they cost: draw, and it is packed anew.")
    return Canvas(lambda x, known, n, seed: drawn(bfn, x, n, seed), digits[:, 0], choices,
                  description=description, whole=True, asks="how many messages", do="pack again")


# What files weigh.


def sizes(entry: dict) -> dict[str, float]:
    """Bytes of all codes in an entry of assets/compression.json, smallest last."""
    found = {name: float(size) for name, size in entry["other codes"].items()}
    for n, row in entry["messages"].items():
        found[f"{OURS}, n = {n}"] = float(row["file bytes"])
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def bars_figure(record: dict[str, dict], titles: dict[str, str]):
    """Bytes of files, one panel for each kind of data; what was only lent is paler."""
    heights = [len(sizes(record[name])) for name in titles]
    figure, axes = style.subplots(
        len(titles), 1, size=(7.6, 0.6 + 0.27 * sum(heights) + 0.5 * len(titles)),
        height_ratios=heights, squeeze=False,
    )
    for axis, (name, title) in zip(axes[:, 0], titles.items(), strict=True):
        draw_bars(axis, record[name])
        axis.set_title(title)
        axis.xaxis.set_major_formatter("{x:,.0f}")
    axes[-1, 0].set_xlabel("bytes")
    return figure


def draw_bars(axis, entry: dict) -> None:
    """The bars of one kind of data."""
    everything = sizes(entry)
    for place, (name, size) in enumerate(everything.items()):
        ours = name.startswith(OURS)
        axis.barh(place, size, color=COLOURS.receiver if ours else COLOURS.faint)
        if ours:
            lent = entry["messages"][name.rpartition(" ")[2]]["seed bytes"]
            axis.barh(place, lent, left=size - lent, color="white", alpha=0.6)
        axis.text(size, place, f" {size:,.0f}", va="center", fontsize=8.5)
    axis.set_yticks(range(len(everything)), list(everything), fontsize=8.5)
    axis.grid(False)
    axis.set_xlim(0, 1.12 * max(everything.values()))
