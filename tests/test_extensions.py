"""What a researcher adds: a schedule, a condition, mixed data, a sampler, a kind of belief."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import bfn_core.checks as checks
import bfn_core.flows as flows
from bfn_core import (
    BFN,
    ContinuousFlow,
    DiscreteFlow,
    DiscretisedFlow,
    ExactBFN,
    MixedFlow,
    Schedule,
    elbo,
)
from bfn_core.beliefs import first
from bfn_core.infilling import fill
from bfn_core.missing import MissingFlow
from bfn_core.model import SamplingStep
from bfn_core.networks.mlp import MLP
from bfn_core.networks.transformer import Transformer
from bfn_core.networks.unet import UNet
from bfn_core.samplers import Ancestral
from bfn_core.schedules import (
    CosineSchedule,
    EntropyLinearSchedule,
    GeometricSchedule,
    LinearSchedule,
    LogLinearSchedule,
    QuadraticSchedule,
    StraightPathSchedule,
    TableSchedule,
)
from tests.oracles import generator


class Cubic(Schedule):
    """The two methods that a schedule of one's own must have."""

    def beta(self, t):
        return 5.0 * t**3

    def rate(self, t):
        return 15.0 * t**2

    def __repr__(self):
        return "Cubic()"


SCHEDULES = [
    GeometricSchedule(0.02), GeometricSchedule(1e-3), QuadraticSchedule(2.0), LinearSchedule(99.0),
    CosineSchedule(99.0), EntropyLinearSchedule(3, 6.0), EntropyLinearSchedule(27, 20.0), Cubic(),
    LogLinearSchedule(99.0, 0.01), LogLinearSchedule(99.0, 30.0), StraightPathSchedule(99.0),
    TableSchedule([0.0, 0.13, 0.5, 1.0], [0.0, 0.4, 3.0, 99.0]),
]
TIMES = torch.linspace(0, 1, 201, dtype=torch.float64)


# Schedules ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_a_schedule_holds_together(schedule):
    beta = schedule.beta(TIMES)
    assert float(beta[0]) == 0 and bool((beta[1:] > beta[:-1]).all())
    for n in (1, 7, 50):
        parts = [schedule.alpha(i, n) for i in range(1, n + 1)]
        assert sum(parts) == pytest.approx(float(beta[-1]), rel=1e-9)
        together = schedule.alpha(torch.arange(1, n + 1).double(), n)
        torch.testing.assert_close(together, torch.tensor(parts, dtype=torch.float64))
    t = TIMES[:-1].clone().requires_grad_()
    slope = torch.autograd.grad(schedule.beta(t).sum(), t)[0]
    torch.testing.assert_close(schedule.rate(TIMES[:-1]), slope, rtol=1e-9, atol=1e-12)
    # There and back, at times where β tells one from the next.
    torch.testing.assert_close(schedule.time(beta), TIMES, rtol=1e-6, atol=1e-6)
    assert schedule.time(float(beta[77])) == pytest.approx(float(TIMES[77]), abs=1e-6)
    torch.testing.assert_close(schedule.gamma(TIMES) + schedule.rest(TIMES), torch.ones_like(TIMES))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_gamma_and_its_rest_keep_their_digits_in_single_precision(schedule):
    for t in (1e-6, 1e-3, 0.5, 0.999, 1.0):
        for name in ("beta", "gamma", "rest"):
            single = float(getattr(schedule, name)(torch.tensor(t, dtype=torch.float32)))
            true = getattr(schedule, name)(float(torch.tensor(t, dtype=torch.float32)))
            assert single == pytest.approx(true, rel=3e-4), (name, t)


def test_chembfns_schedule_is_the_published_formula():
    schedule, t = EntropyLinearSchedule(12, 2.0), 0.3
    assert schedule.beta(t) == pytest.approx(
        -(4 / 12) * math.log(1 - t + t * math.exp(-12 * 2.0 / 4))
    )
    assert schedule.beta(1.0) == pytest.approx(2.0)
    assert CosineSchedule(99.0).rest(0.5) == pytest.approx(math.cos(math.atan(99**0.5) / 2) ** 2)


def test_chembfns_schedule_holds_for_faint_messages_and_for_very_many_classes():
    for schedule in (EntropyLinearSchedule(2, 1e-6), EntropyLinearSchedule(3, 0.9),
                     EntropyLinearSchedule(27, 2.0), EntropyLinearSchedule(10_000, 0.5625)):
        true, single = schedule.beta(TIMES), schedule.beta(TIMES.float()).double()
        torch.testing.assert_close(single[1:], true[1:], rtol=1e-4, atol=0)
        numbers = torch.tensor([schedule.beta(t) for t in TIMES.tolist()], dtype=torch.float64)
        torch.testing.assert_close(numbers, true, rtol=1e-9, atol=0)
        assert schedule.beta(1.0) == pytest.approx(schedule.beta_1, rel=1e-12)
        assert all(schedule.alpha(i, 50) > 0 for i in (1, 49, 50))
        assert bool((schedule.alpha(torch.arange(1, 51).float(), 50) > 0).all())
        t = TIMES.clone().requires_grad_()
        slope = torch.autograd.grad(schedule.beta(t).sum(), t)[0]
        last = slice(None, -1) if schedule.classes > 27 else slice(None)  # e^1406 is no number
        torch.testing.assert_close(slope[last], schedule.rate(TIMES)[last], rtol=1e-9, atol=0)
        assert bool(slope.isfinite().all())


def test_schedules_of_diffusion_are_the_published_formulas():
    t = TIMES[:-1]
    paper = GeometricSchedule(0.1)
    for same in (LogLinearSchedule(99.0, 1.0), TableSchedule([0.0, 1.0], [0.0, 99.0])):
        torch.testing.assert_close(same.beta(TIMES), paper.beta(TIMES))
        torch.testing.assert_close(same.rate(t), paper.rate(t))
    line = LogLinearSchedule(99.0, 1e-5).beta(TIMES[100:]).log().diff()  # an even log-SNR
    torch.testing.assert_close(line, line.mean().expand(len(line)), rtol=2e-3, atol=0)
    flow_matching, share = StraightPathSchedule(99.0), 0.3 * 99**0.5 / (1 + 99**0.5)
    assert flow_matching.beta(0.3) == pytest.approx((share / (1 - share)) ** 2)
    assert flow_matching.beta(1.0) == pytest.approx(99.0)
    with pytest.raises(ValueError, match="offset must be above 0 and finite, got 0"):
        LogLinearSchedule(99.0, 0.0)


def test_a_table_goes_through_its_points_and_refuses_others():
    t, beta = torch.tensor([0.0, 0.2, 0.7, 1.0]), torch.tensor([0.0, 5.0, 6.0, 50.0])
    schedule = TableSchedule(t, beta)
    torch.testing.assert_close(schedule.beta(t.double()), beta.double())
    assert schedule.beta(0.45) == pytest.approx(math.sqrt(6 * 7) - 1)  # half way in ln(1 + β)
    assert float(schedule.beta(torch.tensor(0.45))) == pytest.approx(math.sqrt(6 * 7) - 1, rel=1e-5)
    for bad, word in (
        (([0.0, 0.5, 0.4, 1.0], [0.0, 1.0, 2.0, 3.0]), "t must be at least two numbers that asc"),
        (([0.0, 0.5, 1.0], [0.0, 2.0, 2.0]), "beta must be at least two numbers that ascend"),
        (([0.0, 0.5, 1.0], [0.1, 1.0, 2.0]), "beta must be .* numbers that ascend from 0, got"),
        (([0.0, 0.9], [0.0, 2.0]), "t must end at 1"),
        (([0.0, 1.0], [0.0, 1.0, 2.0]), "as long as beta"),
        (([0.0, 1.0], [0.0, math.inf]), "beta must be"),
    ):
        with pytest.raises(ValueError, match=word):
            TableSchedule(*bad)


def test_a_table_is_read_where_single_precision_cannot_tell_its_points_apart():
    schedule = TableSchedule([0.0, 0.5, 0.5 + 1e-9, 1.0 - 1e-9, 1.0], [0.0, 1.0, 2.0, 3.0, 4.0])
    t = torch.tensor([0.25, 0.5, 0.75, 1.0], requires_grad=True)
    beta = schedule.beta(t)
    expected = [2**0.5 - 1, 2.0, 12**0.5 - 1, 4.0]
    torch.testing.assert_close(beta, torch.tensor(expected), rtol=1e-5, atol=0)
    (slope,) = torch.autograd.grad(beta.sum(), t)
    assert slope.isfinite().all() and schedule.rate(t).isfinite().all()
    steep = TableSchedule([0.0, 0.5, 1.0], [0.0, 5.0, 5.0 + 1e-9])
    assert steep.time(torch.tensor([2.0, 5.0])).tolist() == pytest.approx([0.306574, 1.0], rel=1e-5)


@pytest.mark.parametrize("make", [
    lambda s: ContinuousFlow(schedule=s), lambda s: DiscretisedFlow(4, schedule=s),
    lambda s: DiscreteFlow(4, schedule=s),
], ids=["continuous", "discretised", "discrete"])
def test_wish_1_an_own_schedule(make):
    """Messages in any portions tell the same in all: a perfect network's bill does not change."""
    flows = [make(Cubic()), make(LinearSchedule(5.0))]
    for flow in flows:
        assert flow.beta(1.0) == pytest.approx(5.0)
        assert type(flow.schedule).__name__ in repr(flow)
    points = torch.arange(4).unsqueeze(1)
    if isinstance(flows[0], DiscretisedFlow):
        points = flows[0].centres.unsqueeze(1)
    elif isinstance(flows[0], ContinuousFlow):
        points = points / 2 - 0.75
    bills = [elbo(ExactBFN(flow, points), points.repeat(2000, 1), generator=generator(0)).messages
             for flow in flows]
    error = bills[0].standard_error + bills[1].standard_error
    assert abs(bills[0].mean - bills[1].mean) < 4 * error
    with pytest.raises(ValueError, match="t must lie in"):
        flows[0].beta(1.5)


def test_a_flow_says_what_is_missing_or_at_odds():
    for make in (lambda: ContinuousFlow(), lambda: DiscretisedFlow(4)):
        with pytest.raises(ValueError, match="sigma_1 must lie between 0 and 1, got None"):
            make()
    with pytest.raises(ValueError, match="beta_1 must be above 0 and finite, got None"):
        DiscreteFlow(3)
    with pytest.raises(ValueError, match="beta_1 must be that of the schedule, 5, got 2"):
        DiscreteFlow(3, 2.0, schedule=Cubic())
    assert DiscreteFlow(3, 5.0, schedule=Cubic()).beta_1 == 5.0
    assert ContinuousFlow(schedule=LinearSchedule(99.0)).sigma_1 == pytest.approx(0.1)
    assert ContinuousFlow(0.05, schedule=LinearSchedule(99.0)).sigma_1 == 0.05


# Conditions --------------------------------------------------------------------------------------


class Told(nn.Module):
    """Says in its output exactly what it was told: K logits for each of D variables."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(9.0))
        self.heard = []

    def forward(self, inputs, t, condition=None):
        self.heard.append(condition)
        if condition is None:
            return torch.zeros_like(inputs)
        label = condition["label"] if isinstance(condition, dict) else condition
        return self.scale * nn.functional.one_hot(label, 3).unsqueeze(1).expand_as(inputs)


@pytest.mark.parametrize("form", ["tensor", "dict"])
def test_wish_2_a_condition_reaches_the_network_everywhere(form):
    bfn = BFN(DiscreteFlow(3, 1.0), Told())
    label = torch.tensor([0, 1, 2, 1, 0])
    x, told = label.unsqueeze(1).repeat(1, 4), label if form == "tensor" else {"label": label}
    assert bfn.loss(x, condition=told).max() < 0.1 < 1 < bfn.loss(x).mean()
    assert bfn.loss_n(x, 3, condition=told).max() < 0.1
    assert bfn.reconstruction_loss(x, condition=told).max() < 0.1
    assert torch.equal(bfn.sample(x.shape, 2, condition=told, final="mode"), x)
    assert elbo(bfn, x, condition=told, batch_size=2).total.mean < 0.1 < elbo(bfn, x).total.mean
    known = torch.tensor([True, False, False, False])
    one = label[1] if form == "tensor" else {"label": label[1]}
    assert torch.equal(fill(bfn, x[1], known, 2, 6, condition=one).x, x[1].expand(6, 4))


def test_a_network_without_condition_is_called_as_ever():
    class Plain(nn.Module):
        def forward(self, inputs, t):
            return inputs.log()

    bfn = BFN(DiscreteFlow(3, 1.0), Plain())
    assert bfn.loss(torch.zeros(2, 4, dtype=torch.int64)).shape == (2,)


def test_conditions_must_be_as_many_as_the_data():
    bfn, x = BFN(DiscreteFlow(3, 1.0), Told()), torch.zeros(4, 2, dtype=torch.int64)
    with pytest.raises(ValueError, match="condition must hold as much as the data, 4, got 3"):
        elbo(bfn, x, condition=torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="condition needs data that are one tensor"):
        elbo(bfn, [x], condition=torch.zeros(4, dtype=torch.int64))
    with pytest.raises(ValueError, match="condition must be None: an ExactBFN knows its points"):
        ExactBFN(DiscreteFlow(3, 1.0), x).loss(x, condition=torch.zeros(4, dtype=torch.int64))


NETWORKS = {
    "unet": (UNet(1, channels=8, multipliers=(1, 2), attention=(), labels=3, hints=2),
             torch.rand(4, 1, 8, 8), torch.rand(4, 2, 8, 8)),
    "transformer": (Transformer(5, 6, layers=1, heads=2, width=16, labels=3, hints=2),
                    torch.rand(4, 6, 5), torch.rand(4, 6, 2)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_read_labels_and_hints(name):
    network, inputs, hints = NETWORKS[name]
    torch.manual_seed(0)
    for p in network.parameters():  # the last layers begin at 0, where every output is the same
        nn.init.normal_(p, std=0.1)
    network.eval()
    t, label = torch.full((4,), 0.5), torch.tensor([0, 1, 2, -1])
    without = network(inputs, t)
    both = network(inputs, t, {"label": label, "hints": hints})
    for part in (label, hints):
        told = network(inputs, t, part)
        changed = (told - without).flatten(1).abs().amax(1) > 1e-6
        # −1 is an unknown label, as good as none.
        assert changed.tolist() == [True, True, True, part is hints]
        assert not torch.allclose(told, both)
    with pytest.raises(ValueError, match=r"label must be int64 of shape \(4,\)"):
        network(inputs, t, label[:3])
    for wrong in (-5, 3):  # 3 is the row of what is unknown
        with pytest.raises(ValueError, match="label must lie in −1…2, .*, got values from"):
            network(inputs, t, torch.tensor([0, 1, wrong, 2]))
    with pytest.raises(ValueError, match="hints must have shape"):
        network(inputs, t, hints[..., :1])
    plain = type(network)(*((1,) if name == "unet" else (5, 6)))
    assert not any("label" in key for key in plain.state_dict())
    with pytest.raises(ValueError, match="labels=0 and hints=0"):
        plain(inputs, t, label)


# Mixed data --------------------------------------------------------------------------------------

MIXED = MixedFlow(kinds=DiscreteFlow(3, 8.0), places=ContinuousFlow(0.1))


class Pair(nn.Module):
    """An MLP that reads and writes both parts of a molecule of two atoms."""

    def __init__(self):
        super().__init__()
        self.body = MLP(2 * 3 + 2, (2 * 3 + 2,), hidden=16, depth=1)

    def forward(self, inputs, t):
        both = torch.cat([inputs["kinds"].flatten(1), inputs["places"]], 1)
        raw = self.body(both, t)
        return {"kinds": raw[:, :6].reshape(-1, 2, 3), "places": raw[:, 6:]}


def molecules(count=6):
    kinds = torch.randint(3, (count, 2), generator=generator(0))
    return {"kinds": kinds, "places": kinds / 2 - 0.4}


def test_wish_3_classes_and_numbers_in_one_example():
    x, bfn = molecules(), BFN(MIXED, Pair())
    bfn.loss(x).mean().backward()
    assert bfn.loss(x).shape == bfn.loss_n(x, 3).shape == bfn.reconstruction_loss(x).shape == (6,)
    assert elbo(bfn, x, batch_size=4).total.count == 6
    drawn = bfn.sample({"kinds": (5, 2), "places": (5, 2)}, 3, generator=generator(1))
    assert drawn["kinds"].dtype == torch.int64 and drawn["places"].shape == (5, 2)
    one = {name: part[0] for name, part in x.items()}
    known = {"kinds": torch.tensor([True, False]), "places": torch.tensor([False, True])}
    filled = fill(bfn, one, known, 3, 4).x
    assert bool((filled["kinds"][:, 0] == one["kinds"][0]).all())
    assert bool((filled["places"][:, 1] == one["places"][1]).all())


def test_mixed_costs_are_the_sum_of_the_parts():
    x, t = molecules(), torch.full((6,), 0.4)
    exact = ExactBFN(MIXED, x)
    theta = MIXED.sample_flow(x, t, generator(0))
    output = exact.output(theta, t)
    both = MIXED.rate_cost(x, output, t)
    parts = [flow.rate_cost(x[name], output[name], t) for name, flow in MIXED.flows.items()]
    torch.testing.assert_close(both, torch.cat(parts, 1))
    final = MIXED.final_cost(x, output).sum(1)
    parts = [flow.final_cost(x[name], output[name]).sum(1) for name, flow in MIXED.flows.items()]
    torch.testing.assert_close(final, sum(parts))


def test_a_perfect_network_for_mixed_data_pays_the_entropy():
    """The places say the kinds and the other way round: the whole costs what one of them would."""
    flow = MixedFlow(a=DiscreteFlow(3, 12.0), b=DiscretisedFlow(3, 0.05))
    kinds = torch.tensor([[0], [1], [2]])
    x = {"a": kinds, "b": flow.flows["b"].centres[kinds]}
    bfn = ExactBFN(flow, x)
    assert bfn.entropy() == pytest.approx(math.log(3))
    many = {name: part.repeat(3000, 1) for name, part in x.items()}
    bound = elbo(bfn, many, generator=generator(0)).total
    assert abs(bound.mean - math.log(3)) < 4 * bound.standard_error
    drawn = bfn.sample({"a": (4000, 1), "b": (4000, 1)}, 40, generator=generator(1))
    agree = (flow.flows["b"].index(drawn["b"]) == drawn["a"]).float().mean()
    assert agree > 0.99
    share = torch.bincount(drawn["a"].flatten(), minlength=3) / 4000
    assert float((share - 1 / 3).abs().max()) < 0.03


def test_names_may_have_dots_as_columns_of_a_table_have():
    flow = MixedFlow(**{"Sepal.Length": ContinuousFlow(0.1), "kind": DiscreteFlow(3, 8.0)})
    x = {"Sepal.Length": torch.tensor([[0.5], [-0.5]]), "kind": torch.tensor([[1], [2]])}
    bfn = ExactBFN(flow, x)
    assert list(bfn.data) == list(x) and bfn.data["Sepal.Length"] is x["Sepal.Length"]
    posterior = bfn.posterior(flow.sample_flow(x, 1.0, generator(0)))
    assert torch.allclose(posterior, torch.eye(2, dtype=torch.float64), atol=1e-3)


def test_mixed_data_that_do_not_fit_are_refused_by_name():
    x = molecules()
    for wrong, said in [
        ({"kinds": x["kinds"]}, r"x must be a dict with the names \['kinds', 'places'\]"),
        (x["kinds"], "x must be a dict with the names"),
        ({**x, "places": x["places"] * 9}, r"x\['places'\]: x must lie in"),
        ({**x, "places": x["places"][:3]}, "as many examples under each name"),
    ]:
        with pytest.raises(ValueError, match=said):
            MIXED.check(wrong)
    with pytest.raises(ValueError, match="takes flows by name"):
        MixedFlow()


# Messages, beliefs, samplers ---------------------------------------------------------------------


@pytest.mark.parametrize("flow", [
    ContinuousFlow(0.1), DiscretisedFlow(4, 0.1), DiscreteFlow(4, 3.0),
    MixedFlow(a=DiscreteFlow(4, 3.0), b=ContinuousFlow(0.1)),
], ids=lambda flow: type(flow).__name__)
def test_a_conversation_ends_where_the_flow_says(flow):
    kinds = torch.arange(4).repeat(2000).unsqueeze(1)
    places = flow.centres[kinds] if isinstance(flow, DiscretisedFlow) else kinds / 2 - 0.75
    x = {"ContinuousFlow": places, "DiscretisedFlow": places, "DiscreteFlow": kinds,
         "MixedFlow": {"a": kinds, "b": places}}[type(flow).__name__]
    steps = list(flow.messages(x, 6, generator=generator(0)))
    assert len(steps) == 6
    inputs, at_once = flow.network_input(steps[-1][1]), flow.sample_flow(x, 1.0, generator(1))
    pairs = [(inputs, flow.network_input(at_once))]
    if isinstance(inputs, dict):
        pairs = [(inputs[name], pairs[0][1][name]) for name in inputs]
    for one, other in pairs:  # the same in law: the means, within their error
        error = (one.var(0) / len(one) + other.var(0) / len(one)).sqrt()
        assert bool(((one.mean(0) - other.mean(0)).abs() <= 4.5 * error + 1e-6).all())
    with pytest.raises(ValueError, match="n must be a whole number"):
        flow.messages(x, 0)
    own = [flow.alpha(i, 6) for i in range(1, 7)]  # the same accuracies, given one by one
    again = list(flow.messages(x, own, generator=generator(0)))
    (_, loud), = flow.messages(x, [flow.alpha(1, 1)], generator=generator(0))

    def read(theta):
        return first(flow.network_input(theta))

    assert all(torch.equal(read(a), read(b)) for (_, a), (_, b) in zip(steps, again, strict=True))
    assert not torch.equal(read(loud), read(steps[0][1]))


def test_wish_5_an_own_kind_of_belief_needs_its_flow_alone():
    """A flow whose messages count twice: the exact network asks it, and no list of kinds."""

    class Doubled(DiscreteFlow):
        def log_likelihood(self, theta, points):
            return 2.0 * super().log_likelihood(theta, points)

    points = torch.tensor([[0], [1], [2]])
    flow, plain = Doubled(3, 2.0), DiscreteFlow(3, 2.0)
    theta = plain.sample_flow(points, 0.7, generator(0))
    sharper = ExactBFN(flow, points).posterior(theta)
    expected = ExactBFN(plain, points).posterior(theta).square()
    torch.testing.assert_close(sharper, expected / expected.sum(1, keepdim=True))


@dataclass(frozen=True)
class Impatient:
    """A sampler of one's own: one look at the prior, and no message at all."""

    def steps(self, bfn, shape, n, *, condition, generator):
        theta = bfn.flow.prior(shape)
        yield SamplingStep(0, 0.0, theta, bfn.output(theta, 0.0, condition=condition))


def test_messages_may_be_about_means_where_data_have_gaps():
    points = torch.tensor([[-0.5, 0.5], [0.5, -0.5]])
    plain = ContinuousFlow(0.1)
    for flow, x in [(plain, points), (MixedFlow(a=plain, b=plain), {"a": points, "b": points})]:
        shape = {"a": (4, 2), "b": (4, 2)} if isinstance(x, dict) else (4, 2)
        gaps = MissingFlow(plain) if flow is plain else MixedFlow(a=MissingFlow(plain), b=plain)
        drawn = [ExactBFN(f, x).sample(shape, 3, sampler=Ancestral("mean"), generator=generator(0))
                 for f in (flow, gaps)]
        torch.testing.assert_close(drawn[1], drawn[0], rtol=0.0, atol=0.0)
    with pytest.raises(ValueError, match='guess must be "draw" for classes'):
        classes = ExactBFN(MissingFlow(DiscreteFlow(3, 4.0)), torch.tensor([[0], [1]]))
        classes.sample((4, 1), 3, sampler=Ancestral("mean"))


def test_a_sampler_of_ones_own():
    bfn = ExactBFN(DiscreteFlow(3, 4.0), torch.tensor([[0, 0], [1, 1], [2, 2]]))
    shape = (3000, 2)
    as_ever = bfn.sample(shape, 20, generator=generator(0))
    named = bfn.sample(shape, 20, sampler=Ancestral(), generator=generator(0))
    assert torch.equal(as_ever, named)
    assert float((named[:, 0] == named[:, 1]).float().mean()) > 0.95
    hasty = bfn.sample(shape, 20, sampler=Impatient(), generator=generator(0))
    assert float((hasty[:, 0] == hasty[:, 1]).float().mean()) == pytest.approx(1 / 3, abs=0.05)


def test_errors_name_the_argument_that_came():
    bfn = ExactBFN(DiscreteFlow(3, 4.0), torch.tensor([[0]]))
    with pytest.raises(ValueError, match="n_steps must be a whole number of at least 1, got 0"):
        bfn.sample((1, 1), n_steps=0)
    with pytest.raises(ValueError, match="t must be given with theta"):
        bfn.loss(torch.tensor([[0]]), theta=bfn.flow.prior((1, 1)))


def test_x_is_looked_at_once_in_a_step(monkeypatch):
    """Also where the flow's own public methods, which check too, are called below."""
    looks = []
    real = checks.within
    for module in (checks, flows):
        monkeypatch.setattr(module, "within", lambda *a: looks.append(a) or real(*a))
    for flow, outputs in ((ContinuousFlow(0.1), (4,)), (DiscretisedFlow(8, 0.1), (4, 2))):
        x = torch.full((2, 4), 0.125)
        bfn = BFN(flow, MLP(4, outputs, hidden=4, depth=1))
        for act in (bfn.loss, lambda x, bfn=bfn: bfn.loss_n(x, 3), bfn.reconstruction_loss):
            looks.clear()
            act(x)
            assert sum(getattr(a[0], "shape", None) == x.shape for a in looks) == 1  # or at times
        looks.clear()
        bfn.output(flow.prior((2, 4)), torch.tensor([0.5, 0.6]))
        assert len(looks) == 1
