"""A reader's own run, where it is kept, and which model a notebook shows: theirs or a shipped one.

folder = run_folder("mnist", scale, say=print)
chosen = choose("mnist", "mine", folder)
bfn = chosen.bfn
print(chosen.says)
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from bfn_core import data
from bfn_core.model import BFN
from bfn_core.training.evaluation import bill, sentences
from bfn_core.training.loop import Result, train
from bfn_core.training.runs import DRIVE, Run, load, runs_dir, shipped
from bfn_core.training.scales import Settings
from bfn_core.training.tasks import TrainingError, load_task

# Where a run is kept -----------------------------------------------------------------------------


def run_folder(name: str, scale: str, *, say: Callable[[str], None] | None = None) -> Path:
    """The folder of a reader's run of "mnist", "cifar10" or "text8" at a scale.

    It is a folder of `runs_dir`, and lasts. At smoke, where a run is a toy of seconds, it is a
    temporary one, the same for as long as this process lives, and removed at its end.

    Args:
        say: told what to do where the folder will not last.
    """
    if scale == "smoke":
        return Path(_temporary(name).name) / "run"
    folder = runs_dir() / f"{name}_{scale}"
    if say and "google.colab" in sys.modules and DRIVE not in folder.parents:
        say(
            f"Your run is kept in {folder}, which Colab forgets when it disconnects. To keep it on "
            'your Drive: from google.colab import drive; drive.mount("/content/drive"), and run '
            "this cell again."
        )
    return folder


@cache
def _temporary(name: str) -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix=f"bfn_core_{name}_", ignore_cleanup_errors=True)


def train_or_load(settings: Settings, folder: str | Path, **watching: Any) -> Result:
    """Begin a run, go on with it, or, where it is complete, say so and load it.

    Args:
        settings, folder: as `train` takes them.
        watching: `watch`, `say`, `stop` and `progress`, likewise.

    Raises:
        ValueError: and whatever else `train` raises, also where the folder's run was begun with
            other settings.
    """
    run = Run(folder)
    if run.weights.exists() and run.evaluation.exists():
        begun = run.read_settings()
        if begun["settings"] == settings:
            say = watching.get("say") or (lambda sentence: None)
            say(f"The run in {run.folder} is complete, {settings.steps:,} steps on "
                f"{begun['data']}: it is loaded.")
            return Result(load(folder), settings.steps, True, run.read_json(run.evaluation))
    return train(settings, folder, resume=True, **watching)


# Which model a notebook shows --------------------------------------------------------------------


@dataclass(frozen=True)
class Chosen:
    """The model that a notebook shows, and what it must say about it."""

    bfn: BFN
    name: str  # within a sentence: "the shipped model" or "your model"
    says: str  # sentences: which model it is, its parameters, its steps, its figure
    settings: Settings
    evaluation: dict[str, Any] | None  # what `evaluate` found; None of a run that was stopped
    bill: Callable[[], dict[str, Any]]  # gives what `evaluation.bill` found, or finds it now
    sure: bool  # whether it is the one that the notebook was written about

    def claim(self, holds: Any, sentence: str) -> str:
        """A sentence about the model, if it `holds`; otherwise that it does not.

        Raises:
            AssertionError: it does not hold of the model that the notebook was written about:
                of another one, which may have been trained for seconds, all may be otherwise.
        """
        if holds:
            return sentence
        assert not self.sure, f"not so: {sentence}"
        return f"Not so with {self.name}, as it is now: {sentence}"


def choose(name: str, which: str = "shipped", folder: str | Path | None = None) -> Chosen:
    """The model that a notebook shows.

    Args:
        name: of the data: "mnist", "cifar10" or "text8".
        which: "shipped"; "published", the paper's own weights, fetched the first time; or "mine":
            the run in `folder`. As long as there is none, the shipped one stands in, and `says`
            says so.
        folder: of the reader's run, from `run_folder`.

    Raises:
        ValueError: there is no such model.
        TrainingError, DataError: it is there and cannot be read, or cannot be fetched.
    """
    if which not in MODELS:
        raise ValueError(f"which must be one of {', '.join(MODELS)}, got {which!r}")
    return MODELS[which](name, folder)


def _shipped(name: str, folder: str | Path | None) -> Chosen:
    record = data.record(name)
    settings = Settings.from_dict(record["settings"])
    bfn, figures = shipped(name), record["evaluation"]
    says = _told("The shipped model", bfn, settings, settings.steps, sentences(figures)[-1])
    return Chosen(bfn, "the shipped model", says, settings, figures, lambda: record["bill"], True)


def _mine(name: str, folder: str | Path | None) -> Chosen:
    if folder is None:
        raise ValueError("folder must be that of your run where which is 'mine', got None")
    run = Run(folder)
    if not (run.weights.exists() or run.checkpoint.exists()):
        stand_in = _shipped(name, None)
        says = f"There is no run of yours in {run.folder} yet, so the shipped model stands in.\n"
        return replace(stand_in, says=says + stand_in.says)
    settings, bfn = run.read_settings()["settings"], load(folder)
    if settings.data != name:
        raise TrainingError(f"{run.folder} holds a run on {settings.data}, not on {name}")
    figures, step = None, run.last_step()
    if run.evaluation.exists():
        found = run.read_json(run.evaluation)  # of weights that may have been trained on since
        figures = found if found.get("step", settings.steps) == step else None
    figure = sentences(figures)[-1] if figures else _held_out(run)
    says = _told(f"Your model, from {run.folder}", bfn, settings, step, figure)

    def bill_now() -> dict[str, Any]:
        return bill(bfn, load_task(settings, flow=bfn.flow), settings)

    return Chosen(bfn, "your model", says, settings, figures, bill_now, False)


def _published(name: str, folder: str | Path | None) -> Chosen:
    from bfn_core.training import pretrained

    model, bfn = pretrained.model(name), pretrained.published(name)
    parameters = sum(p.numel() for p in bfn.parameters())
    says = (f"The paper's own model, with the weights that its authors published: {parameters:,} "
            f"parameters, {parameters * 4 / 1e9:.1f} GB in float32.\n"
            f"Its figure in the paper: {model.figure}.")

    def bill_now() -> dict[str, Any]:
        return bill(bfn, load_task(model.settings, flow=bfn.flow), model.settings)

    return Chosen(bfn, "the paper's model", says, model.settings, None, bill_now, False)


# A further model is a further line.
MODELS: dict[str, Callable[[str, str | Path | None], Chosen]] = {
    "shipped": _shipped,
    "mine": _mine,
    "published": _published,
}


def _told(who: str, bfn: BFN, settings: Settings, step: int, figure: str) -> str:
    parameters = sum(p.numel() for p in bfn.parameters())
    steps = f"{step:,}" if step == settings.steps else f"{step:,} of {settings.steps:,}"
    return (f"{who}: {parameters:,} parameters, {steps} steps of {settings.batch:,} examples.\n"
            f"{figure[0].upper()}{figure[1:]}.")


def _held_out(run: Run) -> str:
    """The last figure of a run that has not ended."""
    found = [row for row in run.read_metrics() if "validation" in row]
    if not found:
        return "it has not been judged yet"
    row = found[-1]
    return (f"at step {row['step']:,}: {row['validation']:.2f} ± {row['validation_error']:.2f} "
            "nats per held-out example")
