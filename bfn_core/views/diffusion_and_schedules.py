"""Pictures of BFN and diffusion as one thing in several coordinates, and of schedules."""

import itertools
import math

import torch
from torch import Tensor

from bfn_core.data.digits import LEVELS, digits
from bfn_core.mmse import belief_entropy, grid
from bfn_core.number_line import BETA_1, SIGMA_1, TOY, bent, bumps_curve, schedules
from bfn_core.schedules import (
    EntropyLinearSchedule,
    GeometricSchedule,
    QuadraticSchedule,
    Schedule,
)
from bfn_core.views.kit import style
from bfn_core.views.kit.explorer import Explorer, choice, explore, log_slider, slider
from bfn_core.views.kit.style import COLOURS
from bfn_core.views.kit.tiling import framed

COORDINATES = {  # by name: how it is called, its formula, its colour
    "BFN": ("μ = γ x + √(γ(1−γ)) ε", COLOURS.input),
    "diffusion, VP": ("√γ x + √(1−γ) ε", COLOURS.sender),
    "EDM": ("x + σ ε,  σ = 1/√β", COLOURS.receiver),
    "ODE of notebook 11": ("v = √β x + ε", COLOURS.output),
}
BENT = "bent by the sliders"
BEND = (0.6, 1.5, 1.0, 1.0, 1.0)  # how the sliders stand at first
LOOKS = {"BFN": COLOURS.input, "diffusion": COLOURS.sender, "flow matching": COLOURS.receiver}
WAYS = {"Euler": "^", "ab2": "o", "ancestral": "s"}
READS = {"latent": ("diffusion's, √γ x + √(1−γ) ε", COLOURS.sender, "s"),
         "unit": ("variance 1, as EDM's network", COLOURS.output, "o"),
         "plain": ("unscaled, x + σ ε", COLOURS.receiver, "^")}


# One belief, four coordinates


def shares(beta: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Of x and of ε in each coordinate, at accuracies β above 0."""
    root, gamma = beta.sqrt(), beta / (1 + beta)
    rest = 1 / (1 + beta)
    return {
        "BFN": (gamma, (gamma * rest).sqrt()),
        "diffusion, VP": (gamma.sqrt(), rest.sqrt()),
        "EDM": (torch.ones_like(beta), 1 / root),
        "ODE of notebook 11": (root, torch.ones_like(beta)),
    }


def _four(axes):
    """One belief against accuracy, in four coordinates."""
    accuracies = torch.logspace(-2, math.log10(BETA_1), 160, dtype=torch.float64)
    ways, panels = shares(accuracies), {}
    for axis, (name, (formula, colour)), limits in zip(
            axes, COORDINATES.items(), ((-1.2, 1.2), (-3, 3), (-12, 12), (-60, 60)), strict=True):
        panels[name] = (
            axis.fill_between(accuracies, 0, 0, color=colour, alpha=0.15, lw=0),
            axis.plot([], [], color=colour, lw=1, ls=(0, (4, 3)))[0],
            axis.plot([], [], color=colour, lw=1.8)[0],
            axis.plot([], [], "o", color=colour, ms=8, mec="white")[0],
            axis.axvline(1.0, color=COLOURS.text, lw=0.8, ls=":"),
        )
        axis.set(xscale="log", xlim=(0.01, BETA_1), ylim=limits, xlabel="accuracy β")
        axis.set_title(f"{name}\n{formula}", fontsize=9.5)

    def show(beta: float, x: float, noise: float) -> str:
        now, found, snr = torch.tensor([beta], dtype=torch.float64), {}, []
        for name, (signal, spread) in shares(now).items():
            band, mean, path, dot, mark = panels[name]
            of_x, of_noise = ways[name]
            mean.set_data(accuracies, of_x * x)
            path.set_data(accuracies, of_x * x + of_noise * noise)
            band.set_data(accuracies, of_x * x - of_noise, of_x * x + of_noise)
            found[name] = float(signal * x + spread * noise)
            dot.set_data([beta], [found[name]])
            mark.set_xdata([beta, beta])
            snr.append(f"{float((signal / spread) ** 2):.4g}")
        best = TOY.guess(torch.tensor([found["BFN"]], dtype=torch.float64), now)
        values = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
        t = GeometricSchedule(SIGMA_1).time(beta)
        return (f"β = {beta:.4g}, which is t = {t:.2f} on the paper's schedule. {values}. "
                f"<b>Signal over noise: {', '.join(snr)}.</b> From any of them "
                f"x̂ = {float(best):.3f}.")

    return show


def coordinates_explorer(beta: float = 1.0) -> Explorer:
    """One x, one ε, and the accuracy to drag: the same belief in four coordinates.

    Solid: the coordinate of this x and ε at every accuracy. Dashed with a band: its mean and
    standard deviation, given x.
    """
    controls = {
        "beta": log_slider("accuracy β", 0.01, BETA_1, beta),
        "x": slider("x", -1.0, 1.0, 0.75, 0.05),
        "noise": slider("noise ε", -2.0, 2.0, 1.0, 0.1, digits=1),
    }
    return explore(
        _four, controls, size=(9.4, 2.9), grid=(1, 4), play="beta", filmed=["beta"],
        description="One number and its noise against accuracy in four coordinates: the BFN's "
        "starts at 0, diffusion's as pure noise, EDM's from afar, and the fourth grows.",
    )


def digits_figure(betas=(0.02, 0.3, 2.0, 10.0, 100.0), place: int = 3, seed: int = 0):
    """The coordinates of a picture: one digit, one noise, five accuracies; one scale of grey."""
    x = (digits().train[place].double() * 2 + 1) / LEVELS - 1
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)
    figure, axes = style.subplots(len(COORDINATES), len(betas), size=(6.6, 5.2))
    for column, beta in enumerate(betas):
        both = shares(torch.tensor(beta, dtype=torch.float64))
        for row, (name, (signal, spread)) in enumerate(both.items()):
            axis = axes[row, column]
            axis.imshow(signal * x + spread * noise, cmap="gray", vmin=-1.5, vmax=1.5)
            framed(axis, f"β = {beta:g}" if row == 0 else "")
            if column == 0:
                axis.set_ylabel(name.replace(" of ", "\nof ").replace(", ", ",\n"), rotation=0,
                                ha="right", va="center", fontsize=9)
    return figure


# Schedules


PALETTE = dict(zip(
    ("geometric (paper)", "equal bits", "finest", "log-SNR", "quadratic", "flow matching", "cosine",
     "linear β"), (*COLOURS.classes[:3], *COLOURS.classes[3:]), strict=True))


def schedules_figure():
    """Left, the log-SNR of eight schedules against time; right, what a moment costs on them."""
    figure, (left, right) = style.subplots(1, 2, size=(9.2, 3.9))
    t = torch.linspace(0, 1, 801, dtype=torch.float64)[1:]
    for name, schedule in schedules().items():
        beta = schedule.beta(t)
        dash = (0, (5, 2)) if name in ("equal bits", "finest") else "-"
        options = {"color": PALETTE[name], "ls": dash, "lw": 1.7}
        left.plot(t, beta.log(), label=name, **options)
        right.plot(t, schedule.rate(t) * bumps_curve().at(beta) / 2, **options)
    left.set(xlabel="time t", ylabel="log-SNR, ln β", ylim=(-7, 8.2), xlim=(0, 1))
    right.axhline(bumps_curve().least, color=COLOURS.text, lw=0.8, ls=":")
    right.set(xlabel="time t", ylabel="nats per unit of time", ylim=(0, 12), xlim=(0, 1))
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _bent(axes):
    """What messages cost as an area with teeth, the schedule, and what a moment costs on it."""
    area, way, cost = axes
    curve, paper = bumps_curve(), schedules()["geometric (paper)"]
    beta = paper.beta(torch.linspace(0, 1, 401, dtype=torch.float64))
    told, t = beta.log1p(), torch.linspace(0, 1, 601, dtype=torch.float64)
    height = curve.at(beta) * (1 + beta) / 2
    area.fill_between(told, height, color=COLOURS.output, alpha=0.15, lw=0)
    area.plot(told, height, color=COLOURS.output, lw=1.8)
    teeth = area.fill_between(told, height, height, color=COLOURS.sender, alpha=0.35, lw=0)
    (saw,) = area.plot([], [], color=COLOURS.sender, lw=1.2)
    area.set(xlabel="ln(1 + β)", ylabel="nats", xlim=(0, float(told[-1])), ylim=(0, 1.0),
             title="What messages cost: the area")
    way.plot(t, paper.beta(t).log1p(), color=COLOURS.other, lw=1.3, ls=(0, (4, 3)),
             label="paper's", zorder=3)
    (line,) = way.plot([], [], color=COLOURS.input, lw=1.8)
    (dots,) = way.plot([], [], "o", color=COLOURS.input, ms=4)
    way.set(xlabel="time t", ylabel="ln(1 + β)", xlim=(0, 1), title="The schedule",
            ylim=(0, float(told[-1]) * 1.03))
    way.legend(loc="upper left")
    (rate,) = cost.plot([], [], color=COLOURS.receiver, lw=1.6)
    cost.axhline(curve.least, color=COLOURS.text, lw=0.8, ls=":")
    cost.set(xlabel="time t", ylabel="nats per unit of time", xlim=(0, 1), ylim=(0, 8),
             title="What a moment costs")

    def show(schedule: Schedule, n: int) -> None:
        steps, now = grid(schedule, n), schedule.beta(t)
        place = torch.searchsorted(steps, beta, right=True).clamp(1, n) - 1
        paid = curve.at(steps[place]) * (1 + beta) / 2
        teeth.set_data(told, height, paid)
        saw.set_data(told, paid)
        line.set_data(t, now.log1p())
        dots.set_data(torch.arange(n + 1) / n, steps.log1p())
        rate.set_data(t, schedule.rate(t) * curve.at(now) / 2)

    return show


def schedule_explorer(n: int = 10) -> Explorer:
    """Bend a schedule by the time it spends on five stretches of ln(1 + β); all equal: the paper's.

    Left, the continuous bill as an area, and over it what n messages cost too much.
    """
    curve, paper = bumps_curve(), schedules()["geometric (paper)"]
    best = {n: curve.bill(curve.best(n)) - curve.least for n in range(2, 41)}
    evenly = curve.spread(paper)

    def picture(axes):
        show_schedule = _bent(axes)

        def show(name, n, **weights):
            schedule = bent(list(weights.values())) if name == BENT else schedules()[name]
            show_schedule(schedule, n)
            mine, theirs = curve.excess(schedule, n), curve.excess(paper, n)
            return (f"<b>L<sup>n</sup> − L<sup>∞</sup> = {mine:.3f} nats</b> (paper's "
                    f"{theirs:.3f}, least possible {best[n]:.3f}); L<sup>∞</sup> = "
                    f"{curve.least:.3f} as ever. <b>The time alone scatters a one-draw loss by ± "
                    f"{curve.spread(schedule):.2f}</b> (paper's ± {evenly:.2f}).")

        return show

    edges = torch.linspace(0, math.log1p(BETA_1), 6).expm1().tolist()
    controls = {"name": choice("schedule", [BENT, *schedules()], BENT),
                "n": slider("messages n", 2, 40, n)}
    for place, (low, high) in enumerate(itertools.pairwise(edges)):
        label = f"time on β = {low:.3g} to {high:.3g}"
        controls[f"part_{place}"] = slider(label, 0.2, 3.0, BEND[place], 0.1, digits=1, width=165)
    return explore(
        picture, controls, size=(9.4, 3.3), grid=(1, 3), width_ratios=(1.5, 1, 1),
        filmed=["n", "part_1", "name"],
        description="The cost of messages as an area with teeth above it, the schedule that spaces "
        "them, and what each moment costs.",
    )


def bent_figure(names=("geometric (paper)", "finest", "linear β"), n: int = 10):
    """`schedule_explorer` at rest, for some schedules."""
    figure, axes = style.subplots(len(names), 3, size=(9.2, 2.5 * len(names)),
                                  width_ratios=(1.5, 1, 1), squeeze=False)
    for row, name in zip(axes, names, strict=True):
        curve, schedule = bumps_curve(), schedules()[name]
        _bent(row)(schedule, n)
        row[0].set_title(f"{name}: {curve.excess(schedule, n):.2f} nats too many")
        row[1].set_title("")
        row[2].set_title(f"scatter ± {curve.spread(schedule):.2f}")
    return figure


# Classes


def entropy_figure(rows=((2, 9.0), (27, 0.5625), (27, 2.0), (12, 2.0)), count: int = 4000):
    """E H(θ) against time on the paper's schedule and on ChemBFN's, for some K and β(1)."""
    figure, axes = style.subplots(1, len(rows), size=(9.4, 2.8))
    t = torch.linspace(0, 1, 41, dtype=torch.float64)
    for axis, (classes, beta_1) in zip(axes, rows, strict=True):
        for label, colour, schedule in (
            ("quadratic (paper)", COLOURS.input, QuadraticSchedule(beta_1)),
            ("ChemBFN's", COLOURS.sender, EntropyLinearSchedule(classes, beta_1)),
        ):
            entropy = belief_entropy(classes, schedule.beta(t), count)
            axis.plot(t, entropy / math.log(2), color=colour, label=label)
        ends = entropy[[0, -1]] / math.log(2)
        axis.plot([0, 1], ends, color=COLOURS.text, lw=0.9, ls=(0, (4, 3)), label="straight line")
        axis.set(xlabel="time t", title=f"K = {classes}, β(1) = {beta_1:g}", xlim=(0, 1))
        axis.set_ylim(0, None)
    axes[0].set(ylabel="bits not known")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


# What was measured


def _points(axis, x, rows: list[dict], colour: str, **options) -> None:
    """Means with two standard errors."""
    axis.errorbar(x, [row["mean"] for row in rows], [2 * row["error"] for row in rows],
                  color=colour, ms=5, mec="white", mew=0.5, capsize=2, **options)


def inputs_figure(record: dict):
    """How much longer the bill is than of a BFN's input, against steps of training."""
    figure, axes = style.subplots(1, 2, size=(9.2, 3.6))
    for axis, (name, title) in zip(axes, (("digits", "Digits"), ("bumps", "Four bumps")),
                                   strict=True):
        steps = record["inputs"][name]["steps"]
        places = [int(step) for step in steps]
        for shift, (kind, (label, colour, mark)) in enumerate(READS.items()):
            rows = [step[kind]["above mean"] for step in steps.values()]
            _points(axis, [place * 1.05 ** (shift - 1) for place in places], rows, colour,
                    marker=mark, lw=1.3, label=label)
        axis.axhline(0, color=COLOURS.input, lw=1.4, label="BFN's, μ")
        axis.set(xscale="log", xlabel="steps of training", title=title)
        axis.set_xticks(places, [str(place) for place in places])
        axis.minorticks_off()
    axes[0].set(ylabel="bits per number more than from μ")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def race_figure(record: dict):
    """How far samples are from the digits against calls, for each training and each sampler."""
    rows = dict(record["race"]["Fréchet distance"])
    free = "BFN, x̂ free in training"
    rows |= {f"{free}, {key}": row for key, row in record["clip"]["Fréchet distance"].items()}
    looks = {**LOOKS, free: COLOURS.flow}
    figure, axes = style.subplots(1, len(WAYS), size=(9.2, 3.6), sharey=True)
    yard = record["race"]["yardsticks"]["digits of other hands (the test's)"]
    for axis, (way, mark) in zip(axes, WAYS.items(), strict=True):
        axis.set(xscale="log", yscale="log", xlabel="calls of the network", title=way)
        for shift, (name, colour) in enumerate(looks.items()):
            start = f"{name}, {way}, "
            mine = {int(key.removeprefix(start).split()[0]): row for key, row in rows.items()
                    if key.startswith(start)}
            places = [calls * 1.03 ** (shift - 1.5) for calls in mine]
            _points(axis, places, list(mine.values()), colour, marker=mark, lw=1.4, label=name)
            axis.set_xticks(list(mine), [str(calls) for calls in mine])
        axis.axhline(yard, color=COLOURS.data, lw=1, ls=(0, (4, 3)), label="test digits")
        axis.set_yticks((0.5, 1, 2, 5, 10, 20), ("0.5", "1", "2", "5", "10", "20"))
        axis.minorticks_off()
    axes[0].set(ylabel="Fréchet distance, small classifier")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


def grids_figure(record: dict, names=("paper", "finest", "messages")):
    """What a moment costs on two trained models' own schedule, its area being the bill, and when
    ten messages are sent by each choice.
    """
    figure, axes = style.subplots(1, 2, size=(9.2, 3.7))
    titles = {"mnist": "MNIST, binary digits", "text8": "text8"}
    for axis, (model, title) in zip(axes, titles.items(), strict=True):
        curve, found = record[model]["curve"], record[model]["grids"]
        beta = torch.tensor(curve["accuracy"], dtype=torch.float64)
        paper = QuadraticSchedule(float(beta[-1]))
        t = paper.time(beta)
        cost = paper.rate(t) * torch.tensor(curve["error"], dtype=torch.float64) / 2
        axis.fill_between(t, cost, color=COLOURS.output, alpha=0.15, lw=0)
        axis.plot(t, cost, color=COLOURS.output)
        high = float(cost.max())
        for row, (name, colour) in enumerate(zip(names, COLOURS.classes, strict=False)):
            level = -(0.09 + 0.1 * row) * high
            times = found[name]["times"]
            axis.plot(times, [level] * len(times), "|", color=colour, ms=11, mew=1.8)
            axis.annotate(name, (1.0, level), (6, 0), textcoords="offset points", va="center",
                          fontsize=9, color=colour, annotation_clip=False)
        axis.set(xlabel="time t", title=title, ylim=(-0.36 * high, 1.05 * high), xlim=(-0.01, 1))
        axis.set_yticks([tick for tick in axis.get_yticks() if 0 <= tick <= high])
    axes[0].set(ylabel="nats per unit of time")
    return figure
