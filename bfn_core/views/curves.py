"""Training curves: what one is made of, and that of a run that was recorded."""

from matplotlib.ticker import MaxNLocator

from . import style
from .style import COLOURS


class Curve:
    """Loss and validation against the step, on a logarithmic axis, with yardsticks across.

    Args:
        steps: of the run, where the axis ends.
        limits: lowest and highest value of the axis.
        yardsticks: from a name to a value, drawn as horizontal lines.
        unit: of the axis.
        losses: (step, value) pairs, so that labels keep out of the way of where they end.
        axes: to draw on; None makes a figure.
    """

    def __init__(self, steps, limits, yardsticks, unit, losses=(), axes=None):
        if axes is None:
            _, axes = style.subplots(size=(8.0, 3.2))
        self.figure = axes.figure
        low, high = limits
        axes.set(xlim=(0, steps), ylim=limits, xlabel="training step", ylabel=unit, yscale="log")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        marks = [m * 10**e for e in range(-3, 5) for m in (1, 1.5, 2, 3, 5, 7)]
        if high < 3 * low:  # too narrow for those
            marks = MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low, high)
        marks = [mark for mark in marks if low <= mark <= high]
        axes.set_yticks(marks, [f"{mark:g}" for mark in marks])
        axes.minorticks_off()
        for name, value in yardsticks.items():
            axes.axhline(value, color=COLOURS.data, linewidth=1, linestyle=(0, (4, 3)))
            below = bool(losses) and value < losses[-1][1]  # where the curve does not end
            axes.annotate(name, (steps, value), (-4, -3 if below else 3), ha="right", fontsize=9,
                          va="top" if below else "bottom", textcoords="offset points")
        (self.loss,) = axes.plot([], [], color=COLOURS.output, linewidth=1.2, label="training")
        (self.validation,) = axes.plot([], [], "o", color=COLOURS.other, markersize=5,
                                       markeredgecolor="white", label="validation")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)

    def draw(self, losses, validations):
        """Two lists of (step, value)."""
        for line, points in ((self.loss, losses), (self.validation, validations)):
            line.set_data([step for step, _ in points], [value for _, value in points])


def curve_figure(record, yardsticks, *, limits, unit="nats per example"):
    """The curve of a recorded run (`data.record(name)`): training loss, and validation.

    Args:
        record: with "curve", "validation" and "settings".
        yardsticks: from a name to a value, drawn as horizontal lines.
        limits: lowest and highest value of the axis.
        unit: its name.
    """
    losses = [(point["step"], point["nats"]) for point in record["curve"]]
    curve = Curve(record["settings"]["steps"], limits, yardsticks, unit, losses)
    curve.draw(losses, [(point["step"], point["validation"]) for point in record["validation"]])
    return curve.figure
