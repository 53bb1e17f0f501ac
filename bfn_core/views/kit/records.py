"""Figures that were measured once and recorded, beside each other."""

from . import style
from .style import COLOURS


def bits_figure(
    results: dict[str, tuple[float, float]], ours=(), limit: float | None = None,
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
        colour = COLOURS.output if name in ours else "#9AA5AE"
        axis.barh(row, bits, xerr=2 * error, color=colour, alpha=0.85, error_kw={"lw": 1})
        axis.text(bits + 2 * error + 0.05, row, f"{bits:.2f}", va="center")
    axis.set_yticks(range(len(order)), order)
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.set(xlabel=label, xlim=(0, limit))
    return figure
