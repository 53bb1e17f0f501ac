"""Training: scales and settings, the loop, checkpoints, records of runs.

    from bfn_core.training import load, settings_for, train

    result = train(settings_for("mnist", "laptop"), "runs/mnist", say=print)
    bfn = load("runs/mnist")
"""

from bfn_core.training.evaluation import draw, evaluate, sentences
from bfn_core.training.loop import Result, train
from bfn_core.training.runs import Run, load
from bfn_core.training.scales import SCALES, Settings, current_scale, settings_for
from bfn_core.training.tasks import Task, TrainingError, build, load_task

__all__ = [
    "SCALES",
    "Result",
    "Run",
    "Settings",
    "Task",
    "TrainingError",
    "build",
    "current_scale",
    "draw",
    "evaluate",
    "load",
    "load_task",
    "sentences",
    "settings_for",
    "train",
]
