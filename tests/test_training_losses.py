"""What is learned from beside the paper's loss: its formulas, and that nothing else is changed."""

import math
from dataclasses import replace

import pytest
import torch

from bfn_core import DiscreteFlow, DiscretisedFlow, MixedFlow, training
from bfn_core.distributions import DiscretisedNormal
from bfn_core.training import TrainingError, loop, own_settings, settings_for
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
    found, written = objective(flow, x, output, t, replace(TINY, cross_entropy=share))
    assert torch.equal(written, cost)
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


IMAGES = replace(settings_for("cifar10", "smoke"), batch=4, width_weight=0.0)


@pytest.mark.parametrize("settings, name", [(TINY, "cross_entropy"), (IMAGES, "width_weight")])
def test_the_loss_that_is_written_down_is_l_infinity_whatever_is_learned_from(
    settings, name, tmp_path
):
    loss, norm = first_step(settings, tmp_path / "paper")
    other_loss, other_norm = first_step(replace(settings, **{name: 1.0}), tmp_path / "other")
    assert other_loss == loss and other_norm != norm


WIDE = own_settings(width_weight=0.7)
IN_BINS = DiscretisedFlow(8, 0.05)
PLACES = IN_BINS.quantise(torch.rand(2, 3, generator=generator(2)) * 2 - 1)
TIMES = torch.tensor([0.25, 0.8])


def in_bins():
    """A belief, a raw output that gradients reach, and p_O, for two examples of three places."""
    theta = IN_BINS.sample_flow(PLACES, TIMES, generator(3))
    raw = torch.randn(2, 3, 2, generator=generator(4), requires_grad=True)
    return theta, raw, IN_BINS.output(raw, theta, TIMES)


def test_the_objective_with_widths_written_out():
    _, _, output = in_bins()
    aim, cost = objective(IN_BINS, PLACES, output, TIMES, WIDE)
    index = IN_BINS.index(PLACES)
    for b in range(2):
        rate = -math.log(0.05) * 0.05 ** (-2 * TIMES[b].item())  # α(t)/2
        for d in range(3):
            p = output.probs[b, d]
            square = (PLACES[b, d] - (p * IN_BINS.centres).sum()).square()
            assert cost[b, d].item() == pytest.approx(rate * square.item(), rel=1e-4, abs=1e-5)
            right = rate * square.item() - 0.7 * p[index[b, d]].log().item()
            assert aim[b, d].item() == pytest.approx(right, rel=1e-4, abs=1e-5)


def test_means_and_widths_learn_from_both():
    def slope(cost):
        _, raw, output = in_bins()
        (found,) = torch.autograd.grad(cost(output).sum(), raw)
        return found.unbind(-1)  # in the mean, and in the width

    both = slope(lambda output: objective(IN_BINS, PLACES, output, TIMES, WIDE)[0])
    paper = slope(lambda output: IN_BINS.rate_cost(PLACES, output, TIMES))
    likelihood = slope(lambda output: -0.7 * output.log_prob(PLACES))
    for one, first, second in zip(both, paper, likelihood, strict=True):
        assert torch.allclose(one, first + second, rtol=1e-4, atol=1e-5)
        assert (first.abs() > 1e-4).any() and (second.abs() > 1e-4).any()


def test_a_normal_that_has_left_the_range_is_called_back():
    """Far outside, mean and width may grow together at hardly a cost to L^∞ alone."""
    x, t = IN_BINS.centres[-2].reshape(1, 1), torch.tensor(0.1)

    def cost(size, settings):
        output = DiscretisedNormal(30 * size.reshape(1, 1), 10 * size.reshape(1, 1), 8)
        return objective(IN_BINS, x, output, t, settings)[0].sum()

    size = torch.ones((), requires_grad=True)
    paper, both = (torch.autograd.grad(cost(size, settings), size)[0].item()
                   for settings in (own_settings(), WIDE))
    assert abs(paper) < 0.2 < 0.5 < both  # −w ln p_O grows by w with each e-fold of the width


def test_without_a_weight_it_is_the_papers_loss():
    _, _, output = in_bins()
    aim, cost = objective(IN_BINS, PLACES, output, TIMES, own_settings())
    assert torch.equal(aim, cost) and torch.equal(cost, IN_BINS.rate_cost(PLACES, output, TIMES))


def test_each_part_of_mixed_data_has_what_is_meant_for_its_kind():
    classes = DiscreteFlow(3, 2.0)
    flow = MixedFlow(places=IN_BINS, kinds=classes)
    x = {"places": PLACES, "kinds": torch.tensor([[0, 1], [2, 2]])}
    theta = flow.sample_flow(x, TIMES, generator(5))
    raw = {"places": torch.randn(2, 3, 2, generator=generator(4)),
           "kinds": torch.randn(2, 2, 3, generator=generator(6))}
    output = flow.output(raw, theta, TIMES)
    settings = own_settings(width_weight=0.7, cross_entropy=0.4)
    aim, cost = objective(flow, x, output, TIMES, settings)
    parts = [objective(flow.flows[name], x[name], output[name], TIMES, settings)[0] for name in x]
    assert torch.equal(aim, torch.cat(parts, 1)) and not torch.equal(aim, cost)
    assert torch.equal(cost, flow.rate_cost(x, output, TIMES))


def test_a_width_that_is_learned_by_likelihood_is_that_of_the_error():
    """One width for all, learned on x that is N(0, 0.3²) in bins, with a mean that is right."""
    flow = DiscretisedFlow(64, 0.05)
    x = flow.quantise((0.3 * torch.randn(4000, 1, generator=generator(7))).clamp(-1, 1))
    log_width = torch.zeros((), requires_grad=True)
    optimiser = torch.optim.Adam([log_width], lr=0.05)
    for _ in range(150):
        output = DiscretisedNormal(torch.zeros_like(x), log_width.exp().expand_as(x), 64)
        optimiser.zero_grad()
        objective(flow, x, output, torch.tensor(0.5), WIDE)[0].mean().backward()
        optimiser.step()
    assert log_width.exp().item() == pytest.approx(x.std().item(), rel=0.03)


@pytest.mark.parametrize("data, name, kind", [
    ("cifar10", "cross_entropy", "discrete data"), ("mnist", "width_weight", "discretised data"),
])
def test_a_loss_for_other_data_is_refused_before_anything_is_written(data, name, kind, tmp_path):
    settings = replace(settings_for(data, "smoke"), **{name: 1.0})
    with pytest.raises(TrainingError, match=f"{name} is for {kind}"):
        training.train(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()
