"""Training curves: what one is made of, and that of a run that was recorded."""

import time

import IPython.display
import ipywidgets
import traitlets
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.ticker import MaxNLocator

from bfn_core.training.progress import spelled

from . import style
from .explorer import VIEW, _Canvas, view
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
        judged: whether there will be validation, which takes a legend.
    """

    def __init__(self, steps, limits, yardsticks, unit, losses=(), axes=None, judged=True):
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
        if judged:
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
    steps = max(record["settings"]["steps"], losses[-1][0])  # of joined runs: all of them
    curve = Curve(steps, limits, yardsticks, unit, losses)
    curve.draw(losses, [(point["step"], point["validation"]) for point in record["validation"]])
    return curve.figure


class LiveCurve:
    """A curve that grows while a loop of one's own runs in the same cell: `live.LiveRun` without a
    folder, samples and a button.

    Use: `curve.show()`, then `curve({"step": …, "loss": …, "seconds": …})` now and then.

    Args:
        steps: of the run.
        yardsticks: from a name to a value, drawn as horizontal lines.
        limits: lowest and highest value of the axis.
        before: records of a run that is gone on with, as `Run(folder).read_metrics()` gives them.
        unit: of the axis.
        every: seconds between two redraws.
        samples: returns, as HTML, what the model draws so far. How often it is called depends on
            the machine's speed: it needs a generator of its own, or the training is never the same.
    """

    judged = False  # a loop of one's own has no validation
    description = "A live curve: the training loss, step by step, while the run goes on."

    def __init__(self, steps, yardsticks, *, limits, before=(), unit="nats per example",
                 every=0.5, samples=None):
        self.steps, self.every, self.drawn_at = steps, every, 0.0
        self.unit, self.losses, self.validations = unit, [], []
        self._axes, self._draw_samples = (limits, yardsticks, unit), samples
        self._curve = Curve(self.steps, *self._axes, judged=self.judged)
        self._canvas = _Canvas(self._curve.figure)
        self._image = picture("The curve of the training loss against the step.")
        self._image.layout.width = f"{self._canvas.width}px"
        self._words = ipywidgets.HTML("The run begins…")
        self.box = ipywidgets.VBox([self._image, self._words])
        self.box.add_class("bfn-live")
        for record in before:
            self._note(record)
        self._redraw()

    def show(self):
        """Put it under the current cell."""
        if InteractiveShell.initialized():
            data = {VIEW: view(self.box), "text/plain": self.description}
            IPython.display.display(data, raw=True)

    now = ""  # where the run is
    drawn = ""  # what the model drew last

    def __call__(self, record):
        """Note a line of the run's metrics, and redraw if it is time."""
        self._note(record)
        last = record["step"] >= self.steps
        if last or "validation" in record or time.monotonic() > self.drawn_at + self.every:
            self._redraw()

    def _note(self, record):
        if "validation" in record:
            self.validations.append((record["step"], record["validation"]))
            return
        self.losses.append((record["step"], record["loss"]))
        step, past = record["step"], record["seconds"]
        left = past / step * (self.steps - step)
        self.now = (
            f"step {step:,} of {self.steps:,}: <b>{record['loss']:.2f}</b> {self.unit}; "
            f"{duration(past)} so far, about {duration(left)} to go"
        )
        self._tell()

    def _tell(self):
        self._words.value = f"{self.now} {self.drawn}"

    def _redraw(self):
        self._curve.draw(self.losses, self.validations)
        with style.context():
            self._image.value = self._canvas.png()
        if self._draw_samples and self.losses:
            self.drawn = self._draw_samples()
            self._tell()
        self.drawn_at = time.monotonic()

    def figure(self):
        """The curve as a figure of its own, for `style.show`."""
        curve = Curve(self.steps, *self._axes, self.losses, judged=self.judged)
        curve.draw(self.losses, self.validations)
        return curve.figure


def picture(words):
    """An image widget with a name for a screen reader, see explorer.py."""
    image = ipywidgets.Image(format="png")
    image.layout.max_width = "100%"
    image.layout.object_fit = "contain"
    image.add_traits(description=traitlets.Unicode("").tag(sync=True))
    image.tooltip = words
    return image


def duration(seconds):
    """How long, in words; less than a second too."""
    return f"{seconds:.0f} s" if seconds < 1 else spelled(seconds)
