"""What a person at a terminal sees of a run, and how they stop it."""

from __future__ import annotations

import codecs
import math
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import torch

from bfn_core.training.devices import synchronise
from bfn_core.training.tasks import Task

_PLAIN = {"∞": "infinity", "±": "+-", "×": "x", "…": "..."}


def speak_plainly() -> None:
    """Let what is printed never fail on a character that the output's encoding lacks.

    On Windows a pipe or a file is written in the language's old code page, most of which have no ∞.
    What reads it expects that page, so it is kept; the character is written out instead.
    """
    codecs.register_error("bfn_core.plain", _plainly)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:  # a notebook's streams have no encoding to mind
            reconfigure(errors="bfn_core.plain")


def _plainly(error: Any) -> tuple[str | bytes, int]:
    character = error.object[error.start]
    if character in _PLAIN:
        return _PLAIN[character], error.start + 1
    return codecs.backslashreplace_errors(error)


class Interruption:
    """Inside this context Ctrl-C and SIGTERM only set `asked`; a second one acts as usual."""

    def __init__(self) -> None:
        self.asked = False
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.before[number] = signal.signal(number, self.ask)
        return self

    def ask(self, number: int, frame: Any) -> None:
        self.asked = True
        self.restore()

    def restore(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before.clear()

    def __exit__(self, *error: Any) -> None:
        self.restore()


class Pace:
    """Says once, from a timed handful of steps, how long the rest will take.

    Args:
        device: that makes the steps.
        step: steps made before.
        steps: steps in all.
        say: told the sentence.
    """

    FIRST, LAST = 1, 5  # the first step is slower: kernels are chosen, memory is found

    def __init__(
        self, device: torch.device, step: int, steps: int, say: Callable[[str], None]
    ) -> None:
        self.device, self.rest, self.say, self.made, self.began = device, steps - step, say, 0, 0.0

    def advance(self) -> None:
        """To be called after each step. Waits for the device twice in a run."""
        self.made += 1
        if self.made == self.FIRST:
            synchronise(self.device)
            self.began = time.perf_counter()
        elif self.made == self.LAST:
            synchronise(self.device)
            each = (time.perf_counter() - self.began) / (self.LAST - self.FIRST)
            to_go = spelled(each * (self.rest - self.made))
            self.say(f"{each:.3g} s a step: about {to_go} to go, validation not counted.")


def spelled(seconds: float) -> str:
    """A time as a reader would say it."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    minutes = seconds / 60
    return f"{minutes:.0f} minutes" if minutes < 100 else f"{minutes / 60:.1f} hours"


class Progress:
    """A bar on stderr with the current loss and the time left, where stderr is a terminal.

    Args:
        task: whose bits the losses are; None: of another kind, and shown as they are.
    """

    def __init__(self, step: int, steps: int, *, shown: bool, task: Task | None) -> None:
        from tqdm import tqdm

        self.task = task
        self.bar = tqdm(
            initial=step, total=steps, disable=not (shown and sys.stderr.isatty()), unit="step",
            dynamic_ncols=True,
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: Any) -> None:
        self.bar.close()

    def advance(self) -> None:
        self.bar.update()

    def show(self, record: dict[str, Any]) -> None:
        if self.task is None:
            self.bar.set_postfix_str(f"loss {record['loss']:.4g}", refresh=False)
            return
        bits = record["loss"] / self.task.variables / math.log(2)
        short = "bits/char" if "character" in self.task.unit else "bits/dim"
        self.bar.set_postfix_str(f"{record['loss']:.2f} nats, {bits:.4f} {short}", refresh=False)


def tensorboard(folder, step: int):
    """A writer of TensorBoard's records into `folder`, or None where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)
