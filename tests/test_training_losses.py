"""The cross-entropy beside the paper's loss: its formula, and that nothing else is changed."""

from dataclasses import replace

import pytest
import torch

from bfn_core import DiscreteFlow, training
from bfn_core.training import TrainingError, loop, settings_for
from bfn_core.training.losses import objective
from bfn_core.training.runs import Run
from tests.oracles import generator

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = replace(
    settings_for("text8", "smoke"), steps=4, batch=8, log_every=1, held_out=8, test_examples=8,
    sample_count=2, sample_steps=2,
)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_objective_written_out(share):
    flow = DiscreteFlow(3, 2.0)
    x, t = torch.tensor([[0, 1], [2, 2]]), torch.tensor([0.25, 0.8])
    theta = flow.sample_flow(x, t, generator(0))
    output = flow.output(torch.randn(2, 2, 3, generator=generator(1)), theta, t)
    cost = flow.rate_cost(x, output, t)
    found = objective(cost, flow, x, output, t, replace(TINY, cross_entropy=share))
    for b in range(2):
        for d in range(2):
            p = output.probs[b, d]
            square = sum(((k == x[b, d]).float() - p[k]) ** 2 for k in range(3))
            mixed = (1 - share) * square - share * p[x[b, d]].log()
            right = 3 * 2.0 * t[b].item() * mixed.item()
            assert found[b, d].item() == pytest.approx(right, rel=1e-5)


def first_step(settings, folder):
    trainer = loop.Trainer(settings, Run(folder))
    with trainer.alone():
        trainer.begin(False)
        trainer.make_step()
    return trainer.window[0].tolist()  # loss, gradient norm


def test_the_loss_that_is_written_down_is_l_infinity_whatever_is_learned_from(tmp_path):
    loss, norm = first_step(TINY, tmp_path / "paper")
    other_loss, other_norm = first_step(replace(TINY, cross_entropy=1.0), tmp_path / "other")
    assert other_loss == loss and other_norm != norm


def test_images_in_bins_have_no_cross_entropy(tmp_path):
    settings = replace(settings_for("cifar10", "smoke"), cross_entropy=1.0)
    with pytest.raises(TrainingError, match="cross_entropy is for discrete data"):
        training.train(settings, tmp_path / "run")
