"""Guidance and steering: against gradients, closed forms and the exact tilted law."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from bfn_core import BFN, ContinuousFlow, DiscreteFlow, ExactBFN, Solver
from bfn_core.beliefs import CategoricalParameters
from bfn_core.data.toy import PerfectNormal
from bfn_core.guidance import (
    Given,
    Guided,
    GuidedBFN,
    draw_told,
    guided_normal,
    mixed,
    spread_within,
    steer,
    tilted_mean,
)
from bfn_core.networks.unet import UNet
from bfn_core.number_line import even_noise
from tests.oracles import correlated_table, generator

FLOW = DiscreteFlow(3, beta_1=6.0)
POINTS, WEIGHTS = correlated_table(3, 3)
CHANCE = torch.sigmoid(1.2 * (POINTS.sum(1).double() - 3))  # p(c | x)
ALL, GIVEN = ExactBFN(FLOW, POINTS, WEIGHTS), ExactBFN(FLOW, POINTS, WEIGHTS * CHANCE)


def tilted(weight):
    """p(x) p(c | x)^w, of each point."""
    law = WEIGHTS.double() * CHANCE**weight
    return law / law.sum()


def distance(x, weights, law):
    """Total variation of weighted samples from a law over POINTS, which are in order."""
    place = (x * torch.tensor([9, 3, 1])).sum(1)
    found = torch.zeros(27, dtype=torch.float64).index_add_(0, place, weights.double())
    return float((found - law).abs().sum() / 2)


# What a condition adds to a guess.


def test_what_a_condition_adds_to_a_mean_is_a_gradient():
    flow = ContinuousFlow(0.05)
    points = 2 * torch.rand(12, 2, generator=generator(0), dtype=torch.float64) - 1
    chance = torch.rand(12, generator=generator(1), dtype=torch.float64)
    told, plain = ExactBFN(flow, points, chance), ExactBFN(flow, points)
    theta = flow.sample_flow(points, 0.4, generator(2))
    s = (theta.mean * theta.precision.unsqueeze(1)).requires_grad_()
    belief = type(theta)(s / theta.precision.unsqueeze(1), theta.precision)
    likelihood = flow.log_likelihood(belief, points)
    log_c = (likelihood + chance.log()).logsumexp(1) - likelihood.logsumexp(1)  # ln p(c | s)
    (slope,) = torch.autograd.grad(log_c.sum(), s)
    for w in (1.0, 2.5):
        guided = GuidedBFN(told, plain, w).output(theta, 0.4).mean
        assert torch.allclose(guided - plain.output(theta, 0.4).mean, w * slope, atol=1e-12)


def test_what_a_condition_adds_to_probabilities_is_a_gradient_in_the_logits():
    theta = FLOW.sample_flow(POINTS, 0.3, generator(3))
    z = theta.logits.double().requires_grad_()
    likelihood = FLOW.log_likelihood(CategoricalParameters(z), POINTS) + WEIGHTS.double().log()
    log_c = (likelihood + CHANCE.log()).logsumexp(1) - likelihood.logsumexp(1)
    (slope,) = torch.autograd.grad(log_c.sum(), z)
    hot = torch.nn.functional.one_hot(POINTS, 3).double().flatten(1)
    guesses = [(bfn.posterior(theta) @ hot).view(-1, 3, 3) for bfn in (GIVEN, ALL)]
    assert torch.allclose(guesses[0] - guesses[1], slope, atol=1e-6)  # θ is in float32
    assert slope.abs().max() > 0.1
    outputs = [bfn.output(theta, 0.3).probs.double() for bfn in (GIVEN, ALL)]
    assert torch.allclose(outputs[0] - outputs[1], slope, atol=1e-6)


@pytest.mark.parametrize(("weight", "other"), [(0.0, ALL), (1.0, GIVEN)])
def test_a_weight_of_one_is_conditional_and_of_zero_unconditional(weight, other):
    theta = FLOW.sample_flow(POINTS, 0.3, generator(4))
    guided = GuidedBFN(GIVEN, ALL, weight)
    assert torch.allclose(guided.output(theta, 0.3).probs, other.output(theta, 0.3).probs,
                          atol=1e-6)
    x, y = (bfn.sample((500, 3), 20, generator=generator(5)) for bfn in (guided, other))
    assert (x == y).double().mean() > 0.999


def test_guided_means_stay_where_data_may_lie():
    """Beyond what is known of c, 3 x̂_c − 2 x̂ is 2.4 here, which no sender would take for x."""
    points = torch.tensor([[1.0], [0.6], [-1.0], [-0.6]])
    x = []
    for data_range in ((-1.0, 1.0), None):
        flow = ContinuousFlow(0.1, data_range=data_range)
        guided = GuidedBFN(ExactBFN(flow, points[:2]), ExactBFN(flow, points), 3.0)
        x.append(guided.output(flow.prior((4, 1)), 0.0).mean)
    assert x[0].tolist() == [[1.0]] * 4 and x[1].tolist() == [[pytest.approx(2.4)]] * 4
    guided = GuidedBFN(ExactBFN(ContinuousFlow(0.1), points[:2]),
                       ExactBFN(ContinuousFlow(0.1), points), 3.0)
    assert guided.sample((4, 1), 5, generator=generator(0)).abs().max() <= 1.0


# Guided, a network.


class Counting(nn.Module):
    """ε̂ = inputs, and the label on top where there is one."""

    calls = 0

    def forward(self, inputs, t, condition=None):
        self.calls += 1
        return inputs if condition is None else inputs + condition[:, None]


@pytest.mark.parametrize(("weight", "calls"), [(0.0, 1), (1.0, 1), (3.0, 2), (-1.0, 2)])
def test_raw_outputs_are_mixed_and_needless_calls_spared(weight, calls):
    network = Counting()
    inputs, label = torch.randn(4, 2, generator=generator(0)), torch.tensor([0, 1, 2, 3])
    raw = Guided(network, weight)(inputs, torch.ones(4), label)
    assert torch.allclose(raw, inputs + weight * label[:, None])
    assert network.calls == calls
    assert torch.equal(Guided(network, weight)(inputs, torch.ones(4)), inputs)  # nothing is told


def test_the_unconditional_network_may_be_another():
    class Zero(nn.Module):
        def forward(self, inputs, t):
            return torch.zeros_like(inputs)

    inputs, label = torch.ones(2, 3), torch.tensor([1, 2])
    raw = Guided(Counting(), 2.0, Zero())(inputs, torch.ones(2), label)
    assert torch.equal(raw, 2 * (1.0 + label[:, None].expand(2, 3)))
    parts = mixed({"a": torch.ones(1)}, {"a": torch.zeros(1)}, 3.0)
    assert torch.equal(parts["a"], torch.tensor([3.0]))


def test_a_guided_unet_samples_with_its_condition():
    torch.manual_seed(0)
    network = UNet(classes=2, channels=8, multipliers=(1, 2), blocks=1, attention=(), labels=10)
    for weight in network.parameters():  # as made, it starts without effect
        nn.init.normal_(weight, std=0.2)
    labels = torch.tensor([3, 7])

    def drawn(weight, labels):
        bfn = BFN(DiscreteFlow(2, 3.0), Guided(network, weight))
        return bfn.sample((2, 1, 8, 8), 3, condition=labels, generator=generator(1))

    plain = BFN(DiscreteFlow(2, 3.0), network)
    told = plain.sample((2, 1, 8, 8), 3, condition=labels, generator=generator(1))
    assert torch.equal(drawn(1.0, labels), told)
    assert torch.equal(drawn(0.0, labels), plain.sample((2, 1, 8, 8), 3, generator=generator(1)))
    assert not torch.equal(drawn(4.0, labels), told)
    assert not torch.equal(drawn(4.0, labels), drawn(4.0, labels.flip(0)))
    each = draw_told(plain, (1, 8, 8), labels, 4.0, 3, seed=1)
    by_the_solver = BFN(plain.flow, Guided(network, 4.0)).sample(
        (2, 1, 8, 8), 3, condition=labels, generator=generator(1), sampler=Solver("ab2"),
        final="mode")
    assert torch.equal(each, by_the_solver)
    assert not torch.equal(each, draw_told(plain, (1, 8, 8), labels, 0.0, 3, seed=1))


def test_a_condition_that_is_held_is_told_with_every_call():
    torch.manual_seed(0)
    network = UNet(classes=2, channels=8, multipliers=(1, 2), blocks=1, attention=(), labels=10,
                   hints=1)
    for weight in network.parameters():
        nn.init.normal_(weight, std=0.2)
    flow, hints = DiscreteFlow(2, 3.0), torch.rand(3, 1, 8, 8, generator=generator(1))
    each = {"label": torch.tensor([3, 7, 0]), "hints": hints}

    def drawn(network, **condition):
        return BFN(flow, network).sample((3, 1, 8, 8), 3, generator=generator(2), **condition)

    inputs, t = torch.full((3, 1, 8, 8, 2), 0.5), torch.full((3,), 0.3)
    raw = network(inputs, t, each)
    assert torch.equal(Given(network, each)(inputs, t), raw)
    assert not torch.allclose(raw[1], raw[0], atol=1e-3)  # each has its own
    wanted = drawn(network, condition=each)
    assert torch.equal(drawn(Given(network, each)), wanted)
    assert not torch.equal(drawn(network), wanted)
    one = {name: part[:1] for name, part in each.items()}
    all_alike = {name: part.expand(3, *part.shape[1:]) for name, part in one.items()}
    assert torch.equal(drawn(Given(network, one)), drawn(network, condition=all_alike))
    assert torch.equal(drawn(Given(network, torch.tensor([4]))),
                       drawn(network, condition=torch.tensor([4, 4, 4])))


def test_a_condition_that_is_held_has_a_row_for_all_or_for_each():
    with pytest.raises(ValueError, match="condition must be a tensor or a dict of tensors, got"):
        Given(Counting(), None)
    held = Given(Counting(), torch.tensor([1, 2]))
    with pytest.raises(ValueError, match="condition has 2 rows, but the batch has 3"):
        held(torch.zeros(3, 2), torch.zeros(3))


@pytest.mark.parametrize("weight", [math.nan, math.inf, True, "2", None])
def test_a_weight_is_a_finite_number(weight):
    with pytest.raises(ValueError, match="weight must be a finite number, got"):
        Guided(Counting(), weight)
    with pytest.raises(ValueError, match="weight must be a finite number, got"):
        GuidedBFN(GIVEN, ALL, weight)


def test_a_weight_may_be_numpys():
    guided = Guided(Counting(), np.int64(2))
    assert repr(guided) == repr(Guided(Counting(), 2.0)) and type(guided.weight) is float


# What guidance draws.


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_the_closed_forms_agree_where_nothing_is_guided(weight):
    law = guided_normal(weight, 0.5, 0.2)
    expected = pytest.approx((0.5, 0.2)[int(weight)], rel=1e-6)
    assert law.ode == expected and law.sde == expected and law.tilt == expected


@pytest.mark.parametrize("weight", [0.5, 2.0, 3.0])
def test_simulated_guidance_of_normals_has_the_closed_forms_spread(weight):
    u, c, m = 0.5, 0.25, 0.3
    guided = GuidedBFN(*(PerfectNormal(*law, sigma_1=2e-3) for law in ((m, c), (0.0, u))),
                       weight)
    law = guided_normal(weight, u, c)
    start = even_noise(201)
    *_, last = Solver("ab2", "log").steps(guided, start.shape, 200, start=start)
    reference = float(start.std())
    assert float(last.output.mean.std()) / reference == pytest.approx(law.ode, rel=0.01)
    noisy = Solver("euler", "log", noise=1.0)
    x = guided.sample((20_000, 1), 400, sampler=noisy, generator=generator(6))
    assert float(x.std()) == pytest.approx(law.sde, rel=0.03)
    assert abs(law.ode / law.tilt - 1) > 0.03 and abs(law.sde / law.tilt - 1) > 0.03


def test_where_the_tilted_law_does_not_exist_it_has_no_spread():
    assert math.isnan(guided_normal(3.0, 0.25, 0.5).tilt)


def test_the_tilted_mean_is_that_of_the_product():
    x = torch.linspace(-6, 6, 20001, dtype=torch.float64)
    log_law = (1 - 2.0) * -0.5 * (x / 0.5) ** 2 + 2.0 * -0.5 * ((x - 0.3) / 0.25) ** 2
    law = log_law.softmax(0)
    assert float(law @ x) == pytest.approx(tilted_mean(2.0, 0.5, 0.25, 0.3), abs=1e-6)
    spread = float((law @ x**2 - (law @ x) ** 2).sqrt())
    assert spread == pytest.approx(guided_normal(2.0, 0.5, 0.25).tilt, abs=1e-5)


def test_guidance_does_not_draw_the_tilted_law_and_an_exact_network_for_it_does():
    law, even = tilted(4.0), torch.full((4000,), 1 / 4000)
    guided = GuidedBFN(GIVEN, ALL, 4.0).sample((4000, 3), 50, generator=generator(7))
    exact = ExactBFN(FLOW, POINTS, law).sample((4000, 3), 50, generator=generator(7))
    assert distance(exact, even, law) < 0.03 < 0.05 < distance(guided, even, law)


# Steering.


def test_distances_are_within_classes_only():
    x = torch.tensor([0, 1, 0, 1]).view(4, 1, 1, 1).expand(4, 1, 2, 2)
    assert spread_within(x, torch.tensor([0, 1, 0, 1])) == 0
    assert spread_within(x, torch.tensor([0, 0, 1, 1])) == 1
    assert math.isnan(spread_within(x, torch.arange(4)))
    assert spread_within(2 * x[:, 0].float() - 1, torch.zeros(4)) == pytest.approx(4 / 6)


def test_steered_particles_come_to_the_tilted_law_as_there_are_more_of_them():
    law = tilted(4.0)

    def reward(x):
        return 4 * torch.nn.functional.logsigmoid(1.2 * (x.sum(1).double() - 3))

    away, g = [], generator(8)
    for count, runs in ((2, 300), (16, 60), (256, 6)):
        sets = [steer(ALL, (3,), reward, 12, count, generator=g) for _ in range(runs)]
        x = torch.cat([filling.x for filling in sets])
        weights = torch.cat([filling.weights for filling in sets]) / len(sets)
        away.append(distance(x, weights, law))
    assert away[0] > away[1] > away[2]
    assert away[0] > 0.1 and away[2] < 0.04


def test_without_a_reward_steering_is_plain_sampling():
    found = steer(ALL, (3,), lambda x: torch.zeros(len(x)), 5, 8, looks=1, generator=generator(9))
    assert torch.allclose(found.weights, torch.full((8,), 1 / 8, dtype=torch.float64))
    assert found.effective == pytest.approx(8)


def test_a_hard_reward_is_obeyed():
    """Only strings that begin with 2: all else weighs e^−40."""
    found = steer(ALL, (3,), lambda x: torch.where(x[:, 0] == 2, 0.0, -40.0), 30, 256,
                  generator=generator(10))
    law = torch.where(POINTS[:, 0] == 2, WEIGHTS.double(), 0.0)
    assert distance(found.x, found.weights, law / law.sum()) < 0.12


def test_mixed_data_are_steered_by_all_of_their_parts():
    from bfn_core import MixedFlow

    flow = MixedFlow(kind=DiscreteFlow(2, 6.0), size=ContinuousFlow(0.05))
    points = {"kind": torch.tensor([[0], [0], [1], [1]]),
              "size": torch.tensor([[-0.5], [0.5], [-0.5], [0.5]])}
    bfn = ExactBFN(flow, points, torch.tensor([0.4, 0.1, 0.1, 0.4]))
    found = steer(bfn, {"kind": (1,), "size": (1,)},
                  lambda x: 2.0 * (x["kind"] == 1)[:, 0] - 2.0 * (x["size"][:, 0] > 0), 20, 512,
                  generator=generator(11))
    both = found.weights[(found.x["kind"][:, 0] == 1) & (found.x["size"][:, 0] > 0)].sum()
    law = torch.tensor([0.4, 0.1 * math.exp(-2), 0.1 * math.exp(2), 0.4])
    assert float(both) == pytest.approx(float(law[3] / law.sum()), abs=0.08)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"count": 0}, "count must be a whole number of at least 1"),
        ({"n_steps": 0}, "n_steps must be"),
        ({"looks": 0}, "looks must be"),
        ({"log_reward": lambda x: torch.zeros(2)}, "log_reward must return a number for each of 4"),
        ({"log_reward": lambda x: 1.0}, "log_reward must return a number for each of 4"),
        ({"log_reward": lambda x: torch.full((4,), -math.inf)}, "log_reward must be finite"),
    ],
)
def test_bad_input_is_named(change, complaint):
    good = {"log_reward": lambda x: torch.zeros(4), "n_steps": 2, "count": 4}
    with pytest.raises(ValueError, match=complaint):
        steer(ALL, (3,), **{**good, **change})


def test_only_means_and_classes_are_mixed():
    from bfn_core import DiscretisedFlow

    flow = DiscretisedFlow(2, 0.1)
    bfn = ExactBFN(flow, flow.centres[:, None])
    with pytest.raises(ValueError, match="guidance mixes means or classes, got Binned"):
        GuidedBFN(bfn, bfn, 2.0).sample((1, 1), 1)


# The record of the shipped weights.


@pytest.fixture(scope="module")
def shipped_digits():
    from bfn_core import training

    return training.shipped("mnist_conditional").eval()


def test_the_tool_measures_what_the_record_says(shipped_digits):
    """On few digits: the bills of pairs, and a row of guided digits."""
    from bfn_core import data
    from tools.guidance import label_worth, measured

    record = data.record("guidance")
    images = data.mnist(stand_in=True)
    worth = label_worth(shipped_digits, images, 4, batch=2)
    saved = worth["nothing"]["nats"] - worth["told"]["nats"]
    assert worth["saved"]["nats"] == pytest.approx(saved) and worth["examples"] == 4
    row = measured(shipped_digits, 2.0, each=2, n=4)
    written = next(row for row in record["weights"] if row["weight"] == 2.0)
    assert row.keys() == written.keys()
    assert row["accuracy"] > 0.6 and 0.1 < row["diversity"] < 0.6


def test_the_record_of_guidance_is_of_the_shipped_weights():
    from bfn_core import data

    record = data.record("guidance")
    rows = {row["weight"]: row for row in record["weights"]}
    assert record["command"] == "python -m tools.guidance" and record["data"] == "MNIST"
    assert record["weights file"] == "mnist_conditional.safetensors"
    assert rows[2.0]["accuracy"] >= 0.97 and rows[0.0]["accuracy"] < 0.2
    assert rows[4.0]["feature diversity"] < rows[1.0]["feature diversity"]
    for row in rows.values():
        p = row["accuracy"]
        assert row["accuracy error"] == pytest.approx(
            math.sqrt(p * (1 - p) / (record["digits"] - 1)), abs=1e-9)
    saved = record["label"]["saved"]
    assert saved["nats"] > 5 * saved["standard error"] > 0


def test_a_label_tells_the_shipped_digits_what_they_are(shipped_digits):
    """A wrong label costs more than none, the right one less."""
    from bfn_core.data import drawn_digits
    from bfn_core.frechet import classifier

    x = drawn_digits()[:16]
    labels = classifier("mnist")(x).argmax(1)
    bills = {}
    for name, told in (("right", labels), ("nothing", None), ("wrong", (labels + 1) % 10)):
        with torch.no_grad():
            bills[name] = float(shipped_digits.loss(
                x, torch.full((16,), 0.2), condition=told, generator=generator(0)).mean())
    assert bills["right"] < bills["nothing"] < bills["wrong"]
