"""Pictures of coordinates and schedules, and the tools and records behind notebook 14."""

import math
import re

import pytest
import torch

from bfn_core import ContinuousFlow, DiscreteFlow, ExactBFN, data
from bfn_core.beliefs import GaussianParameters
from bfn_core.data.toy import GaussianMixture
from bfn_core.mmse import ErrorCurve, grid
from bfn_core.schedules import (
    EntropyLinearSchedule,
    GeometricSchedule,
    LinearSchedule,
    QuadraticSchedule,
)
from bfn_core.views import diffusion_and_schedules as views
from tests.oracles import generator
from tools import diffusion, time_grids
from tools.record import weights

PAPER = "geometric (paper)"


def numbers(caption):
    return [float(n) for n in re.findall(r"-?\d+\.?\d*", re.sub("<[^>]*>", "", caption))]


def test_the_guess_of_a_mixture_is_that_of_the_perfect_network():
    points, weights_ = views.TOY.grid(801)
    bfn = ExactBFN(ContinuousFlow(0.02), points.double(), weights_)
    beta = 7.0
    place = torch.linspace(-1.2, 1.2, 50, dtype=torch.float64)
    theta = GaussianParameters((place * beta / (1 + beta)).unsqueeze(1),
                               torch.full((50,), 1 + beta, dtype=torch.float64))
    x, variance = views.guess(place, torch.tensor(beta**-0.5, dtype=torch.float64))
    torch.testing.assert_close(x, bfn.output(theta, 0.5).mean[:, 0], atol=2e-4, rtol=0)
    share = bfn.posterior(theta)
    spread = share @ points[:, 0].double() ** 2 - (share @ points[:, 0].double()) ** 2
    torch.testing.assert_close(variance, spread, atol=5e-4, rtol=0)


def test_the_coordinates_explorer_says_what_the_formulas_do():
    explorer = views.coordinates_explorer()
    for beta, x, noise in ((1.0, 0.75, 1.0), (10.0, -0.5, -2.0)):
        explorer.set(beta=beta, x=x, noise=noise)
        assert explorer.error is None
        caption = explorer.caption
        beta = explorer.controls["beta"].value  # which goes by its own steps
        gamma = beta / (1 + beta)
        expected = [gamma * x + math.sqrt(gamma * (1 - gamma)) * noise,
                    math.sqrt(gamma) * x + math.sqrt(1 - gamma) * noise,
                    x + noise / math.sqrt(beta), math.sqrt(beta) * x + noise]
        said = re.search(r"BFN (\S+), diffusion, VP (\S+), EDM (\S+), ODE of notebook 11 (\S+)\. ",
                         caption)
        assert [float(each) for each in said.groups()] == pytest.approx(expected, abs=0.006)
        snr = re.search(r"noise: (.*?)\.</b>", caption).group(1)
        assert [float(each) for each in snr.split(", ")] == pytest.approx([beta] * 4, rel=1e-3)


def test_the_bumps_curve_is_what_their_perfect_network_has_left():
    points, weights_ = views.TOY.grid(401)
    bfn = ExactBFN(ContinuousFlow(0.02), points.double(), weights_)
    rows = torch.multinomial(weights_, 4000, True, generator=generator(0))
    beta = torch.tensor([0.0, 0.5, 5.0, 50.0, 2499.0], dtype=torch.float64)
    measured = ErrorCurve.of(bfn, points[rows].double(), beta)
    torch.testing.assert_close(measured.error, views.bumps_curve().at(beta), rtol=0.08, atol=0)
    one = views.mixture_curve(GaussianMixture((0.0,), 0.5), beta)  # one normal: τ²/(1 + τ²β)
    torch.testing.assert_close(one.error, 0.25 / (1 + 0.25 * beta), rtol=1e-6, atol=0)


def test_the_table_of_schedules_has_the_figures_of_the_exact_network():
    """Measured beforehand by another program, with the exact network in float64."""
    curve = views.bumps_curve()
    assert curve.least == pytest.approx(2.271, abs=0.002)
    known = {PAPER: (2.61, 0.990, 0.435, 0.161, 0.61), "equal bits": (2.58, 1.001, 0.432, 0.158, 0),
             "finest": (2.46, 0.910, 0.402, 0.150, None),
             "quadratic": (11.8, 3.11, 1.08, 0.372, 2.67),
             "linear β": (61.5, 30.1, 14.5, 5.34, 11.3),
             "log-SNR": (5.39, 1.72, 0.695, 0.247, 1.72)}
    for name, (*values, scatter) in known.items():
        schedule = views.schedules()[name]
        assert [curve.excess(schedule, n) for n in (5, 10, 20, 50)] == pytest.approx(
            values, rel=0.01, abs=0.002), name
        assert scatter is None or curve.spread(schedule) == pytest.approx(scatter, abs=0.02)
    best = [curve.bill(curve.best(n)) - curve.least for n in (5, 10, 20)]
    assert best == pytest.approx([2.35, 0.903, 0.402], abs=0.006)


def test_bending_nothing_is_the_papers_schedule():
    t = torch.linspace(0, 1, 33, dtype=torch.float64)
    torch.testing.assert_close(views.bent([1.0] * 5).beta(t), GeometricSchedule(0.02).beta(t))
    late = views.bent([2.0, 1.0, 1.0])  # half of the time on the first third
    assert late.beta(0.5) == pytest.approx((1 + views.BETA_1) ** (1 / 3) - 1)


def test_the_schedule_explorer_says_excess_and_scatter():
    explorer, curve = views.schedule_explorer(), views.bumps_curve()
    parts = {f"part_{place}": 1.0 for place in range(5)}
    for name, schedule in ((views.BENT, views.schedules()[PAPER]),
                           ("cosine", views.schedules()["cosine"])):
        for n in (4, 10):
            explorer.set(name=name, n=n, **parts)
            assert explorer.error is None
            mine, paper, best, least, scatter, _ = numbers(explorer.caption)
            assert mine == pytest.approx(curve.excess(schedule, n), abs=1e-3)
            assert paper == pytest.approx(curve.excess(views.schedules()[PAPER], n), abs=1e-3)
            assert best <= min(mine, paper) and least == pytest.approx(2.270, abs=1e-3)
            assert scatter == pytest.approx(curve.spread(schedule), abs=6e-3)
    before = explorer.png
    explorer.set(name=views.BENT, part_0=3.0)
    assert explorer.png != before and numbers(explorer.caption)[0] > 1.05 * paper


def test_the_teeth_are_the_messages():
    figure = views.bent_figure(names=(PAPER,), n=5)
    picture = figure.axes[0]
    told, saw = picture.lines[1].get_data()
    curve, steps = views.bumps_curve(), grid(views.schedules()[PAPER], 5)
    area = torch.trapezoid(torch.as_tensor(saw), torch.as_tensor(told))
    assert float(area) == pytest.approx(curve.bill(steps), rel=0.02)


def test_the_entropy_of_a_belief_against_an_integral():
    """K = 2: the difference of the logits is N(±2β, 4β) …, so H is an integral over one number."""
    beta = torch.tensor([0.0, 0.4, 3.0], dtype=torch.float64)
    z = torch.linspace(-9, 9, 4001, dtype=torch.float64)
    share = (-0.5 * z * z).softmax(0)
    exact = []
    for b in beta:
        p = torch.sigmoid(2 * b + (4 * b).sqrt() * z)
        exact.append((share * (torch.special.entr(p) + torch.special.entr(1 - p))).sum())
    found = views.belief_entropy(2, beta)
    torch.testing.assert_close(found, torch.stack(exact), atol=0.004, rtol=0)


def test_off_the_line_is_the_largest_share():
    t = torch.linspace(0, 1, 41, dtype=torch.float64)
    entropy = views.belief_entropy(4, 3 * t, 2000)
    share = (entropy - entropy[-1]) / (entropy[0] - entropy[-1])
    assert views.off_the_line(LinearSchedule(3.0), 4, count=2000) == pytest.approx(
        float((share - (1 - t)).abs().max()))


@pytest.mark.parametrize(("classes", "beta_1", "paper", "chem"), [
    (2, 9.0, 0.27, 0.09), (27, 0.5625, 0.11, 0.13), (27, 2.0, 0.44, 0.14), (12, 2.0, 0.26, 0.07)])
def test_deviations_from_the_line_are_those_measured_elsewhere(classes, beta_1, paper, chem):
    for schedule, known in ((QuadraticSchedule(beta_1), paper),
                            (EntropyLinearSchedule(classes, beta_1), chem)):
        assert views.off_the_line(schedule, classes, count=4000) == pytest.approx(known, abs=0.012)


# The tools and their records ---------------------------------------------------------------------

SMALL = diffusion.Plan(seeds=2, checkpoints=(2, 4), race_seeds=2, race_steps=4, calls=(3, 6),
                       samples=80, reader_steps=40, nodes=8)


def test_each_contestant_is_trained_on_its_own_loss_and_read_as_a_bfn():
    """Perfect guesses of normal numbers cost nothing by any of the three losses."""
    class Knows(torch.nn.Module):  # one point, x = 0.5
        def forward(self, inputs, t):
            beta = self.flow.schedule.beta(t).unsqueeze(1)
            root = beta.sqrt()
            if self.kind == "BFN":
                return (inputs * (1 + beta) - beta * 0.5) / root
            if self.kind == "diffusion":
                return inputs * (1 + beta).sqrt() - root * 0.5
            return 0.5 - (inputs * (1 + root) - root * 0.5)

    x = torch.full((40, 3), 0.5)
    for kind, make in diffusion.CONTESTANTS.items():
        net = Knows()
        bfn, loss = make(net, 0.03)
        net.kind, net.flow = kind, bfn.flow
        assert float(loss(x, generator(0)).abs().max()) < 1e-3, kind
        assert bfn.flow.beta(1.0) == pytest.approx(0.03**-2 - 1)
        theta = bfn.flow.sample_flow(x, 0.3, generator(1))
        torch.testing.assert_close(bfn.output(theta, 0.3).mean, x, atol=1e-4, rtol=0)
        net.kind = "another"
        net.forward = lambda inputs, t: 0.3 + 0.0 * inputs
        assert float(loss(x, generator(0)).mean()) > 0.1, kind


def test_the_last_fee_is_bayes_rule_on_the_levels():
    bins = diffusion.images()[0]
    x = bins.centres[torch.randint(17, (4000, 2), generator=generator(0))]
    fee = diffusion.last_bits(bins, x, seed=1)
    exact = ExactBFN(bins, bins.centres.unsqueeze(1))
    bill = exact.reconstruction_loss(x[:, :1].double(), generator=generator(2))
    error = float(bill.std()) / len(bill) ** 0.5 / math.log(2)
    assert abs(fee - float(bill.mean()) / math.log(2)) < 4 * error


def test_a_small_run_of_the_tool_has_all_that_the_page_reads():
    found = diffusion.measured(["inputs", "race", "clip"], SMALL)
    assert len(found["clip"]["bits per dimension"]["each"]) == 2
    for name in ("digits", "bumps"):
        assert set(found["inputs"][name]["steps"]) == {"2", "4"}
    assert set(found["race"]["bits per dimension"]) == set(views.LOOKS)
    assert len(found["race"]["Fréchet distance"]) == 3 * 3 * 2
    assert len(found["clip"]["Fréchet distance"]) == 3 * 2
    assert all(len(row["each"]) == 2 for row in found["race"]["Fréchet distance"].values())
    for figure, count in ((views.inputs_figure(found), 2), (views.race_figure(found), 3)):
        assert len(figure.axes) == count
    rows = found["race"]["Fréchet distance"]
    drawn = views.race_figure(found).axes[1].containers[0].lines[0].get_ydata()
    assert list(drawn) == [rows[f"BFN, ab2, {calls} calls"]["mean"] for calls in (3, 6)]


def test_a_grid_of_messages_is_chosen_and_costed():
    points = torch.arange(2).unsqueeze(1).expand(2, 8).contiguous()
    bfn, x = ExactBFN(DiscreteFlow(2, 9.0), points), points.repeat(300, 1)
    found = time_grids.measured(bfn, x, x, 20, 200)
    rows = found["grids"]
    assert rows["paper"]["times"] == [i / 10 for i in range(11)]
    assert rows["paper"]["difference"] == 0
    assert rows["messages"]["nats"] == pytest.approx(
        rows["paper"]["nats"] + rows["messages"]["difference"], abs=2e-3)
    sums = found["curve"]["left sums"]
    assert sums["left sum"] <= min(sums.values()) + 1e-9
    assert sums["paper"] > rows["paper"]["nats"]  # a bound


def test_the_record_of_the_tool_says_how_it_was_made():
    record = data.record("diffusion")
    assert record["command"] == "python -m tools.diffusion" and record["device"] == "cpu"
    plan = diffusion.Plan()
    assert all(record["inputs"][name]["seeds"] == plan.seeds >= 5 for name in ("digits", "bumps"))
    assert record["race"]["seeds"] == plan.race_seeds >= 5
    assert record["clip"]["seeds"] == plan.race_seeds
    assert sum(record[part]["seconds"] for part in diffusion.PARTS) < 15 * 60


@pytest.mark.parametrize("name", ["mnist", "text8"])
def test_the_grids_are_of_the_weights_that_are_shipped(name):
    record = data.record("time_grids")
    again = f"{record['command']} {name}"
    assert record[name]["weights"] == weights(name), f"measured on others: {again}"
    bills, paper = data.record(name)["evaluation"]["elbo"], record[name]["grids"]["paper"]
    assert paper["nats"] > bills["infinity"]["messages"] - 5 * paper["standard error"], again
    if "10" in bills:
        off = paper["nats"] - bills["10"]["messages"]
        error = math.hypot(paper["standard error"], bills["10"]["standard error"])
        assert abs(off) < 5 * error, again
