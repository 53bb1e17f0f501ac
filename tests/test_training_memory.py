"""That training does not pay for the same memory again and again."""

import subprocess
import sys

import pytest

from bfn_core.training import loop, settings_for
from bfn_core.training.runs import Run

FAULTS = """
import resource, sys
import torch
from bfn_core.training.memory import keep_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(40_000_000)  # 160 MB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if not keep_memory():
    sys.exit(77)
print(*[faults() for _ in range(5)])
"""


def test_a_tensor_takes_the_pages_of_those_before():
    command = [sys.executable, "-c", FAULTS]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    if done.returncode == 77:
        pytest.skip("this C library cannot be asked")
    first, *_, last = map(int, done.stdout.split())
    assert first > 50 and last < first / 10  # pages may be 4 KiB or 2 MiB


def test_training_on_a_cpu_asks_for_it(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(loop, "keep_memory", lambda: asked.append(True))
    trainer = loop.Trainer(settings_for("text8", "smoke"), Run(tmp_path / "run"))
    assert asked == [True] * (trainer.device.type == "cpu")
