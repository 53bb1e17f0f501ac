"""Small data sets that stand in for a reader's own, and pictures of what a model makes of them."""

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
from PIL import Image
from torch import Generator, Tensor

from bfn_core.data import Column, DataError, Pictures, Table
from bfn_core.infilling import Filling, filling_steps
from bfn_core.missing import ABSENT
from bfn_core.model import BFN
from bfn_core.training import Run, TrainingError
from bfn_core.views.kit import style
from bfn_core.views.kit.explorer import Explorer, explore, slider, tick
from bfn_core.views.kit.style import COLOURS
from bfn_core.views.kit.tiling import framed

# What stands in for a reader's files.


def write_shapes(folder: str | Path, count: int = 240, side: int = 24, seed: int = 0) -> Path:
    """A folder of `count` PNG files of white discs, squares and triangles on black; the folder."""
    folder, rng = Path(folder), numpy.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    down, right = numpy.mgrid[:side, :side]
    for i in range(count):
        size = rng.uniform(0.22, 0.34) * side
        y, x = down - rng.uniform(0.4, 0.6) * side, right - rng.uniform(0.4, 0.6) * side
        inside = (y**2 + x**2 < size**2, numpy.maximum(abs(y), abs(x)) < 0.85 * size,
                  (y < 0.8 * size) & (2 * abs(x) < y + 1.1 * size))[i % 3]
        pixels = numpy.where(inside, 255, 0).astype(numpy.uint8)
        Image.fromarray(pixels).save(folder / f"shape {i:03}.png")
    return folder


def spoil(folder: Path, name: str, *, mode: str = "L", size: tuple[int, int] = (24, 24)) -> None:
    """Write an empty image of Pillow's `mode`, to see what is said about it."""
    Image.new(mode, size).save(folder / name)


def write_iris(path: str | Path, blank: float = 0.1, seed: int = 0) -> Path:
    """scikit-learn's 150 irises as a CSV file, every cell left empty with probability `blank`."""
    from sklearn.datasets import load_iris

    iris, rng = load_iris(), numpy.random.default_rng(seed)
    names = [name.removesuffix(" (cm)") for name in iris.feature_names]
    lines = [",".join([*names, "species"])]
    for numbers, kind in zip(iris.data, iris.target, strict=True):
        row = [f"{number:.1f}" for number in numbers] + [str(iris.target_names[kind])]
        lines.append(",".join("" if rng.random() < blank else cell for cell in row))
    Path(path).write_text("\n".join(lines) + "\n", "utf-8", newline="\n")
    return Path(path)


def write_documentation(path: str | Path, characters: int = 60_000) -> Path:
    """Python's own documentation, which comes with Python, as a text file."""
    from pydoc_data.topics import topics

    text = "\n".join(topics[name] for name in sorted(topics))
    plain = text.encode("ascii", "ignore").decode()[:characters]
    Path(path).write_text(plain, "utf-8", newline="\n")
    return Path(path)


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


def beliefs(
    bfn: BFN, table: Table, row: dict[str, Tensor], known: dict[str, bool], *, count: int = 48,
    n_steps: int = 16, seed: int = 0,
) -> dict[str, Tensor]:
    """What the unknown cells of a row may be, (K,) probabilities of each level by column.

    Candidates are drawn and weighted as `fill` does it; each gives its last p_O.

    Args:
        row: one example, (1,) of each column.
        known: whether each column is told; a cell that is missing cannot be.
        count: candidates.
    """
    told = {name: (column > ABSENT) & known[name] if column.dtype == torch.int64
            else ~column.isnan() & known[name] for name, column in row.items()}
    rng = Generator().manual_seed(seed)
    for step in filling_steps(bfn, row, told, n_steps, count, generator=rng):
        last = step
    weights = last.log_weights.exp()
    return {
        c.name: weights @ last.output[c.name].log_probs[:, 0].double().exp()
        for c in table.columns if not told[c.name]
    }


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
            axis.set_xticks(self.values, names, fontsize=size)
        self.bars = axis.bar(self.values, [0.0] * column.levels, width, color=COLOURS.output)
        self.line = axis.axvline(self.values[0], color=COLOURS.data, lw=2, ls=":")
        axis.set(yticks=[], ylim=(0, 1))
        axis.set_title(column.name, fontsize=10, loc="center")

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
    def found(which: int, ticked: tuple[bool, ...]) -> dict[str, Tensor]:
        row = {name: part[which] for name, part in x.items()}
        names = [column.name for column in table.columns]
        return beliefs(bfn, table, row, dict(zip(names, ticked, strict=True)))

    def picture(axes):
        for spare in axes.flat[len(table.columns):]:
            spare.set_axis_off()
        panels = [_Bars(axis, c) for axis, c in zip(axes.flat, table.columns, strict=False)]

        def show(row, **ticks):
            ticked = tuple(ticks[f"known_{i}"] for i in range(len(table.columns)))
            chosen = {name: part[row] for name, part in x.items()}
            return _told(table, panels, chosen, found(row, ticked))

        return show

    columns = min(5, len(table.columns))
    rows = math.ceil(len(table.columns) / columns)
    count = len(next(iter(x.values())))
    controls = {"row": slider("which row", 0, count - 1, 0, settle=True)}
    for i, column in enumerate(table.columns):
        controls[f"known_{i}"] = tick(f"{column.name} is known", column.name in known, width=180)
    description = ("Bars for each column of one row of a table: blue where it is told, green what "
                   "the model believes where it is not; dotted lines stand at the truth.")
    return explore(picture, controls, size=(9, 2.1 * rows), grid=(rows, columns), squeeze=False,
                   description=description, filmed=["row", "known_0"])


def row_figure(bfn: BFN, table: Table, row: dict[str, Tensor], steps: list[list[str]]):
    """The same row, with more and more columns known, one line of panels for each of `steps`."""
    figure, axes = style.subplots(len(steps), len(table.columns), size=(9, 1.7 * len(steps)),
                                  squeeze=False)
    for line, names in zip(axes, steps, strict=True):
        panels = [_Bars(axis, column) for axis, column in zip(line, table.columns, strict=True)]
        known = {column.name: column.name in names for column in table.columns}
        _told(table, panels, row, beliefs(bfn, table, row, known))
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
