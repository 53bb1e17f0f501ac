"""Figures that were measured once and recorded: to read off with the pointer, or at rest.

Each function draws its picture with Matplotlib and the same points with Plotly, which says of
every point its value, its standard error and how it was measured.
"""

import html
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from plotly import graph_objects

from . import plotly_figure, style
from .curves import curve_figure
from .plotly_figure import PlotlyFigure
from .style import COLOURS

WIDE = 62  # characters of a line of what stands under the pointer


@dataclass(frozen=True)
class Series:
    """Points of one name and colour.

    Attributes:
        name: as the legend has it.
        x, y: of the points; `x` may be words.
        colour: of the line and the points.
        error: one standard error of each y, in its unit; None where there is none.
        note: how they were measured: the command, the seed.
        mode: Plotly's: "lines", "markers" or "lines+markers".
    """

    name: str
    x: Sequence
    y: Sequence[float]
    colour: str
    error: Sequence[float] | None = None
    note: str = ""
    mode: str = "lines+markers"

    def trace(self, kind, unit: str, *, label: str = "%{x}", sideways: bool = False, **look):
        """As a trace of Plotly's, with bars of two standard errors.

        Args:
            kind: Plotly's class of the trace.
            unit: of y.
            label: what stands before a value under the pointer.
            sideways: bars that grow to the right.
        """
        value = "x" if sideways else "y"
        errors = [""] * len(self.y) if self.error is None else [
            f" ± {error:.2g}" if error else "" for error in self.error]
        found = [f"{y:.4g}{error}" for y, error in zip(self.y, errors, strict=True)]
        name = html.escape(self.name, quote=False)
        lines = [f"<b>{name}</b>", f"{label}: %{{customdata}} {unit}"]
        lines += [html.escape(line, quote=False) for line in textwrap.wrap(
            self.note, WIDE, break_long_words=False, break_on_hyphens=False)]
        if self.error is not None:
            bars = {"type": "data", "array": [2 * error for error in self.error]}
            look[f"error_{value}"] = {**bars, "thickness": 1, "width": 3}
        points = (self.y, self.x) if sideways else (self.x, self.y)
        return kind(
            x=list(points[0]), y=list(points[1]), customdata=found, name=self.name,
            hovertemplate="<br>".join(lines) + "<extra></extra>", **look,
        )

    def line(self, unit: str, label: str):
        """As a line or as points."""
        look = {"line": {"color": self.colour, "width": 2}, "marker": {"color": self.colour,
                                                                       "size": 7}}
        return self.trace(graph_objects.Scatter, unit, label=label, mode=self.mode, **look)


def chart(series: Sequence[Series], still, alt: str, *, x: str, y: str, unit: str = "",
          label: str = "%{x}", yardsticks: Mapping[str, float] | None = None,
          log: str = "", limits: Sequence[float] | None = None) -> PlotlyFigure:
    """Lines and points to read off, over the picture `still` where nothing is live.

    Args:
        series: what is drawn.
        still: a Matplotlib figure of the same.
        alt: one sentence on what there is to see.
        x, y: names of the axes.
        unit: of the values under the pointer; by default the name of the axis.
        label: what stands before a value under the pointer.
        yardsticks: from a name to a value, drawn as horizontal lines.
        log: the axes whose steps grow by factors, as in "xy".
        limits: lowest and highest value of the axis y.
    """
    yardsticks, values = dict(yardsticks or {}), [v for one in series for v in one.x]
    axes = {name: {"title": {"text": text}, "automargin": True, "zeroline": False}
            for name, text in (("xaxis", x), ("yaxis", y))}
    if any(isinstance(value, str) for value in values):
        axes["xaxis"]["type"] = "category"  # Plotly would take "10" for a number
    ends = {"x": values, "y": limits or [v for one in series for v in one.y]}
    for name in log:
        axes[f"{name}axis"] |= {"type": "log", **_marks(ends[name])}
    if limits is not None:
        axes["yaxis"]["range"] = [math.log10(v) for v in limits] if "y" in log else list(limits)
    figure = plotly_figure.new(
        [one.line(unit or y, label) for one in series], height=360, hovermode="closest",
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}, **axes,
    )
    place = math.log10 if "y" in log else float  # a label's, which Plotly's own would not know
    places = [place(value) for value in [*ends["y"], *yardsticks.values()]]
    near = 0.09 * (max(places) - min(places))
    for name, value in yardsticks.items():
        above = any(0 < place(other) - place(value) < near for other in yardsticks.values())
        figure.add_hline(value, line={"color": COLOURS.data, "width": 1, "dash": "dash"})
        figure.add_annotation(
            text=f"{name}: {value:.4g}", x=1, xref="paper", xanchor="right", y=place(value),
            yanchor="top" if above else "bottom", showarrow=False, font={"size": 11},
        )
    return PlotlyFigure(figure, still, alt)


def _marks(values) -> dict:
    """Ticks of a logarithmic axis: the values if they are few, or 1, 2 and 5 times powers of 10."""
    marks = sorted(set(values))
    if len(marks) < 3 or len(marks) > 8:
        low, high = marks[0], marks[-1]
        tens = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        marks = [m * 10.0**e for e in tens for m in (1, 2, 5) if low <= m * 10.0**e <= high]
        if len(marks) < 3:  # a narrow axis: what Plotly finds
            return {}
    return {"tickvals": marks, "ticktext": [f"{mark:,g}" for mark in marks]}


def told(record: Mapping) -> str:
    """The command of a record, with its time and machine where they were noted."""
    machine = [record[key] for key in ("device",) if record.get(key)]
    return "; ".join([record["command"], *machine])


def curve(record: Mapping, yardsticks: Mapping[str, float], alt: str, *, limits,
          unit: str = "nats per example", title: str = "") -> PlotlyFigure:
    """The curve of a recorded run: training loss, and validation with its standard error.

    Args:
        record: with "curve", "validation", "settings" and "command".
        yardsticks: from a name to a value, drawn as horizontal lines.
        alt: one sentence on what there is to see.
        limits: lowest and highest value of the axis.
        unit: its name.
        title: what stands above the picture at rest.
    """
    note = "; ".join(filter(None, (told(record), title)))
    held = record["validation"]
    series = [
        Series("training", [p["step"] for p in record["curve"]],
               [p["nats"] for p in record["curve"]], COLOURS.output, note=note, mode="lines"),
        Series("validation", [p["step"] for p in held], [p["validation"] for p in held],
               COLOURS.other, [p["validation_error"] for p in held], note, "markers"),
    ]
    still = curve_figure(record, yardsticks, limits=limits, unit=unit)
    still.axes[0].set_title(title, fontsize=9, loc="right")
    return chart(series, still, alt, x="training step", y=unit, label="step %{x:,}", log="y",
                 yardsticks=yardsticks, limits=limits)


def bars(results: Mapping[str, tuple[float, float]], alt: str, *, ours=(), limit=None,
         label: str, notes: Mapping[str, str] | None = None) -> PlotlyFigure:
    """`bits_figure`, to read off.

    Args:
        results, ours, limit, label: as there.
        alt: one sentence on what there is to see.
        notes: from a name to how it was measured.
    """
    order = sorted(results, key=lambda name: -results[name][0])
    figure = plotly_figure.new(
        [Series(name, [name], [results[name][0]], _colour(name, ours), [results[name][1]],
                (notes or {}).get(name, "")).trace(
                    graph_objects.Bar, "bits", label="%{y}", sideways=True, orientation="h",
                    marker={"color": _colour(name, ours), "opacity": 0.85},
                    text=[f"{results[name][0]:.2f}"], textposition="outside")
         for name in order],
        height=90 + 34 * len(order), showlegend=False, bargap=0.25,
        xaxis={"title": {"text": "<br>".join(textwrap.wrap(label, 48))}, "automargin": True,
               "range": [0, limit] if limit else None},
        yaxis={"automargin": True, "autorange": "reversed"},
    )
    return PlotlyFigure(figure, bits_figure(results, ours, limit, label), alt)


OTHERS = "#9AA5AE"  # the bars of what is not a Bayesian Flow Network


def _colour(name: str, ours) -> str:
    return COLOURS.output if name in ours else OTHERS


def bits_figure(
    results: Mapping[str, tuple[float, float]], ours=(), limit: float | None = None,
    label: str = "bits per pixel, held-out digits (lower is better; ± 2 standard errors)",
):
    """Bits per dimension as bars with two standard errors, the shortest code last.

    Args:
        results: from a name to (bits per dimension, standard error).
        ours: the names that are Bayesian Flow Networks.
        limit: where the axis ends.
        label: of that axis.
    """
    order = sorted(results, key=lambda name: -results[name][0])
    figure, axis = style.subplots(size=(8.4, 0.5 + 0.36 * len(order)))
    for row, name in enumerate(order):
        bits, error = results[name]
        axis.barh(row, bits, xerr=2 * error, color=_colour(name, ours), alpha=0.85,
                  error_kw={"lw": 1})
        axis.text(bits + 2 * error + 0.05, row, f"{bits:.2f}", va="center")
    axis.set_yticks(range(len(order)), order)
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.set(xlabel=label, xlim=(0, limit))
    return figure
