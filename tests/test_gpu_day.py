"""The half hour with a GPU, tried on the CPU."""

import json
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from bfn_core.training import TrainingError, load
from bfn_core.training.runs import Run
from bfn_core.training.scales import settings_for
from bfn_core.training.tasks import build
from tools import gpu_day

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", gpu_day.DAY)
def test_the_weights_of_the_day_can_be_shipped(name):
    settings = gpu_day.settings_of(name, "gpu")
    with torch.device("meta"):
        parameters = sum(p.numel() for p in build(settings).parameters())
    assert 5_000_000 < parameters <= 10_000_000  # half of 20 MB at two bytes each
    assert settings.batch % settings.accumulation == 0 and settings.precision == "bf16"


def options(folder, minutes=5.0, scale="smoke"):
    (folder / "out").mkdir(exist_ok=True)
    return SimpleNamespace(
        ends=time.monotonic() + 60 * minutes, runs=folder / "runs", out=folder / "out",
        scale=scale, in_all=None,
    )


def test_a_run_goes_there_and_back(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(gpu_day, "PART", 20_000)
    gpu_day.piece_of("text8", options(tmp_path))
    parts = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert len(parts) > 1 and all(name.startswith("text8.tar.") for name in parts)
    assert all(path.stat().st_size <= 20_000 for path in (tmp_path / "out").iterdir())
    gpu_day.join(tmp_path / "out", tmp_path / "home")
    home = Run(tmp_path / "home" / "text8")
    figures = home.read_json(home.evaluation)
    assert set(figures["elbo"]) == {"infinity", "10", "25", "50", "100"}
    assert figures["half precision"] and figures["bill"]
    # The figures are those of the weights that are shipped, which are in half precision.
    one, other = load(home.folder), load(tmp_path / "runs" / "text8")
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b.half().float())
    assert "test ELBO, n = 100" in capsys.readouterr().out


def test_a_piece_that_runs_out_of_time_is_gone_on_with(monkeypatch, tmp_path, capsys):
    long = replace(settings_for("text8", "smoke"), steps=100_000)
    monkeypatch.setattr(gpu_day, "settings_of", lambda name, scale: long)
    steps = []
    for _ in range(2):
        gpu_day.piece_of("text8", options(tmp_path, minutes=0.0))
        assert "the same line again" in capsys.readouterr().out
        steps.append(Run(tmp_path / "runs" / "text8").read_checkpoint()["step"])
        assert (tmp_path / "out" / "text8.tar.0").exists()  # the averaged weights so far
    assert 0 < steps[0] < steps[1] < 100_000


def test_the_steps_are_as_many_as_the_time_allows(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(gpu_day, "settings_of", lambda name, scale: settings_for(name, "smoke"))
    monkeypatch.setattr(gpu_day, "pace_of", lambda settings: {"seconds a step": 0.5})

    def train(settings, folder, **_):
        seen.append(settings.steps)
        raise KeyboardInterrupt

    monkeypatch.setattr(gpu_day, "train", train)
    asked = options(tmp_path, scale="gpu")
    asked.in_all = 4
    with pytest.raises(TrainingError, match="does not exist"):  # nothing was trained
        gpu_day.piece_of("mnist", asked)
    assert seen == [480]


def test_the_check_measures_all_three_tasks(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(gpu_day, "tests", lambda *_: "8 passed")  # they are run by themselves
    words = ["check", "--scale", "smoke", "--out", str(tmp_path), "--minutes", "2"]
    assert gpu_day.main(words) == 0
    found = json.loads((tmp_path / "check.json").read_text(encoding="utf-8"))
    assert {row["task"] for row in found["steps"]} == set(gpu_day.DAY)
    assert all(row["seconds a step"] > 0 for row in found["steps"])
    assert "TFLOP/s" in next(iter(found["products"].values()))


def test_the_checks_tests_are_there():
    ends = time.monotonic() + 300
    assert "passed" in gpu_day.tests(torch.device("cpu"), SimpleNamespace(ends=ends))
