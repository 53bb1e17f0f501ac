"""Settings that make no sense are refused by name, before a run writes or computes anything."""

import json
import math
import re
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from bfn_core import training
from bfn_core.training import TrainingError, runs, settings_for
from bfn_core.training.ranges import RULES, check, check_one
from bfn_core.training.runs import Run
from bfn_core.training.scales import DATA_SETS, SCALES, Settings, changed

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = settings_for("mnist", "smoke", steps=2, batch=4, held_out=4, test_examples=4,
                    sample_count=4, sample_steps=2)
NAN, INF = math.nan, math.inf
OUTSIDE = {
    "data": ["digits"], "scale": ["tiny", None], "flow": ["foo"], "network": ["foo"],
    "network_arguments": [[], {1: 2}],
    "levels": [1, 2.0, 257], "beta_1": [0.0, -1.0, NAN, INF, "9"], "sigma_1": [0.0, 1.0, NAN],
    "length": [0, -3], "text": ["", 5], "alphabet": ["a", "aa", ["a", "b"]],
    "initial": ["", 5],
    "flips": [1, "yes"], "labels": [1, "yes"], "coarse": [0, 2.0],
    "condition_dropout": [1.0, -0.1, NAN],
    "steps": [0, -1, 1.5, True], "batch": [0, -32, 8.0], "accumulation": [0, -1],
    "learning_rate": [0.0, -1e-3, NAN, INF, True], "warmup": [-1, 0.5], "decay": [0, None],
    "cooldown": [-0.1, 1.1, NAN], "cross_entropy": [-0.1, 1.5, True],
    "width_weight": [-0.1, NAN, INF, True],
    "betas": [(0.9,), (0.9, 1.0), (-0.1, 0.9), (NAN, 0.9), 0.9], "weight_decay": [-0.1, NAN, INF],
    "muon": [0.0, -0.02, INF],
    "time_power": [0.0, -1.0, NAN, INF], "clip": [0.0, -5.0, NAN, INF],
    "ema": [1.0, 1.5, -0.1, NAN], "seed": [-1, 2**63, 0.5],
    "precision": ["foo", "fp8", None], "channels_last": [1], "compile": ["no"],
    "deterministic": [None],
    "log_every": [0, -1], "checkpoint_every": [0, 2.5], "validate_every": [0],
    "held_out": [0, -5], "test_examples": [0, -1], "step_examples": [0],
    "test_draws": [0, -4, None], "sample_count": [0, -1], "sample_steps": [0, 1.0],
}


def test_every_setting_has_a_range():
    assert set(RULES) == {f.name for f in fields(Settings)} == set(OUTSIDE)
    for data in DATA_SETS:
        for scale in SCALES:
            check(settings_for(data, scale))


@pytest.mark.parametrize(("name", "value"), [(n, v) for n in OUTSIDE for v in OUTSIDE[n]])
def test_a_value_out_of_range_is_named_and_nothing_is_written(name, value, tmp_path):
    settings = replace(TINY, **{name: value})
    with pytest.raises(ValueError, match=f"the setting {name} must be .*, got ") as caught:
        training.train(settings, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match=name):
        changed(settings_for("mnist", "smoke"), name, value)
    if name not in ("data", "scale"):
        with pytest.raises(ValueError, match=name):
            settings_for("mnist", "smoke", **{name: value})


@pytest.mark.parametrize(
    ("data", "changes", "complaint"),
    [
        ("mnist", {"flow": "discretised"}, "discretised needs the setting sigma_1"),
        ("cifar10", {"flow": "discrete"}, "discrete needs the setting beta_1"),
        ("text8", {"flow": "continuous", "sigma_1": 0.1}, "text needs the flow discrete"),
        ("text8", {"length": None}, "text needs the setting length"),
        ("text8", {"levels": 26}, "levels must be 27"),
        ("text8", {"alphabet": "abc"}, "levels must be 3, as many as symbols, got 27"),
        ("text8", {"flips": True}, "flips is for images"),
        ("text8", {"labels": True}, "labels is for images"),
        ("mnist", {"sigma_1": 0.1}, "sigma_1 is not for the flow discrete"),
        ("cifar10", {"beta_1": 3.0}, "beta_1 is not for the flow discretised"),
        ("mnist", {"levels": 16}, "levels must be 2 for images with the flow discrete.*got 16"),
        ("mnist", {"condition_dropout": 0.5}, "condition_dropout is for a network that is told"),
        ("mnist", {"length": 5}, "length is for text, so not for mnist"),
        ("mnist", {"network": "transformer"}, "transformer does not read images"),
        ("text8", {"network": "unet"}, "unet does not read text"),
        ("mnist", {"network_arguments": {"channel": 8}},
         "network_arguments.channel: .*unet has no such argument, but .*channels.*multipliers"),
        ("text8", {"network_arguments": {"classes": 9}}, "network_arguments.classes: .*layers"),
    ],
)
def test_settings_that_do_not_go_together_are_named(data, changes, complaint, tmp_path):
    settings = replace(settings_for(data, "smoke"), **changes)
    with pytest.raises(ValueError, match=complaint):
        training.train(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_setting_nobody_knows_is_named():
    with pytest.raises(ValueError, match="there is no setting 'stepz'"):
        settings_for("mnist", "smoke", stepz=3)


@pytest.mark.parametrize(
    ("data", "arguments", "complaint"),
    [
        ("mnist", {"channels": -8}, "negative dimension"),
        ("mnist", {"channels": "many"}, "channels': 'many'"),
        ("mnist", {"patch": 3}, "28 × 28 pixels, but height and width must be multiples of 6"),
        ("mnist", {"image_channels": 3}, "is expected"),
        ("text8", {"heads": 3}, "heads must divide width"),
        ("text8", {"heads": 0}, "zero"),
    ],
)
def test_a_network_that_cannot_be_made_leaves_no_run(data, arguments, complaint, tmp_path):
    settings = settings_for(data, "smoke")
    arguments = {**settings.network_arguments, **arguments}
    with pytest.raises(TrainingError, match=f"cannot be made with.*{complaint}"):
        training.train(replace(settings, network_arguments=arguments), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    training.train(TINY, tmp_path / "run")  # the value put right, it begins


def test_a_folder_that_was_there_stays_when_a_run_is_refused(tmp_path):
    arguments = {**TINY.network_arguments, "patch": 3}
    with pytest.raises(TrainingError, match="cannot be made"):
        training.train(replace(TINY, network_arguments=arguments), tmp_path)
    assert tmp_path.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "clip=0"], "the setting clip must be a number above 0, got 0.0"),
        (["--set", "held_out=-5"], "held_out must be a whole number of at least 1, got -5"),
        (["--set", "flow=foo"], "flow must be one of continuous, discretised, discrete, got 'foo'"),
        (["--set", "ema=NaN"], "ema must be a number from 0 on and below 1, got nan"),
        (["--set", "network_arguments.channel=8"], "has no such argument, but .*channels"),
        (["--set", "network_arguments.patch=3"], "cannot be made with network_arguments"),
    ],
)
def test_the_command_line_refuses_it_in_a_sentence(words, said, tmp_path, capsys):
    from bfn_core.training.__main__ import main

    assert main(["mnist", "--scale", "smoke", "--run", str(tmp_path / "run"), *words]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error: ") and len(shown.splitlines()) == 1
    assert re.search(said, shown), shown
    assert not (tmp_path / "run").exists()


def test_an_order_of_changes_that_passes_through_nonsense_is_fine():
    """What goes together is looked at when all of it is there."""
    settings = changed(settings_for("cifar10", "smoke"), "flow", "discrete")
    settings = changed(changed(settings, "beta_1", 3.0), "levels", 2)
    check(settings)


def test_an_old_run_with_nonsense_stays_readable_and_is_put_right(tmp_path):
    """What only the end of a run needs could once be wrong until then."""
    training.train(TINY, tmp_path / "run")
    run = Run(tmp_path / "run")
    wrong = replace(TINY, sample_count=0, test_draws=0)
    run.write_json(run.settings, {**json.loads(run.settings.read_text("utf-8")),
                                  "settings": wrong.to_dict()})
    state = run.read_checkpoint()
    run.write_checkpoint({**state, "settings": json.dumps(wrong.to_dict())})
    runs.save_weights(run.weights, training.load(run.folder).network.state_dict(), wrong)
    assert run.read_settings()["settings"] == wrong
    training.load(run.folder)
    with pytest.raises(ValueError, match="sample_count|test_draws"):
        training.train(wrong, run.folder, resume=True)
    result = training.train(replace(TINY, steps=3), run.folder, resume=True)
    assert result.step == 3 and result.evaluation["draws per example"] == TINY.test_draws


def test_numbers_of_numpy_and_torch_are_numbers(tmp_path):
    settings = settings_for(
        "mnist", "smoke", steps=np.int64(2), batch=np.uint8(4), held_out=np.int32(4),
        test_examples=torch.tensor(4), sample_count=np.int64(4), sample_steps=np.int64(2),
        betas=np.array([0.9, 0.98]), clip=np.float64(5.0), flips=np.bool_(False),
        network_arguments={**TINY.network_arguments, "channels": np.int64(8),
                           "multipliers": [np.int64(1), np.int64(2)]},
    )
    assert settings == TINY
    assert json.dumps(settings.to_dict()) == json.dumps(TINY.to_dict())
    assert type(settings.steps) is int and type(settings.network_arguments["channels"]) is int
    assert changed(TINY, "batch", np.int64(8)).batch == 8
    with pytest.raises(ValueError, match="batch"):
        check_one("batch", np.array([1, 2]).tolist())
    training.train(settings, tmp_path / "run")
