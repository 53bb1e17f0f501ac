"""Training on every reader's machine: NVIDIA's cards of all sizes, a Mac, out of memory, fp16."""

import itertools
import os
import signal
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from bfn_core import environment, training
from bfn_core.training import TrainingError, devices, loop, settings_for
from bfn_core.training.__main__ import main
from bfn_core.training.devices import Card
from bfn_core.training.optimisers import highest_share
from bfn_core.training.progress import Pace, spelled
from bfn_core.training.runs import Run
from bfn_core.training.scales import USUAL
from tests.accelerator import Pretend

SMOKE = {name: settings_for(name, "smoke") for name in ("mnist", "cifar10", "text8")}
QUIET = {"log_every": 1000, "validate_every": 1000, "checkpoint_every": 1000}
T4, H100 = ((7, 5), 15 * 2**30), ((9, 0), 80 * 2**30)
GIB = 2**30

unix = pytest.mark.skipif(sys.platform == "win32", reason="needs Unix signals and scripts")
pytestmark = pytest.mark.usefixtures("one_thread")


def card(kind="cuda", of=H100, name="Pretended GPU"):
    return Pretend(kind, capability=of[0], memory=of[1], name=name)


# What there is -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("capability", "memory", "scale", "precision"),
    [
        ((9, 0), 80, "gpu", "bf16"),  # H100
        ((8, 9), 22, "gpu", "bf16"),  # L4
        ((8, 6), 12, "t4", "bf16"),  # RTX 3060
        ((7, 5), 15, "t4", "fp16"),  # T4
        ((7, 0), 16, "t4", "fp16"),  # V100
        ((6, 1), 8, "laptop", "no"),  # GTX 1080
        ((7, 5), 4, "laptop", "fp16"),  # GTX 1650
    ],
)
def test_scale_and_precision_are_chosen_by_the_card(
    capability, memory, scale, precision, monkeypatch
):
    monkeypatch.delenv("BFN_SCALE")
    with card(of=(capability, memory * GIB)):
        assert training.current_scale() == scale
        assert settings_for("mnist", "gpu").precision == precision
        assert settings_for("mnist", "t4").precision == precision
        assert settings_for("mnist", "gpu", precision="bf16").precision == "bf16"
        assert settings_for("mnist", "laptop").precision == "no"


def test_a_command_says_the_precision_that_a_card_has_chosen():
    with card(of=T4):
        settings = settings_for("text8", "gpu")
    assert "--set precision=fp16" in training.scales.command(settings)


def test_a_mac_and_a_cpu_get_the_scale_laptop(monkeypatch):
    monkeypatch.delenv("BFN_SCALE")
    assert (devices.device_type(), training.current_scale()) == ("cpu", "laptop")
    with card("mps"):
        assert (devices.device_type(), training.current_scale()) == ("mps", "laptop")
        (line,) = [f for f in environment.report().findings if f.topic == "computer"]
    assert "a Mac's GPU, which training uses" in line.found


def test_the_report_names_the_card():
    with card(of=T4, name="Tesla T4"):
        (line,) = [f for f in environment.report().findings if f.topic == "computer"]
    assert line.found == "1 GPU (Tesla T4, 15 GiB of memory)"


def test_the_version_line_does_not_start_cuda(monkeypatch, capsys):
    def started(*_):
        raise AssertionError("CUDA was started")

    monkeypatch.delenv("ACCELERATE_USE_CPU")
    monkeypatch.delenv("BFN_SCALE")
    asked = []

    def available():
        asked.append(os.environ.get("PYTORCH_NVML_BASED_CUDA_CHECK"))
        return True

    monkeypatch.setattr(torch.cuda, "is_available", available)
    for name in ("_lazy_init", "init", "get_device_properties", "get_device_capability"):
        monkeypatch.setattr(torch.cuda, name, started)
    devices._asked_of_the_driver.cache_clear()
    monkeypatch.setattr(devices.shutil, "which", lambda name: None)
    environment.versions()
    assert capsys.readouterr().out.rstrip().endswith("CUDA · scale gpu or t4")
    assert set(asked) == {"1"} and "PYTORCH_NVML_BASED_CUDA_CHECK" not in os.environ
    devices._asked_of_the_driver.cache_clear()


@unix
@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("Tesla T4, 7.5, 15360", Card("Tesla T4", (7, 5), 15.0)),
        ("NVIDIA GeForce RTX 3060, 12 GB, 8.6, 12288", Card("NVIDIA GeForce RTX 3060, 12 GB",
                                                            (8, 6), 12.0)),
        ("NVIDIA-SMI has failed because it couldn't communicate", None),
    ],
)
def test_the_driver_is_asked_without_cuda(answer, found, monkeypatch, tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text(f'#!/bin/sh\necho "{answer}"\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    devices._asked_of_the_driver.cache_clear()
    assert devices._asked_of_the_driver() == found
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-GPU-1")  # whose meaning is CUDA's
    devices._asked_of_the_driver.cache_clear()
    assert devices._asked_of_the_driver() is None
    devices._asked_of_the_driver.cache_clear()


def test_the_tests_themselves_stay_on_the_cpu():
    assert devices.device_type() == "cpu" and not torch.cuda.is_available()


# Training there ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["cuda", "mps"])
@pytest.mark.parametrize("name", SMOKE)
def test_all_tasks_train_and_come_back_to_the_cpu(kind, name, tmp_path):
    settings = replace(SMOKE[name], steps=3, validate_every=2, checkpoint_every=2)
    with card(kind):
        result = training.train(settings, tmp_path / "run")
        assert result.finished and result.evaluation["elbo"]
        lines = Run(tmp_path / "run").read_metrics()
        assert any("validation" in line for line in lines)
        assert {p.device.type for p in result.bfn.parameters()} == {"cpu"}
        shape = (2, *training.load_task(settings).shape)
        drawn = result.bfn.sample(shape, 2, generator=torch.Generator().manual_seed(0))
        assert drawn.device.type == "cpu"
        words = [name, "--run", str(tmp_path / "run"), "--evaluate", "--n", "2"]
        assert main(words) == 0
    assert set(Run(tmp_path / "run").read_json(Run(tmp_path / "run").evaluation)["elbo"]) == {
        "2", "infinity"
    }


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_an_interrupted_run_comes_back_to_the_cpu_and_goes_on(kind, tmp_path):
    settings = replace(SMOKE["text8"], steps=4, **QUIET)

    def stop(record):
        signal.raise_signal(signal.SIGINT)

    with card(kind):
        result = training.train(replace(settings, log_every=2), tmp_path / "run", watch=stop)
        assert (result.finished, result.step) == (False, 2)
        assert {p.device.type for p in result.bfn.parameters()} == {"cpu"}
        again = replace(settings, log_every=2)
        assert training.train(again, tmp_path / "run", resume=True).finished


@pytest.mark.parametrize("kind", ["cuda", "mps"])
@pytest.mark.parametrize("resumed", [False, True], ids=["fresh", "resumed"])
@pytest.mark.parametrize(
    ("name", "changes"),
    [("text8", {}), ("mnist", {}), ("cifar10", {}), ("text8", {"muon": 0.02, "time_power": 0.5}),
     ("cifar10", {"muon": 0.02, "channels_last": True}), ("text8", {"precision": "fp16"})],
    ids=["text8", "mnist", "cifar10", "muon", "muon of kernels", "fp16"],
)
def test_no_step_waits_for_the_device(kind, resumed, name, changes, tmp_path):
    if kind == "mps" and "precision" in changes:
        pytest.skip("what fp16 costs on a Mac is Accelerate's to say")
    settings = replace(SMOKE[name], steps=20, **QUIET, **changes)
    seen = []

    class Watched(loop.Trainer):
        def make_step(self):
            if len(seen) in (12, 16):  # past the steps that are timed
                seen.append(device.waits.copy())
            else:
                seen.append(None)
            super().make_step()

    with card(kind) as device:
        if resumed:
            training.train(replace(settings, steps=2), tmp_path / "run")
        trainer = Watched(settings, Run(tmp_path / "run"))
        with trainer.alone(), loop.Interruption() as interruption:
            trainer.begin(resumed)
            trainer.loop(interruption)
    more = seen[16] - seen[12]
    assert not more, f"four more steps wait: {dict(more)}"


def test_cudnn_stays_on_and_what_was_set_comes_back(tmp_path, monkeypatch):
    cudnn, seen = torch.backends.cudnn, []
    make_step = loop.Trainer.make_step

    def look(self):
        seen.append((cudnn.enabled, cudnn.deterministic, cudnn.benchmark,
                     torch.are_deterministic_algorithms_enabled()))
        make_step(self)

    monkeypatch.setattr(loop.Trainer, "make_step", look)
    before = cudnn.enabled, cudnn.deterministic, cudnn.benchmark
    for deterministic in (False, True):
        settings = replace(SMOKE["mnist"], steps=1, deterministic=deterministic, **QUIET)
        with card() as device:
            training.train(settings, tmp_path / str(deterministic))
            assert not device.alerts
        assert (cudnn.enabled, cudnn.deterministic, cudnn.benchmark) == before
        assert not torch.are_deterministic_algorithms_enabled()
    assert seen == [(True, False, True, False), (True, True, False, True)]


# fp16 --------------------------------------------------------------------------------------------


def begun(settings, folder, scale=256.0):
    """A trainer that has made no step; one in fp16 begins with a scale that does not overflow."""
    trainer = loop.Trainer(settings, Run(folder))
    with trainer.alone():
        trainer.begin(False)
    if scaler := trainer.optimisers.scaler:
        scaler.load_state_dict({**scaler.state_dict(), "scale": scale})
    return trainer


@pytest.mark.parametrize(("name", "muon"), [("text8", None), ("mnist", 0.02)],
                         ids=["AdamW", "kernels by Muon"])
def test_fp16_gradients_are_unscaled_before_they_are_clipped(name, muon, tmp_path):
    found = {}
    for precision in ("no", "fp16"):
        settings = replace(SMOKE[name], precision=precision, clip=0.5, muon=muon)
        with card(of=T4):
            trainer = begun(settings, tmp_path / precision, 256.0 if muon is None else 4.0)
            for _ in range(3):
                trainer.make_step()
            norms = [values[1].item() for values in trainer.window]
            found[precision] = norms, [p.cpu() for p in trainer.plain.parameters()]
    assert found["fp16"][0] == pytest.approx(found["no"][0], rel=0.02)
    # Muon moves a matrix as far in directions of which a gradient has little but rounding.
    for a, b in zip(found["fp16"][1], found["no"][1], strict=True):
        assert torch.allclose(a, b, atol=2e-3 if muon is None else 1e-2)


def test_fp16_leaves_out_a_step_that_overflows_and_goes_on(tmp_path):
    settings = replace(SMOKE["text8"], precision="fp16", log_every=1)
    records, moved = [], []
    with card(of=T4):
        trainer = begun(settings, tmp_path / "run")
        for step in range(4):
            if step == 2:
                trainer.optimisers.scaler.update(new_scale=3e38)
            before = [p.detach().clone() for p in trainer.plain.parameters()]
            trainer.make_step()
            pairs = zip(before, trainer.plain.parameters(), strict=True)
            moved.append(any((a != b).any().item() for a, b in pairs))
            records.append(trainer.log(trainer.look()))
            if step == 2:
                assert trainer.optimisers.scale < 3e38
                trainer.optimisers.scaler.update(new_scale=256.0)
    assert moved == [True, True, False, True]
    assert [record["left_out"] for record in records] == [0, 0, 1, 0]
    assert [record["gradient_norm"] is None for record in records] == [False, False, True, False]


@pytest.mark.parametrize("wrong", [float("inf"), float("nan")])
@pytest.mark.parametrize(
    ("name", "weight"),
    [("text8", "blocks.0.mlp.2.weight"), ("text8", "head.bias"),  # Muon's, AdamW's
     ("mnist", "up.0.0.conv1.weight"), ("mnist", "last.bias")],
)
def test_in_fp16_no_weight_moves_where_one_optimisers_gradients_overflow(
    name, weight, wrong, tmp_path
):
    settings = replace(SMOKE[name], precision="fp16", muon=0.02)
    with card(of=T4):
        trainer = begun(settings, tmp_path / "run", 4.0)
        trainer.make_step()
        parameters = dict(trainer.plain.named_parameters())
        hook = parameters[weight].register_hook(lambda gradient: torch.full_like(gradient, wrong))
        before = {name: p.detach().clone() for name, p in parameters.items()}
        trainer.make_step()
        moved = [name for name, p in parameters.items() if not torch.equal(p, before[name])]
        assert moved == [] and trainer.optimisers.scale == 2.0
        hook.remove()
        trainer.make_step()
        assert not torch.equal(parameters[weight], before[weight])


def test_a_resumed_fp16_run_keeps_its_scale(tmp_path):
    settings = replace(SMOKE["text8"], steps=2, precision="fp16")
    with card(of=T4):
        trainer = loop.Trainer(settings, Run(tmp_path / "run"))
        with trainer.alone():
            trainer.begin(False)
            trainer.make_step()
            trainer.optimisers.scaler.update(new_scale=123.0)
            trainer.save()
        again = loop.Trainer(settings, Run(tmp_path / "run"))
        again.begin(True)
        assert again.optimisers.scale == 123.0


def test_fp16_for_ever_without_a_finite_gradient_stops(tmp_path):
    with card(of=T4):
        trainer = begun(replace(SMOKE["text8"], precision="fp16"), tmp_path / "run")
        trainer.make_step()
        trainer.optimisers.scaler.update(new_scale=2.0**-11)
        with pytest.raises(TrainingError, match="no gradient has been finite in fp16 for long"):
            trainer.look()


def test_a_precision_that_cannot_be_had_is_refused_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("accelerate.accelerator.is_bf16_available", lambda *_: False)
    expected = pytest.raises(TrainingError, match="precision bf16 cannot be had .*precision=no")
    with card("mps"), expected:  # before macOS 14
        training.train(replace(SMOKE["text8"], precision="bf16"), tmp_path / "run")


def test_a_cpu_says_that_fp16_is_float32_there(tmp_path):
    said = []
    settings = replace(SMOKE["text8"], steps=1, precision="fp16")
    training.train(settings, tmp_path / "run", say=said.append)
    assert any("in float32 on the CPU" in sentence for sentence in said)


def test_emulated_bf16_is_named(tmp_path):
    said = []
    settings = replace(SMOKE["text8"], steps=1, precision="bf16", **QUIET)
    with card(of=T4):
        training.train(settings, tmp_path / "run", say=said.append)
    (plan,) = [sentence for sentence in said if "a network of" in sentence]
    assert "This GPU only emulates bf16: --set precision=fp16 is faster." in plan


# What a reader is told ---------------------------------------------------------------------------


def test_the_plan_and_the_pace_are_said(tmp_path):
    said = []
    training.train(replace(SMOKE["text8"], steps=9), tmp_path / "run", say=said.append)
    assert any("9 steps of 16 examples, a network of" in s and "float32 on the CPU" in s
               for s in said)
    (pace,) = [s for s in said if "a step: about" in s]
    assert pace.endswith("to go, validation not counted.")


def test_a_warm_up_that_leaves_little_of_the_rate_is_named(tmp_path):
    said = []
    for warmup in (1000, 20):
        settings = replace(SMOKE["text8"], steps=500, warmup=warmup)
        training.train(settings, tmp_path / str(warmup), say=said.append, stop=lambda: True)
    long, short = [sentence for sentence in said if "a network of" in sentence]
    assert "The warm-up of 1,000 steps leaves at most 13 % of the learning rate" in long
    assert "--set warmup=50 leaves more" in long and "warm-up" not in short
    for data, scale in USUAL:
        assert highest_share(settings_for(data, scale)) > 0.6


def test_the_time_to_go_is_that_of_the_timed_steps(monkeypatch):
    said, clock = [], iter([10.0, 18.0])
    monkeypatch.setattr("bfn_core.training.progress.time.perf_counter", lambda: next(clock))
    pace = Pace(torch.device("cpu"), 100, 1105, said.append)
    for _ in range(20):
        pace.advance()
    assert said == ["2 s a step: about 33 minutes to go, validation not counted."]  # 1,000 steps
    assert [spelled(s) for s in (0.2, 99, 130, 7200)] == ["1 s", "99 s", "2 minutes", "2.0 hours"]


@pytest.mark.parametrize(
    "error",
    [torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
     RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
     RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")],
    ids=["cuda", "mps", "cpu"],
)
def test_out_of_memory_says_what_helps_and_the_run_goes_on(error, monkeypatch, tmp_path, capsys):
    make_step = loop.Trainer.make_step

    def too_large(self):
        if self.settings.accumulation == 1 and self.step == 2:
            raise error
        make_step(self)

    monkeypatch.setattr(loop.Trainer, "make_step", too_large)
    words = ["text8", "--scale", "smoke", "--run", str(tmp_path / "run"), "--steps", "3",
             "--set", "checkpoint_every=2"]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: the memory of the CPU does not suffice for a batch of 16 in 1 ")
    for help_ in ("--set accumulation=2", "--set batch=8", "scale", "step 2 is intact"):
        assert help_ in said
    assert main([*words, "--resume", "--set", "accumulation=2"]) == 0


def test_another_runtime_error_is_not_taken_for_too_little_memory(monkeypatch, tmp_path):
    def broken(self):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(loop.Trainer, "make_step", broken)
    with pytest.raises(RuntimeError, match="mat1"):
        training.train(SMOKE["text8"], tmp_path / "run")


def test_processes_ask_each_other_by_time(tmp_path):
    trainer = loop.Trainer(SMOKE["text8"], Run(tmp_path / "run"))
    asked = []

    def reduce(votes, how):
        asked.append(trainer.step)
        return 2 * votes

    trainer.accelerator = SimpleNamespace(num_processes=2, reduce=reduce)
    for pace in (0.01, 0.5, 5.0):
        asked.clear()
        trainer.next_vote = 0
        for trainer.step in range(1, 501):
            trainer.seconds = pace * trainer.step
            assert not trainer.agreed(False)
        apart = {b - a for a, b in itertools.pairwise(asked)}
        assert apart == {max(1, round(2 / pace))}
    assert trainer.agreed(True) is False  # not asked yet
    trainer.step = trainer.next_vote
    assert trainer.agreed(True)
