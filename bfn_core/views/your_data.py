"""Pictures of what a model makes of a reader's own data, and where the stand-ins for it lie."""

import html
import math
import os
import tempfile
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Generator, Tensor

from bfn_core.data import Column, DataError, Pictures, Table
from bfn_core.infilling import Filling, marginals
from bfn_core.model import BFN
from bfn_core.training import Run, TrainingError
from bfn_core.views.kit import style
from bfn_core.views.kit.explorer import Explorer, explore, slider, tick
from bfn_core.views.kit.style import COLOURS
from bfn_core.views.kit.tiling import framed


@cache
def _scratch() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="bfn_core own data ", ignore_cleanup_errors=True)


def scratch() -> Path:
    """A temporary folder, with spaces in its name, the same as long as this process lives."""
    return Path(_scratch().name)


def complaint(call: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    """What a call complains of, the temporary folder left out of its paths.

    Raises:
        AssertionError: it complains of nothing.
    """
    try:
        call(*arguments, **options)
    except (ValueError, DataError, TrainingError) as error:
        said = str(error).replace(str(scratch()) + os.sep, "").replace(os.sep, "/")
        return f"{type(error).__name__}: {said}"
    raise AssertionError(f"{call.__name__} found nothing wrong with {arguments}")


# A table.


def _beliefs(
    bfn: BFN, table: Table, row: dict[str, Tensor], known, messages: int = 16
) -> dict[str, Tensor]:
    """What the cells of a row may be, (K,) by column, but those of `known` that are there."""
    told = {name: there & (name in known) for name, there in table.known(row).items()}
    found = marginals(bfn, row, told, messages, 48, generator=Generator().manual_seed(0))
    return {name: probs[0] for name, probs in found.items() if not told[name]}


class _Bars:
    """One column: bars over what it may be, and a line at what it is."""

    def __init__(self, axis, column: Column) -> None:
        self.axis, self.column, levels = axis, column, range(column.levels)
        if column.kind == "number":
            self.values = [float(column.value(k)) for k in levels]
            width = (column.high - column.low) / column.levels
        else:
            self.values, width = [float(k) for k in levels], 0.8
            names = [name if len(name) < 11 else f"{name[:9]}…" for name in column.classes]
            size = 9 if sum(map(len, names)) < 20 else 6.5
            axis.set_xticks(self.values, names, fontsize=size, parse_math=False)
        self.bars = axis.bar(self.values, [0.0] * column.levels, width, color=COLOURS.output)
        self.line = axis.axvline(self.values[0], color=COLOURS.data, lw=2, ls=":")
        axis.set(yticks=[], ylim=(0, 1))
        axis.set_title(column.name, fontsize=10, loc="center", parse_math=False)

    def set(self, probs: Tensor | None, true: int) -> None:
        """`probs`, (K,), or None where it is known; `true`, its level, −1 where it is missing."""
        heights = ([0.0] * self.column.levels if probs is None else
                   (probs / probs.max()).tolist())
        if probs is None and true >= 0:
            heights[true] = 1.0
        for bar, height in zip(self.bars, heights, strict=True):
            bar.set_height(height)
            bar.set_color(COLOURS.input if probs is None else COLOURS.output)
        self.line.set_visible(true >= 0)
        if true >= 0:
            self.line.set_xdata([self.values[true]] * 2)


def _told(table: Table, panels: list[_Bars], row: dict[str, Tensor], found: dict[str, Tensor]):
    """Fill the panels; a sentence on what is believed of the unknown columns."""
    words = []
    for panel, column in zip(panels, table.columns, strict=True):
        true, probs = int(column.index(row[column.name])), found.get(column.name)
        panel.set(probs, true)
        if probs is None:
            continue
        best = int(probs.argmax())
        bits = -math.log2(max(float(probs[true]), 1e-12)) if true >= 0 else None
        cost = "missing in the file" if bits is None else f"the truth costs {bits:.1f} bits"
        words.append(f"{html.escape(column.name)}: most likely <b>"
                     f"{html.escape(str(column.value(best)))}</b>, {cost}")
    return "; ".join(words) + "." if words else "All is known; there is nothing to guess."


def row_explorer(bfn: BFN, table: Table, x: dict[str, Tensor], known=("sepal length",)) -> Explorer:
    """Tick what is known of a row, and see what the model makes of the rest.

    Args:
        bfn: learnt from `table`.
        x: rows to choose from, (N, 1) of each column; not those that were learnt from.
        known: columns that are ticked at the beginning, where the table has them.
    """
    @lru_cache(maxsize=256)
    def found(which: int, told: tuple[str, ...], messages: int) -> dict[str, Tensor]:
        row = {name: part[which] for name, part in x.items()}
        return _beliefs(bfn, table, row, told, messages)

    def picture(axes):
        for spare in axes.flat[len(table.columns):]:
            spare.set_axis_off()
        panels = [_Bars(axis, c) for axis, c in zip(axes.flat, table.columns, strict=False)]

        def show(row, messages=16, **ticks):
            told = tuple(c.name for i, c in enumerate(table.columns) if ticks[f"known_{i}"])
            chosen = {name: part[row] for name, part in x.items()}
            return _told(table, panels, chosen, found(row, told, messages))

        return show

    columns = min(5, len(table.columns))
    rows = math.ceil(len(table.columns) / columns)
    count = len(next(iter(x.values())))
    controls = {"row": slider("which row", 0, count - 1, 0)}
    for i, column in enumerate(table.columns):
        controls[f"known_{i}"] = tick(f"{column.name} is known", column.name in known, width=180)
    description = ("Bars for each column of one row of a table: blue where it is told, green what "
                   "the model believes where it is not; dotted lines stand at the truth.")
    return explore(picture, controls, size=(9, 2.1 * rows), grid=(rows, columns), squeeze=False,
                   description=description, filmed=["row", "known_0"], draft={"messages": 4})


def row_figure(bfn: BFN, table: Table, row: dict[str, Tensor], steps: list[list[str]]):
    """The same row, with more and more columns known, one line of panels for each of `steps`."""
    figure, axes = style.subplots(len(steps), len(table.columns), size=(9, 1.7 * len(steps)),
                                  squeeze=False)
    for line, names in zip(axes, steps, strict=True):
        panels = [_Bars(axis, column) for axis, column in zip(line, table.columns, strict=True)]
        _told(table, panels, row, _beliefs(bfn, table, row, names))
        for panel in panels if line is not axes[0] else []:
            panel.axis.set_title("")
    return figure


# Pictures.


def sheet_figure(named: dict[str, Tensor], columns: int = 8):
    """Sheets of images side by side, by name: uint8, (N, C, H, W)."""
    figure, axes = style.subplots(1, len(named), size=(4.4 * len(named), 2.6), squeeze=False)
    for axis, (name, images) in zip(axes[0], named.items(), strict=True):
        framed(axis, name)
        axis.imshow(_sheet(images, columns), cmap="gray", vmin=0, vmax=255)
    return figure


def _sheet(images: Tensor, columns: int) -> numpy.ndarray:
    """(N, C, H, W) in rows of `columns`, with a grey line between: (H', W', 3) uint8."""
    count, channels, high, wide = images.shape
    missing = -count % columns
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1, 0, 0, 0, missing), value=128)
    rows = padded.reshape(-1, columns, channels, high + 2, wide + 2).permute(0, 3, 1, 4, 2)
    sheet = rows.reshape(-1, columns * (wide + 2), channels)
    return sheet.expand(-1, -1, 3).numpy()


def gap_figure(pictures: Pictures, x: Tensor, known: Tensor, filling: Filling, count: int = 6):
    """A picture, what is told of it, and its heaviest fillings.

    Args:
        x, known: (C, H, W), as `fill` takes them.
        count: fillings to show.
    """
    order = filling.weights.argsort(descending=True)[:count]
    true, drawn = pictures.bytes_of(x[None])[0], pictures.bytes_of(filling.x[order])
    panels = [("the picture", true), ("what is told", torch.where(known, true, 128))]
    panels += [(f"{100 * float(filling.weights[i]):.0f} %", image)
               for i, image in zip(order, drawn, strict=True)]
    figure, axes = style.subplots(1, len(panels), size=(9, 1.6))
    for axis, (name, image) in zip(axes, panels, strict=True):
        framed(axis, name)
        axis.imshow(_sheet(image[None], 1), vmin=0, vmax=255)
    return figure


# Learning curves.


def run_figure(folder: str | Path, variables: float, unit: str):
    """A run of one's own: what is learnt from, and what is held out, in bits per variable.

    Args:
        folder: of the run.
        variables: by how many the nats of an example are divided.
        unit: of the axis.
    """
    metrics = Run(folder).read_metrics()
    figure, axis = style.subplots(size=(6.4, 2.8))
    bits = 1 / (variables * math.log(2))
    for key, name, colour, look in (("loss", "learnt from (messages alone)", COLOURS.data, "-"),
                                    ("validation", "held out", COLOURS.other, "o-")):
        points = [(line["step"], bits * line[key]) for line in metrics if key in line]
        if points:
            axis.plot(*zip(*points, strict=True), look, color=colour, label=name)
    axis.set(xlabel="step", ylabel=unit, ylim=(0, None))
    axis.legend()
    return figure


def heart_figure(record: dict[str, Any]):
    """What rows cost that were learnt from, and rows that were not, as training goes on."""
    dropouts = sorted({run["dropout"] for run in record["runs"]})
    figure, axes = style.subplots(1, len(dropouts), size=(9, 3), sharey=True, squeeze=False)
    for axis, dropout in zip(axes[0], dropouts, strict=True):
        runs = [run for run in record["runs"] if run["dropout"] == dropout]
        for run in runs:
            for key, colour in (("seen", COLOURS.data), ("held out", COLOURS.other)):
                points = [(row["step"], row[key]["bits"]) for row in run["curve"]]
                axis.plot(*zip(*points, strict=True), color=colour,
                          label=key if run is runs[0] else None)
        axis.axhline(record["codes"]["histogram"]["bits"], color=COLOURS.input, ls="--", lw=1.5,
                     label="column by column")
        axis.set(title=f"dropout {dropout:g}", xlabel="step")
    axes[0][0].set_ylabel(record["unit"])
    axes[0][0].legend()
    return figure


def enough_figure(record: dict[str, Any]):
    """The best held-out cost against the number of pictures, and that of the pictures learnt."""
    figure, axis = style.subplots(size=(6.4, 3))
    runs = record["runs"]
    best = [min(run["curve"], key=lambda row: row["held out"]["bits"]) for run in runs]
    for key, colour in (("held out", COLOURS.other), ("seen", COLOURS.data)):
        axis.errorbar([run["pictures"] for run in runs], [row[key]["bits"] for row in best],
                      [2 * row[key]["standard error"] for row in best], color=colour, marker="o",
                      label=key, capsize=3)
    axis.axhline(record["codes"]["PNG, side by side"]["bits"], color=COLOURS.input, ls="--", lw=1.5,
                 label="PNG of the same pictures")
    axis.set(xscale="log", xlabel="pictures to learn from", ylabel=record["unit"])
    axis.set_xticks([run["pictures"] for run in runs], [f"{run['pictures']:,}" for run in runs])
    axis.minorticks_off()
    axis.legend(loc="upper right", bbox_to_anchor=(1, 0.9))
    return figure
