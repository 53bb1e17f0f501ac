"""Pictures of what goes on inside a network: its shape, its clock, feature maps and attention."""

import math
from functools import lru_cache, partial

import numpy
import torch
from matplotlib.patches import FancyArrowPatch, Rectangle
from torch import Tensor, nn

from bfn_core.data.strings import Strings
from bfn_core.looking_inside import activations, attention_weights
from bfn_core.model import BFN
from bfn_core.step_by_step import tell
from bfn_core.training.growth import power_law

from .kit import style
from .kit.explorer import button, choice, explore, slider
from .kit.letters import LetterMap, shades
from .kit.style import COLOURS
from .kit.tiling import framed, tile

SIGNED = "PuOr"  # from brown over white to violet: also the colour-blind see which side is which
GREY = {"cmap": "gray", "vmin": -1, "vmax": 1, "interpolation": "nearest"}
STEPS = 40  # messages of a path that an explorer walks


# The shape of a U-Net


def unet_figure(levels, *, inlet, outlet, attention=()):
    """A U-Net as boxes: as high as the image has pixels, as wide as it has channels.

    Args:
        levels: (channels, side) from full resolution downwards.
        inlet, outlet: planes that the first convolution reads and the last one writes.
        attention: levels with self-attention.
    """
    figure, axes = style.subplots(size=(9.2, 1.9 + 1.25 * len(levels)))
    axes.set_axis_off()
    largest, widest = levels[0][1], max(channels for channels, _ in levels)
    last = 2 * len(levels) + 1

    def box(column, level, channels, side, colour, words):
        high, wide = 0.25 + 0.75 * side / largest, 0.1 + 0.5 * channels / widest
        x, y = column, -1.75 * level
        axes.add_patch(Rectangle((x - wide / 2, y - high / 2), wide, high, facecolor=colour,
                                 alpha=0.6, edgecolor=colour, lw=1.5))
        axes.text(x, y - high / 2 - 0.09, f"{words}\n{channels} × {side} × {side}", ha="center",
                  va="top", fontsize=8.5)
        return x, y, wide / 2 + 0.03, high / 2

    def arrow(start, end, colour, words, side=0):
        """Its words stand above it, or near its lower end, to the left (−1) or right (1) of it."""
        axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=13, lw=1.6,
                                       color=colour, shrinkA=0, shrinkB=0))
        near = {-1: 0.75, 0: 0.5, 1: 0.25}[side]
        x, y = ((1 - near) * a + near * b for a, b in zip(start, end, strict=True))
        x, y = x + 0.1 * side, y + 0.04 * (side == 0)
        axes.text(x, y, words, ha={-1: "right", 0: "center", 1: "left"}[side],
                  va="center" if side else "bottom", fontsize=8.5, color=colour)

    def across(a, b, words="", colour=COLOURS.data):
        """From the right side of a box to the left side of another."""
        arrow((a[0] + a[2], a[1]), (b[0] - b[2], b[1]), colour, words)

    first = box(0, 0, inlet, largest, COLOURS.input, "belief")
    down, up = [], []
    for level, (channels, side) in enumerate(levels):
        words = "block" + " + attention" * (level in attention)
        down.append(box(1 + level, level, channels, side, COLOURS.flow, f"down: {words}"))
        up.append(box(last - 1 - level, level, channels, side, COLOURS.output, f"up: {words}"))
    final = box(last, 0, outlet, largest, COLOURS.sender, "output")
    across(first, down[0], "conv")
    across(up[0], final, "norm, conv")
    for level in range(len(levels)):
        across(down[level], up[level], "skip", COLOURS.receiver)
    for level in range(len(levels) - 1):
        start, end = down[level], down[level + 1]
        arrow((start[0] + start[2], start[1] - 0.3 * start[3]),
              (end[0], end[1] + end[3] + 0.02), COLOURS.data, "halve", -1)
        start, end = up[level + 1], up[level]
        arrow((start[0], start[1] + start[3] + 0.02),
              (end[0] - end[2], end[1] - 0.3 * end[3]), COLOURS.data, "double", 1)
    axes.text(last / 2, 0.75, "the time t, as an embedding, goes into every block", ha="center",
              fontsize=9.5, color=COLOURS.text)
    axes.set(xlim=(-0.6, last + 0.6), ylim=(-1.75 * (len(levels) - 1) - 0.95, 0.95))
    return figure


# The clock


def _clock(axes, embedding: nn.Module):
    """The time's waves as a picture, and how alike one time is to all others."""
    left, right = axes
    times = torch.linspace(0, 1, 201)
    with torch.no_grad():
        angles = times[:, None] * embedding.waves
        waves, embedded = torch.cat([angles.sin(), angles.cos()], 1), embedding(times)
    count, half = waves.shape[1], waves.shape[1] // 2
    left.imshow(waves.T.numpy(), cmap=SIGNED, vmin=-1.4, vmax=1.4, aspect="auto",
                extent=(0, 1, count - 0.5, -0.5), interpolation="nearest")
    left.set_yticks([0, half - 1, half, count - 1],
                    ["sin, slow", "sin, fast", "cos, slow", "cos, fast"])
    left.grid(False)
    left.set(xlabel="time t")
    left.set_title("sines and cosines of t: each column is one time", fontsize=10)
    (of_waves,) = right.plot([], [], color=COLOURS.flow, label="sines and cosines")
    (of_layers,) = right.plot([], [], color=COLOURS.output, label="after two layers")
    now = [axis.axvline(0, ymax=top, color=COLOURS.text, lw=1.5)  # not through the legend
           for axis, top in zip(axes, (1, 0.84), strict=True)]
    right.set(xlim=(0, 1), ylim=(-1.05, 1.4), xlabel="another time")
    right.set_title("how alike it is to the other times (cosine)", fontsize=10)
    right.legend(loc="upper right", ncols=2)

    def show(t: float) -> str:
        at, apart = round(t * (len(times) - 1)), (times - t).abs()
        for line in now:
            line.set_xdata([t, t])
        alike = alikeness(waves, at)
        of_waves.set_data(times, alike)
        of_layers.set_data(times, alikeness(embedded, at))
        close = alike[(apart - 0.05).abs() < 1e-4].mean()
        return (
            f"At t = {t:.2f}: the sines and cosines of times 0.05 away have a cosine of "
            f"<b>{float(close):.2f}</b> with it, of times further than 0.1 at most "
            f"<b>{float(alike[apart >= 0.101].max()):.2f}</b>."
        )

    return show


def alikeness(vectors: Tensor, at: int) -> Tensor:
    """Cosine between one of the vectors, (N, width), and each of them, (N,)."""
    return nn.functional.cosine_similarity(vectors, vectors[at : at + 1], dim=1)


CLOCK = {"size": (9.2, 3.2), "width_ratios": (1.1, 1)}


def clock_explorer(embedding: nn.Module, t: float = 0.3):
    """How a network is told the time: drag it, and see which other times look alike.

    Args:
        embedding: with `waves`, and called as embedding(t), (B,) to (B, width).
    """
    return explore(
        partial(_clock, embedding=embedding), {"t": slider("t, time", 0.0, 1.0, t, 0.01)},
        grid=(1, 2), play="t", **CLOCK,
        description="The sines and cosines that tell a network the time, as a picture over all "
        "times, and how alike the chosen time is to all others.",
    )


def clock_figure(embedding: nn.Module, t: float = 0.3):
    """The same at rest."""
    figure, axes = style.subplots(1, 2, **CLOCK)
    _clock(axes, embedding)(t)
    return figure


# Feature maps


def _seen(bfn: BFN, x: Tensor, layers: dict[str, nn.Module], seed: int):
    """Means of beliefs and guesses about one image, (n + 1, 1, H, W), and what layers put out."""
    way = tell(bfn, x, STEPS, generator=torch.Generator().manual_seed(seed))
    maps = activations(bfn.network, layers, bfn.flow.network_input(way.theta), way.times)
    return way.theta.mean, way.output.mean, maps


def _sheet(maps: Tensor) -> Tensor:
    """Feature maps (channels, h, w) side by side in a square of 16 × 16 pixels a map."""
    scaled = maps.repeat_interleave(16 // maps.shape[1], 1).repeat_interleave(
        16 // maps.shape[2], 2)
    return tile(scaled, math.ceil(math.sqrt(len(maps))))


def feature_explorer(bfn: BFN, images: Tensor, layers: dict[str, nn.Module], *, t: float = 0.3):
    """What a U-Net's layers show as the belief about an image sharpens.

    Args:
        bfn: continuous or discretised, with images of one channel whose sides divide 16.
        images: (N, 1, H, W).
        layers: modules of the network that put out (B, channels, h, w), by the name to show.
    """

    @lru_cache(maxsize=32)
    def path(image, again):
        return _seen(bfn, images[image - 1], layers, 100 * again + image)

    def draw(axes):
        titles = (("data", COLOURS.data), ("input: mean belief", COLOURS.input),
                  ("output: mean guess", COLOURS.output), ("feature maps", COLOURS.text))
        for axis, (title, colour) in zip(axes, titles, strict=True):
            framed(axis, title, colour)
        panels = [axis.imshow(images[0, 0].numpy(), **GREY) for axis in axes[:3]]
        # Sheets of several sizes share one frame, so that the axes stay where they are.
        maps = axes[3].imshow([[0.0]], cmap=SIGNED, vmin=-1, vmax=1, interpolation="nearest",
                              extent=(0, 1, 0, 1))

        def show(t, layer, image, again):
            (means, guesses, found), i = path(image, again), round(t * STEPS)
            shown = [part[0] for part in (images[image - 1], means[i], guesses[i])]
            for panel, picture in zip(panels, shown, strict=True):
                panel.set_data(picture.numpy())
            of_layer = found[layer]
            maps.set_data((_sheet(of_layer[i]) / of_layer.abs().quantile(0.99)).numpy())
            channels, high, wide = of_layer.shape[1:]
            belief, guess = (float((part - shown[0]).square().mean().sqrt()) for part in shown[1:])
            return (
                f"t = {t:.2f}: {channels} maps of {high} × {wide} from <b>{layer}</b>. The "
                f"belief's mean is off by <b>{belief:.2f}</b>, the guess by <b>{guess:.2f}</b> "
                "(root mean square; black is −1, white is 1)."
            )

        return show

    description = (
        "A digit, the belief about it, the network's guess, and the feature maps of a layer, "
        "which change as the belief sharpens."
    )
    controls = {
        "t": slider("t, time", 0.0, 1.0, t, 1 / STEPS),
        "layer": choice("layer", list(layers)),
        "image": slider("which digit", 1, len(images), 1, width=150),
        "again": button("Other messages"),
    }
    return explore(
        draw, controls, size=(9.2, 3.1), grid=(1, 4), width_ratios=[1, 1, 1, 1.5], play="t",
        description=description,
    )


def feature_figure(bfn: BFN, x: Tensor, layers, steps=(2, 8, 16, 32), *, seed: int = 0):
    """One image, (1, H, W), at some times: belief, guess, and the maps of every layer below."""
    means, guesses, found = _seen(bfn, x, layers, seed)
    heights = [1.1, 1.1, *[1.8] * len(layers)]
    figure, axes = style.subplots(len(heights), len(steps), size=(7.6, sum(heights) + 0.4),
                                  height_ratios=heights)
    for column, i in zip(axes.T, steps, strict=True):
        for axis in column:
            framed(axis, "")
        column[0].set_title(f"t = {i / STEPS:.2f}", fontsize=10)
        for axis, mean in zip(column, (means[i], guesses[i]), strict=False):
            axis.imshow(mean[0].numpy(), **GREY)
        for axis, maps in zip(column[2:], found.values(), strict=True):
            scale = float(maps.abs().quantile(0.99))
            axis.imshow(_sheet(maps[i]).numpy(), cmap=SIGNED, vmin=-scale, vmax=scale,
                        interpolation="nearest")
    names = [("belief", COLOURS.input), ("guess", COLOURS.output)]
    for axis, (name, colour) in zip(axes[:, 0], [*names, *((n, COLOURS.text) for n in layers)],
                                    strict=True):
        axis.set_ylabel(name, color=colour)
    return figure


# Attention


def _attention(axes, length):
    """An empty picture of who reads whom."""
    zeros = torch.zeros(length, length).numpy()
    edges = [d - 0.5 for d in range(length + 1)]
    mesh = axes.pcolormesh(edges, edges, zeros, cmap=shades(COLOURS.receiver), vmin=0, vmax=1)
    axes.invert_yaxis()
    axes.set_xticks(range(length), [str(d + 1) for d in range(length)])
    axes.set_yticks(range(length), [str(d + 1) for d in range(length)])
    axes.tick_params(length=0)
    axes.grid(False)
    axes.set(xlabel="position that is read", ylabel="position that reads")
    return mesh


def attention_explorer(bfn: BFN, language: Strings, strings, *, t: float = 0.4):
    """Where each position of a string looks as the belief sharpens, and what comes of it.

    Args:
        bfn: discrete, with a transformer that `attention_weights` can read.
        language: what the strings are of.
        strings: a few of them.
    """
    x = language.encode(strings)

    @lru_cache(maxsize=32)
    def reading(string, again):
        generator = torch.Generator().manual_seed(again)
        way = tell(bfn, x[strings.index(string)], STEPS, generator=generator)
        return way, attention_weights(bfn.network, way.theta.probs, way.times)

    layers, _, heads = reading(strings[0], 0)[1].shape[:3]

    def picture(axes):
        left, middle, right = axes
        mesh = _attention(left, language.length)
        left.set_title("who reads whom", fontsize=10, color=COLOURS.receiver)
        maps = [
            LetterMap(axis, language.alphabet, language.length, colour, title)
            for axis, colour, title in ((middle, COLOURS.input, "input: the belief"),
                                        (right, COLOURS.output, "output: the guess"))
        ]

        def show(t, head, string, again):
            (way, found), i = reading(string, again), round(t * STEPS)
            layer, index = head
            weights = found[layer, i, index]
            chances = (way.theta.probs[i], way.output.probs[i])
            mesh.set_array(weights.numpy())
            for letters, probs in zip(maps, chances, strict=True):
                letters.show(probs)
            mirror = float(weights.flip(1).diagonal().mean())
            right_by = [float(p.gather(1, way.x.unsqueeze(1)).mean()) for p in chances]
            return (
                f"t = {t:.2f}: in this head a position gives its mirror image <b>{mirror:.0%}</b> "
                f"of its attention, on average. The right letters have <b>{right_by[0]:.0%}</b> of "
                f"the belief and <b>{right_by[1]:.0%}</b> of the guess."
            )

        return show

    names = [(f"layer {layer + 1}, head {head + 1}", (layer, head))
             for layer in range(layers) for head in range(heads)]
    description = (
        "Which position of a palindrome reads which, for one head of attention, beside the belief "
        "about each letter and the network's guess."
    )
    controls = {
        "t": slider("t, time", 0.0, 1.0, t, 1 / STEPS),
        "head": choice("head", names),
        "string": choice("string", list(strings)),
        "again": button("Other messages"),
    }
    return explore(
        picture, controls, size=(9.2, 3.6), grid=(1, 3), play="t", description=description,
    )


def attention_figure(weights: Tensor):
    """Every head's attention, (layers, heads, L, L), side by side."""
    layers, heads, length, _ = weights.shape
    count = layers * heads
    figure, axes = style.subplots(1, count, size=(9.2, 9.2 / count + 0.7), squeeze=False)
    for number, axis in enumerate(axes[0]):
        layer, head = divmod(number, heads)
        _attention(axis, length).set_array(weights[layer, head].numpy())
        axis.set_title(f"layer {layer + 1}, head {head + 1}", fontsize=10)
        axis.set_aspect("equal")
        if number:
            axis.set_ylabel("")
    return figure


# What each part buys


def ablation_figure(record: dict, titles: dict[str, str]):
    """How many more nats than the whole network each changed one pays, study by study.

    Args:
        record: `data.record("networks")`.
        titles: of the studies, by name.
    """
    studies = {name: record["studies"][name] for name in titles}
    counts = [len(study["trials"]) - 1 for study in studies.values()]
    rows = math.ceil(len(studies) / 2)
    heights = [max(counts[2 * i : 2 * i + 2]) for i in range(rows)]
    figure, axes = style.subplots(rows, 2, size=(9.2, 0.33 * sum(heights) + 1.0 * rows),
                                  height_ratios=heights, squeeze=False)
    for axis, (name, study) in zip(axes.flat, studies.items(), strict=False):
        whole, *changed = study["trials"]
        for place, trial in enumerate(reversed(changed)):
            more = trial["more than as it is"]
            colour = COLOURS.sender if more["nats"] > 0 else COLOURS.output
            axis.plot([0, more["nats"]], [place] * 2, color=colour, lw=7, alpha=0.3,
                      solid_capstyle="butt")
            axis.errorbar(more["nats"], place, xerr=2 * more["standard error"], fmt="o",
                          color=colour, capsize=3, ms=5, lw=1.5)
            seeds = more["seed by seed"]
            axis.plot(seeds, [place] * len(seeds), "|", color=COLOURS.text, ms=9)
        axis.axvline(0, color=COLOURS.data, lw=1)
        axis.set_yticks(range(len(changed)), [trial["trial"] for trial in reversed(changed)])
        axis.set(ylim=(-0.6, len(changed) - 0.4), xlabel=f"nats more than {whole['nats']:,.1f}")
        axis.set_title(titles[name], fontsize=10)
    for axis in axes.flat[len(studies) :]:
        axis.set_axis_off()
    return figure


# What ten times the work would give


def growth_figure(panels: dict[str, tuple], rivals: dict[str, tuple] | None = None,
                  rival: str = "another run"):
    """Held-out losses over the steps of a run, and power laws that go on to ten times as many.

    Args:
        panels: by title, (steps, losses, early, unit): the law is fitted to the first `early`
            losses, whose dots are filled, and asked about the others.
        rivals: by title, for some of them, (steps, losses) of another run.
        rival: what the others are called.
    """
    figure, axes = style.subplots(1, len(panels), size=(9.2, 3.4))
    for axis, (title, (steps, losses, early, unit)) in zip(axes, panels.items(), strict=True):
        if rivals and title in rivals:
            axis.plot(*rivals[title], "D", ms=4, color=COLOURS.other, label=rival)
        grid = numpy.geomspace(steps[0], 10 * steps[-1], 200)
        laws = [power_law(steps[first:], losses[first:])(grid) for first in (0, 1, 2, 3)]
        axis.fill_between(grid, numpy.min(laws, 0), numpy.max(laws, 0), color=COLOURS.output,
                          alpha=0.25, lw=0, label="fitted to all")
        axis.plot(grid, power_law(steps[:early], losses[:early])(grid), "--", lw=1.5,
                  color=COLOURS.output, label="fitted to the first dots")
        axis.plot(steps[:early], losses[:early], "o", ms=4, color=COLOURS.data)
        axis.plot(steps[early:], losses[early:], "o", ms=4, color=COLOURS.data, mfc="white",
                  label="came later")
        axis.set(title=title, xlabel="training steps", ylabel=unit, xscale="log")
    axes[0].legend()
    return figure
