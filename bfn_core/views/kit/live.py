"""A run while it goes on: its curve, what its model draws so far, and a button that stops it."""

import html
import io
import threading
from pathlib import Path

import ipywidgets
from PIL import Image

from bfn_core.training.runs import Run

from . import style
from .curves import Curve, LiveCurve, picture
from .hearing import hear
from .letters import MONOSPACE

LINES = 5  # sentences of the run that are shown, the last ones
WIDE, ROWS = 32, 11  # of the text that is shown of what was drawn
SCALED = ("loss", "validation", "validation_error")  # of a record, in nats per example


class LiveRun(LiveCurve):
    """What is seen of a run, and its stop button: for `train(settings, folder, **live.watching)`.

    Use: `live.show()`, then train in the same cell, with `train` or `train_or_load`.

    Args:
        settings, folder: of the run; if it has begun already, its curve is there at once.
        yardsticks: from a name to a value, drawn as horizontal lines.
        limits: lowest and highest value of the axis.
        unit: of the axis.
        per: nats per example that are one such unit.
        every: seconds between two redraws.
    """

    description = (
        "A live run: its training loss, step by step, what its model draws beside that, and a "
        "button that stops it."
    )

    def __init__(self, settings, folder, yardsticks, *, limits, unit="nats per example", per=1.0,
                 every=0.5):
        self.folder, self.per, self.said = Path(folder), per, []
        self.asked = threading.Event()
        super().__init__(settings.steps, yardsticks, limits=limits, unit=unit, every=every,
                         before=Run(folder).read_metrics())
        self._samples = ipywidgets.Box()
        self._button = ipywidgets.Button(description="Stop, and keep it", icon="stop")
        self._button.on_click(lambda _: self.ask())
        beside = ipywidgets.Box([self._image, self._samples])
        beside.layout.flex_flow = "row wrap"
        self.box.children = [beside, self._words, self._button]
        self._show_samples()

    @property
    def watching(self):
        """What `train` is to call, as its keyword arguments."""
        return {"watch": self, "say": self.say, "stop": self.stop}

    # What the run calls ------------------------------------------------------------------------

    def __call__(self, record):
        """Note a line of the run's metrics, and redraw if it is time."""
        self.begun = True
        super().__call__(record)
        if "validation" in record:
            self._show_samples()

    def say(self, sentence):
        """Show a sentence of the run; the last few stay."""
        self.said.append(sentence)
        self._tell()

    def stop(self):
        """Whether the button was pressed."""
        hear(self._button)
        return self.asked.is_set()

    def ask(self):
        """What the button does: the step is finished, and a checkpoint written."""
        self.asked.set()
        self._button.disabled = True
        self._button.description = "Stopping after this step…"

    def end(self, result):
        """To be called with what `train` returned: draw all once more, and put the button away."""
        self._button.layout.display = "none"
        self.now = ""
        if not result.finished:  # in the place of what is to be done in a shell
            self.said[-1:] = [f"Stopped after step {result.step:,} of {self.steps:,}, and kept in "
                              f"{self.folder}: run the cell again to go on."]
        elif self.begun:
            self.said.append(f"All {self.steps:,} steps are made. They are kept in {self.folder}.")
        self._tell()
        self._redraw()
        self._show_samples()
        return result

    # The picture -------------------------------------------------------------------------------

    judged = True
    begun = False  # whether a step was made before one's eyes

    def _note(self, record):
        record = {k: v / self.per if k in SCALED else v for k, v in record.items()}
        super()._note(record)

    def _tell(self):
        lines = [html.escape(sentence) for sentence in self.said[-LINES:]] + [self.now]
        self._words.value = "<br>".join(line for line in lines if line)

    def _show_samples(self):
        """Show what was drawn last, in one widget: each new one stays with the page."""
        if (drawn := samples(self.folder)) is None:
            return
        new = _shown(drawn)
        if self._samples.children:
            self._samples.children[0].value = new.value
            new.close()
        else:
            self._samples.children = [new]

    def figure(self):
        """Curve and samples as a figure of its own, for `style.show`."""
        drawn = samples(self.folder)
        count = 1 if drawn is None else 2
        width = 2.6 if isinstance(drawn, Image.Image) else 3.2
        figure, axes = style.subplots(1, count, size=(6.2 + width * (count - 1), 3.2),
                                      width_ratios=(6.2, width)[:count], squeeze=False)
        curve = Curve(self.steps, *self._axes, self.losses, axes[0, 0])
        curve.draw(self.losses, self.validations)
        if drawn is None:
            return figure
        right = axes[0, 1]
        right.set_axis_off()
        right.set_title("what it draws by then", fontsize=10)
        if isinstance(drawn, Image.Image):
            right.imshow(drawn, cmap="gray", interpolation="nearest")
        else:
            right.text(0, 0.98, _wrapped(drawn), va="top", fontsize=7.5, linespacing=1.7,
                       family="DejaVu Sans Mono", parse_math=False)
        return figure


def samples(folder):
    """What a run drew last: an image, or lines of text; None before it has drawn."""
    folder = Path(folder)
    if (path := folder / "samples.png").exists():
        return Image.open(io.BytesIO(path.read_bytes()))
    if (path := folder / "samples.txt").exists():
        return path.read_text("utf-8").splitlines()
    return None


def _shown(drawn):
    """Samples as a widget."""
    if isinstance(drawn, Image.Image):
        times = max(1, 250 // drawn.width)
        buffer = io.BytesIO()
        size = (times * drawn.width, times * drawn.height)
        drawn.resize(size, Image.Resampling.NEAREST).save(buffer, "png")
        image = picture("What the model draws so far.")
        image.value = buffer.getvalue()
        image.layout.width = f"{min(size[0], 300)}px"
        return image
    return ipywidgets.HTML(
        f'<pre style="{MONOSPACE};line-height:1.5">{html.escape(_wrapped(drawn))}</pre>'
    )


def _wrapped(lines):
    """The first texts, each in lines of `WIDE` characters with an empty line behind it."""
    rows = []
    for line in lines:
        rows += [line[i : i + WIDE] for i in range(0, len(line), WIDE)] + [""]
    return "\n".join(rows[:ROWS])
