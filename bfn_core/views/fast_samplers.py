"""Pictures of fast samplers: the same noise with other steps, errors against calls, fixed noise."""

import functools
from typing import Any

import numpy
import torch
from matplotlib.collections import LineCollection
from torch import Generator

from bfn_core.data.toy import PerfectNormal
from bfn_core.distributions import Categorical
from bfn_core.mmse import mmse
from bfn_core.model import BFN
from bfn_core.number_line import (
    SIGMA_1,
    TOY,
    apart,
    chance,
    error,
    even_noise,
    fixed_std,
    perfect,
    quantiles,
    walk,
)
from bfn_core.samplers import Ancestral
from bfn_core.solvers import FixedNoise, Solver, steps_within

from .kit import style
from .kit.explorer import Explorer, at_rest, choice, count_slider, explore, slider
from .kit.style import COLOURS

LOOKS = {  # by the name of a sampler: its colour and mark
    "ancestral": (COLOURS.other, "s"),
    "euler": (COLOURS.sender, "^"),
    "ab2": (COLOURS.output, "o"),
    "ab2, noise 1": (COLOURS.flow, "v"),
    "ab2, even in ln β": ("#B8A200", "<"),
    "ab2, ln β, noise 1": ("#7A4B00", ">"),
    "heun": (COLOURS.receiver, "D"),
    "midpoint": (COLOURS.input, "P"),
    "fixed noise": (COLOURS.data, "X"),
}
SPACINGS = [("time", "time"), ("√β", "root"), ("ln β", "log")]
COUNTS = (5, 7, 10, 14, 20, 28, 40, 57, 80)  # steps, in the picture of errors


def sampler(name: str, spacing: str = "time", noise: float = 0.0) -> Any:
    """A sampler by the name of `LOOKS`."""
    if "," in name:
        grid = "log" if "ln β" in name else "time"
        return Solver("ab2", grid, 1.0 if name.endswith("noise 1") else 0.0)
    if name == "fixed noise":
        return FixedNoise(spacing)
    return Ancestral() if name == "ancestral" else Solver(name, spacing, noise)


# The same noise, other steps


@functools.cache
def _exact_paths() -> list[numpy.ndarray]:
    """Where beliefs go from 41 evenly spread values of ε, (101, 2) each: t and μ/√γ."""
    times, paths, _ = walk(perfect(), Solver("midpoint"), 100, even_noise(41))
    return [numpy.stack([times, path], -1) for path in paths.T]


def _paths(axes, upright: bool = False):
    """Beliefs on their way, and a histogram of the samples they end in, lying or upright."""
    way, end = axes
    grid, edges = torch.linspace(-1.15, 1.15, 500), numpy.linspace(-1.15, 1.15, 93)
    density = TOY.density(grid)
    way.add_collection(LineCollection(_exact_paths(), colors="#BBBBBB", linewidths=0.7))
    lines = way.add_collection(LineCollection([], linewidths=1.1, alpha=0.85))
    way.set(xlim=(0, 1), ylim=(-2.6, 2.6), xlabel="time t", ylabel="μ / √γ")
    if upright:
        end.fill_between(grid, density, color=COLOURS.data, alpha=0.2, lw=0)
        end.set(xlim=(-1.15, 1.15), ylim=(0, 6), xlabel="x", ylabel="density", yticks=[])
    else:
        end.fill_betweenx(grid, density, color=COLOURS.data, alpha=0.15, lw=0)
        end.plot(density, grid, color=COLOURS.data, lw=1.2, label="data")
        end.set(xlim=(0, 1.5 * float(density.max())), ylim=(-1.15, 1.15), xlabel="density",
                ylabel="x", title="Where they end")
        way.set_title("From noise to data")
    bars = end.stairs(numpy.zeros(92), edges, fill=True, alpha=0.6,
                      orientation="vertical" if upright else "horizontal")

    def show(name: str, n: int, spacing: str, noise: float) -> str:
        noise = 0.0 if name in ("ancestral", "fixed noise") else noise
        method, colour = sampler(name, spacing, noise), LOOKS[name][0]
        chancy = name == "ancestral" or noise > 0
        if chancy:
            start = None if name == "ancestral" else even_noise(41)
            times, paths, _ = walk(perfect(), method, n, start, count=41, seed=1)
            x = walk(perfect(), method, n, None, count=1000)[2]
        else:  # nothing is drawn at random: both in one run
            start = torch.cat([even_noise(41), even_noise(400)])
            times, paths, x = walk(perfect(), method, n, start)
            paths, x = paths[:, :41], x[41:]
        lines.set_segments([numpy.stack([times, path], -1) for path in paths.T])
        lines.set_color(colour)
        share = numpy.histogram(x, edges)[0] / len(x)
        bars.set_data(values=share / (edges[1] - edges[0]))
        bars.set_facecolor(colour)
        distance = apart(x, quantiles("bumps", len(x)))
        floor = f"; {1000:,} random draws of the data are {chance(1000):.3f} away"
        return (
            f"<b>{method.calls(n)} calls of the network: the samples are {distance:.4f} from the "
            f"data</b> (W₁, the mean way to carry them there{floor if chancy else ''})."
        )

    return show


def paths_explorer(name: str = "ab2", n: int = 10) -> Explorer:
    """One noise, many ways to data: drag the number of steps, and change the rule and the grid.

    Left, beliefs from 41 evenly spread values of ε, as μ/√γ, which is ε at t = 0 and nearly x at
    t = 1; in grey where exact paths lead. Right, where samples end, against the data.
    """
    controls = {
        "name": choice("sampler", [each for each in LOOKS if "," not in each], name),
        "n": slider("number of steps n", 1, 60, n),
        "spacing": choice("even in", SPACINGS),
        "noise": slider("noise η", 0.0, 1.0, 0.0, 0.1, digits=1),
    }
    return explore(
        _paths, controls, size=(9, 3.7), grid=(1, 2), width_ratios=(1.8, 1), play="n",
        description="Beliefs on their way from evenly spread noise to four bumps, beside exact "
        "paths in grey, and the samples they end in against the data.",
    )


def paths_figure(names=("ancestral", "euler", "ab2", "fixed noise"), n: int = 10):
    """`paths_explorer` at rest: some samplers with the same number of steps, side by side."""
    states = {f"{name}, {sampler(name).calls(n)} calls":
              {"name": name, "n": n, "spacing": "time", "noise": 0.0} for name in names}
    return at_rest(functools.partial(_paths, upright=True), states, size=(9.2, 5.2), rows=2,
                   height_ratios=(1.3, 1))


# Errors against calls


def _errors(axes, budgets=()):
    """Errors of six samplers against calls, and a budget of calls where there is one of some."""
    lines = {}
    for name in ("ancestral", "euler", "ab2", "heun", "midpoint", "fixed noise"):
        colour, mark = LOOKS[name]
        (lines[name],) = axes.plot([], [], color=colour, marker=mark, ms=5, lw=1.6, mec="white",
                                   mew=0.6, label=name)
    axes.set(xscale="log", yscale="log", xlim=(5, 180), ylim=(1e-5, 1.6),
             xlabel="calls of the network", ylabel="W₁ from where exact paths end")
    ticks = (5, 10, 20, 50, 100)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    left, right, low = 70, 140, 0.035  # a triangle whose sides fall as calls^−1 and calls^−2
    axes.plot((left, right, left), (low, low, low), color=COLOURS.text, lw=1)
    for order in (1, 2):
        high = low * (right / left) ** order
        axes.plot((left, left, right), (low, high, low), color=COLOURS.text, lw=1)
        axes.annotate(f"slope −{order}", (left, high), (-4, 0), textcoords="offset points",
                      ha="right", va="center", fontsize=8)
    mark = axes.axvline(11, color=COLOURS.text, lw=0.9, ls=(0, (4, 3)), visible=False)

    @functools.cache
    def within(kind: str, spacing: str) -> dict[int, dict[str, float]]:
        """Errors by budget and sampler, all at once: a budget takes longer than its drawing."""
        methods = {name: sampler(name, spacing) for name in lines}
        return {budget: {name: error(kind, method, steps_within(budget, method))
                         for name, method in methods.items()} for budget in budgets}

    def show(kind: str, spacing: str, budget: int = 0) -> str:
        for name, line in lines.items():
            method = sampler(name, spacing)
            line.set_data([method.calls(n) for n in COUNTS],
                          [error(kind, method, n) for n in COUNTS])
        if not budget:
            return ""
        mark.set(xdata=[budget, budget], visible=True)
        found = within(kind, spacing)[budget]
        best = min(found, key=lambda name: found[name])
        words = ", ".join(f"{name} {value:.4f}" for name, value in found.items())
        return f"<b>Within {budget} calls {best} is nearest.</b> {words}."

    return show


def errors_explorer(budget: int = 11) -> Explorer:
    """Errors of all samplers against calls, log–log, with triangles for the first two orders.

    The dashed line is a budget of calls, and the caption says who is best within it.
    """
    controls = {
        "kind": choice("data", [("one normal", "normal"), ("four bumps", "bumps")], "bumps"),
        "spacing": choice("even in", SPACINGS),
        "budget": count_slider("budget of calls", 3, 60, budget, width=250),
    }

    def picture(axes):
        show = _errors(axes, controls["budget"].options)
        axes.figure.legend(loc="outside lower center", ncols=6, fontsize=8, columnspacing=1.2)
        return show

    return explore(
        picture, controls, size=(6.4, 4.0),
        description="The errors of six samplers against calls of the network, on logarithmic "
        "axes: most fall as steeply as the order of the rule, and that of fixed noise rises.",
    )


def errors_figure(spacing: str = "time"):
    """`errors_explorer` at rest, for both kinds of data."""
    states = {"One normal": {"kind": "normal", "spacing": spacing},
              "Four bumps": {"kind": "bumps", "spacing": spacing}}
    return at_rest(_errors, states, size=(9.2, 3.9), legend=6, sharey=True)


# The bill of a grid


def bill_figure(n: int = 10):
    """Where n messages lie on the curve of the continuous bill, ½ β'(t) mmse: L^n is the saw above
    it, since message i is guessed with what was known at t_{i−1}; between the two is L^n − L^∞.
    """
    bfn, x, fine = perfect(), quantiles("bumps", 2000).unsqueeze(1), 20
    times = torch.linspace(0, 1, n * fine + 1, dtype=torch.float64)
    rate = 0.5 * bfn.flow.schedule.rate(times)
    curve = [mmse(bfn, x, t, generator=Generator().manual_seed(0)).mean for t in times.tolist()]
    curve = torch.tensor(curve, dtype=torch.float64)  # of the same noise at all times
    figure, axes = style.subplots(size=(7.6, 3.4))
    axes.fill_between(times, rate * curve, color=COLOURS.output, alpha=0.15, lw=0)
    axes.plot(times, rate * curve, color=COLOURS.output,
              label=r"½ β' mmse now: its area is $L^\infty$")
    for i in range(n):
        part = slice(i * fine, (i + 1) * fine + 1)
        saw = rate[part] * curve[i * fine]
        label = r"½ β' mmse at the step before: $L^n$" if i == 0 else None
        axes.plot(times[part], saw, color=COLOURS.sender, lw=1.3, label=label)
        axes.fill_between(times[part], rate[part] * curve[part], saw, color=COLOURS.sender,
                          alpha=0.2, lw=0)
    axes.set(xlabel="time t", ylabel="nats per unit of time", xlim=(0, 1), ylim=(0, 8))
    axes.legend(loc="upper right")
    return figure


# Fixed noise


def fixed_figure(std: float = 0.2, counts=(1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)):
    """The spread of fixed-noise samples of N(0, std²) against the number of steps."""
    figure, axes = style.subplots(size=(7.2, 3.4))
    formula = [fixed_std(n, std) for n in counts]
    limit = std**2 * perfect().flow.beta(1.0) ** 0.5
    clipped = PerfectNormal(0.0, std, sigma_1=SIGMA_1, clipped=True)
    inside = [float(walk(clipped, FixedNoise(), n, even_noise(400))[2].std()) for n in counts]
    axes.plot(counts, formula, color=COLOURS.input, marker="P", mec="white", label="closed form")
    axes.plot(counts, inside, color=COLOURS.data, marker="X", mec="white",
              label="with guesses kept in [−1, 1]")
    axes.axhline(limit, color=COLOURS.input, lw=1, ls=(0, (4, 3)))
    axes.axhline(std, color=COLOURS.other, lw=1.4)
    axes.annotate("n → ∞: τ²√β(1)", (counts[0], limit), (0, 5), textcoords="offset points")
    axes.annotate("the data's own τ", (counts[-1], std), (0, 4), textcoords="offset points",
                  ha="right")
    axes.set(xscale="log", xlabel="number of steps n", ylabel="standard deviation", ylim=(0, 2.3))
    axes.legend(loc="upper left", bbox_to_anchor=(0, 0.82))
    return figure


# Trained models


def quality_figure(record: dict, panels):
    """Statistics of samples against calls of the network, with bars of two standard errors.

    Args:
        record: as tools/fast_samplers.py writes it.
        panels: of (model, statistic, title).
    """
    figure, axes = style.subplots(1, len(panels), size=(9.4, 3.6))
    for axis, (model, statistic, title) in zip(axes, panels, strict=True):
        rows = [row for row in record[model]["rows"].values() if statistic in row]
        for shift, (name, (colour, mark)) in enumerate(LOOKS.items()):
            mine = sorted((row for row in rows if row["sampler"] == name), key=lambda r: r["calls"])
            if mine:
                axis.errorbar(
                    [row["calls"] * 1.03 ** (shift - 3) for row in mine],
                    [row[statistic]["mean"] for row in mine],
                    [2 * row[statistic]["error"] for row in mine],
                    color=colour, marker=mark, ms=5, lw=1.2, label=name)
        real = record[model]["real"].get(statistic)
        if real:
            axis.axhspan(real["mean"] - 2 * real["error"], real["mean"] + 2 * real["error"],
                         color=COLOURS.data, alpha=0.15, lw=0)
            axis.axhline(real["mean"], color=COLOURS.data, lw=1, ls=(0, (4, 3)), label="real data")
        axis.set(title=title, xscale="log", xlabel="calls of the network", xlim=(9, 62))
        axis.set_xticks((11, 21, 51), ("11", "21", "51"))
        axis.minorticks_off()
    handles: dict = {}
    for axis in axes:
        handles |= dict(zip(*axis.get_legend_handles_labels()[::-1], strict=True))
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=4)
    return figure


STRIP = ("ancestral", "euler", "ab2", "midpoint", "fixed noise")


def strip_figure(
    bfn: BFN, shape, budget: int = 11, names=STRIP, *, count: int = 10, seed: int = 0
):
    """Images of samplers with at most so many calls; all but ancestral ones from the same ε.

    Args:
        bfn: of binary pixels, whose p_O is shown in grey, or of pixels in [−1, 1].
        shape: (C, H, W).
        budget: calls.
        names: of `LOOKS`.
        count: images in a row.
    """
    figure, axes = style.subplots(len(names), 1, size=(7.2, 0.8 * len(names)))
    for axis, name in zip(axes, names, strict=True):
        method = sampler(name)
        n, rng = steps_within(budget, method), Generator().manual_seed(seed)
        *_, last = bfn.sampling_steps((count, *shape), n, sampler=method, generator=rng)
        if isinstance(last.output, Categorical):
            images = last.output.probs[..., 1]
        else:
            images = (last.output.sample(generator=rng) + 1) / 2
        row = torch.cat(list(images), 2).permute(1, 2, 0)  # (H, count W, C)
        axis.imshow(row.squeeze(-1), cmap="gray", vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[])
        label = name.replace(", ", ",\n", 1)
        axis.set_ylabel(f"{label}\n{n} steps", rotation=0, ha="right", va="center", fontsize=9)
        axis.grid(False)
        for spine in axis.spines.values():
            spine.set_visible(False)
    return figure
