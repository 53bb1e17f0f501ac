"""A canvas on which the reader draws in the browser, and the kernel completes what was drawn."""

from collections.abc import Callable
from dataclasses import dataclass

import anywidget
import torch
import traitlets
from torch import Tensor

from . import style
from .browser import Live, script

MARKS = "01."  # paper, ink, open


@dataclass(frozen=True)
class Completed:
    """Pictures that complete a canvas.

    Attributes:
        shades: (N, H, W), from 0, paper, to 1, ink; the likeliest first.
        weights: (N,), how likely each is.
        words: a sentence about them, without mark-up.
        titles: what stands below each; by default its weight.
    """

    shades: Tensor
    weights: Tensor
    words: str
    titles: tuple[str, ...] = ()

    @property
    def captions(self) -> list[str]:
        """What stands below each picture."""
        return list(self.titles) or [f"weight {w:.2f}" for w in self.weights.tolist()]


def marks_of(x: Tensor, known: Tensor) -> str:
    """0 and 1 where known, (H, W), as the browser has it: a character a pixel, row after row."""
    return "".join(MARKS[k] for k in torch.where(known, x.long(), 2).flatten().tolist())


def read(marks: str, edge: int) -> tuple[Tensor, Tensor]:
    """x, int64, and what is known of it, bool, both (edge, edge).

    Raises:
        ValueError: it is no canvas of that size.
    """
    if len(marks) != edge**2 or set(marks) - set(MARKS):
        raise ValueError(f"marks must be {edge**2} characters of {MARKS!r}, got {marks[:40]!r}")
    values = torch.tensor([MARKS.index(mark) for mark in marks]).view(edge, edge)
    return torch.where(values == 2, 0, values), values != 2


class Canvas(Live):
    """Pixels that the reader inks, whitens or leaves open; the kernel completes them.

    Args:
        complete: from x, int64, and known, bool, (H, W) both, a choice and a seed to `Completed`.
        digits: (N, H, W), 0 and 1, that can be put on it, their upper halves first.
        choices: of what the picture is told to be, (words, number); the first holds at first.
        description: one sentence on what there is to see, the same in every run.
        whole: nothing is left open, and the kernel's pictures are shown as they are.
        asks, do: what the choice is about, and what the button does that takes another seed.
    """

    def __init__(
        self, complete: Callable[[Tensor, Tensor, int, int], Completed], digits: Tensor,
        choices: list[tuple[str, int]], *, description: str, whole: bool = False,
        asks: str = "what it is told to be", do: str = "complete",
    ) -> None:
        self._complete, self.description = complete, description
        self.edge = digits.shape[-1]
        self.error: Exception | None = None
        every = torch.ones(self.edge, self.edge, dtype=torch.bool)
        marks = [marks_of(digit, every) for digit in digits]
        given = self.edge**2 if whole else self.edge * (self.edge // 2)
        state = {"marks": marks[0][:given] + "." * (self.edge**2 - given), "label": choices[0][1],
                 "seed": 0, "digit": 0, "asked": 0}
        settings = {"edge": self.edge, "digits": marks, "choices": [list(c) for c in choices],
                    "accent": style.COLOURS.input, "whole": whole, "asks": asks, "do": do}
        traits = {
            "_esm": script("canvas"), "settings": traitlets.Dict().tag(sync=True),
            "state": traitlets.Dict().tag(sync=True), "answer": traitlets.Dict().tag(sync=True),
        }
        kind = type("Drawn", (anywidget.AnyWidget,), traits)
        self.drawing = kind(settings=settings, state=state, answer=self._answer(state))
        self._png = self._still(state)
        self.drawing.observe(self._asked, "state")
        super().__init__((self.drawing,))
        self.add_class("bfn-explorer")

    @property
    def state(self) -> dict:
        """What stands on the canvas, "marks", and what else the completion depends on."""
        return self.drawing.state

    @property
    def answer(self) -> dict:
        """The kernel's: "shades" in hexadecimal, "weights", "words" and what it answers, "to"."""
        return self.drawing.answer

    def draw(self, **changes) -> None:
        """Change the state as the reader might: marks, label, seed or digit."""
        if unknown := set(changes) - set(self.state):
            raise ValueError(f"state has {sorted(self.state)}, but no {sorted(unknown)}")
        asked = self.state["asked"] + 1
        self.drawing.state = {**self.state, **changes, "asked": asked}

    def _asked(self, change) -> None:
        self.drawing.answer = self._answer(change["new"])

    def _answer(self, state: dict) -> dict:
        """An error is told in words, so that the canvas goes on working."""
        try:
            x, known = read(state["marks"], self.edge)
            found = self._complete(x, known, int(state["label"]), int(state["seed"]))
            pixels = (found.shades.clamp(0, 1) * 255).round().to(torch.uint8)
            shown = [bytes(one.flatten().tolist()).hex() for one in pixels]
            self.error = None
            return {"shades": shown, "weights": [round(w, 4) for w in found.weights.tolist()],
                    "titles": found.captions, "words": found.words, "to": state["asked"]}
        except Exception as error:  # noqa: BLE001 - whatever it is, the reader shall see it
            self.error = error
            words = f"This cannot be completed. {type(error).__name__}: {error}"
            return {"shades": [], "weights": [], "titles": [], "words": words,
                    "to": state["asked"]}

    def _still(self, state: dict) -> bytes:
        """The first state as a picture, for where nothing runs."""
        if self.error:
            raise self.error
        x, known = read(state["marks"], self.edge)
        found = [torch.tensor(list(bytes.fromhex(h))).view(x.shape) / 255
                 for h in self.drawing.answer["shades"]]
        figure, axes = style.subplots(1, 1 + len(found), size=(1.5 * (1 + len(found)), 1.8))
        titles = ["given", *self.drawing.answer["titles"]]
        for axis, title, image in zip(
            axes, titles, [torch.where(known, x.float(), 0.4), *found], strict=True
        ):
            axis.imshow(image.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axis.set_title(title, fontsize=8 if len(title) > 14 else None)
            axis.set_axis_off()
        self._width = figure.get_figwidth() * style.CSS_DPI
        png = style.to_png(figure)
        style.release(figure)
        return png
