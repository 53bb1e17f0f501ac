"""Pictures of beliefs about strings: heat maps of letters, and a panel to watch a training."""

import html
from functools import lru_cache, partial

import IPython.display
import ipywidgets
import torch
from IPython.core.interactiveshell import InteractiveShell

from bfn_core.model import BFN

from .kit import plotly_figure, style
from .kit.explorer import VIEW, _Canvas, choice, explore, slider, view
from .kit.letters import MONOSPACE, LetterMap, entropy, map_trace
from .kit.plotly_figure import PlotlyFigure


def belief_figure(language, beliefs, titles, colours):
    """Heat maps of beliefs, each (L, K), side by side; returns the figure."""
    figure, axes = style.subplots(1, len(beliefs), size=(3.1 * len(beliefs), 4.0), squeeze=False)
    for ax, probs, title, colour in zip(axes[0], beliefs, titles, colours, strict=True):
        LetterMap(ax, language.alphabet, language.length, colour, title).show(probs)
    return figure


def belief_chart(language, beliefs, titles, colours, alt):
    """`belief_figure`, whose cells say probability and bits to the pointer."""
    share, traces, axes = 1 / len(beliefs), [], {}
    for i, (probs, colour) in enumerate(zip(beliefs, colours, strict=True)):
        name = "" if i == 0 else str(i + 1)
        traces.append(map_trace(probs, language.alphabet, colour, xaxis=f"x{name}", yaxis="y"))
        axes[f"xaxis{name}"] = {"domain": [share * i + 0.01, share * (i + 1) - 0.01], "dtick": 1,
                                "title": {"text": "position"}, "showgrid": False,
                                "automargin": True}
    above = [{"text": title, "x": share * (i + 0.5), "xref": "paper", "y": 1.02, "yref": "paper",
              "yanchor": "bottom", "showarrow": False, "font": {"color": colour}}
             for i, (title, colour) in enumerate(zip(titles, colours, strict=True))]
    figure = plotly_figure.new(
        traces, height=400, annotations=above, margin={"l": 10, "r": 10, "t": 30, "b": 10},
        yaxis={"autorange": "reversed", "showgrid": False, "automargin": True}, **axes,
    )
    return PlotlyFigure(figure, belief_figure(language, beliefs, titles, colours), alt)


def _beliefs(axes, models, language, n_steps):
    """The input and the output distribution of one sample on its way."""
    maps = [LetterMap(panel, language.alphabet, language.length, colour, label)
            for panel, colour, label in zip(
                axes, (style.COLOURS.input, style.COLOURS.output),
                (style.LABELS.input, style.LABELS.output), strict=True)]
    axes[1].set_yticklabels([])

    @lru_cache(maxsize=64)
    def steps(name, seed):
        generator = torch.Generator().manual_seed(seed)
        shape = (1, language.length)
        walk = list(models[name].sampling_steps(shape, n_steps, generator=generator))
        final = walk[-1].output.sample(generator=generator)
        return walk, language.decode(final)[0], bool(language.valid(final))

    def show(step, model, seed):
        walk, word, valid = steps(model, seed)
        both = walk[step].theta.probs[0], walk[step].output.probs[0]
        for letter_map, probs in zip(maps, both, strict=True):
            letter_map.show(probs)
        open_input, open_output = (float(entropy(probs).sum()) for probs in both)
        verdict = "a sum that is right" if valid else "not a sum that is right"
        return (
            f"After {step} of {n_steps} messages, t = {walk[step].t:.2f}. Summed over the "
            f"positions, the messages leave <b>{open_input:.2f} nats</b> open, the network "
            f'<b>{open_output:.2f}</b>. At the end it writes <b style="{MONOSPACE}">'
            f"{html.escape(word)}</b>: {verdict}."
        )

    return show


def belief_explorer(models: dict[str, BFN], language, n_steps=40):
    """Drag the step of one sample: what the messages say, and what the network makes of it.

    Left is the input distribution, one position at a time; right is the output distribution, in
    which the network has used the other positions. `models` maps names to BFNs (the first is
    shown first), `language` is a Strings.
    """
    controls = {
        "step": slider("messages received", 0, n_steps, n_steps // 4),
        "model": choice("network", list(models)),
        "seed": slider("which sample", 1, 20, 1, width=150),
    }
    picture = partial(_beliefs, models=models, language=language, n_steps=n_steps)
    return explore(
        picture, controls, size=(8.0, 4.5), grid=(1, 2), play="step",
        description="Two heat maps of letters against positions, the input distribution on the "
        "left and the output distribution on the right: as messages come in, every column "
        "sharpens to one letter, on the right before the left.",
    )


class LivePanel:
    """A picture of the loss and a few samples, renewed while a training runs in the same cell.

    Args:
      steps: how many there will be.
      yardsticks: from a name to a loss in nats, drawn as horizontal lines.
      description: one sentence, the same in every run; it stands for the panel where nothing is
        live.
      every: steps between two redraws.

    The axis of the loss is logarithmic, from under the lowest yardstick to twelve times the
    highest.

    Use: `panel.show()` once, then `panel.update(loss, samples)` in each step, where `samples` is
    a function that returns (text, whether it is valid) pairs and is called at redraws only.
    """

    def __init__(self, steps, yardsticks, description, every=25):
        self.steps, self.every, self.losses = steps, every, []
        self.yardsticks, self.description = dict(yardsticks), description
        self._figure, axes = style.subplots(size=(7.2, 3.0))
        self._lines = _loss_axes(axes, steps, self.yardsticks)
        self._canvas = _Canvas(self._figure)
        self._image = ipywidgets.Image(value=self._canvas.png(), format="png")
        self._image.layout.width = f"{self._canvas.width}px"
        self._image.layout.max_width = "100%"
        self._words = ipywidgets.HTML("samples will appear here")
        self.box = ipywidgets.VBox([self._image, self._words])
        self.box.add_class("bfn-live")

    def show(self):
        """Put the panel under the current cell."""
        if InteractiveShell.initialized():
            data = {VIEW: view(self.box), "text/plain": self.description}
            IPython.display.display(data, raw=True)

    def update(self, loss, samples=None):
        """Note the loss of one step, and redraw if it is time."""
        self.losses.append(loss.item() if isinstance(loss, torch.Tensor) else float(loss))
        done = len(self.losses)
        if done % self.every and done != self.steps:
            return
        _draw_losses(self._lines, self.losses)
        with style.context():
            self._image.value = self._canvas.png()
        words = "" if samples is None else " ".join(_badge(*pair) for pair in samples())
        self._words.value = f"step {done} of {self.steps} {words}"

    def figure(self):
        """The curve as a figure of its own, for `style.show`."""
        figure, axes = style.subplots(size=(7.2, 3.0))
        _draw_losses(_loss_axes(axes, self.steps, self.yardsticks), self.losses)
        return figure


def _loss_axes(axes, steps, yardsticks):
    """Dress the axes; returns the faint line of every loss and the bold one of their mean."""
    low, high = 0.6 * min(yardsticks.values()), 12 * max(yardsticks.values())
    axes.set(xlim=(0, steps), ylim=(low, high), xlabel="training step", ylabel="nats per string")
    axes.set_yscale("log")
    marks = [m * 10**e for e in range(-3, 5) for m in (1, 2, 5) if low <= m * 10**e <= high]
    axes.set_yticks(marks, [f"{mark:g}" for mark in marks])
    axes.minorticks_off()
    for name, value in yardsticks.items():
        axes.axhline(value, color=style.COLOURS.data, linewidth=1, linestyle=(0, (4, 3)))
        under = value == min(yardsticks.values())  # the curve ends on it, or above
        axes.annotate(f"{name} ", (steps, value), (0, -9 if under else 1), fontsize=9, ha="right",
                      va="top" if under else "bottom", textcoords="offset points")
    (faint,) = axes.plot([], [], color=style.COLOURS.output, alpha=0.3, linewidth=0.8)
    (bold,) = axes.plot([], [], color=style.COLOURS.output)
    return [faint, bold]


def _draw_losses(lines, losses, window=25):
    """Every loss, and at each step the mean of the `window` around it; of fewer at the start.

    A mean of the last ones would lie above a curve that falls, as if it came later. So the means
    end half a window before the losses do.
    """
    total = torch.tensor([0.0, *losses], dtype=torch.float64).cumsum(0)
    place = torch.arange(max(len(losses) - window // 2, 0))
    reach = place.clamp(max=window // 2)
    means = (total[place + reach + 1] - total[place - reach]) / (2 * reach + 1)
    lines[0].set_data(range(1, len(losses) + 1), losses)
    lines[1].set_data(range(1, len(means) + 1), means.numpy())


def _badge(text, valid):
    colour = style.COLOURS.output if valid else style.COLOURS.sender
    mark = "✓" if valid else "✗"
    return (
        f'<span style="{MONOSPACE};border:1px solid {colour};border-radius:4px;padding:1px 6px;'
        f'margin:2px;display:inline-block">{html.escape(text)} <span style="color:{colour}">'
        f"{mark}</span></span>"
    )
