"""Muon beside AdamW, and times that are not drawn uniformly."""

from dataclasses import replace

import pytest
import torch

from bfn_core import training
from bfn_core.training import TrainingError, loop, optimisers, settings_for
from bfn_core.training.runs import Run
from bfn_core.training.tasks import build_network

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = replace(
    settings_for("text8", "smoke"), steps=6, batch=8, muon=0.02, time_power=0.5, log_every=1,
    checkpoint_every=2, held_out=8, test_examples=8, sample_count=2, sample_steps=2,
)


def ignore(sentence):
    pass


def test_muon_takes_the_blocks_matrices_and_adamw_the_rest():
    network = build_network(TINY)
    adamw, muon = optimisers.optimisers_for(network, TINY, ignore)
    taken = {id(p) for group in muon.param_groups for p in group["params"]}
    rest = {id(p) for group in adamw.param_groups for p in group["params"]}
    names = {name for name, p in network.named_parameters() if id(p) in taken}
    assert names == {
        f"blocks.0.{layer}.weight" for layer in ("qkv", "out", "mlp.0", "mlp.2")
    }
    assert not taken & rest and len(taken | rest) == len(list(network.parameters()))
    (alone,) = optimisers.optimisers_for(network, replace(TINY, muon=None), ignore)
    assert len(alone.param_groups[0]["params"]) == len(list(network.parameters()))


def test_each_optimiser_has_its_own_highest_learning_rate(tmp_path):
    settings = replace(TINY, learning_rate=0.003, muon=0.05, warmup=2, decay=False)
    trainer = loop.Trainer(settings, Run(tmp_path / "run"))
    with trainer.alone():
        trainer.begin(False)
        for share in (0.5, 1.0):
            trainer.make_step()
            rates = [group["lr"] for group in trainer.optimisers.groups()]
            assert rates == pytest.approx([0.003 * share, 0.05 * share])


def test_a_network_without_such_matrices_is_refused(tmp_path):
    settings = replace(settings_for("mnist", "smoke"), muon=0.02)
    with pytest.raises(TrainingError, match="muon needs a network with matrices in bl"):
        training.train(settings, tmp_path / "run")


def test_without_muon_in_torch_adamw_takes_its_place_and_says_so(monkeypatch, tmp_path):
    monkeypatch.delattr(torch.optim, "Muon")
    said = []
    assert training.train(TINY, tmp_path / "run", say=said.append).finished
    assert any("has no Muon" in sentence for sentence in said)


def test_a_run_with_muon_goes_on_as_if_nothing_had_happened(monkeypatch, tmp_path):
    training.train(TINY, tmp_path / "whole")
    make_step = loop.Trainer.make_step

    def die(self):
        make_step(self)
        if self.step == 5:
            raise MemoryError

    monkeypatch.setattr(loop.Trainer, "make_step", die)
    with pytest.raises(MemoryError):
        training.train(TINY, tmp_path / "broken")
    monkeypatch.undo()
    training.train(TINY, tmp_path / "broken", resume=True)
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
