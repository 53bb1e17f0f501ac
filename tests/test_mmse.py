"""The curve of errors against closed forms of normal data, brute force, and the losses."""

import itertools
import math

import pytest
import torch
from torch import nn

from bfn_core import BFN, ContinuousFlow, DiscreteFlow, DiscretisedFlow, ExactBFN, elbo
from bfn_core.beliefs import GaussianParameters
from bfn_core.data.toy import GaussianMixture
from bfn_core.mmse import (
    ErrorCurve,
    belief_entropy,
    cheapest,
    grid,
    grid_bill,
    message_costs,
    mixture_curve,
    mmse,
    off_the_line,
)
from bfn_core.networks.scaled import KINDS, Scaled, Velocity
from bfn_core.schedules import (
    EntropyLinearSchedule,
    GeometricSchedule,
    LinearSchedule,
    LogLinearSchedule,
    QuadraticSchedule,
    StraightPathSchedule,
)
from tests.oracles import Normal, agree, draw, generator

BETA_1, STD = 99.0, 0.5
BETA = LogLinearSchedule(BETA_1, 1.0).beta(torch.linspace(0, 1, 2001, dtype=torch.float64))
NORMAL = ErrorCurve(BETA, STD**2 / (1 + STD**2 * BETA))  # of x ~ N(0, τ²): τ²/(1 + τ²β)
T = torch.linspace(0, 1, 21, dtype=torch.float64)


def test_the_area_is_the_information():
    assert NORMAL.least == pytest.approx(0.5 * math.log1p(STD**2 * BETA_1), rel=1e-5)
    assert float(NORMAL.at(3.0)) == pytest.approx(STD**2 / (1 + STD**2 * 3), rel=1e-4)
    assert float(NORMAL.at(1e9)) == float(NORMAL.error[-1])


def test_the_left_sum_of_a_grid_written_out():
    steps = torch.tensor([0.0, 2.0, 7.0, 99.0], dtype=torch.float64)
    error = STD**2 / (1 + STD**2 * steps[:-1])
    assert NORMAL.bill(steps) == pytest.approx(float((steps.diff() * error).sum() / 2), rel=1e-4)
    schedule = GeometricSchedule(0.1)
    assert NORMAL.excess(schedule, 3) == pytest.approx(
        NORMAL.bill(schedule.beta(torch.arange(4).double() / 3)) - NORMAL.least)


def test_normal_data_have_one_best_schedule_for_every_wish():
    """Both wishes, and AM–GM for every n, ask for 1 + τ²β even on a logarithmic scale."""
    best = LogLinearSchedule(BETA_1, 1 / STD**2)
    for schedule in (NORMAL.equal_bits(), NORMAL.finest()):
        torch.testing.assert_close(schedule.beta(T), best.beta(T), rtol=2e-3, atol=1e-3)
        assert NORMAL.spread(schedule) < 5e-3 < NORMAL.spread(GeometricSchedule(0.1))
    for n in (2, 5):
        steps = NORMAL.best(n)
        torch.testing.assert_close(steps, grid(best, n), rtol=0.01, atol=0.01)
        assert NORMAL.bill(steps) <= NORMAL.bill(grid(best, n)) + 1e-4
        ratio = (1 + STD**2 * BETA_1) ** (1 / n)
        assert NORMAL.bill(steps) == pytest.approx(n * (ratio - 1) / 2, rel=1e-3)


def test_the_finest_schedule_beats_equal_bits_where_they_differ():
    bumps = ErrorCurve(BETA, NORMAL.error + torch.exp(-0.1 * BETA))
    many = 200
    finest, equal = (bumps.excess(each, many) for each in (bumps.finest(), bumps.equal_bits()))
    assert finest < 0.99 * equal
    assert bumps.spread(bumps.equal_bits()) < 0.1 * bumps.spread(bumps.finest())


def test_the_scatter_by_time_in_closed_form():
    square = 0.25 * BETA_1**2 * STD**4 / (1 + STD**2 * BETA_1)  # of ½ β(1) e(β(1) t)
    scatter = (square - NORMAL.least**2) ** 0.5
    assert NORMAL.spread(LinearSchedule(BETA_1)) == pytest.approx(scatter, rel=2e-3)


@pytest.mark.parametrize("way", ["equal_bits", "finest"])
def test_a_schedule_made_for_an_error_that_has_come_to_0_serves_in_single_precision(way):
    """The last part of the table takes a billionth of the time: at t = 1 it gave NaN."""
    points, beta = torch.tensor([[0, 0], [1, 1]]), torch.linspace(0, 25, 51)
    bfn = ExactBFN(DiscreteFlow(2, 25.0), points)
    schedule = getattr(ErrorCurve.of(bfn, points.repeat(100, 1), beta), way)()
    assert schedule.beta(torch.ones(1)).tolist() == pytest.approx([25.0])
    assert schedule.rate(torch.ones(1)).isfinite().all()
    own = ExactBFN(DiscreteFlow(2, schedule=schedule), points)
    found = elbo(own, points.repeat(1000, 1), generator=generator(0))
    assert agree(found.total, math.log(2))


def test_a_curve_with_rises_is_smoothed_for_its_slope_only():
    rough = ErrorCurve(BETA[::100], NORMAL.error[::100] * (1 + 0.3 * (-1.0) ** torch.arange(21)))
    assert bool((rough.falling.error.diff() <= 0).all())
    schedule = rough.finest()
    assert schedule.beta(1.0) == pytest.approx(BETA_1)


@pytest.mark.parametrize("way, level", [("finest", 1.0), ("finest", 0.0), ("equal_bits", 0.0)])
def test_a_curve_on_which_nothing_is_to_be_made_even_is_named(way, level):
    with pytest.raises(ValueError, match=f"the curve's error must .*, got {level:g} to {level:g}"):
        getattr(ErrorCurve(BETA, torch.full_like(BETA, level)), way)()


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_the_cheapest_way_is_that_of_brute_force(n):
    costs = torch.rand(7, 7, generator=generator(n), dtype=torch.float64)
    ways = [(0, *middle, 6) for middle in itertools.combinations(range(1, 6), n - 1)]
    least = min(ways, key=lambda way: sum(float(costs[a, b]) for a, b in itertools.pairwise(way)))
    assert tuple(cheapest(costs, n).tolist()) == least
    with pytest.raises(ValueError, match="at least n \\+ 1 = 9 points, got 7"):
        cheapest(costs, 8)


# Against the losses ------------------------------------------------------------------------------


def test_the_error_of_normal_data_is_measured_on_any_schedule():
    x = STD * torch.randn(20_000, 1, generator=generator(0), dtype=torch.float64)
    for schedule in (GeometricSchedule(0.1), LinearSchedule(BETA_1), StraightPathSchedule(BETA_1)):
        bfn = Normal(ContinuousFlow(schedule=schedule, data_range=None), 0.0, STD)
        t = schedule.time(4.0)
        assert agree(mmse(bfn, x, t, generator=generator(1)), STD**2 / (1 + STD**2 * 4))
    curve = ErrorCurve.of(bfn, x, BETA[::100])
    torch.testing.assert_close(curve.error, NORMAL.error[::100], rtol=0.06, atol=0)


def test_a_time_at_which_nothing_is_told_is_refused():
    bfn = ExactBFN(DiscreteFlow(3, 2.0), torch.arange(3).unsqueeze(1))
    with pytest.raises(ValueError, match="t must be a time at which accuracy is told, got 0"):
        mmse(bfn, torch.zeros(2, 1, dtype=torch.int64), 0.0)


def test_the_sum_is_the_loss_of_n_messages():
    points = torch.linspace(-1, 1, 21).double().unsqueeze(1)
    weights = torch.rand(21, generator=generator(0))
    bfn, x = ExactBFN(ContinuousFlow(0.05), points, weights), draw(points, weights, 4000, 1)
    beta = grid(LogLinearSchedule(399.0, 0.1), 60)
    curve = ErrorCurve.of(bfn, x, beta, seed=5)
    for n in (4, 10):
        bill = elbo(bfn, x, n, repeats=4, generator=generator(n)).messages
        assert agree(bill, curve.bill(grid(bfn.flow.schedule, n)), 5)
        steps = grid(bfn.flow.schedule, n)
        rows = grid_bill(bfn, x, steps.tolist(), generator=generator(n + 1))
        assert abs(float(rows.mean()) - bill.mean) < 5 * bill.standard_error
    assert agree(elbo(bfn, x, repeats=4, generator=generator(3)).messages, curve.least, 5)


def test_costs_of_messages_are_half_their_accuracy_times_the_error():
    points = torch.linspace(-1, 1, 5).double().unsqueeze(1)
    bfn = ExactBFN(ContinuousFlow(0.1), points)
    beta = torch.tensor([0.0, 1.0, 4.0, 99.0], dtype=torch.float64)
    costs = message_costs(bfn, points.repeat(50, 1), beta, seed=2)
    curve = ErrorCurve.of(bfn, points.repeat(50, 1), beta, seed=2)
    by_curve = (beta.unsqueeze(0) - beta.unsqueeze(1)).clamp(min=0) * curve.error.unsqueeze(1) / 2
    torch.testing.assert_close(costs[:3], by_curve[:3])


def test_messages_about_one_class_add_up_and_the_left_sum_bounds_them():
    """The receiver of one variable is exact, so that two messages cost what one of both does."""
    points = torch.arange(4).unsqueeze(1)
    bfn = ExactBFN(DiscreteFlow(4, 3.0), points)
    beta, x = torch.tensor([0.0, 0.3, 1.0, 3.0]).double(), points.repeat(10_000, 1)
    costs = message_costs(bfn, x, beta)
    parts = float(costs[0, 1] + costs[1, 2] + costs[2, 3])
    assert float(costs[0, 3]) == pytest.approx(parts, abs=0.02)
    curve = ErrorCurve.of(bfn, x, beta)
    assert curve.bill(beta) > 1.3 * float(costs[0, 3])


def test_letters_that_lean_on_each_other_cost_less_on_a_grid_made_for_them():
    points = torch.arange(2).unsqueeze(1).expand(2, 8).contiguous()  # eight times the same bit
    bfn, x = ExactBFN(DiscreteFlow(2, 9.0), points), points.repeat(1000, 1)
    beta, n = grid(bfn.flow.schedule, 24), 4
    chosen = beta[cheapest(message_costs(bfn, x, beta, seed=1), n)]
    mine, paper = (grid_bill(bfn, x, g.tolist(), generator=generator(9)) for g in
                   (chosen, grid(bfn.flow.schedule, n)))
    change = mine - paper
    assert float(change.mean()) < -4 * float(change.std()) / len(x) ** 0.5


def test_bins_and_conditions_go_through_too():
    class Told(nn.Module):
        def forward(self, inputs, t, condition=None):
            shift = 0.0 if condition is None else condition.reshape(-1, 1)
            return torch.stack([inputs + shift, torch.zeros_like(inputs)], -1)

    flow = DiscretisedFlow(4, 0.1)
    bfn, x = BFN(flow, Told()), flow.centres[torch.randint(4, (50, 2), generator=generator(0))]
    plain = grid_bill(bfn, x, [0.0, 2.0, 99.0], generator=generator(1))
    told = grid_bill(bfn, x, [0.0, 2.0, 99.0], condition=torch.full((50,), 0.5),
                     generator=generator(1))
    assert plain.shape == (50,) and not torch.equal(plain, told)
    curves = [ErrorCurve.of(bfn, x, BETA[::500], condition=c).least
              for c in (None, torch.full((50,), 0.5))]
    assert curves[0] != curves[1]


# What a network reads ----------------------------------------------------------------------------


class Reads(nn.Module):
    """The perfect network of N(m, τ²) that reads a x + b ε, for given a and b; says ε̂ or v̂."""

    def __init__(self, flow, shares, velocity=False):
        super().__init__()
        self.flow, self.shares, self.velocity = flow, shares, velocity

    def forward(self, inputs, t):
        a, b = self.shares(self.flow.schedule.beta(t).unsqueeze(1))
        gain = a * STD**2 / (a**2 * STD**2 + b**2)
        x = 0.2 + gain * (inputs - a * 0.2)
        noise = (inputs - a * x) / b
        return x - noise if self.velocity else noise


SHARES = {  # of x and ε, as papers write them
    "mean": lambda b: (b / (1 + b), b.sqrt() / (1 + b)),
    "latent": lambda b: ((b / (1 + b)).sqrt(), (1 / (1 + b)).sqrt()),
    "plain": lambda b: (torch.ones_like(b), b**-0.5),
    "unit": lambda b: (b.sqrt() / (1 + 0.29 * b).sqrt(), (1 + 0.29 * b) ** -0.5),
    "path": lambda b: (b.sqrt() / (1 + b.sqrt()), 1 / (1 + b.sqrt())),
}


@pytest.mark.parametrize("kind", [*KINDS, "velocity"])
@pytest.mark.parametrize("schedule", [GeometricSchedule(0.1), StraightPathSchedule(BETA_1)])
def test_a_perfect_network_guesses_the_same_from_any_scale(kind, schedule):
    flow = ContinuousFlow(schedule=schedule, data_range=None)
    shares = SHARES["path" if kind == "velocity" else kind]
    net = Reads(flow, shares, kind == "velocity")
    wrapped = (Velocity(net, flow) if kind == "velocity"
               else Scaled(net, flow, kind, square=STD**2 + 0.2**2))
    bfn, exact = BFN(flow, wrapped), Normal(flow, 0.2, STD)
    x = 0.2 + STD * torch.randn(300, 1, generator=generator(0), dtype=torch.float64)
    for t in (0.02, 0.4, 1.0):
        theta = flow.sample_flow(x, t, generator(1))
        torch.testing.assert_close(bfn.output(theta, t).mean, exact.output(theta, t).mean,
                                   rtol=1e-6, atol=1e-6)


def test_a_latent_has_diffusions_mean_and_variance():
    flow, x = ContinuousFlow(0.1), torch.full((200_000, 1), 0.6)
    reads = Scaled(nn.Identity(), flow, "latent")
    t = torch.full((len(x),), 0.3)
    latent = reads.scaled(flow.sample_flow(x, t, generator(0)).mean, t)
    gamma = flow.gamma(0.3)
    assert float(latent.mean()) == pytest.approx(gamma**0.5 * 0.6, abs=0.01)
    assert float(latent.var()) == pytest.approx(1 - gamma, rel=0.02)
    with pytest.raises(ValueError, match="kind must be one of mean, latent"):
        Scaled(nn.Identity(), flow, "VP")


def test_the_bill_is_vdms_loss_with_log_snr_ln_beta():
    flow = ContinuousFlow(0.1, data_range=None)
    bfn, t = BFN(flow, nn.Linear(3, 3)), 0.37
    bfn.network.forward = lambda inputs, t: 0.3 * inputs + 0.1  # some guess of ε
    x, noise = torch.randn(2, 50, 3, generator=generator(0), dtype=torch.float64)
    beta = flow.beta(t)
    theta = GaussianParameters((beta * x + beta**0.5 * noise) / (1 + beta),
                               torch.full((50,), 1 + beta, dtype=torch.float64))
    guess = bfn.network(theta.mean, t)
    h = 1e-5
    slope = (math.log(flow.beta(t + h)) - math.log(flow.beta(t - h))) / (2 * h)
    ours = flow.rate_cost(x, flow.output(guess, theta, t), t).sum(1)
    torch.testing.assert_close(ours, 0.5 * slope * (noise - guess).square().sum(1), rtol=1e-7,
                               atol=0)


# A mixture, and classes.


def test_the_curve_of_a_mixture_is_what_its_perfect_network_has_left():
    beta = torch.tensor([0.0, 0.5, 5.0, 50.0, 2499.0], dtype=torch.float64)
    one = mixture_curve(GaussianMixture((0.0,), 0.5), beta)  # one normal: τ²/(1 + τ²β)
    torch.testing.assert_close(one.error, 0.25 / (1 + 0.25 * beta), rtol=1e-6, atol=0)
    two = mixture_curve(GaussianMixture((-0.5, 0.5), 0.1), beta[:1])  # nothing is told yet
    assert float(two.error) == pytest.approx(0.25 + 0.01)


def test_the_entropy_of_a_belief_against_an_integral():
    """K = 2: the difference of the logits is N(±2β, 4β) …, so H is an integral over one number."""
    beta = torch.tensor([0.0, 0.4, 3.0], dtype=torch.float64)
    z = torch.linspace(-9, 9, 4001, dtype=torch.float64)
    share = (-0.5 * z * z).softmax(0)
    exact = []
    for b in beta:
        p = torch.sigmoid(2 * b + (4 * b).sqrt() * z)
        exact.append((share * (torch.special.entr(p) + torch.special.entr(1 - p))).sum())
    found = belief_entropy(2, beta)
    torch.testing.assert_close(found, torch.stack(exact), atol=0.004, rtol=0)


def test_off_the_line_is_the_largest_share():
    t = torch.linspace(0, 1, 41, dtype=torch.float64)
    entropy = belief_entropy(4, 3 * t, 2000)
    share = (entropy - entropy[-1]) / (entropy[0] - entropy[-1])
    assert off_the_line(LinearSchedule(3.0), 4, count=2000) == pytest.approx(
        float((share - (1 - t)).abs().max()))


@pytest.mark.parametrize(("classes", "beta_1", "paper", "chem"), [
    (2, 9.0, 0.27, 0.09), (27, 0.5625, 0.11, 0.13), (27, 2.0, 0.44, 0.14), (12, 2.0, 0.26, 0.07)])
def test_deviations_from_the_line_are_those_measured_elsewhere(classes, beta_1, paper, chem):
    for schedule, known in ((QuadraticSchedule(beta_1), paper),
                            (EntropyLinearSchedule(classes, beta_1), chem)):
        assert off_the_line(schedule, classes, count=4000) == pytest.approx(known, abs=0.012)
