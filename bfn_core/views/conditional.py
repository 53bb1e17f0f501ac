"""Pictures of conditions, of guidance, of gaps and of the fine picture behind a coarse one.

Images are (N, H, W) of shades from 0, black paper, to 1, white ink, unless it is said otherwise.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bfn_core.beliefs import told
from bfn_core.data import shades
from bfn_core.data.toy import PerfectNormal
from bfn_core.enlarging import coarse, enlarged, enlargements, psnr, refined
from bfn_core.guidance import (
    Guided,
    GuidedBFN,
    draw_told,
    guided_normal,
    spread_within,
    tilted_mean,
)
from bfn_core.infilling import erased, fill, heaviest
from bfn_core.likelihood import Estimate
from bfn_core.model import BFN
from bfn_core.number_line import even_noise
from bfn_core.solvers import Solver
from bfn_core.views.kit import style
from bfn_core.views.kit.canvas import Canvas, Completed
from bfn_core.views.kit.explorer import Explorer, choice, explore, slider, tick
from bfn_core.views.kit.style import COLOURS
from bfn_core.views.kit.tiling import framed, tile

SIGMA_1 = 2e-3  # of the normals, so small that their spread at the end is next to the data's
SPREAD = 0.5  # of the normal without a condition
FEW = 3  # messages of a draft: with the noise kept, its digits resemble those of ten
GUIDES = {"ODE": COLOURS.output, "SDE": COLOURS.sender, "tilt": COLOURS.data}


# What guidance of normals draws.


def guided(weight: float, spread: float, told_spread: float, mean: float) -> GuidedBFN:
    """Perfect networks of N(0, spread²) and, told c, of N(mean, told_spread²), mixed."""
    laws = ((mean, told_spread), (0.0, spread))
    return GuidedBFN(*(PerfectNormal(*law, sigma_1=SIGMA_1) for law in laws), weight)


def guided_draws(
    weight: float, spread: float = SPREAD, told_spread: float = 0.25, mean: float = 0.3,
    *, n: int = 100, count: int = 4000, seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Samples (400,) of the ODE, from even noise, and (count,) with the paper's noise."""
    bfn, start = guided(weight, spread, told_spread, mean), even_noise(400)
    *_, last = Solver("ab2", "log").steps(bfn, start.shape, n, start=start)
    noisy = Solver("euler", "log", noise=1.0)
    x = bfn.sample((count, 1), n, sampler=noisy, generator=torch.Generator().manual_seed(seed))
    return last.output.mean.flatten(), x.flatten()


def _density(x: Tensor, mean: float, std: float) -> Tensor:
    return torch.exp(-0.5 * ((x - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))


def _normals(axis):
    """Histograms of guided samples, the tilted law, and the law without a condition."""
    x = torch.linspace(-1.6, 1.6, 601, dtype=torch.float64)
    edges, zero = torch.linspace(-1.6, 1.6, 97).numpy(), torch.zeros(96).numpy()
    bars = {name: axis.stairs(zero, edges, fill=fill, color=GUIDES[name], alpha=alpha, lw=1.6,
                              label=label)
            for name, label, fill, alpha in (("SDE", "guided, with noise", True, 0.4),
                                             ("ODE", "guided, ODE", False, 1.0))}
    (tilt,) = axis.plot([], [], color=GUIDES["tilt"],
                        label="$p(x)\\,p(c\\,|\\,x)^w$, the tilted law")
    axis.plot(x, _density(x, 0.0, SPREAD), color=COLOURS.other, lw=1.2, ls=":",
              label="$p(x)$, nothing told")
    axis.set(xlabel="x", ylabel="density", xlim=(-1.6, 1.6), ylim=(0, 4.5))
    axis.legend(loc="upper left")

    def show(weight: float, told_spread: float, mean: float) -> str:
        ode, sde = guided_draws(weight, SPREAD, told_spread, mean, n=100, count=3000)
        for name, draws in (("ODE", ode), ("SDE", sde)):
            counts = torch.histc(draws.double(), 96, -1.6, 1.6)
            bars[name].set_data((counts / len(draws) / (3.2 / 96)).numpy())
        law = guided_normal(weight, SPREAD, told_spread)
        middle = tilted_mean(weight, SPREAD, told_spread, mean)
        exists = not math.isnan(law.tilt)
        tilt.set_data(x, _density(x, middle, law.tilt if exists else math.inf))
        said = f"{law.tilt:.3f}" if exists else "none, since it is no law"
        return (f"Spread of the ODE's samples <b>{float(ode.std()):.3f}</b> (formula "
                f"{law.ode:.3f}), with noise <b>{float(sde.std()):.3f}</b> (formula "
                f"{law.sde:.3f}), of the tilted law <b>{said}</b>.")

    return show


def guidance_figure(weight: float = 2.0, told_spread: float = 0.25, mean: float = 0.3):
    """The picture of `guidance_explorer`, for one setting."""
    figure, axis = style.subplots(size=(7.6, 3.4))
    _normals(axis)(weight, told_spread, mean)
    return figure


def guidance_explorer() -> Explorer:
    """One normal guided by another: what two samplers draw, and what the formula is taken for."""
    controls = {
        "weight": slider("weight w", 0.0, 4.0, 2.0, 0.1, digits=1),
        "told_spread": slider("spread, told c", 0.1, 0.5, 0.25, 0.05),
        "mean": slider("mean, told c", -0.5, 0.5, 0.3, 0.1, digits=1),
    }
    return explore(
        _normals, controls, size=(7.6, 3.4),
        description="Histograms of guided samples, by the ODE and with noise, over the curve of "
        "the tilted law that guidance is often taken for: for a weight above 1 both are narrower "
        "than it.",
    )


def spreads_figure(measured: dict[float, tuple[float, float]], told_spread: float = 0.25):
    """Three closed forms against w, and the spreads that were measured, by w: (ODE, SDE)."""
    figure, axis = style.subplots(size=(6.6, 3.2))
    weights = torch.linspace(0, 4, 81).tolist()
    laws = [guided_normal(w, SPREAD, told_spread) for w in weights]
    names = {"tilt": "the tilted law", "SDE": "guided, with noise", "ODE": "guided, ODE"}
    for name, label in names.items():
        values = [getattr(law, name.lower()) for law in laws]
        axis.plot(weights, values, color=GUIDES[name], label=label)
    for place, name in enumerate(("ODE", "SDE")):
        axis.plot(list(measured), [pair[place] for pair in measured.values()], "o",
                  color=GUIDES[name], ms=6, zorder=3)
    axis.set(xlabel="weight w", ylabel="spread", ylim=(0, None))
    axis.legend()
    return figure


# Bars and pictures.


def _bars(axis, rows: dict[str, Estimate], ours: str = "", limit: float | None = None) -> None:
    """Bars with two standard errors; what does not begin with `ours` is in another colour."""
    for place, (name, row) in enumerate(rows.items()):
        colour = COLOURS.output if name.startswith(ours) else COLOURS.other
        axis.barh(place, row.mean, color=colour, height=0.62)
        axis.errorbar(row.mean, place, xerr=2 * row.standard_error, color=COLOURS.text, capsize=3)
        axis.text(0.02 * (limit or row.mean), place, f"{row.mean:.1f}", va="center",
                  color="white", fontweight="bold")
    axis.set_yticks(range(len(rows)), list(rows))
    axis.grid(False, axis="y")


def bars_figure(rows: dict[str, Estimate], unit: str, limit: float | None = None, ours: str = ""):
    """Horizontal bars with two standard errors, the first on top; what does not begin with `ours`
    is no network's, and in another colour.
    """
    figure, axis = style.subplots(size=(6.8, 0.7 + 0.36 * len(rows)))
    _bars(axis, rows, ours, limit)
    axis.invert_yaxis()
    axis.set(xlabel=unit, xlim=(0, limit))
    return figure


def _picture(axis, images: Tensor, columns: int):
    """Images side by side; returns the artist."""
    shown = axis.imshow(_tiles(images, columns), cmap=_greys(), vmin=0, vmax=1,
                        interpolation="nearest")
    framed(axis)
    return shown


def _tiles(images: Tensor, columns: int):
    return tile(images.detach().clamp(0, 1), columns).numpy()


@lru_cache
def _greys():
    from matplotlib import colormaps

    return colormaps["gray"].with_extremes(bad="#9A9A9A")  # the lines between images


def rows_figure(rows: dict[str, Tensor], width: float = 8.0):
    """Rows of equally many images, (N, H, W) each, with a name before each row."""
    count = len(next(iter(rows.values())))
    edge = (width - 1.2) / count
    figure, axes = style.subplots(len(rows), 2, size=(width, (edge + 0.06) * len(rows)),
                                  squeeze=False, width_ratios=(1.0, width - 1.2))
    for (word, axis), (name, images) in zip(axes, rows.items(), strict=True):
        _picture(axis, images, count)
        word.set_axis_off()
        word.text(1.0, 0.5, name, ha="right", va="center", transform=word.transAxes)
    return figure


# Digits, told their class.


def class_explorer(
    bfn: BFN, shape: tuple[int, ...], read: Callable[[Tensor], Tensor], *, count: int = 10,
    n: int = 20, sampler: Any = None,
) -> Explorer:
    """Digits of one class: how likely to be read as it, and how alike.

    Args:
        bfn: whose network takes a label.
        shape: of one example, (…).
        read: says which digit each sample, (B, *shape), is: (B,).
        count: digits at a time.
        n: steps.
        sampler: ab2 by default.
    """

    def picture(axis):
        shown = _picture(axis, torch.zeros(count, *shape[-2:]), count)

        def show(label, weight, seed, steps=n):
            labels = torch.full((count,), label)
            x = draw_told(bfn, shape, labels, weight, steps, seed, sampler)
            shown.set_data(_tiles(shades(x), count))
            right = int((read(x) == label).sum())
            return (f"Told to draw a <b>{label}</b> with weight {weight:.1f}: {right} of {count} "
                    f"are read as one; two of them are {spread_within(x, labels):.2f} apart on "
                    "average.")

        return show

    controls = {
        "label": slider("class", 0, 9, 3),
        "weight": slider("weight w", 0.0, 6.0, 2.0, 0.5, digits=1),
        "seed": slider("seed", 0, 20, 0),
    }
    height, width = shape[-2:]
    description = (f"A row of digits, {height} × {width} pixels each, that a network drew when "
                   "told which digit; a larger weight makes them clearer and more alike.")
    return explore(picture, controls, size=(7.6, 0.1 + 7.6 / count), description=description,
                   draft={"steps": FEW})


def guidance_record_figure(rows: list[dict[str, float]], real: dict[str, float]):
    """Accuracy and diversity against w, as a record has them, with two standard errors; dotted,
    the same of real digits.
    """
    figure, axes = style.subplots(1, 3, size=(9.0, 2.9))
    weights = [row["weight"] for row in rows]
    for axis, name, title, colour in zip(
        axes, ("accuracy", "feature diversity", "diversity"),
        ("read as asked for", "apart, in features", "apart, in pixels"),
        (COLOURS.output, COLOURS.sender, COLOURS.other), strict=True,
    ):
        error = [2 * row[f"{name} error"] for row in rows]
        axis.errorbar(weights, [row[name] for row in rows], yerr=error, fmt="o-", color=colour,
                      capsize=3)
        axis.axhline(real[name], color=COLOURS.data, ls=":", lw=1.4)
        axis.set(xlabel="weight w", ylim=(0, None))
        axis.set_title(title)
    return figure


# Gaps.


def candidates_figure(rows: dict[str, dict[int, float]], floor: float):
    """Total variation from the exact law of a gap against the number of candidates; dotted, that of
    2,000 exact draws.
    """
    figure, axis = style.subplots(size=(6.4, 3.2))
    for (name, row), colour in zip(rows.items(), (COLOURS.output, COLOURS.other, COLOURS.input),
                                   strict=False):
        axis.plot(list(row), list(row.values()), "o-", color=colour, label=name)
    axis.axhline(floor, color=COLOURS.data, ls=":", label="2,000 exact draws")
    ticks = list(next(iter(rows.values())))
    axis.set_xscale("log", base=2)
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.set(xlabel="candidates", ylabel="total variation", ylim=(0, None))
    axis.legend()
    return figure


def erase_explorer(
    bfn: BFN, images: Tensor, labels: Tensor, *, count: int = 16, n: int = 16, shown: int = 5
) -> Explorer:
    """Rub out a square of a digit, and see candidates for it with their weights.

    Args:
        bfn: whose network takes a label.
        images: (N, H, W), as the flow takes them.
        labels: of them.
        count: candidates.
        n: messages.
        shown: how many candidates are drawn.
    """
    side = images.shape[-1]

    def draw(axes):
        pictures = [_picture(axis, torch.zeros(1, side, side), 1) for axis in axes]
        titles = [axis.title for axis in axes]
        for title, word in zip(titles, ("data", "known"), strict=False):
            title.set_text(word)

        def show(digit, top, left, size, tell, weigh, messages=n):
            image, known = images[digit], erased(side, top, left, size)
            beside = told(labels[digit]) if tell else {}
            rng = torch.Generator().manual_seed(1)
            filling = fill(bfn, image, known, messages, count, weigh=weigh, generator=rng, **beside)
            best, weights = heaviest(filling, shown)
            gap = torch.where(known, shades(image[None]), math.nan)
            frames = (shades(image[None]), gap, *shades(best)[:, None])
            for picture, values in zip(pictures, frames, strict=False):
                picture.set_data(values[0].numpy())
            for title, weight in zip(titles[2:], weights, strict=False):
                title.set_text(f"{float(weight):.2f}")
            off = (shades(filling.x) - shades(image[None]))[:, ~known].square().mean(1).sqrt()
            return (f"{int((~known).sum())} pixels are gone. Of {count} candidates as many count "
                    f"as {filling.effective:.1f} equal ones; in the gap they are "
                    f"{float(filling.weights.float() @ off):.2f} from the data (root mean square "
                    "of shades, by weight). The numbers above are weights.")

        return show

    controls = {
        "digit": slider("digit", 0, len(images) - 1, 3),
        "top": slider("top", 0, side - 1, 1),
        "left": slider("left", 0, side - 1, 2),
        "size": slider("size", 1, side, 4),
        "tell": tick("tell the label", False, width=150),
        "weigh": tick("weigh candidates", True, width=170),
    }
    description = ("A digit, the same with a square rubbed out, and candidates for what stood "
                   "there, with their weights.")
    return explore(draw, controls, size=(8.6, 1.7), grid=(1, 2 + shown), description=description,
                   draft={"messages": FEW})


def completed(
    bfn: BFN, x: Tensor, known: Tensor, label: int, seed: int,
    *, count: int = 8, n: int = 10, shown: int = 4, weight: float = 2.0,
) -> Completed:
    """Candidates for what is not known of a digit, told its label or, with −1, not.

    Args:
        bfn: of binary pixels, (1, H, W); its network takes a label.
        x: (H, W), 0 and 1.
        known: (H, W).
        label: −1 for any.
        seed: of all noise.
        count: candidates; one for each picture where nothing is known, so none is better.
        n: messages.
        shown: how many pictures there are at the end.
        weight: of guidance by the label.
    """
    given = int(known.sum())
    if given == known.numel():
        words = "Everything is given: rub something out."
        return Completed(x[None].float(), torch.ones(1), words)
    guide = BFN(bfn.flow, Guided(bfn.network, weight))
    beside = told(None if label < 0 else torch.tensor(label))
    filling = fill(guide, x[None], known[None], n, count if given else shown,
                   generator=torch.Generator().manual_seed(seed), **beside)
    best, weights = heaviest(filling, shown)
    words = (f"{given} of {known.numel()} pixels are given. Of {count} candidates as many count as "
             f"{filling.effective:.1f} equal ones.")
    if not given:
        words = "Nothing is given: these are digits that the network made up."
    return Completed(shades(best), weights, words)


def canvas_explorer(bfn: BFN, digits: Tensor, **options: Any) -> Canvas:
    """A canvas to draw on, which a network of digits completes.

    Args:
        bfn: of binary pixels, (1, H, W); its network takes a label.
        digits: (N, 1, H, W), 0 and 1, that can be put on it.
        options: of `completed`.
    """
    choices = [("any digit", -1), *[(f"a {k}", k) for k in range(10)]]

    def complete(x: Tensor, known: Tensor, label: int, seed: int) -> Completed:
        return completed(bfn, x, known, label, seed, **options)

    description = ("A canvas with the upper half of a digit, and four ways in which a network "
                   "completes it, with their weights: draw or rub out, and it completes anew.")
    return Canvas(complete, digits[:, 0], choices, description=description)


# From coarse to fine.


def resolution_explorer(
    bfn: BFN, images: Tensor, labels: Tensor, *, count: int = 6, n: int = 12, drawn: int = 4
) -> Explorer:
    """The means of blocks are told: what the digit may have been.

    Args:
        bfn: whose network takes a label.
        images: (N, 8, 8), as the flow takes them.
        labels: of them.
        count: candidates for each draw.
        n: messages.
        drawn: how many draws are shown.
    """
    side = images.shape[-1]

    def draw(axes):
        pictures = [_picture(axis, torch.zeros(1, side, side), 1) for axis in axes]
        titles = ["data", "told", "bicubic", *[f"draw {k + 1}" for k in range(drawn)], "mean"]
        for axis, title in zip(axes, titles, strict=True):
            framed(axis, title)

        def show(known, digit, tell, seed, messages=n):
            size, image = side // known, images[digit]
            found = refined(bfn, image, size, messages, count, draws=drawn, seed=seed,
                            condition=labels[digit] if tell else None)
            low, mean = coarse(image[None], size), found.mean(0, keepdim=True)
            plain, nearest = enlarged(low, size), enlarged(low, size, "nearest")
            frames = (image, nearest[0], plain[0], *found, mean[0])
            for picture, values in zip(pictures, frames, strict=True):
                picture.set_data((0.5 * (values + 1)).clamp(0, 1).numpy())
            dots = [float(psnr(guess, image[None]).mean) for guess in (plain, mean)]
            return (f"{known} × {known} means are told. PSNR: bicubic {dots[0]:.1f} dB, mean of "
                    f"the {drawn} draws {dots[1]:.1f} dB.")

        return show

    controls = {
        "known": choice("told", [(f"{k} × {k}", k) for k in (1, 2, 4)], 4),
        "digit": slider("digit", 0, len(images) - 1, 3),
        "tell": tick("tell the label", False, width=150),
        "seed": slider("seed", 0, 20, 0),
    }
    description = ("A digit, the means of its blocks, bicubic interpolation, draws with just these "
                   "means, and their mean.")
    return explore(draw, controls, size=(8.8, 1.6), grid=(1, 4 + drawn), description=description,
                   draft={"messages": FEW})


def refined_figure(bfn: BFN, images: Tensor, size: int, *, draws: int = 3, n: int = 20):
    """Rows: data, told, bicubic, draws, their mean; one column for each image (N, H, W)."""
    low = coarse(images, size)
    rows = {"data": images, "told": enlarged(low, size, "nearest"), "bicubic": enlarged(low, size)}
    found = torch.stack([refined(bfn, image, size, n, draws=draws) for image in images], 1)
    rows |= {f"draw {k + 1}": row for k, row in enumerate(found)}
    rows["mean"] = found.mean(0)
    return rows_figure({name: 0.5 * (x + 1) for name, x in rows.items()}, width=7.2)


# The same by a network that was trained for it, on binary digits.


def moved(digit: Tensor, right: int) -> Tensor:
    """An image (…, H, W) so many pixels further right, on a ground of zeros."""
    return F.pad(digit, (right, 0))[..., : digit.shape[-1]]


def enlarge_explorer(
    bfn: BFN, digits: Tensor, size: int = 4, *, drawn: int = 3, n: int = 8
) -> Explorer:
    """Digits behind a coarse picture, as a network draws them that was trained to be told it.

    Args:
        bfn, size: as for `enlargements`.
        digits: (N, 1, H, W), 0 and 1.
        drawn: draws at a time.
        n: messages at first.
    """
    blank = torch.zeros(1, *digits.shape[-2:])

    def draw(axes):
        pictures = [_picture(axis, blank, 1) for axis in axes]
        titles = ["data", "told", "bicubic", *[f"draw {k + 1}" for k in range(drawn)],
                  f"mean of {drawn}", "one call"]
        for axis, title in zip(axes, titles, strict=True):
            framed(axis, title)

        def show(digit, right, messages, seed):
            x = moved(digits[digit : digit + 1], right)
            rows = enlargements(bfn, x, size, draws=drawn, n=messages, seed=seed)
            for picture, values in zip(pictures, (x[:, 0].float(), *rows.values()), strict=True):
                picture.set_data(_tiles(values, 1))
            data = 2.0 * x[:, 0] - 1
            dots = {name: float(psnr(2 * rows[name] - 1, data).mean)
                    for name in ("bicubic", "draw 1", f"mean of {drawn}", "one call")}
            apart = torch.stack([rows[f"draw {k + 1}"] for k in range(drawn)]).std(0) > 0
            return ("PSNR: " + ", ".join(f"{name} {value:.1f} dB" for name, value in dots.items())
                    + f". The draws differ in {int(apart.sum())} of {x.numel()} pixels.")

        return show

    controls = {
        "digit": slider("digit", 0, len(digits) - 1, 3),
        "right": slider("moved right, pixels", 0, 4, 0),
        "messages": slider("messages", 1, 24, n),
        "seed": slider("seed", 0, 20, 0),
    }
    description = ("A binary digit, the 7 × 7 means of its blocks, bicubic interpolation, draws of "
                   "a network that was told the means, their mean, and its guess in one call.")
    return explore(draw, controls, size=(9.2, 1.6), grid=(1, 5 + drawn), description=description,
                   draft={"messages": FEW})


def enlarge_record_figure(
    codes: dict[str, Estimate], guesses: dict[str, Estimate], ours: str = "trained"
):
    """Bits of a digit and PSNR of guesses at it, as records have them, with two standard errors;
    what begins with `ours` is in the colour of the output distribution.
    """
    most = max(len(codes), len(guesses))
    figure, axes = style.subplots(1, 2, size=(9.2, 0.9 + 0.34 * most))
    for axis, rows, label in zip(axes, (codes, guesses), (
            "bits per digit, to who knows the means (fewer is better)",
            "PSNR in dB (more is better)"), strict=True):
        _bars(axis, rows, ours)
        axis.set_ylim(max(len(rows), most) - 0.5, -0.5)
        axis.set_xlabel(label)
        axis.set_xlim(0, 1.1 * max(row.mean for row in rows.values()))
        axis.locator_params(axis="x", nbins=5)
    return figure
