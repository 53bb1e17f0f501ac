"""Training: scales and settings, the loop, checkpoints, records of runs.

`train(settings_for("mnist", "laptop"), "runs/mnist", say=print)` trains, `load("runs/mnist")` is
the trained BFN, `shipped("mnist")` one that is trained already, and `published("mnist")` the
paper's. One's own examples, network and loss: `train(own_settings(steps=5_000), "runs/mine",
task=x, bfn=bfn)`.

What the notebooks that train use: `train_or_load(settings, run_folder("mnist", scale))` goes on
where it was stopped, and `choose("mnist", "mine", folder)` is that model, or the shipped one.
"""

from bfn_core.training.evaluation import bill, draw, evaluate, sentences
from bfn_core.training.loop import Result, train
from bfn_core.training.pretrained import published
from bfn_core.training.reader import Chosen, choose, run_folder, train_or_load
from bfn_core.training.runs import Run, load, runs_dir, shipped
from bfn_core.training.scales import (
    SCALES,
    Settings,
    current_scale,
    on_text,
    own_settings,
    settings_for,
)
from bfn_core.training.tasks import Task, TrainingError, build, load_task, task_of

__all__ = [
    "SCALES",
    "Chosen",
    "Result",
    "Run",
    "Settings",
    "Task",
    "TrainingError",
    "bill",
    "build",
    "choose",
    "current_scale",
    "draw",
    "evaluate",
    "load",
    "load_task",
    "on_text",
    "own_settings",
    "published",
    "run_folder",
    "runs_dir",
    "sentences",
    "settings_for",
    "shipped",
    "task_of",
    "train",
    "train_or_load",
]
