"""The fast samplers against exact maps, published formulas, and laws that are known."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from bfn_core import (
    BFN,
    ContinuousFlow,
    DiscreteFlow,
    DiscretisedFlow,
    ExactBFN,
    FixedNoise,
    MixedFlow,
    Solver,
    elbo,
)
from bfn_core.clocks import ONE_FIRST, paths
from bfn_core.data.toy import GaussianMixture
from bfn_core.infilling import fill
from bfn_core.missing import MissingFlow
from bfn_core.samplers import Ancestral
from bfn_core.schedules import (
    CosineSchedule,
    EntropyLinearSchedule,
    LinearSchedule,
    LogLinearSchedule,
    StraightPathSchedule,
    TableSchedule,
)
from bfn_core.solvers import RULES, SPACINGS, _Channel, spaced, steps_within
from tests.oracles import Normal, correlated_table, generator
from tools.fast_samplers import SAMPLERS, energy_distance

MEAN, STD = 0.2, 0.3  # of normal data, as Normal has them by default
ALL = [Solver(rule, spacing, noise) for rule in RULES for spacing in SPACINGS for noise in (0, 0.6)]
ALL += [FixedNoise(), FixedNoise("root")]


class Told(nn.Module):
    """Logits, or noise, of what it is told alone."""

    def forward(self, inputs, t, condition=None):
        return inputs + condition.reshape(-1, *[1] * (inputs.dim() - 1))


def normal_error(sampler, n, sigma_1=0.02):
    """Mean distance between a solver's end and the exact map v(r) = r m + √(1 + τ²r²) ε."""
    bfn = Normal(ContinuousFlow(sigma_1, data_range=None))
    steps = list(bfn.sampling_steps((200, 1), n, sampler=sampler, generator=generator(0)))
    noise = torch.randn(200, 1, generator=generator(0), dtype=torch.float64)
    root = bfn.flow.beta(1.0) ** 0.5
    v = steps[-1].theta.mean * (1 + root**2) / root
    return float((v / root - MEAN - (1 / root**2 + STD**2) ** 0.5 * noise).abs().mean())


def tv(x, weights, classes):
    """Total variation between rows of x, (N, D), and a table of all strings in order."""
    size = x.shape[1]
    place = torch.tensor([classes ** (size - 1 - d) for d in range(size)])
    count = torch.bincount((x * place).sum(1), minlength=classes**size).double()
    return float(0.5 * (count / len(x) - weights.double() / weights.double().sum()).abs().sum())


def tv_noise(weights, count):
    """What the total variation of `count` exact draws is on average, at most."""
    p = weights.double() / weights.double().sum()
    return float(0.5 * (2 / math.pi * p * (1 - p) / count).sqrt().sum())


# Orders, and exact maps --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "ratio", "bound"),
    [("euler", 1.7, 0.08), ("ab2", 3.0, 0.01), ("heun", 3.5, 0.02), ("midpoint", 3.0, 0.003)],
)
def test_the_error_falls_as_the_order_says(rule, ratio, bound):
    """Twice the steps: half the error of a rule of first order, a quarter of one of second."""
    assert normal_error(Solver(rule), 10) < bound
    assert normal_error(Solver(rule, "log"), 10) < bound
    coarse, fine = (normal_error(Solver(rule), n) for n in (20, 40))
    assert coarse / fine > ratio
    if rule == "euler":
        assert coarse / fine < 2.6


def test_the_first_step_is_what_makes_ab2_of_second_order():
    """With Euler's in its place the error only halves."""
    def first_by_euler(n):
        bfn, times = Normal(ContinuousFlow(0.02, data_range=None)), spaced(ContinuousFlow(0.02), n)
        channel = _Channel(bfn, (200, 1), None, generator(0), None)
        v, before = channel.noise(), None
        noise = v[""]
        for i, t in enumerate(times[:-1]):
            x = channel.guess(v, t)[2]
            use = x if before is None else channel.extrapolate(
                times[i - 1], t, times[i + 1], before, x)
            v, before = channel.step(v, t, times[i + 1], use, 0.0), x
        root = bfn.flow.beta(1.0) ** 0.5
        truth = MEAN + (1 / root**2 + STD**2) ** 0.5 * noise
        return float((v[""] / root - truth).abs().mean())

    assert first_by_euler(20) / first_by_euler(40) < 2.6
    assert first_by_euler(20) > 4 * normal_error(Solver("ab2"), 20)


@pytest.mark.parametrize("schedule", [
    CosineSchedule(400.0), LinearSchedule(99.0), EntropyLinearSchedule(3, 6.0),
    LogLinearSchedule(99.0, 0.01), StraightPathSchedule(99.0),
    TableSchedule([0.0, 0.1, 0.6, 1.0], [0.0, 2.0, 20.0, 99.0])])
def test_every_schedule_can_be_walked(schedule):
    bfn = Normal(ContinuousFlow(schedule=schedule, data_range=None))
    for spacing in SPACINGS:
        times = spaced(bfn.flow, 7, spacing)
        assert times[0] == 0 and times[-1] == 1 and times == sorted(set(times))
        steps = list(bfn.sampling_steps(
            (50_000, 1), 40, sampler=Solver("midpoint", spacing), generator=generator(0)))
        std = (1 / bfn.flow.beta(1.0) + STD**2) ** 0.5 * bfn.flow.gamma(1.0)
        assert float(steps[-1].theta.mean.std()) == pytest.approx(std, rel=0.02)


def test_grids():
    discrete, continuous = DiscreteFlow(27, 0.5), ContinuousFlow(0.02)
    even = [i / 8 for i in range(9)]
    for flow in (discrete, continuous):
        assert spaced(flow, 8, "time") == even
    assert spaced(discrete, 8, "root") == pytest.approx(even)  # β = β(1) t²
    roots = [continuous.beta(t) ** 0.5 for t in spaced(continuous, 8, "root")]
    assert roots == pytest.approx([roots[-1] * i / 8 for i in range(9)])
    beta = [continuous.beta(t) for t in spaced(continuous, 8, "log")]
    assert beta[:2] == pytest.approx([0.0, 0.3])
    assert [b / a for a, b in itertools.pairwise(beta[1:])] == pytest.approx(
        [(beta[-1] / 0.3) ** (1 / 7)] * 7)
    assert discrete.beta(spaced(discrete, 8, "log")[1]) == pytest.approx(0.5 / 4)
    assert all(spaced(flow, 1, s) == [0, 1] for flow in (discrete, continuous) for s in SPACINGS)


# Published formulas ------------------------------------------------------------------------------


def test_eulers_rule_with_noise_1_is_the_papers_sampler():
    """v' is flow.update with the message y = x̂ + z/√α, of the same z (49, 50)."""
    flow, n = ContinuousFlow(0.1, data_range=None), 6
    bfn = Normal(flow)
    steps = list(bfn.sampling_steps(
        (5, 3), n, sampler=Solver("euler", noise=1.0), generator=generator(1)))
    rng = generator(1)
    first = torch.randn(5, 3, generator=rng, dtype=torch.float64)
    theta = flow.prior((5, 3), dtype=torch.float64)
    for i in range(1, n + 1):
        alpha = flow.alpha(i, n)
        z = first if i == 1 else torch.randn(5, 3, generator=rng, dtype=torch.float64)
        theta = flow.update(theta, bfn.output(theta, 0.0).mean + z / alpha**0.5, alpha)
        torch.testing.assert_close(steps[i].theta.mean, theta.mean, rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(steps[i].theta.precision, theta.precision)


def test_eulers_rule_is_bfn_solver_1():
    """Xue et al. 2024: μ_t = (a_t/a_s) μ_s − σ_t (e^h − 1) ε̂, and for discrete data
    z_t = (1 − t)/(1 − s) z_s + β(1)(1 − t) K (t − s)(1/K − ê); their times run down.
    """
    flow, n = ContinuousFlow(0.05, data_range=None), 5
    bfn = Normal(flow)
    steps = list(bfn.sampling_steps((4, 2), n, sampler=Solver("euler"), generator=generator(2)))
    for now, then in itertools.pairwise(steps[1:]):
        (a, sig), (a_t, sig_t) = (
            (g, (g * (1 - g)) ** 0.5) for g in (flow.gamma(now.t), flow.gamma(then.t)))
        h = math.log(a_t / sig_t) - math.log(a / sig)
        noise = (now.theta.mean - a * now.output.mean) / sig
        mean = a_t / a * now.theta.mean - sig_t * math.expm1(h) * noise
        torch.testing.assert_close(then.theta.mean, mean)

    points, weights = correlated_table(3, 2)
    exact = ExactBFN(DiscreteFlow(3, 4.0), points, weights)
    steps = list(exact.sampling_steps((4, 2), n, sampler=Solver("euler"), generator=generator(2)))
    for now, then in itertools.pairwise(steps[1:]):
        s, t = 1 - now.t, 1 - then.t
        z = (1 - t) / (1 - s) * now.theta.logits
        z = z + 4.0 * (1 - t) * 3 * (t - s) * (1 / 3 - now.output.probs)
        torch.testing.assert_close(then.theta.logits, z.log_softmax(-1))


def test_ab2_on_the_papers_discrete_grid_is_nearly_bfn_solver_2():
    """There X̂ is continued evenly in r, X̂ + (X̂ − X̂⁻)/2, to which asinh r comes where β(1) → 0."""
    points, weights = correlated_table(3, 2)
    exact = ExactBFN(DiscreteFlow(3, 1e-4), points, weights)
    n = 6
    steps = list(exact.sampling_steps((4, 2), n, sampler=Solver("ab2"), generator=generator(2)))
    channel = _Channel(exact, (4, 2), None, generator(2), None)
    v = {name: x / 1.0 for name, x in channel.noise().items()}
    before = None
    for i in range(n):
        t, after = i / n, (i + 1) / n
        x = channel.guess(v, t)[2]
        if i == 0:
            use = channel.look_ahead(v, t, after, x, False)
        else:
            use = {"": x[""] + (x[""] - before[""]) / 2}
        v, before = {"": v[""] + 0.01 / n * use[""]}, x
    torch.testing.assert_close(
        steps[-1].theta.logits, (0.01 * v[""]).log_softmax(-1), rtol=0, atol=1e-6)


# Laws --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3])
def test_one_variable_is_sampled_exactly_by_any_number_of_drawn_messages(n):
    points, weights = torch.arange(4).unsqueeze(1), torch.tensor([0.5, 0.3, 0.15, 0.05])
    bfn = ExactBFN(DiscreteFlow(4, 2.0), points, weights)
    x = bfn.sample((40_000, 1), n, generator=generator(n))
    assert tv(x, weights, 4) < 3 * tv_noise(weights, 40_000)
    mean = bfn.sample((40_000, 1), n, sampler=Solver("euler", noise=1.0), generator=generator(n))
    assert tv(mean, weights, 4) > 5 * tv_noise(weights, 40_000)  # messages about the mean are not


@pytest.mark.parametrize("sampler", [
    Solver("ab2"), Solver("midpoint"), Solver("heun", "log"), Solver("ab2", noise=1.0),
    Solver("midpoint", noise=1.0), Solver("heun", noise=0.5)])
@pytest.mark.parametrize("kind", ["continuous", "discrete"])
def test_samples_follow_the_data_and_sooner_than_the_ancestral_ones(sampler, kind):
    if kind == "discrete":
        points, weights = correlated_table(3, 3, seed=1)
        bfn, count, n = ExactBFN(DiscreteFlow(3, 9.0), points, weights), 4_000, 16
        near, far = (tv(bfn.sample((count, 3), n, sampler=s, generator=generator(0)), weights, 3)
                     for s in (sampler, Ancestral()))
        assert near < 2.5 * tv_noise(weights, count) and near < far
    else:
        points, weights = GaussianMixture(std=0.1).grid(101)
        bfn, count, n = ExactBFN(ContinuousFlow(0.05), points, weights), 2_000, 20
        x, y = (bfn.sample((count, 1), n, sampler=s, generator=generator(0)).sort(0).values
                for s in (sampler, Ancestral()))
        cdf = weights.cumsum(0)
        level = (torch.arange(count) + 0.5) / count
        true = points[torch.searchsorted(cdf, level).clamp(max=100)]
        assert float((x - true).abs().mean()) < 0.03 < float((y - true).abs().mean()) * 2


@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_the_way_back_and_the_noise_of_a_step_keep_the_law(noise):
    """v = rX + ε of N(0, τ²) has the variance 1 + τ²r²: at any earlier time, and after a step."""
    flow = ContinuousFlow(0.02, data_range=None)
    bfn, count = Normal(flow, mean=0.0), 200_000
    channel = _Channel(bfn, (count, 1), None, generator(3), None)
    r = flow.beta(0.5) ** 0.5
    v = {"": (1 + STD**2 * r**2) ** 0.5 * channel.noise()[""]}
    earlier, t = channel.back(v, 0.5, 0.7, noise)
    old, new = flow.beta(t) ** 0.5, flow.beta(0.7) ** 0.5
    assert old / r == pytest.approx((r / new) ** noise)
    assert float(earlier[""].var()) == pytest.approx(1 + STD**2 * old**2, rel=0.02)
    joint = float((earlier[""] * v[""]).mean())  # and the two times go together as they should
    assert joint == pytest.approx(old / r * (1 + STD**2 * r**2), rel=0.02)
    told = torch.full((count, 1), 0.4, dtype=torch.float64)  # X̂ that does not change
    v = {"": r * told + channel.noise()[""]}
    after = channel.step(v, 0.5, 0.7, {"": told}, noise)[""] - new * told
    assert float(after.mean()) == pytest.approx(0.0, abs=0.01)
    assert float(after.var()) == pytest.approx(1.0, rel=0.02)
    kept = float((after * (v[""] - r * told)).mean())
    assert kept == pytest.approx((r / new) ** noise, abs=0.01)


def test_fixed_noise_has_the_law_that_its_docstring_warns_of():
    """x̂ = a z: a' = τ²(β a + √β)/(1 + τ²β) from step to step, and τ²√β in the limit, not τ."""
    flow, std = ContinuousFlow(0.05, data_range=None), 0.2
    bfn, root = Normal(flow, 0.0, std), flow.beta(1.0) ** 0.5
    found = {}
    for n in (5, 20, 4000):
        steps = bfn.sampling_steps((300, 1), n, sampler=FixedNoise(), generator=generator(0))
        *_, last = steps
        z = torch.randn(300, 1, generator=generator(0), dtype=torch.float64)
        share = 0.0
        for i in range(1, n + 1):
            beta = flow.beta(i / n)
            share = std**2 * (beta * share + beta**0.5) / (1 + std**2 * beta)
        torch.testing.assert_close(last.output.mean, share * z)
        found[n] = share
    assert found[5] < found[20] < found[4000]
    assert found[4000] == pytest.approx(std**2 * root, rel=0.02) and std**2 * root > 3 * std


def test_the_excess_bill_bounds_the_samplers_error():
    """TV ≤ √(KL/2) (Pinsker), and KL(data's path ‖ the ancestral one) = L^n − L^∞."""
    points, weights = correlated_table(3, 3, seed=1)
    bfn = ExactBFN(DiscreteFlow(3, 9.0), points, weights)
    index = torch.multinomial(weights, 4_000, replacement=True, generator=generator(0))
    least = elbo(bfn, points[index], repeats=16, generator=generator(1)).messages
    for n in (1, 3):
        bill = elbo(bfn, points[index], n, repeats=16, generator=generator(2)).messages
        excess = bill.mean - least.mean
        error = math.hypot(bill.standard_error, least.standard_error)
        found = tv(bfn.sample((20_000, 3), n, generator=generator(3)), weights, 3)
        assert excess > 3 * error
        assert found < math.sqrt((excess + 3 * error) / 2)
        assert found > 2 * tv_noise(weights, 20_000)  # there is something to bound


# All flows, conditions, gaps ---------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ALL, ids=str)
def test_every_flow_is_sampled_with_as_many_calls_as_promised(sampler):
    points = torch.tensor([[0, 1], [1, 2], [2, 0]])
    discretised = DiscretisedFlow(4, 0.1)
    mixed = MixedFlow(a=DiscreteFlow(3, 2.0), b=discretised)
    for flow, data in (
        (DiscreteFlow(3, 2.0), points), (discretised, discretised.centres[points]),
        (ContinuousFlow(0.1), points / 2.0 - 0.5),
        (mixed, {"a": points, "b": discretised.centres[points]}),
    ):
        bfn, times = ExactBFN(flow, data), []
        output = bfn.output
        bfn.output = lambda theta, t, output=output, times=times: (
            times.append(t), output(theta, t))[1]
        shape = {"a": (9, 2), "b": (9, 2)} if flow is mixed else (9, 2)
        draws = [bfn.sample(shape, 7, sampler=sampler, generator=generator(4)) for _ in range(2)]
        assert len(times) == 2 * sampler.calls(7)
        assert all(0 <= t <= 1 for t in times)
        flow.check(draws[0])
        for one, two in zip(*(d.values() if flow is mixed else [d] for d in draws), strict=True):
            assert one.shape == (9, 2) and torch.equal(one, two)


def test_parts_of_mixed_data_that_have_nothing_to_do_with_each_other_go_their_own_ways():
    """With the same schedule, each as it would alone."""
    schedule = LinearSchedule(8.0)
    one, two = torch.tensor([[-0.5], [0.7]]), torch.tensor([[0], [1], [1]])
    flows = {"x": ContinuousFlow(schedule=schedule), "k": DiscreteFlow(2, schedule=schedule)}
    pairs = [(i, j) for i in range(2) for j in range(3)]
    both = {"x": one[[i for i, _ in pairs]], "k": two[[j for _, j in pairs]]}
    together = ExactBFN(MixedFlow(**flows), both)
    for sampler in (Solver("euler"), Solver("ab2"), Solver("midpoint", "log"), Solver("heun")):
        rng = generator(5)
        steps = list(together.sampling_steps({"x": (6, 1), "k": (6, 1)}, 5, sampler=sampler,
                                             generator=rng))
        rng = generator(5)  # the parts draw their noise one after the other
        alone = list(ExactBFN(flows["x"], one).sampling_steps((6, 1), 5, sampler=sampler,
                                                              generator=rng))
        torch.testing.assert_close(steps[-1].theta["x"].mean, alone[-1].theta.mean)
        alone = list(ExactBFN(flows["k"], two).sampling_steps((6, 1), 5, sampler=sampler,
                                                              generator=rng))
        torch.testing.assert_close(steps[-1].theta["k"].logits, alone[-1].theta.logits)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["kinds first", "places first"])
def test_any_rule_goes_on_while_a_clock_stands_still(name, rule):
    flow = paths(3, 6.0, 0.05, ONE_FIRST)[name]
    points = torch.arange(3).unsqueeze(1)
    bfn = ExactBFN(flow, {"kinds": points, "places": 0.5 * points - 0.5})
    drawn = bfn.sample({"kinds": (3_000, 1), "places": (3_000, 1)}, 40, sampler=Solver(rule),
                       generator=generator(0))
    share = torch.bincount(drawn["kinds"][:, 0], minlength=3) / 3_000
    assert (share - 1 / 3).abs().max() < 0.035
    near = (drawn["places"] - (0.5 * drawn["kinds"] - 0.5)).abs() < 0.2
    assert near.double().mean() > 0.97


def test_mixed_data_of_two_schedules_is_sampled_to_its_law():
    """Clocks that run apart: half the way in r comes at another time for each part."""
    points = torch.tensor([0, 0, 1, 2])
    flow = MixedFlow(k=DiscreteFlow(3, 6.0), x=ContinuousFlow(0.05))
    bfn = ExactBFN(flow, {"k": points.unsqueeze(1), "x": torch.tensor([[-.8], [-.3], [.3], [.8]])})
    shape = {"k": (4_000, 1), "x": (4_000, 1)}
    for sampler in (Solver("ab2"), Solver("midpoint"), Solver("heun"), Solver("midpoint", "log"),
                    Solver("midpoint", noise=1.0)):
        drawn = bfn.sample(shape, 24, sampler=sampler, generator=generator(0))
        nearest = (drawn["x"] - torch.tensor([-0.8, -0.3, 0.3, 0.8])).abs().argmin(1)
        share = torch.bincount(nearest, minlength=4) / 4_000
        assert (share - 0.25).abs().max() < 0.035
        assert (points[nearest] == drawn["k"][:, 0]).double().mean() > 0.97


def test_one_number_for_all_classes_of_a_variable_changes_nothing():
    points, weights = correlated_table(3, 2)
    channel = _Channel(ExactBFN(DiscreteFlow(3, 4.0), points, weights), (6, 2), None,
                       generator(0), None)
    v = channel.noise()
    moved = {"": v[""] + torch.randn(6, 2, 1, generator=generator(1))}
    for one, two in zip(channel.guess(v, 0.6)[::2], channel.guess(moved, 0.6)[::2], strict=True):
        one, two = (a.logits if hasattr(a, "logits") else a[""] for a in (one, two))
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_a_condition_reaches_every_call():
    bfn = BFN(DiscreteFlow(3, 2.0), Told())
    condition = torch.tensor([0.0, 1.0])
    for sampler in (Solver("midpoint"), Solver("ab2", noise=0.5), FixedNoise()):
        x = bfn.sample((2, 4), 3, sampler=sampler, condition=condition, generator=generator(0))
        assert x.shape == (2, 4)
        with pytest.raises(AttributeError):  # the network misses what it was not told
            bfn.sample((2, 4), 3, sampler=sampler)


@pytest.mark.parametrize("sampler", [Solver("ab2"), FixedNoise()])
def test_a_gap_may_be_marked_as_absent(sampler):
    flow = MissingFlow(DiscreteFlow(3, 6.0))
    bfn = ExactBFN(flow, torch.tensor([[0, 0], [1, 1], [2, 2]]))
    known, options = torch.tensor([False, True]), {"weigh": False, "sampler": sampler}
    marked, other = (
        fill(bfn, torch.tensor([gap, 1]), known, 5, 20, **options, generator=generator(0)).x
        for gap in (-1, 2)
    )
    assert torch.equal(marked, other) and bool((marked[:, 1] == 1).all())


@pytest.mark.parametrize("sampler", [Solver("ab2"), Solver("midpoint", noise=0.5), FixedNoise()])
def test_a_gap_is_filled_beside_what_is_known(sampler):
    points = torch.tensor([[0, 0, 0], [1, 1, 1], [2, 2, 2]])
    bfn = ExactBFN(DiscreteFlow(3, 6.0), points, torch.tensor([0.3, 0.3, 0.4]))
    x, known = torch.tensor([1, 0, 0]), torch.tensor([True, False, False])
    options = {"weigh": False, "sampler": sampler}
    filling = fill(bfn, x, known, 20, 300, **options, generator=generator(0))
    assert bool((filling.x[:, 0] == 1).all())
    torch.testing.assert_close(filling.weights, torch.full((300,), 1 / 300).double())
    right = (filling.x == 1).all(1).double().mean()
    assert right > 0.4  # roughly right: blind to what is known it would be 0.3
    flow = ContinuousFlow(0.05)
    exact = ExactBFN(flow, torch.tensor([[-0.5, -0.5], [0.5, 0.5]]))
    filling = fill(exact, torch.tensor([0.5, 0.0]), torch.tensor([True, False]), 20, 300, **options)
    assert float((filling.x[:, 1] > 0).double().mean()) > 0.7
    with pytest.raises(ValueError, match="weigh must be False with a sampler"):
        fill(bfn, x, known, 20, sampler=sampler)


class Either:
    """One perfect network or the other, as the condition says, in the place of both."""

    def __init__(self, *perfect):
        self.perfect = perfect

    def __getattr__(self, name):
        return getattr(self.perfect[0], name)

    def output(self, theta, t, *, condition):
        assert bool((condition == condition[0]).all())
        return self.perfect[int(condition[0])].output(theta, t)


@pytest.mark.parametrize("kind", ["classes", "bins", "numbers", "mixed"])
@pytest.mark.parametrize(
    "sampler", [Solver("ab2"), Solver("midpoint", "log"), Solver("heun", noise=0.5), FixedNoise()],
    ids=str,
)
def test_gaps_of_every_kind_are_filled_as_the_condition_says(sampler, kind):
    """Told 0 the second variable is equal to the first, told 1 it is its opposite."""
    classes, bins, numbers = DiscreteFlow(3, 6.0), DiscretisedFlow(3, 0.1), ContinuousFlow(0.05)
    first, second = torch.tensor([0, 1, 2]), (torch.tensor([0, 1, 2]), torch.tensor([2, 1, 0]))
    if kind == "mixed":
        flow = MixedFlow(told=classes, gap=ContinuousFlow(0.3))  # not known much sooner
        data = [{"told": first[:, None], "gap": other[:, None] - 1.0} for other in second]
        x = {"told": torch.tensor([0]), "gap": torch.tensor([0.0])}
        known = {"told": torch.tensor([True]), "gap": torch.tensor([False])}
    else:
        flow = {"classes": classes, "bins": bins, "numbers": numbers}[kind]
        of = {"classes": lambda k: k, "bins": lambda k: bins.centres[k],
              "numbers": lambda k: k - 1.0}[kind]
        data = [of(torch.stack((first, other), 1)) for other in second]
        x, known = of(torch.tensor([0, 1])), torch.tensor([True, False])
    bfn = Either(*(ExactBFN(flow, points) for points in data))
    for condition, points in enumerate(data):
        filling = fill(bfn, x, known, 16, 200, weigh=False, sampler=sampler,
                       condition=torch.tensor(condition), generator=generator(condition))
        if kind == "mixed":
            assert bool((filling.x["told"] == 0).all())
            gap, right = filling.x["gap"][:, 0], points["gap"][0, 0]
        else:
            assert bool((filling.x[:, 0] == x[0]).all())
            gap, right = filling.x[:, 1], points[0, 1]
        hit = ((gap - right).abs() < 0.5).double().mean()
        assert hit > 0.5  # roughly right, as `fill` says; blind to what is known it is a third


def test_what_is_known_is_told_as_alice_tells_it():
    """v of a known value is r X + ε to the end, whatever the network guesses."""
    flow = ContinuousFlow(0.1, data_range=None)
    given = (torch.tensor([0.7, 0.0]).double(), torch.tensor([True, False]))
    steps = Solver("ab2").steps(Normal(flow), (3, 2), 6, generator=generator(0), given=given)
    noise = torch.randn(3, 2, generator=generator(0), dtype=torch.float64)
    for step in steps:
        root = flow.beta(step.t) ** 0.5
        mean = root * (root * 0.7 + noise[:, 0]) / (1 + root**2)
        torch.testing.assert_close(step.theta.mean[:, 0], mean)


def test_all_follows_from_the_noise_at_the_start():
    points, weights = correlated_table(3, 2)
    bfn = ExactBFN(DiscreteFlow(3, 4.0), points, weights)
    start = torch.randn(6, 2, 3, generator=generator(0))
    for sampler in (Solver("ab2"), FixedNoise()):
        *_, one = sampler.steps(bfn, (6, 2), 5, start=start)
        *_, two = sampler.steps(bfn, (6, 2), 5, generator=generator(0))
        torch.testing.assert_close(one.theta.logits, two.theta.logits)
        with pytest.raises(ValueError, match="start must have shape"):
            next(sampler.steps(bfn, (6, 2), 5, start=start[:5]))


def test_bad_settings_are_named():
    for bad in ({"rule": "rk4"}, {"spacing": "even"}, {"noise": 1.5}, {"noise": "much"},
                {"noise": float("nan")}, {"noise": True}):
        with pytest.raises(ValueError, match=f"^{next(iter(bad))} must"):
            Solver(**bad)
    assert repr(Solver(noise=np.float32(0.5))) == repr(Solver(noise=0.5))
    with pytest.raises(ValueError, match="spacing must"):
        FixedNoise("even")
    with pytest.raises(ValueError, match="n must"):
        Solver().calls(0)


# What judges samples -----------------------------------------------------------------------------


def test_the_energy_distance_is_that_of_its_definition_and_has_no_bias():
    points = torch.zeros(50, 1), torch.ones(2, 1)
    assert energy_distance(*points).mean == pytest.approx(2.0)
    assert energy_distance(*points, generator=generator(0)).standard_error == pytest.approx(0.0)
    rng = generator(1)
    y = torch.randn(500, 4, generator=rng)
    same = [energy_distance(torch.randn(60, 4, generator=rng), y, generator=rng) for _ in range(40)]
    means = torch.tensor([e.mean for e in same])
    assert abs(float(means.mean())) < 4 * float(means.std()) / 40**0.5 + 0.01
    other = energy_distance(1.0 + torch.randn(60, 4, generator=rng), y, generator=rng)
    assert other.mean > 4 * other.standard_error


def test_samplers_are_compared_at_equal_calls():
    for calls in (11, 21, 51):
        for sampler in SAMPLERS.values():
            assert sampler.calls(steps_within(calls, sampler)) == calls
    with pytest.raises(ValueError, match="calls must be at least 3"):
        steps_within(2, Solver())
