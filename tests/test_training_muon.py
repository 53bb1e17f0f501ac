"""Muon beside AdamW, and times that are not drawn uniformly."""

import json
from dataclasses import replace

import pytest
import torch

from bfn_core import training
from bfn_core.training import TrainingError, loop, optimisers, settings_for
from bfn_core.training.runs import Run
from bfn_core.training.tasks import build_network

pytestmark = pytest.mark.usefixtures("one_thread")
needs_muon = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="came with torch 2.9")

TINY = replace(
    settings_for("text8", "smoke"), steps=6, batch=8, muon=0.02, time_power=0.5, log_every=1,
    checkpoint_every=2, held_out=8, test_examples=8, sample_count=2, sample_steps=2,
)


def ignore(sentence):
    pass


IMAGES = replace(
    settings_for("mnist", "smoke"), steps=6, batch=8, muon=0.02, log_every=1, checkpoint_every=2,
    held_out=8, test_examples=8, sample_count=2, sample_steps=2,
)


@needs_muon
@pytest.mark.parametrize("settings", [TINY, IMAGES], ids=["matrices", "kernels"])
def test_muon_takes_the_blocks_matrices_or_kernels_and_adamw_the_rest(settings):
    network = build_network(settings)
    made = optimisers.Optimisers(network, settings, ignore)
    adamw, muon = made.all
    taken = {p.data_ptr() for group in muon.param_groups for p in group["params"]}
    rest = {p.data_ptr() for group in adamw.param_groups for p in group["params"]}
    names = {name for name, p in network.named_parameters() if p.data_ptr() in taken}
    if settings is TINY:
        assert names == {
            f"blocks.0.{layer}.weight" for layer in ("qkv", "out", "mlp.0", "mlp.2")
        }
    else:
        kernels = {name for name, p in network.named_parameters() if p.ndim == 4}
        assert names == kernels - {"first.weight", "last.weight"} and len(names) > 8
    assert not taken & rest and len(taken | rest) == len(list(network.parameters()))
    (alone,) = optimisers.Optimisers(network, replace(settings, muon=None), ignore).all
    assert len(alone.param_groups[0]["params"]) == len(list(network.parameters()))


@needs_muon
def test_a_channels_own_kernel_is_no_matrix():
    """Orthogonal rows would mean nothing for kernels that never meet."""
    arguments = {**IMAGES.network_arguments, "depthwise": 3}
    network = build_network(replace(IMAGES, network_arguments=arguments))
    made = optimisers.Optimisers(network, IMAGES, ignore)
    taken = {id(p) for p in made.matrices.weights}
    names = {name for name, p in network.named_parameters() if id(p) in taken}
    assert {name.split(".", 3)[3] for name in names} == {
        "conv1.weight", "conv2.weight", "skip.weight"
    }


@needs_muon
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_kernel_moves_as_muon_moves_a_matrix(memory_format):
    torch.manual_seed(0)
    kernel = torch.randn(6, 4, 3, 3)
    matrix = torch.nn.Parameter(kernel.flatten(1).clone())
    weight = torch.nn.Parameter(kernel.clone(memory_format=memory_format))
    alone = torch.optim.Muon([matrix], lr=0.1)
    seen = optimisers.Matrices([weight])
    beside = torch.optim.Muon(seen.all, lr=0.1)
    for _ in range(3):
        gradient = torch.randn_like(kernel)
        matrix.grad = gradient.flatten(1).clone()
        (weight * gradient).sum().backward()
        seen.take_gradients()
        for optimiser in (alone, beside):
            optimiser.step()
            optimiser.zero_grad()
        seen.forget_gradients()
        assert weight.grad is None and seen.all[0].grad is None
    # Both orders of a row's numbers give the same orthogonal matrix, up to the rounding of bf16.
    moved = (weight - kernel).flatten(1)
    assert (moved - (matrix - kernel.flatten(1))).abs().max() < 0.02 * moved.abs().max()
    assert weight.is_contiguous(memory_format=memory_format)


def test_what_scales_or_clips_a_kernels_gradient_changes_that_of_its_matrix():
    weight = torch.nn.Parameter(torch.randn(6, 4, 3, 3).to(memory_format=torch.channels_last))
    seen = optimisers.Matrices([weight])
    weight.square().sum().backward()
    seen.take_gradients()
    torch.nn.utils.clip_grad_norm_([weight], 0.5)
    assert seen.all[0].grad.norm().item() == pytest.approx(0.5, rel=1e-4)
    weight.data = weight.data.clone()
    with pytest.raises(RuntimeError, match="moved after their optimiser"):
        seen.take_gradients()


@needs_muon
def test_each_optimiser_has_its_own_highest_learning_rate(tmp_path):
    settings = replace(TINY, learning_rate=0.003, muon=0.05, warmup=2, decay=False)
    trainer = loop.Trainer(settings, Run(tmp_path / "run"))
    with trainer.alone():
        trainer.begin(False)
        for share in (0.5, 1.0):
            trainer.make_step()
            rates = [group["lr"] for group in trainer.optimisers.groups()]
            assert rates == pytest.approx([0.003 * share, 0.05 * share])


@needs_muon
def test_muon_may_have_all_weights_there_are():
    network = torch.nn.Module()
    network.blocks = torch.nn.ModuleList([torch.nn.Linear(3, 3, bias=False)])
    made, before = optimisers.Optimisers(network, TINY, ignore), network.blocks[0].weight.clone()
    network.blocks[0](torch.ones(2, 3)).square().sum().backward()
    made.step()
    assert not torch.equal(network.blocks[0].weight, before)
    again = optimisers.Optimisers(network, TINY, ignore)
    again.load(made.states(), None)
    assert again.names() == ["AdamW", "Muon"]


def test_a_network_without_such_weights_is_refused():
    with pytest.raises(TrainingError, match="convolutions in down and up, and Linear has none"):
        optimisers.Optimisers(torch.nn.Linear(3, 3), TINY, ignore)


def test_without_muon_in_torch_adamw_takes_its_place_and_says_so(monkeypatch, tmp_path):
    monkeypatch.delattr(torch.optim, "Muon")
    said = []
    assert training.train(TINY, tmp_path / "run", say=said.append).finished
    assert any("has no Muon" in sentence for sentence in said)


@needs_muon
@pytest.mark.parametrize("earlier", [False, True], ids=["now", "by an earlier version"])
def test_a_run_that_was_begun_without_muon_goes_on_without_it(earlier, monkeypatch, tmp_path):
    asked = iter([False, True])
    run = Run(tmp_path / "run")
    with monkeypatch.context() as older:
        older.delattr(torch.optim, "Muon")
        training.train(TINY, run.folder, stop=lambda: next(asked))
    record, state = json.loads(run.settings.read_text("utf-8")), run.read_checkpoint()
    assert record["optimisers"] == ["AdamW"]
    if earlier:
        del record["optimisers"], state["identity"]
        run.write_json(run.settings, record)
        run.write_checkpoint(state)
    with pytest.raises(TrainingError, match="AdamW for all .* no Muon: go on with --set muon=null"):
        training.train(TINY, run.folder, resume=True)
    with pytest.raises(TrainingError, match="muon = 0.02, not 0.03"):
        training.train(replace(TINY, muon=0.03), run.folder, resume=True)
    assert training.train(replace(TINY, muon=None), run.folder, resume=True).finished
    record = json.loads(run.settings.read_text("utf-8"))
    assert (record["settings"]["muon"], record["optimisers"]) == (None, ["AdamW"])


@needs_muon
def test_a_run_with_muon_needs_a_torch_that_has_it(monkeypatch, tmp_path):
    asked = iter([False, True])
    training.train(TINY, tmp_path / "run", stop=lambda: next(asked))
    assert Run(tmp_path / "run").read_settings()["optimisers"] == ["AdamW", "Muon"]
    monkeypatch.delattr(torch.optim, "Muon")
    for settings, said in ((TINY, "with Muon, which this torch does not have"),
                           (replace(TINY, muon=None), "muon = 0.02, not None")):
        with pytest.raises(TrainingError, match=said):
            training.train(settings, tmp_path / "run", resume=True)


@pytest.mark.parametrize("settings", [TINY, IMAGES], ids=["matrices", "kernels"])
def test_a_run_with_muon_goes_on_as_if_nothing_had_happened(settings, monkeypatch, tmp_path):
    training.train(settings, tmp_path / "whole")
    make_step = loop.Trainer.make_step

    def die(self):
        make_step(self)
        if self.step == 5:
            raise MemoryError

    monkeypatch.setattr(loop.Trainer, "make_step", die)
    with pytest.raises(MemoryError):
        training.train(settings, tmp_path / "broken")
    monkeypatch.undo()
    training.train(settings, tmp_path / "broken", resume=True)
    whole, broken = (Run(tmp_path / name).read_checkpoint() for name in ("whole", "broken"))
    for name, weight in whole["network"].items():
        assert torch.equal(weight, broken["network"][name]), name


@pytest.mark.parametrize("power", [1.0, 0.5, 0.7])
def test_the_weights_of_the_times_leave_the_integral_as_it_is(power):
    u = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    t, weight = loop.times(u, power)
    assert t.min() > 0 and t.max() < 1
    for cost, integral in ((t, 1 / 2), (t**2, 1 / 3), (3 * t * (1 - t), 1 / 2)):
        assert (weight * cost).mean().item() == pytest.approx(integral, rel=1e-4)
    if power == 0.5:  # a cost in proportion to t, as that of discrete data, weighs the same always
        assert torch.allclose(weight * t, torch.full_like(t, 0.5))


def test_the_first_time_of_a_batch_may_be_zero():
    t, weight = loop.times(torch.zeros(1), 0.5)
    assert (weight * t).item() == pytest.approx(0.5) and weight.isfinite().all()
